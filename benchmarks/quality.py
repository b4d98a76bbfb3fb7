"""How well heads route on public outcomes: one table of datasets, heads and metrics, and the curves as a picture.

    python benchmarks/quality.py [--data DIR] [--cache DIR] [--out DIR] [--only DATASET ...] [--quick] [--json]

DIR holds `pairs.parquet`, one row per question with `prompt`, `dataset`, `split` (by stem), `stem`, `query_id`,
`domain`, `weak_score` and `strong_score`; and, where many models were asked, `NAME_scores.parquet`. Four settings:

- in-domain: fitted on the dataset's other four splits, as `weighbridge fit` fits on own labels. How much each of the
  three models counts and how the score is calibrated (five numbers) is fitted on those splits too, on what the models
  say of splits that they were not fitted on;
- left out: the recipe of the shipped head on every other dataset and our own prompts, without any question that is in
  this one too: what to expect of new traffic;
- left out, 100 labels: that head with its calibration made on a hundred questions of the dataset;
- fit on 200 and 600, of a large dataset on 300 and 1500 too: on so many questions of the dataset, on top of the
  left-out head, as `weighbridge fit` does.

The last two are means of three draws, and so are the ends of their intervals. Rows of one stem are never on both sides.
Brackets are 95 % intervals of a bootstrap over stems. Beside the heads stand length alone, chance, and a shuffled score
at the same cost, which is exact: the mean of all shuffles. Lift is the quality above that, averaged over every share of
large calls. All figures are those that `weighbridge fit` prints.

--out is a folder for the picture and the pieces that are done: a run that was stopped goes on there, unless the code or
the data changed. --quick takes 1,200 questions of each dataset and one draw. Ends with 1 when a goal is missed.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rig.curves import Panel, picture
from rig.routing import (
    CALIBRATED,
    HEAD,
    IN_DOMAIN,
    LEFT_OUT,
    PUBLISHED,
    RANDOM,
    Row,
    as_markdown,
    goals,
    published,
    table,
)

from weighbridge.classifiers import features
from weighbridge.classifiers import head as heads
from weighbridge.classifiers.evaluation import comparison, metrics
from weighbridge.classifiers.evaluation.comparison import LENGTH, Line
from weighbridge.classifiers.evaluation.labelled import Labels
from weighbridge.classifiers.evaluation.metrics import Floats, Interval
from weighbridge.classifiers.head import Head, Inputs
from weighbridge.classifiers.minilm import SHIPPED
from weighbridge.classifiers.training import calibrate, dataset, embed, ensemble, fit, models
from weighbridge.classifiers.training.dataset import Rows

FEW, MORE = (200, 600), (200, 300, 600, 1500)
LARGE = 5000  # questions from which on more numbers of labels are tried
LEAST_MEASURED = 100  # questions that must be left when a draw is taken
ROUNDS, ROUNDS_OF_DRAWS, QUICK_ROWS = 200, 60, 1200


@dataclass(frozen=True)
class Piece:
    """What one setting gave: its rows, the scores whose curve is drawn, and how long it took."""

    rows: list[Row]
    score: Floats
    took_s: float = 0.0


@dataclass(frozen=True)
class Study:
    """All rows, public ones and our own. cache: of embeddings. draws: how many for a few labels."""

    rows: Rows
    cache: Path | None
    draws: int

    @cached_property
    def inputs(self) -> Inputs:
        """What a head sees of them."""
        return embed.read(self.rows.prompt, embed.open_encoder(SHIPPED), self.cache)

    @property
    def names(self) -> list[str]:
        return sorted(set(self.rows.dataset.tolist()) - {dataset.OWN})

    def of(self, name: str) -> tuple[Rows, Inputs]:
        here = self.rows.dataset == name
        return self.rows[here], self.inputs[here]


def study(data: Path, cache: Path | None, *, is_quick: bool) -> Study:
    public, own = dataset.load_any(data), dataset.load(None)
    if is_quick:
        ranks = np.zeros(len(public.prompt), dtype=np.int64)
        for name in np.unique(public.dataset):
            here = public.dataset == name
            ranks[here] = shuffled_ranks(public.stem[here], 0)
        public = public[ranks < QUICK_ROWS]
    rows = joined(public, own[own.dataset == dataset.OWN])
    return Study(rows, cache, 1 if is_quick else 3)


def joined(one: Rows, other: Rows) -> Rows:
    names = (f.name for f in fields(Rows) if f.name != "prompt")
    arrays = {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names}
    return Rows(prompt=one.prompt + other.prompt, **arrays)


def shuffled_ranks(stems: NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """The place of each row's stem in an order of chance; rows of a stem share it."""
    names, place = np.unique(stems, return_inverse=True)
    found: NDArray[np.int64] = np.random.default_rng(seed).permutation(len(names))[place]
    return found


def drawn(stems: NDArray[np.str_], count: int, seed: int) -> NDArray[np.bool_]:
    """So many questions, and every row of theirs."""
    chosen: NDArray[np.bool_] = shuffled_ranks(stems, seed) < count
    return chosen


# The settings.


def in_domain(all_rows: Study, name: str) -> Piece:
    rows, inputs = all_rows.of(name)
    score = of_other_splits(rows, inputs)
    labels, half = labels_of(rows), float(np.median(score))
    share = metrics.large_share(score, half)
    head, shuffled, *_ = comparison.compare(labels, {HEAD: score}, half, rounds=ROUNDS).lines
    length = np.log1p([float(len(prompt)) for prompt in rows.prompt])
    shown = sum((curve_of(length, rows, rows.fold != s) * (rows.fold == s) for s in np.unique(rows.fold)), 0 * length)
    alone = comparison.line(LENGTH, labels, *comparison.ranked(length, share), rounds=ROUNDS, shown=shown)
    chance = comparison.ranked(np.random.default_rng(0).random(len(score)), share)
    random = replace(comparison.line(RANDOM, labels, *chance, rounds=ROUNDS), ece=None)
    return Piece([Row(name, IN_DOMAIN, line) for line in (head, alone, random, shuffled)], score)


def of_other_splits(rows: Rows, inputs: Inputs) -> Floats:
    """The score of each row from what was fitted on the other splits."""
    target = ensemble.target_of(rows.small, rows.large)
    said = ensemble.unseen(models.Fitting(inputs, target, np.ones(len(target))), rows.fold)
    score = np.zeros(len(target))
    for split in np.unique(rows.fold):
        out = rows.fold == split
        total = said @ ensemble.weighed(said[~out], target[~out])
        score[out] = curve_of(total, rows, ~out)[out]
    return score


def curve_of(total: Floats, rows: Rows, kept: NDArray[np.bool_]) -> Floats:
    """The logistic curve that some rows ask for, at all of them."""
    slope, intercept = ensemble.logistic(total[kept], rows.shortfall[kept], np.ones(int(kept.sum())))
    found: Floats = 1 / (1 + np.exp(-np.clip(slope * total + intercept, -30, 30)))
    return found


def fitted(inputs: Inputs, rows: Rows, base: Head | None, seed: int) -> Head:
    folds = ensemble.folds_of(rows.stem.tolist(), seed)
    return ensemble.fitted(inputs, rows.small, rows.large, folds, base=base, seed=seed).head


def left_out(all_rows: Study, name: str) -> Piece:
    rows, inputs = all_rows.of(name)
    base = without(all_rows, name)
    score = heads.scores(base, inputs)
    labels = labels_of(rows)
    found = [Row(name, LEFT_OUT, comparison.line(HEAD, labels, score, float(np.median(score)), rounds=ROUNDS))]

    def calibrated(these: NDArray[np.bool_], _: int) -> Head:
        return ensemble.recalibrated(base, inputs[these], rows.small[these], rows.large[these])

    def on_top(these: NDArray[np.bool_], seed: int) -> Head:
        return fitted(inputs[these], rows[these], base, seed)

    questions = len(set(rows.stem.tolist()))
    counts = [count for count in (MORE if questions >= LARGE else FEW) if questions - count >= LEAST_MEASURED]
    for setting, count, make in [(CALIBRATED, 100, calibrated), *((f"fit on {n}", n, on_top) for n in counts)]:
        found.append(Row(name, setting, mean(list(of_draws(all_rows, name, count, make)))))
    return Piece(found, score)


def without(all_rows: Study, name: str) -> Head:
    """The shipped recipe on what is not of this dataset, no question of it either."""
    asked_here = np.isin(all_rows.rows.stem, all_rows.rows.stem[all_rows.rows.dataset == name])
    rows, inputs = all_rows.rows[~asked_here], all_rows.inputs[~asked_here]
    # Every dataset has a say, whatever its size.
    sizes = {other: (rows.dataset == other).sum() for other in np.unique(rows.dataset)}
    weight = np.array([sizes[other] ** -0.5 for other in rows.dataset])
    rows = replace(rows, weight=np.where(rows.own, 1.0, weight / weight[~rows.own].mean()))
    seen = calibrate.unseen(inputs, rows)
    summed = models.joined(models.fit(fit.fitting(inputs, rows)), seen.weights)
    return calibrate.calibrated(replace(summed, lexical_w=fit.length_prior()), inputs, seen, rows)


def of_draws(all_rows: Study, name: str, count: int, make: Callable[[NDArray[np.bool_], int], Head]) -> Iterator[Line]:
    """For each draw the line of its head, on the rows that were not drawn."""
    rows, inputs = all_rows.of(name)
    for seed in range(all_rows.draws):
        these = drawn(rows.stem, count, seed)
        score = heads.scores(make(these, seed), inputs[~these])
        labels = labels_of(rows[~these])
        yield comparison.line(HEAD, labels, score, float(np.median(score)), rounds=ROUNDS_OF_DRAWS)


def mean(lines: Sequence[Line]) -> Line:
    """The mean of the figures, and of the ends of their intervals."""

    def of(intervals: Sequence[Interval]) -> Interval:
        return Interval(*np.mean([(x.value, x.low, x.high) for x in intervals], axis=0).tolist())

    measured = {
        f.name: [getattr(line, f.name) for line in lines] for f in fields(Line) if f.name not in {"name", "rows"}
    }
    means: dict[str, Any] = {name: of(values) for name, values in measured.items() if None not in values}
    return replace(lines[0], **means)


def labels_of(rows: Rows) -> Labels:
    none = np.full(len(rows.prompt), "")
    return Labels(rows.prompt, rows.small, rows.large, rows.stem, none, none)


# What is kept from one run to the next.

SETTINGS: dict[str, Callable[[Study, str], Piece]] = {IN_DOMAIN: in_domain, LEFT_OUT: left_out}
_RECIPE = (calibrate, comparison, dataset, ensemble, features, fit, heads, metrics, models)


def kept(all_rows: Study, name: str, setting: str, out: Path | None, digest: str) -> Piece:
    path = out / "pieces" / f"{name}, {setting}.json" if out else None
    if path and path.is_file() and (known := json.loads(path.read_text(encoding="utf-8")))["digest"] == digest:
        return Piece([row_of(row) for row in known["rows"]], np.array(known["score"]), known["took_s"])
    began = time.monotonic()
    piece = SETTINGS[setting](all_rows, name)
    piece = replace(piece, took_s=time.monotonic() - began)
    print(f"{name}, {setting}: {piece.took_s:.0f} s", file=sys.stderr, flush=True)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        said = {"rows": [asdict(row) for row in piece.rows], "score": piece.score.round(6).tolist()}
        path.write_text(json.dumps({"digest": digest, "took_s": piece.took_s, **said}), encoding="utf-8")
    return piece


def row_of(found: dict[str, Any]) -> Row:
    line: dict[str, Any] = {
        name: Interval(**value) if isinstance(value, dict) else value for name, value in found["line"].items()
    }
    return Row(found["dataset"], found["setting"], Line(**line))


def digest_of(data: Path, *, is_quick: bool) -> str:
    """Of the code and the data that a piece hangs on."""
    digest = hashlib.sha256(str(is_quick).encode())
    for path in (Path(__file__), *(Path(str(module.__file__)) for module in _RECIPE), *sorted(data.glob("*.parquet"))):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


# Showing.


def panels(all_rows: Study, scores: dict[str, dict[str, Floats]]) -> list[Panel]:
    found = []
    for name, by_setting in scores.items():
        rows = all_rows.rows[all_rows.rows.dataset == name]
        length = np.log1p([float(len(prompt)) for prompt in rows.prompt])
        found.append(Panel(name, rows.small, rows.large, {**by_setting, LENGTH: length}))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="(default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="a folder that keeps embeddings for the next run")
    parser.add_argument("--out", type=Path, help="a folder for quality.svg, and for what is done")
    parser.add_argument("--only", nargs="*", metavar="DATASET", help="some of the datasets")
    parser.add_argument("--quick", action="store_true", help="1,200 questions of each, one draw")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    digest = digest_of(given.data, is_quick=given.quick)
    all_rows = study(given.data, given.cache, is_quick=given.quick)
    if unknown := set(given.only or ()) - set(all_rows.names):
        parser.error(f"{', '.join(sorted(unknown))}: the data holds {', '.join(all_rows.names)}")
    rows: list[Row] = []
    scores: dict[str, dict[str, Floats]] = {}
    took_s = 0.0
    for name in given.only or all_rows.names:
        pieces = {setting: kept(all_rows, name, setting, given.out, digest) for setting in SETTINGS}
        rows += [row for piece in pieces.values() for row in piece.rows]
        took_s += sum(piece.took_s for piece in pieces.values())
        scores[name] = {setting: piece.score for setting, piece in pieces.items()}
    if given.out:
        (given.out / "quality.svg").write_text(picture(panels(all_rows, scores)), encoding="utf-8")
    return show(rows, took_s, as_json=given.json)


def show(rows: Sequence[Row], took_s: float, *, as_json: bool) -> int:
    judged = goals(rows)
    is_missed = not all(goal.is_met for goal in judged)
    if as_json:
        told = {"rows": [asdict(row) for row in rows], "published": PUBLISHED, "goals": [asdict(g) for g in judged]}
        print(json.dumps(told, indent=1))
        return is_missed
    now = datetime.now(UTC).isoformat(timespec="seconds")
    print(
        f"{now}  {took_s:.0f} s in all, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n\n{as_markdown(rows)}\n"
    )
    told_goals = [(g.what, g.measured, g.wanted, "PASS" if g.is_met else "MISSED") for g in judged]
    print(table([("goal", "measured", "wanted", ""), *told_goals]), published(), sep="\n\n")
    return is_missed


if __name__ == "__main__":
    sys.exit(main())
