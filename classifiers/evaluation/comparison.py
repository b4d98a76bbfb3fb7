"""The table of a fit: a head beside length alone, a shuffled score at the same cost, always-small and always-large."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from weighbridge.classifiers.evaluation import metrics
from weighbridge.classifiers.evaluation.labelled import Labels
from weighbridge.classifiers.evaluation.metrics import ROUNDS, Floats, Interval

SHUFFLED, LENGTH, SMALL, LARGE = "shuffled, same cost", "length only", "always small", "always large"
_LEAST_ROWS = 30  # of a domain that gets a line of its own
_MOST_DOMAINS = 12

Columns = tuple[Floats, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One way to choose, measured on some rows. None: it ranks nothing, or is no probability.

    cost_at_95, cost_at_98: what keeping that much of the large model's quality costs, read off these rows' own curve.
    large_share, quality: at the operating point; quality is relative to always-large, 1 is as good. Length and the
    shuffled score are taken there at the cost of the head.
    lift: quality above the shuffled score's at the same cost, averaged over every operating point.
    """

    name: str
    rows: int
    large_share: Interval
    quality: Interval
    ece: Interval | None = None
    auroc: Interval | None = None
    apgr: Interval | None = None
    cpt50: Interval | None = None
    cpt80: Interval | None = None
    cost_at_95: Interval | None = None
    cost_at_98: Interval | None = None
    lift: Interval | None = None

    def as_fields(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The lines, the first of which is the head; then its lines by domain. threshold: the operating point."""

    lines: list[Line]
    domains: list[Line]
    threshold: float
    abstained_share: float = 0.0

    @property
    def head(self) -> Line:
        return self.lines[0]

    @property
    def beats_shuffled(self) -> bool:
        """The interval of what looking at the prompts is worth lies above zero."""
        return self.head.lift is not None and self.head.lift.low > 0

    def as_fields(self) -> dict[str, object]:
        return {
            "threshold": self.threshold,
            "beats_shuffled": self.beats_shuffled,
            "abstained_share": self.abstained_share,
            "lines": [line.as_fields() for line in self.lines],
            "domains": [line.as_fields() for line in self.domains],
        }


def compare(
    labels: Labels, scores: Mapping[str, Floats], threshold: float, *, rounds: int = ROUNDS, abstained: float = 0.0
) -> Comparison:
    """scores: by name, the head's first; of rows that they were not fitted on. The others go by the head's share."""
    head, *others = scores
    share = metrics.large_share(scores[head], threshold)
    lines = [line(head, labels, scores[head], threshold, rounds=rounds)]
    lines += [line(name, labels, *ranked(scores[name], share), rounds=rounds, shown=scores[name]) for name in others]
    lines += [_shuffled(labels, scores[head], threshold, rounds)]
    lines += [_constant(SMALL, labels, 0.0, rounds), _constant(LARGE, labels, 1.0, rounds)]
    return Comparison(lines, _domains(labels, scores[head], threshold, rounds), threshold, abstained)


def line(  # noqa: PLR0913  # a name, rows and how to read them
    name: str, labels: Labels, score: Floats, threshold: float, *, rounds: int = ROUNDS, shown: Floats | None = None
) -> Line:
    """shown: the score whose calibration is measured, where it is not the one that ranks."""

    def priced(measure: metrics.Measure, *level: float) -> metrics.Measure:
        return lambda s, a, b, event, missed, p, *costs: measure(s, a, b, *level, *costs)

    def plain(measure: metrics.Measure, *level: float) -> metrics.Measure:
        return lambda s, a, b, event, missed, p, *costs: measure(s, a, b, *level)

    found = metrics.bootstrap_all(
        {
            "auroc": lambda s, a, b, event, missed, p, *costs: metrics.auroc(s, event),
            "ece": lambda s, a, b, event, missed, p, *costs: metrics.ece(p, missed),
            "apgr": plain(metrics.apgr),
            "cpt50": plain(metrics.cpt50),
            "cpt80": plain(metrics.cpt80),
            "cost_at_95": priced(metrics.cost_at, 0.95),
            "cost_at_98": priced(metrics.cost_at, 0.98),
            "large_share": lambda s, *_: metrics.large_share(s, threshold),
            "quality": plain(metrics.quality_at, threshold),
            "lift": priced(metrics.lift),
        },
        *_columns(labels, score, score if shown is None else shown),
        groups=labels.groups,
        rounds=rounds,
    )
    return Line(name=name, rows=len(labels), **found)


def ranked(score: Floats, share: float) -> tuple[Floats, float]:
    """A score as its ranks, and the threshold above which that share of the rows lies."""
    order = np.argsort(np.argsort(score, kind="stable"), kind="stable")
    return (order + 0.5) / len(score), 1 - share


def _columns(labels: Labels, score: Floats, shown: Floats) -> Columns:
    columns: Columns = (score, labels.small, labels.large, labels.falls_short, labels.shortfall, shown)
    if labels.small_cost is not None and labels.large_cost is not None:
        columns = (*columns, labels.small_cost, labels.large_cost)
    return columns


def _shuffled(labels: Labels, score: Floats, threshold: float, rounds: int) -> Line:
    """A score that is the same everywhere is a shuffled one in expectation, over every shuffle there is."""
    same = line(SHUFFLED, labels, np.full(len(labels), 0.5), 0.5, rounds=rounds)

    def quality(s: Floats, small: Floats, large: Floats, _: Floats, __: Floats, ___: Floats, *costs: Floats) -> float:
        lift = metrics.lift_at(s, small, large, threshold, *costs)
        return metrics.quality_at(s, small, large, threshold) - lift / float(large.mean() or np.nan)

    mixed = np.random.default_rng(0).permutation(score)
    found = metrics.bootstrap_all(
        {
            "quality": quality,
            "large_share": lambda s, *_: metrics.large_share(s, threshold),
            "ece": lambda s, a, b, event, missed, p, *costs: metrics.ece(p, missed),
        },
        *_columns(labels, score, mixed),
        groups=labels.groups,
        rounds=rounds,
    )
    kept = {name: getattr(same, name) for name in ("auroc", "apgr", "cpt50", "cpt80", "cost_at_95", "cost_at_98")}
    return Line(name=SHUFFLED, rows=len(labels), **kept, **found)


def _constant(name: str, labels: Labels, score: float, rounds: int) -> Line:
    found = metrics.bootstrap_all(
        {
            "ece": lambda s, a, b, missed: metrics.ece(s, missed),
            "large_share": lambda s, a, b, missed: metrics.large_share(s, 0.5),
            "quality": lambda s, a, b, missed: metrics.quality_at(s, a, b, 0.5),
        },
        *(np.full(len(labels), score), labels.small, labels.large, labels.shortfall),
        groups=labels.groups,
        rounds=rounds,
    )
    return Line(name=name, rows=len(labels), **found)


def _domains(labels: Labels, score: Floats, threshold: float, rounds: int) -> list[Line]:
    """The largest domains, each on its own."""
    names, counts = np.unique(labels.domain, return_counts=True)
    known = [(-n, name) for name, n in zip(names.tolist(), counts.tolist(), strict=True) if name and n >= _LEAST_ROWS]
    lines = []
    for _, name in sorted(known)[:_MOST_DOMAINS]:
        here = labels.domain == name
        lines.append(line(name, labels[here], score[here], threshold, rounds=rounds))
    return lines
