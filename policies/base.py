"""What a policy is: it sees a situation and returns a decision."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from weighbridge.classifiers.base import Assessment
from weighbridge.policies.evidence import Weights

# The reasons of a decision: one short ASCII token each, the same word in the header, the ledger and the report.
Reason = Literal[
    "below_threshold",
    "at_or_above_threshold",
    "rule",
    "fence",
    "pinned",
    "fallback",
    "budget",
    "classifier_unavailable",
    "context_window",
    "abstain",
    "session",
    "cascade_accepted",
    "cascade_escalated",
    "always",
    "shadow",
]


@dataclass(frozen=True, slots=True)
class Situation:
    """What a policy may look at.

    small, large: the names of the route's two upstreams.
    threshold: 0..1, what applies where the policy itself names none (the classifier's recommended operating point, or
        what the client asked for with `auto:cost` or `router-x-0.3`).
    forced: the client itself asked for that threshold, so it goes before the policy's own.
    pressure: 0..1, how nearly a budget is used up. Under it a policy leans towards the small model, wholly so at 1.
    assessment: None when the classifier did not answer in time, or was not asked.
    """

    small: str
    large: str
    threshold: float
    assessment: Assessment | None = None
    forced: bool = False
    pressure: float = 0.0

    def threshold_over(self, own: float | None) -> tuple[float, float]:
        """The threshold where a policy has its own, or none: without pressure, and under it."""
        # What the client asks for goes before the config, the config before the classifier's recommendation.
        usual = self.threshold if self.forced or own is None else own
        return usual, usual + (1 - usual) * self.pressure


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer of the chosen upstream is a draft: judged before the client sees it, and discarded if too weak.

    accept: the lowest P(accept) that is good enough. hold_tokens, hold_s: how much of a stream, and how long from its
        first token on, is held back for that. ask_logprobs: whether the upstream is asked for them. weights: what the
        evidence counts for. samples: how many drafts there are at most, of which the first is judged.
    """

    accept: float
    hold_tokens: int
    hold_s: float
    ask_logprobs: bool
    weights: Weights
    samples: int = 1


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request goes, where next if that fails before the first byte, and why.

    threshold: what the score was compared with; None where no score decided. verify: None where whatever the upstream
        answers is the answer.
    """

    upstream: str
    fallbacks: tuple[str, ...]
    reason: Reason
    detail: str = ""
    threshold: float | None = None
    verify: Verification | None = None


class Policy(BaseModel, ABC):
    """Chooses between a route's two upstreams. The constructor's arguments are the keys of `policy = { ... }`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs_score: ClassVar[bool] = True  # False: the classifier is not asked at all

    @abstractmethod
    def decide(self, situation: Situation) -> Decision:
        """Decide. Pure and synchronous."""
