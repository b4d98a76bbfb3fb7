"""Cascade: the small model drafts, the draft is verified, and what is too weak the large model answers."""

from typing import ClassVar

from pydantic import Field

from weighbridge.policies.base import Decision, Policy, Reason, Situation, Verification
from weighbridge.policies.evidence import Weights


class Cascade(Policy):
    """threshold: at or above it the large model is asked at once; None means the classifier's recommended one.

    accept: the lowest P(accept) with which a draft becomes the answer. As a budget is used up it falls, to nothing.
    hold_tokens, hold_s: how much of a streamed draft is held back, and how long from its first token on.
    ask_logprobs: ask the small upstream for the probabilities of its tokens. samples: how many drafts it makes at most,
    where what they agree on can change the verdict. weights: of the evidence; None is a prior.
    """

    needs_score: ClassVar[bool] = True

    threshold: float | None = Field(default=None, ge=0, le=1)
    accept: float = Field(default=0.7, ge=0, le=1)
    hold_tokens: int = Field(default=48, ge=1)
    hold_s: float = Field(default=2.0, gt=0)
    ask_logprobs: bool = True
    samples: int = Field(default=1, ge=1, le=9)
    weights: Weights = Weights()

    def decide(self, situation: Situation) -> Decision:
        found = situation.assessment
        if found is None or found.abstained:
            return self._drafted(situation, "no score" if found is None else "abstained", None)
        usual, threshold = situation.threshold_over(self.threshold)
        if found.score >= threshold:
            detail = f"score {found.score:.2f} >= {threshold:.2f}"
            return Decision(situation.large, (situation.small,), "at_or_above_threshold", detail, threshold)
        detail = f"score {found.score:.2f} < {threshold:.2f}"
        if found.score >= usual:
            detail += f", {usual:.2f} without pressure"
        return self._drafted(situation, detail, threshold)

    def _drafted(self, situation: Situation, detail: str, threshold: float | None) -> Decision:
        small, others = situation.small, (situation.large,)
        accept = self.accept * (1 - situation.pressure)
        if accept <= 0:
            reason: Reason = "budget" if situation.pressure else "below_threshold"
            return Decision(small, others, reason, f"{detail}, not verified", threshold)
        verify = Verification(accept, self.hold_tokens, self.hold_s, self.ask_logprobs, self.weights, self.samples)
        return Decision(small, others, "cascade_accepted", f"{detail}, drafted", threshold, verify)
