"""From a ranking to a probability, and from that to operating points and an "I do not know". On rows not fitted on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from weighbridge.classifiers.artefacts import OperatingPoint
from weighbridge.classifiers.head import Head, Inputs, raw
from weighbridge.classifiers.training import models
from weighbridge.classifiers.training.dataset import CHANGED, Rows
from weighbridge.classifiers.training.ensemble import logistic, with_floors
from weighbridge.classifiers.training.fit import TRUST, fitting, length_prior
from weighbridge.classifiers.training.models import Floats, single

# The folds that are left out in turn. More would cost minutes and move the curve by less than its own noise.
_LEFT_OUT = (1, 2)
# Who has met a quarter of a text's words at most does not know it. Among our own prompts are greetings in languages
# that no other has, and numbers: one in a hundred of them must be refused, or gibberish would not be.
_LEAST_KNOWN = 0.28


@dataclass(frozen=True)
class Unseen:
    """What the three models and the length prior say, (N, 4), of rows that the models were not fitted on.

    which: their places among the rows. weights: how many times each of the three models counts.
    """

    said: Floats
    which: NDArray[np.int64]
    weights: Floats

    @property
    def total(self) -> Floats:
        found: Floats = self.said @ [*self.weights, 1.0]
        return found


def unseen(inputs: Inputs, rows: Rows) -> Unseen:
    said, places = [], []
    for fold in _LEFT_OUT:
        out = rows.fold == fold
        fitted = models.fit(fitting(inputs[~out], rows[~out]))
        length = fitted[0].lexical(inputs[out].counts) @ length_prior()
        said.append(np.stack([*(raw(model, inputs[out]) for model in fitted), length], axis=1))
        places.append(np.flatnonzero(out))
    found, which = np.concatenate(said), np.concatenate(places)
    return Unseen(found, which, TRUST / np.maximum(found[:, :3].std(0), 1e-9))


def calibrated(head: Head, inputs: Inputs, seen: Unseen, rows: Rows) -> Head:
    """The head with a logistic curve through the shortfall of rows that it was not fitted on (Platt), and its floor."""
    slope, intercept = logistic(seen.total, rows.shortfall[seen.which], rows.weight[seen.which])
    plain = rows.dataset != CHANGED
    head = with_floors(head, inputs[plain], rows.fold[plain], rows.own[plain], _LEAST_KNOWN)
    return replace(head, calibration=single([slope, intercept]))


def operating_points(head: Head, seen: Unseen, rows: Rows) -> Mapping[str, OperatingPoint]:
    """Recommended thresholds, from our own prompts that the fit has not seen: everyday asks against expert work."""
    slope, intercept = head.calibration.astype(float)
    score = 1 / (1 + np.exp(-(slope * seen.total + intercept)))
    level = np.where(rows.dataset == CHANGED, "", rows.level)[seen.which]
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
