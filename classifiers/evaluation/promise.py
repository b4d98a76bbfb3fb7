"""A threshold with a promise: so much of the large model's quality, with so much confidence, from so many labels.

Learn then test (Angelopoulos et al., arXiv 2110.01052) with fixed-sequence testing. The thresholds lie on a grid that
was fixed beforehand. From always-large on, which keeps every promise, each next threshold is tested against the claim
that it breaks the promise; the first that cannot be told apart from one ends the walk, and the one before it is taken.
As each test errs with a chance of at most 1 - confidence and the walk ends at the first failure, so does the result.
(Conformal risk control, arXiv 2208.02814, wants losses that only grow along the way. Here they also shrink, wherever
the small model beats the large one.)

What is tested is the mean of `quality - promise x large` over the labels, which is bounded: the ratio to always-large
needs no second bound. The test bets against the claim (Waudby-Smith and Ramdas, arXiv 2010.09686): it is exact for any
number of labels and any distribution, and adapts to their variance as Hoeffding's bound does not; Clopper and Pearson's
would not do, since an answer may also be better than promised.

That is the expected quality. What is then measured over some further requests has a noise of its own. A promise that is
to show there needs a margin of z x sqrt(1/labels + 1/requests) standard deviations; where that is wider than the test's
own, the test is made stricter. This second step rests on the normal approximation; benchmarks/promise.py counts how
often it fails.

All of it holds for traffic like the labels: drawn alike, and not used to fit the score. It says nothing about other
traffic.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from weighbridge.classifiers.evaluation.metrics import Floats

# Every threshold that may be chosen. Fixed: one that looked at the labels would void the tests.
GRID = np.linspace(0, 1, 401)
USEFUL = 0.05  # a promise that keeps fewer requests than this on the small model is hardly worth making
_BOLDEST = 0.75  # of the stake that one outcome could lose whole


@dataclass(frozen=True, slots=True)
class Promise:
    """What can be promised.

    threshold: 0 is always-large: these labels support no other that keeps the promise.
    kept: the share of the labels that stays on the small model there. quality: what was measured on them, relative to
        always-large. best: the highest promise that these labels support with a share of `USEFUL` kept, 0..1.
    """

    threshold: float
    quality_promised: float
    confidence: float
    labels: int
    kept: float
    quality: float
    best: float

    @property
    def is_kept(self) -> bool:
        """There is a threshold to be had that leaves the small model something to do."""
        return self.threshold > 0


def promise(  # noqa: PLR0913  # three columns, and what is wanted of them
    score: Floats, small: Floats, large: Floats, *, quality: float, confidence: float, over: int | None = None
) -> Promise:
    """The cheapest threshold that keeps the promise. The labels are read in an order of their own, always the same.

    score: of rows that it was not fitted on, one for each stem. quality, confidence: between 0 and 1.
    over: the number of further requests on which it is to show; None is as many as there are labels, 0 is the expected
        quality, which shows in the long run.
    """
    order = np.random.default_rng(0).permutation(len(score))
    score, small, large = score[order], small[order], large[order]
    capital = _capital(confidence, len(score), len(score) if over is None else over)
    threshold = _walk(score, small, large, quality, capital)
    sent = score >= threshold
    full = float(large.mean())
    return Promise(
        threshold=threshold,
        quality_promised=quality,
        confidence=confidence,
        labels=len(score),
        kept=float(1 - sent.mean()),
        quality=float(np.where(sent, large, small).mean() / full) if full > 0 else 1.0,
        best=_best(score, small, large, capital),
    )


def tuned(score: Floats, small: Floats, large: Floats, *, quality: float) -> float:
    """The cheapest threshold that reaches the quality on these rows: what one would take without a guarantee."""
    wanted = quality * large.mean() - 1e-12
    return float(max(t for t in GRID if t == 0 or np.where(score >= t, large, small).mean() >= wanted))


def _capital(confidence: float, labels: int, over: int) -> float:
    """The logarithm of the capital at which the claim is rejected. Its margin is sqrt(2 x capital / labels) spreads."""
    expected = math.log(1 / (1 - confidence))
    if not over:
        return expected
    return max(expected, NormalDist().inv_cdf(confidence) ** 2 * (1 + labels / over) / 2)


def _walk(score: Floats, small: Floats, large: Floats, quality: float, capital: float) -> float:
    reached, tested = 0.0, -1
    for threshold in GRID[1:]:
        below = int((score < threshold).sum())
        # Between two thresholds with no label in between nothing changes, the test neither.
        if below != tested and not _is_kept(_margins(score, small, large, threshold, quality), quality, capital):
            break
        reached, tested = float(threshold), below
    # Where no label stays small, none was tested there: that is always-large under another name.
    return reached if (score < reached).any() else 0.0


def _best(score: Floats, small: Floats, large: Floats, capital: float) -> float:
    """The highest quality that one threshold promises, to a thousandth; it is chosen by the scores alone."""
    useful = next((t for t in GRID[1:] if (score < t).mean() >= USEFUL), GRID[-1])
    low, high = 0, 1000
    while low < high:
        middle = (low + high + 1) // 2
        level = middle / 1000
        if _is_kept(_margins(score, small, large, useful, level), level, capital):
            low = middle
        else:
            high = middle - 1
    return low / 1000


def _margins(score: Floats, small: Floats, large: Floats, threshold: float, quality: float) -> Floats:
    """By how much each answer is above the promise. Their mean is 0 or more where the promise is kept."""
    margins: Floats = np.where(score >= threshold, large, small) - quality * large
    return margins


def _is_kept(margins: Floats, worst: float, capital: float) -> bool:
    """Whether the claim that their mean is below 0 can be rejected. worst: no margin is below -worst.

    The capital of a gambler who bets on each next margin, knowing those before it only, has no mean growth if the claim
    is true. So it ends c-fold with a chance of at most 1 / c (Markov's inequality).
    """
    count = np.arange(1, len(margins) + 1)
    mean = np.cumsum(margins) / (count + 1)
    spread = ((1 + worst) / 2) ** 2  # before anything was seen: the most that it can be
    variance = (spread + np.cumsum((margins - mean) ** 2)) / (count + 1)
    known = np.concatenate([[spread], variance[:-1]])
    stake = np.minimum(np.sqrt(2 * capital / (len(margins) * known)), _BOLDEST / worst)
    return bool(np.log1p(stake * margins).sum() >= capital)
