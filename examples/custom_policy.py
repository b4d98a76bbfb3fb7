"""A policy of your own: a threshold for each kind of work. config.toml names it as `use = "custom_policy:ByTask"`."""

from pydantic import Field

from weighbridge.policies.base import Decision, Policy, Situation


class ByTask(Policy):
    """Like `threshold`, with another threshold where the classifier is sure what kind of work it is.

    thresholds: by the kind of work; sure_from: the least probability of the kind for that to count.
    """

    thresholds: dict[str, float] = Field(default_factory=dict)
    sure_from: float = Field(default=0.5, ge=0, le=1)

    def decide(self, situation: Situation) -> Decision:
        found = situation.assessment
        if found is None or found.abstained:
            reason = "classifier_unavailable" if found is None else "abstain"
            return Decision(situation.large, (situation.small,), reason, "no score to go by")
        is_sure = found.task is not None and found.task_probability >= self.sure_from
        threshold = self.thresholds.get(str(found.task), situation.threshold) if is_sure else situation.threshold
        detail = f"score {found.score:.2f}, {threshold:.2f} for {found.task if is_sure else 'any task'}"
        if found.score >= threshold:
            return Decision(situation.large, (situation.small,), "at_or_above_threshold", detail, threshold)
        return Decision(situation.small, (situation.large,), "below_threshold", detail, threshold)
