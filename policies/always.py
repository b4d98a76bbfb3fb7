"""Always: one upstream, whatever is asked. The baseline, and the switch that turns routing off."""

from typing import ClassVar, Literal

from weighbridge.policies.base import Decision, Policy, Situation


class Always(Policy):
    needs_score: ClassVar[bool] = False

    upstream: Literal["small", "large"]

    def decide(self, situation: Situation) -> Decision:
        small, large = situation.small, situation.large
        chosen, other = (small, large) if self.upstream == "small" else (large, small)
        return Decision(chosen, (other,), "always", f"always {self.upstream}")
