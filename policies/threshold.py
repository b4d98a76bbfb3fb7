"""Threshold: send to the large model what scores at or above a threshold."""

from typing import Literal

from pydantic import Field

from weighbridge.policies.base import Decision, Policy, Reason, Situation


class Threshold(Policy):
    """threshold: None means the classifier's recommended one. when_unsure: where to go without a score."""

    threshold: float | None = Field(default=None, ge=0, le=1)
    when_unsure: Literal["small", "large"] = "large"

    def decide(self, situation: Situation) -> Decision:
        found = situation.assessment
        if found is None:
            return self._unsure(situation, "classifier_unavailable", "no score")
        if found.abstained:
            return self._unsure(situation, "abstain", "unlike what the classifier knows")
        usual, threshold = situation.threshold_over(self.threshold)
        if found.score >= threshold:
            detail = f"score {found.score:.2f} >= {threshold:.2f}"
            return Decision(situation.large, (situation.small,), "at_or_above_threshold", detail, threshold)
        detail = f"score {found.score:.2f} < {threshold:.2f}"
        if found.score >= usual:
            why = f"{detail}, {usual:.2f} without pressure"
            return Decision(situation.small, (situation.large,), "budget", why, threshold)
        return Decision(situation.small, (situation.large,), "below_threshold", detail, threshold)

    def _unsure(self, situation: Situation, reason: Reason, why: str) -> Decision:
        small, large = situation.small, situation.large
        chosen, other = (small, large) if self.when_unsure == "small" else (large, small)
        return Decision(chosen, (other,), reason, f"{why}: {self.when_unsure}")
