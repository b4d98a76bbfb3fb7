"""How good a score is, on prompts where it is known what both models' answers were worth.

Ranking and money are measured as in RouteLLM (Ong et al., arXiv 2406.18665, section 3): the performance gap recovered
(PGR) is the share of the distance from always-small to always-large that a mix of both reaches; its average over every
share of large calls is the APGR; the smallest share that reaches a PGR of x is CPT(x). A mix that does not look at the
prompts has an APGR of 0.5 and a CPT(x) of x. Honesty is the expected calibration error (Naeini et al., AAAI 2015).
Intervals are bootstraps (Efron, 1979) over groups: questions that share a stem are drawn together.

All columns hold one number for each prompt. small, large: 0..1, what the answers were worth. small_cost, large_cost:
what they cost, in any unit; where they are not given the small model is free and the large one costs 1, so that a cost
is the share of large calls. Every cost here is a fraction of what always-large costs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Measure = Callable[..., float]

ROUNDS = 300
BINS = 10


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the 95 % interval of its bootstrap."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Curve:
    """Everything between always-small and always-large: the prompts go large one by one, the highest score first.

    Each column has one entry more than there are prompts. share: of large calls. quality: the answers' mean worth.
    cost: as a fraction of always-large. Within a tie every prompt brings the tie's mean, the expectation over orders.
    """

    share: Floats
    quality: Floats
    cost: Floats

    @property
    def recovered(self) -> Floats:
        """The performance gap recovered. NaN where the large model is not better than the small one."""
        gap = float(self.quality[-1] - self.quality[0])
        if gap <= 1e-12:
            return np.full(len(self.quality), np.nan)
        recovered: Floats = (self.quality - self.quality[0]) / gap
        return recovered


def curve(
    score: Floats, small: Floats, large: Floats, small_cost: Floats | None = None, large_cost: Floats | None = None
) -> Curve:
    cheap, dear = _costs(small, small_cost, large_cost)
    _, place, sizes = np.unique(-score, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")

    def climb(start: Floats, end: Floats) -> Floats:
        """The mean of a column as its prompts change over one by one."""
        steps = (np.bincount(place, end - start) / sizes)[place][order]
        along: Floats = (start.sum() + np.concatenate([[0.0], np.cumsum(steps)])) / len(start)
        return along

    full = float(dear.mean())
    cost = climb(cheap, dear) / full if full > 0 else np.zeros(len(score) + 1)
    return Curve(np.arange(len(score) + 1) / len(score), climb(small, large), cost)


def auroc(score: Floats, event: Floats) -> float:
    """The chance that a prompt with the event scores above one without; ties count half. NaN where all are alike."""
    _, inverse, sizes = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[inverse]
    positive = event > 0.5
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def ece(score: Floats, event: Floats, bins: int = BINS) -> float:
    """How far the score is from how often the event comes, averaged over equal slices of the score.

    event: 0..1, how much of an event each prompt is.
    """
    which = np.clip((score * bins).astype(int), 0, bins - 1)
    sums = [np.bincount(which, values, minlength=bins) for values in (score, event)]
    return float(np.abs(sums[0] - sums[1]).sum() / len(score))


def apgr(score: Floats, small: Floats, large: Floats) -> float:
    """The gap recovered, averaged over every share of large calls. NaN where the large model is not better."""
    return float(curve(score, small, large).recovered.mean())


def cpt(score: Floats, small: Floats, large: Floats, recovered: float) -> float:
    """The smallest share of large calls that recovers so much of the gap; 1 where none does before the end."""
    along = curve(score, small, large)
    if np.isnan(along.recovered[0]):
        return float("nan")
    return float(along.share[_first(along.recovered >= recovered - 1e-9)])


def cpt50(score: Floats, small: Floats, large: Floats) -> float:
    return cpt(score, small, large, 0.5)


def cpt80(score: Floats, small: Floats, large: Floats) -> float:
    return cpt(score, small, large, 0.8)


def cost_at(  # noqa: PLR0913, PLR0917  # columns and a level
    score: Floats,
    small: Floats,
    large: Floats,
    level: float,
    small_cost: Floats | None = None,
    large_cost: Floats | None = None,
) -> float:
    """The smallest cost that keeps so much of the large model's quality (0.95 of it, say).

    It is read off the curve of these very prompts: what was possible, not what a threshold that was chosen before would
    have reached.
    """
    along = curve(score, small, large, small_cost, large_cost)
    enough = along.quality >= level * along.quality[-1] - 1e-9
    return float(along.cost[enough].min())


def large_share(score: Floats, threshold: float) -> float:
    """The tier mix: how many of the prompts go to the large model."""
    return float((score >= threshold).mean())


def quality_at(score: Floats, small: Floats, large: Floats, threshold: float) -> float:
    """What the answers are worth at a threshold, relative to always-large: 1 is as good. NaN where that is worth 0."""
    full = float(large.mean())
    return float(np.where(score >= threshold, large, small).mean() / full) if full > 0 else float("nan")


def lift_at(  # noqa: PLR0913, PLR0917  # columns and a threshold
    score: Floats,
    small: Floats,
    large: Floats,
    threshold: float,
    small_cost: Floats | None = None,
    large_cost: Floats | None = None,
) -> float:
    """What looking at the prompts is worth: the quality at a threshold, less that of a shuffled score at the same cost.

    The control is exact: the mean over all shuffles is a mix of always-small and always-large, here the one that costs
    as much. 0 is a router that knows nothing.
    """
    cheap, dear = _costs(small, small_cost, large_cost)
    sent = score >= threshold
    span = float((dear - cheap).sum())
    spent = float((dear - cheap)[sent].sum())
    share = spent / span if span else float(sent.mean())
    return float(np.where(sent, large, small).mean() - (small + share * (large - small)).mean())


def lift(
    score: Floats, small: Floats, large: Floats, small_cost: Floats | None = None, large_cost: Floats | None = None
) -> float:
    """The same averaged over every operating point, so that it hangs on no threshold. 0 is a router that knows nothing.

    Unlike the APGR, which is this in parts of the gap, it is sound where the gap is small.
    """
    along = curve(score, small, large, small_cost, large_cost)
    span = float(along.cost[-1] - along.cost[0])
    spent = (along.cost - along.cost[0]) / span if span else along.share
    mix = along.quality[0] + spent * (along.quality[-1] - along.quality[0])
    return float((along.quality - mix).mean())


def bootstrap(
    measure: Measure, *columns: Floats, groups: NDArray[np.int64] | None = None, rounds: int = ROUNDS, seed: int = 0
) -> Interval:
    """A measure of some columns with its interval; the prompts of a group are drawn together."""
    return bootstrap_all({"": measure}, *columns, groups=groups, rounds=rounds, seed=seed)[""]


def bootstrap_all(
    measures: Mapping[str, Measure],
    *columns: Floats,
    groups: NDArray[np.int64] | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> dict[str, Interval]:
    """The same for several measures, all of them on the same draws."""
    draw = _Draw(len(columns[0]), groups, seed)
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        drawn = draw()
        some = [column[drawn] for column in columns]
        for name, measure in measures.items():
            found[name].append(measure(*some))
    return {name: _interval(measure(*columns), found[name]) for name, measure in measures.items()}


def group_ids(names: Sequence[str]) -> NDArray[np.int64]:
    """Names of groups as the numbers that a bootstrap wants."""
    ids: NDArray[np.int64] = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)[1]
    return ids.astype(np.int64)


class _Draw:
    """Draws groups with replacement, and gives the places of their rows."""

    def __init__(self, rows: int, groups: NDArray[np.int64] | None, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        ids = np.arange(rows) if groups is None else groups
        self._order = np.argsort(ids, kind="stable")
        self._sizes = np.unique(ids, return_counts=True)[1]
        self._starts = np.cumsum(self._sizes) - self._sizes

    def __call__(self) -> NDArray[np.int64]:
        drawn = self._rng.integers(0, len(self._sizes), len(self._sizes))
        sizes = self._sizes[drawn]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        places: NDArray[np.int64] = self._order[np.repeat(self._starts[drawn], sizes) + within]
        return places


def _interval(value: float, found: list[float]) -> Interval:
    known = np.asarray(found)[~np.isnan(found)]
    if not len(known):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _costs(small: Floats, small_cost: Floats | None, large_cost: Floats | None) -> tuple[Floats, Floats]:
    cheap = np.zeros(len(small)) if small_cost is None else small_cost
    dear = np.ones(len(small)) if large_cost is None else large_cost
    return cheap, dear


def _first(where: NDArray[np.bool_]) -> int:
    return int(np.argmax(where)) if where.any() else len(where) - 1
