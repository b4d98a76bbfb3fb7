"""A classifier that is down: for what becomes of requests without a score."""

from collections.abc import Sequence

from weighbridge.classifiers.base import Assessment, Classifier


class Down(Classifier):
    """Fails, whatever it is asked."""

    def assess(self, texts: Sequence[str]) -> list[Assessment]:
        raise RuntimeError("the classifier is down")
