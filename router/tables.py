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

    recovery: with "buffer" a stream is read whole before its first byte leaves, so that another upstream can take over.
    """

    small: str
    large: str
    baseline: str
    recovery: Literal["none", "buffer"] = "none"


class Route(Pair):
    """`[routes.NAME]`: a model name that clients ask for, and the two upstreams behind it."""

    policy: Policy


class Assessing(Table):
    """Those keys of `[classifier]` that are the gateway's: they hold for every classifier."""

    time_limit_s: float = Field(default=0.5, gt=0)
    workers: int = Field(default=2, ge=1, le=64)
