"""Constant: always the same score. For tests, and to switch the classifier off without changing a policy."""

from collections.abc import Sequence

from pydantic import Field

from weighbridge.classifiers.base import Assessment, Classifier


class Constant(Classifier):
    score: float = Field(default=0.5, ge=0, le=1)

    def assess(self, texts: Sequence[str]) -> list[Assessment]:
        return [Assessment(self.score)] * len(texts)

    @property
    def version(self) -> str:
        return f"constant-{self.score:g}"
