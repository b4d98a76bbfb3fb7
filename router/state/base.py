"""What shared state is: counters and notes that many callers, and several gateways, may change at once."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

NOTE_BYTES = 500  # that a note takes besides its text, about


class Claim(NamedTuple):
    """A share of one counter. amount: added where that keeps it at or below cap; ttl_s: how long the counter counts.

    holder: for a counter of places. It takes one for so long, and gives it back by its name: so twice is as once.
    """

    key: str
    amount: int
    cap: int
    ttl_s: float
    holder: str = ""


class Held(NamedTuple):
    """Who holds the places of a counter, and for how long at most."""

    holders: Sequence[str]
    ttl_s: float


_NO_PLACES: Mapping[str, Held] = {}


class Unreachable(Exception):
    """The store does not answer; whoever asked decides what that means."""


class Forgotten(Exception):
    """The store came back empty: its counters have to be rebuilt before anything may be taken."""


class State(BaseModel, ABC):
    """Counters by name, from 0, and notes by name. The constructor's arguments are the keys of `[state]`.

    fail: what happens to requests while the store does not answer: "open" lets them pass uncounted (the ledger counts
        them, and the counters are put right from it), "closed" answers 503.
    answers_ttl_s: how long an answer is noted under its Idempotency-Key; 0 heeds no such keys.
    answers_max_mb: what all notes may take; the one written longest ago makes room.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_shared: ClassVar[bool] = False  # several processes count together
    lag_s: ClassVar[float] = 0.0  # after how long what other gateways claimed is in the ledger too

    fail: Literal["open", "closed"] = "open"
    answers_ttl_s: float = Field(default=3600, ge=0)
    answers_max_mb: float = Field(default=64, gt=0)

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
    async def leave(self, places: Mapping[str, str]) -> None:
        """Give places back, as counter -> holder; also those that a rebuild is just counting. Raises Unreachable."""

    @abstractmethod
    async def levels(self, keys: Sequence[str]) -> list[int]:
        """Where counters stand that are not of places; 0 for one that does not exist. Raises Unreachable."""

    @abstractmethod
    async def rebuild(self, levels: Mapping[str, tuple[int, float]], places: Mapping[str, Held] = _NO_PLACES) -> bool:
        """Set counters (level, ttl_s) in a store that holds none yet. False where somebody was faster. Atomic.

        places: who holds those of each counter. Raises Unreachable.
        """

    @abstractmethod
    async def forget(self) -> None:
        """Make every counter forgotten, as if the store came back empty. Raises Unreachable."""

    @abstractmethod
    async def swap(self, name: str, was: str | None, becomes: str | None, ttl_s: float) -> str | None:
        """Change a note from what it was, None for none, to what it becomes; unless it is something else by now.

        Returns what was there. Atomic. Notes have no part in epochs: they outlive what the counters forget. ttl_s: how
        long it stays. Raises Unreachable.
        """

    @property
    def most_of_notes(self) -> int:
        """What all notes may take, in bytes."""
        return int(self.answers_max_mb * (1 << 20))
