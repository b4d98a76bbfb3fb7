"""The tables of config.toml that no shelf has: routes, and what of a classifier's table is the gateway's."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from weighbridge.policies.base import Policy


class Table(BaseModel):
    """Frozen, and without room for keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Spec(Table):
    """What to build later: a name on a shelf, and the options for its constructor."""

    use: str
    options: dict[str, Any]


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
