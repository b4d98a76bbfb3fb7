"""The regression gate: is one classifier worse than another on the same labels, beyond what chance explains.

Both are measured on the same draws of the same rows, so the interval is that of the difference, and much narrower than
the two intervals side by side.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weighbridge.classifiers.evaluation import metrics
from weighbridge.classifiers.evaluation.labelled import Labels
from weighbridge.classifiers.evaluation.metrics import ROUNDS, Floats, Interval


@dataclass(frozen=True, slots=True)
class Scored:
    """A classifier's scores of some labels, and its operating point."""

    name: str
    score: Floats
    threshold: float


@dataclass(frozen=True, slots=True)
class Change:
    """One measure of both. change: new less old, with its interval.

    is_better_high: more of it is better; None is for information: it is bought with another.
    """

    measure: str
    new: float
    old: float
    change: Interval
    is_better_high: bool | None

    @property
    def is_worse(self) -> bool:
        """The whole interval lies on the bad side."""
        if self.is_better_high is None:
            return False
        return self.change.high < 0 if self.is_better_high else self.change.low > 0


def changes(labels: Labels, new: Scored, old: Scored, *, rounds: int = ROUNDS) -> list[Change]:
    """Ranking, honesty, the tier mix, and what quality costs. What makes no sense on these labels is left out.

    The quality at each one's own operating point is told and not judged: a cheaper mix may be meant to cost some. What
    is judged is the quality where the old one sends as many to the large model as the new one does.
    """
    columns = [new.score, old.score, labels.small, labels.large, labels.falls_short, labels.shortfall]
    if labels.small_cost is not None and labels.large_cost is not None:
        columns += [labels.small_cost, labels.large_cost]
    found = []
    for name, (measure, is_better_high) in _MEASURES.items():
        mine, theirs = _of(measure, 0, new.threshold), _of(measure, 1, old.threshold)
        interval = metrics.bootstrap(_difference(mine, theirs), *columns, groups=labels.groups, rounds=rounds)
        found.append(Change(name, mine(*columns), theirs(*columns), interval, is_better_high))
    found.append(_at_the_same_mix(labels, new, old, rounds))
    return [change for change in found if not np.isnan(change.change.value)]


def _at_the_same_mix(labels: Labels, new: Scored, old: Scored, rounds: int) -> Change:
    """The quality of both where the old one's threshold lets through as many as the new one's."""
    share = metrics.large_share(new.score, new.threshold)

    def quality(score: Floats, small: Floats, large: Floats) -> float:
        along = metrics.curve(score, small, large)
        full = float(along.quality[-1])
        return float(along.quality[round(share * len(score))]) / full if full > 0 else float("nan")

    columns = (new.score, old.score, labels.small, labels.large)
    interval = metrics.bootstrap(
        lambda n, o, small, large: quality(n, small, large) - quality(o, small, large),
        *columns,
        groups=labels.groups,
        rounds=rounds,
    )
    ends = [quality(score, labels.small, labels.large) for score in (new.score, old.score)]
    return Change("quality at the same mix", ends[0], ends[1], interval, True)


_Measure = Callable[..., float]


def _difference(one: _Measure, other: _Measure) -> _Measure:
    return lambda *columns: one(*columns) - other(*columns)


def _of(measure: _Measure, which: int, threshold: float) -> _Measure:
    """A measure of one of the two scores, which stand first among the columns."""

    def of(*columns: Floats) -> float:
        small, large, event, missed, *costs = columns[2:]
        return measure(columns[which], small, large, event, missed, threshold, *costs)

    return of


_MEASURES: dict[str, tuple[_Measure, bool | None]] = {
    "AUROC": (lambda s, a, b, event, missed, t, *costs: metrics.auroc(s, event), True),
    "ECE": (lambda s, a, b, event, missed, t, *costs: metrics.ece(s, missed), False),
    "large share": (lambda s, a, b, event, missed, t, *costs: metrics.large_share(s, t), False),
    "quality": (lambda s, a, b, event, missed, t, *costs: metrics.quality_at(s, a, b, t), None),
    "cost at 95 %": (lambda s, a, b, event, missed, t, *costs: metrics.cost_at(s, a, b, 0.95, *costs), False),
    "cost at 98 %": (lambda s, a, b, event, missed, t, *costs: metrics.cost_at(s, a, b, 0.98, *costs), False),
}
