"""The tables of config.toml that no shelf has: routes, and what of a classifier's table is the gateway's."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from weighbridge.policies.base import Policy
from weighbridge.units import nano_usd


class Table(BaseModel):
    """Frozen, and without room for keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Spec(Table):
    """What to build later: a name on a shelf, and the options for its constructor."""

    use: str
    options: dict[str, Any]


class Shadow(Table):
    """A route's `shadow`: which share of its answers is compared with what the other side says to the same request.

    usd_per_day: a budget of its own, for the other side's answers and the judge's together.
    judge: the upstream that compares them; without one only equal answers and JSON schemas are judged.
    """

    share: float = Field(gt=0, le=1)
    usd_per_day: str
    judge: str | None = None
    at_once: int = Field(default=1, ge=1, le=64)
    busy_above: int = Field(default=8, ge=1)
    keep_texts: bool = False

    @field_validator("usd_per_day")
    @classmethod
    def _is_an_amount(cls, text: str) -> str:
        nano_usd(text)
        return text


class Signalling(Table):
    """`[signals]`: what a client does right after an answer is recorded as a sign of what the answer was worth."""

    within_s: float = Field(default=300, gt=0)


class Pair(Table):
    """A route's table but for its policy, which has a shelf of its own.

    small_by_task: small upstreams that go before `small` where the classifier is sure of the task.
    recovery: with "buffer" a stream is read whole before its first byte leaves, so that another upstream can take over.
    """

    small: str
    large: str
    small_by_task: dict[str, str] = Field(default_factory=dict)
    baseline: str
    recovery: Literal["none", "buffer"] = "none"
    shadow: Shadow | None = None


class Route(Pair):
    """`[routes.NAME]`: a model name that clients ask for, and the two upstreams behind it."""

    policy: Policy

    @property
    def smalls(self) -> tuple[str, ...]:
        """Every upstream that may be the small one, the usual one first."""
        return tuple(dict.fromkeys((self.small, *self.small_by_task.values())))

    def small_for(self, task: str | None) -> str:
        """The small upstream for a task; None is one that nobody could name."""
        return self.small_by_task.get(task, self.small) if task else self.small


class Assessing(Table):
    """Those keys of `[classifier]` that are the gateway's: they hold for every classifier."""

    time_limit_s: float = Field(default=0.5, gt=0)
    workers: int = Field(default=2, ge=1, le=64)
