"""What shared state is: counters that many callers, and several gateways, may change at once."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict


class Claim(NamedTuple):
    """A share of one counter. amount: added where that keeps it at or below cap; ttl_s: how long the counter counts."""

    key: str
    amount: int
    cap: int
    ttl_s: float


class Unreachable(Exception):
    """The store does not answer; whoever asked decides what that means."""


class Forgotten(Exception):
    """The store came back empty: its counters have to be rebuilt before anything may be taken."""


class State(BaseModel, ABC):
    """Counters by name, from 0. The constructor's arguments are the keys of `[state]`.

    fail: what happens to requests while the store does not answer: "open" lets them pass uncounted (the ledger counts
        them, and the counters are put right from it), "closed" answers 503.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_shared: ClassVar[bool] = False  # several processes count together
    lag_s: ClassVar[float] = 0.0  # after how long what other gateways claimed is in the ledger too

    fail: Literal["open", "closed"] = "open"

    async def aopen(self) -> None:
        """Connect. Called once, on the event loop that will use it; a store that is away is no reason to fail."""

    async def aclose(self) -> None:
        """Let go."""

    @abstractmethod
    async def take(self, claims: Sequence[Claim]) -> str | None:
        """Add every claim, or none: then the key of the first that does not fit. Atomic.

        Raises Unreachable, or Forgotten before the first `rebuild`.
        """

    @abstractmethod
    async def give(self, amounts: Mapping[str, int]) -> None:
        """Add to counters that exist, down to 0; amounts are mostly negative. Raises Unreachable."""

    @abstractmethod
    async def levels(self, keys: Sequence[str]) -> list[int]:
        """Where the counters stand; 0 for one that does not exist. Raises Unreachable."""

    @abstractmethod
    async def rebuild(self, levels: Mapping[str, tuple[int, float]]) -> bool:
        """Set counters (level, ttl_s) in a store that holds none yet. False where somebody was faster. Atomic.

        Raises Unreachable.
        """

    @abstractmethod
    async def forget(self) -> None:
        """Make every counter forgotten, as if the store came back empty. Raises Unreachable."""
