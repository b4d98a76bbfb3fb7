"""From a ranking to a probability, and from that to operating points. Both on rows that the fit has not seen."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from weighbridge.classifiers.artefacts import OperatingPoint
from weighbridge.classifiers.head import Head
from weighbridge.classifiers.training import fit
from weighbridge.classifiers.training.dataset import Rows
from weighbridge.classifiers.training.fit import Inputs
from weighbridge.classifiers.training.measure import Floats

# The folds that are left out in turn. More would cost minutes and move the curve by less than its own noise.
_LEFT_OUT = (1, 2)


@dataclass(frozen=True)
class Unseen:
    """Log-odds for rows that the head which gave them was not fitted on. which: their places among the rows."""

    evidence: Floats
    which: NDArray[np.int64]


def unseen(inputs: Inputs, rows: Rows) -> Unseen:
    found, places = [], []
    for fold in _LEFT_OUT:
        out = rows.fold == fold
        head = fit.fit(inputs[~out], rows[~out])
        found.append(fit.evidence(head, inputs[out]))
        places.append(np.flatnonzero(out))
    return Unseen(np.concatenate(found), np.concatenate(places))


def calibrated(head: Head, seen: Unseen, rows: Rows) -> Head:
    """The head with a logistic curve through the shortfall of rows that it was not fitted on (Platt)."""
    slope, intercept = logistic(seen.evidence, rows.shortfall[seen.which], rows.weight[seen.which])
    return replace(head, calibration=np.array([slope, intercept], dtype=np.float32))


def logistic(x: Floats, share: Floats, weight: Floats) -> tuple[float, float]:
    """The slope and intercept of a logistic curve; share: 0..1, how much of an event each row is."""
    twice = np.concatenate([x, x])[:, None]
    event = np.concatenate([np.ones(len(x)), np.zeros(len(x))])
    model = LogisticRegression(C=1e6, max_iter=1000)
    model.fit(twice, event, sample_weight=np.concatenate([weight * share, weight * (1 - share)]))
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def operating_points(head: Head, seen: Unseen, rows: Rows) -> Mapping[str, OperatingPoint]:
    """Recommended thresholds, from our own prompts that the fit has not seen: everyday asks against expert work."""
    slope, intercept = head.calibration
    score = 1 / (1 + np.exp(-(slope * seen.evidence + intercept)))
    level = rows.level[seen.which]
    easy, medium, hard = (np.sort(score[level == name]) for name in ("easy", "medium", "hard"))
    candidates = np.linspace(0.02, 0.98, 97)
    kept = np.searchsorted(easy, candidates) / max(1, len(easy))
    sent = 1 - np.searchsorted(hard, candidates) / max(1, len(hard))
    best = kept + sent
    # The middle of the best stretch, so that a small shift to either side costs nothing.
    balanced = float(np.mean(candidates[best >= best.max() - 1e-9]))
    cost = max(balanced, float(np.quantile(np.concatenate([easy, medium]), 0.99)))
    quality = min(balanced, float(np.quantile(hard, 0.01)), float(np.quantile(medium, 0.25)))
    return {
        "cost": _point(cost, "99 % of easy and medium everyday prompts stay on the small model"),
        "balanced": _point(balanced, "the most easy prompts stay small and the most expert ones go to the large model"),
        "quality": _point(quality, "99 % of expert prompts and 75 % of medium ones go to the large model"),
    }


def _point(threshold: float, chosen_for: str) -> OperatingPoint:
    where = "our own prompts that the fit had not seen"
    return OperatingPoint(threshold=round(threshold, 3), chosen_for=f"{chosen_for} ({where})")
