"""The held-out table: a head beside random, length alone, always-small and always-large."""

from dataclasses import asdict, dataclass

import numpy as np

from weighbridge.classifiers.evaluation.metrics import Floats, Interval, apgr, auroc, bootstrap, ece, group_ids
from weighbridge.classifiers.length import INTERCEPT, SLOPE, score_of
from weighbridge.classifiers.training.dataset import OWN, Rows

RANDOM, LENGTH, SMALL, LARGE, HEAD = "random", "length only", "always small", "always large", "this head"


@dataclass(frozen=True, slots=True)
class Line:
    """One classifier on one dataset.

    auroc: of the event that the small model falls short. On our own prompts: expert against easy ones.
    apgr: None where nothing is ranked. ece: None where the score is no probability.
    large_share, quality: at the recommended threshold; random and length at the share of this head there.
    """

    dataset: str
    classifier: str
    rows: int
    auroc: Interval | None
    apgr: Interval | None
    ece: Interval | None
    large_share: float
    quality: float

    def as_fields(self) -> dict[str, object]:
        return asdict(self)


def table(rows: Rows, score: Floats, threshold: float, length: tuple[float, float] = (SLOPE, INTERCEPT)) -> list[Line]:
    """The lines of every dataset; ours is measured against the levels that we gave.

    length: slope and intercept of the length baseline.
    """
    longer = np.array([score_of(len(prompt), *length) for prompt in rows.prompt])
    lines = []
    for name in sorted(set(rows.dataset.tolist()), key=lambda n: (n == OWN, n)):
        here = rows.dataset == name
        lines += _lines(name, rows[here], {HEAD: score[here], LENGTH: longer[here]}, threshold)
    return lines


def _lines(name: str, rows: Rows, learned: dict[str, Floats], threshold: float) -> list[Line]:
    score = learned[HEAD]
    share = float((score >= threshold).mean())
    measured = {**learned, RANDOM: np.random.default_rng(0).random(len(score))}
    lines = [_line(name, which, rows, values, share) for which, values in measured.items()]
    for which, constant, values in ((SMALL, 0.0, rows.small), (LARGE, 1.0, rows.large)):
        honesty = bootstrap(ece, np.full(len(score), constant), rows.shortfall, groups=group_ids(rows.stem.tolist()))
        lines.append(Line(name, which, len(score), None, None, honesty, constant, float(values.mean())))
    return lines


def _line(name: str, which: str, rows: Rows, score: Floats, share: float) -> Line:
    kept = (rows.level == "easy") | (rows.level == "hard") if name == OWN else np.ones(len(score), dtype=bool)
    groups = group_ids(rows.stem.tolist())
    ranking = bootstrap(auroc, score[kept], rows.shortfall[kept], groups=groups[kept])
    recovered = bootstrap(apgr, score, rows.small, rows.large, groups=groups)
    honesty = None if which == RANDOM else bootstrap(ece, score, rows.shortfall, groups=groups)
    quality = float(rows.small.mean() + share * (rows.large - rows.small).mean())
    if which != RANDOM:
        sent = _highest(score, share)
        quality = float(np.where(sent, rows.large, rows.small).mean())
    return Line(name, which, len(score), ranking, recovered, honesty, share, quality)


def _highest(score: Floats, share: float) -> Floats:
    """Which rows are the highest `share` of all."""
    sent = np.zeros(len(score), dtype=bool)
    sent[np.argsort(-score, kind="stable")[: round(share * len(score))]] = True
    return sent


def as_markdown(lines: list[Line]) -> str:
    """The table as people read it."""
    columns = "| dataset | rows | classifier | AUROC | APGR | ECE | large share | quality |"
    body = [
        f"| {x.dataset} | {x.rows:,} | {x.classifier} | {x.auroc or ''} | {x.apgr or ''} | {x.ece or ''} "
        f"| {x.large_share:.2f} | {x.quality:.3f} |"
        for x in lines
    ]
    return "\n".join([columns, "|---" * columns.count(" | ") + "|---|", *body])
