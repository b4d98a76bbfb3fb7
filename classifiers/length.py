"""Length: the baseline. The bar that any learned classifier must clear."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from weighbridge.classifiers.base import Assessment, Classifier

# A logistic regression on log(1 + characters), fitted by `python -m weighbridge.classifiers.training` on the training
# part of the shipped classifier's data; the manifest of the artefact records it under `length_baseline`.
SLOPE = 0.2938
INTERCEPT = -2.3777


class Length(Classifier):
    """Longer is harder. Knows nothing else."""

    def assess(self, texts: Sequence[str]) -> list[Assessment]:
        return [Assessment(score_of(len(text))) for text in texts]

    # About 400, 180 and 80 characters. Nobody chose them for a quality.
    @property
    def thresholds(self) -> Mapping[str, float]:
        return MappingProxyType({"cost": 0.35, "balanced": 0.3, "quality": 0.25})


def score_of(characters: int, slope: float = SLOPE, intercept: float = INTERCEPT) -> float:
    return 1 / (1 + math.exp(-(intercept + slope * math.log1p(characters))))
