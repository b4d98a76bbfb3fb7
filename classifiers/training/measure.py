"""How good a score is: ranking (AUROC, APGR), honesty (ECE), and how sure we are of it (bootstrap)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the 95 % interval of its bootstrap over questions."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


def auroc(score: Floats, event: Floats) -> float:
    """The chance that a question with the event scores above one without; ties count half. NaN where all are alike."""
    _, inverse, sizes = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[inverse]
    positive = event > 0.5
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def apgr(score: Floats, small: Floats, large: Floats) -> float:
    """The share of the gap between the models that is recovered, averaged over every share of large calls.

    Random is 0.5. Tied scores are sent to the large model together, in equal parts.
    """
    gap = large - small
    if gap.sum() <= 0:
        return float("nan")
    _, inverse, sizes = np.unique(-score, return_inverse=True, return_counts=True)
    # Within a tie every question brings the tie's mean gap: the expectation over random orders.
    even = (np.bincount(inverse, gap) / sizes)[inverse][np.argsort(-score, kind="stable")]
    return float(np.concatenate([[0.0], np.cumsum(even)]).mean() / gap.sum())


def ece(score: Floats, event: Floats, bins: int = 10) -> float:
    """How far the score is from the frequency of the event, averaged over bins of the score."""
    which = np.minimum((score * bins).astype(int), bins - 1)
    sums = [np.bincount(which, values, minlength=bins) for values in (score, event)]
    return float(np.abs(sums[0] - sums[1]).sum() / len(score))


def bootstrap(measure: Callable[..., float], *columns: Floats, rounds: int = 300, seed: int = 0) -> Interval:
    """A measure of some columns with its interval; rows are drawn together."""
    rng = np.random.default_rng(seed)
    rows = len(columns[0])
    found = np.empty(rounds)
    for i in range(rounds):
        drawn = rng.integers(0, rows, rows)
        found[i] = measure(*(column[drawn] for column in columns))
    if np.isnan(found).all():
        return Interval(measure(*columns), float("nan"), float("nan"))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return Interval(measure(*columns), float(low), float(high))


def spearman(a: Floats, b: Floats) -> float:
    """Do two scores rank alike? 1 is the same order."""
    ranks = [np.argsort(np.argsort(x)).astype(float) for x in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
