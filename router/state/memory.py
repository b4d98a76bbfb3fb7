"""State within one process: for a single gateway, and nothing to install."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import PrivateAttr

from weighbridge.state.base import Claim, Forgotten, State

_SWEEP = 1024  # so many new counters between two looks for those that no longer count


@dataclass(slots=True)
class _Counter:
    level: int
    ends_s: float  # monotonic


class Memory(State):
    """Counters in a dict. The event loop makes them atomic: nothing here waits."""

    _counters: dict[str, _Counter] = PrivateAttr(default_factory=dict)
    _is_built: bool = PrivateAttr(default=False)
    _new: int = PrivateAttr(default=0)

    async def take(self, claims: Sequence[Claim]) -> str | None:
        if not self._is_built:
            raise Forgotten
        now = time.monotonic()
        for claim in claims:
            if self._level(claim.key, now) + claim.amount > claim.cap:
                return claim.key
        for claim in claims:
            self._add(claim, now)
        return None

    async def give(self, amounts: Mapping[str, int]) -> None:
        now = time.monotonic()
        for key, amount in amounts.items():
            counter = self._counters.get(key)
            if counter is not None and counter.ends_s > now:
                counter.level = max(0, counter.level + amount)

    async def levels(self, keys: Sequence[str]) -> list[int]:
        now = time.monotonic()
        return [self._level(key, now) for key in keys]

    async def rebuild(self, levels: Mapping[str, tuple[int, float]]) -> bool:
        if self._is_built:
            return False
        self._is_built = True
        now = time.monotonic()
        for key, (level, ttl_s) in levels.items():
            self._counters[key] = _Counter(level, now + ttl_s)
        return True

    async def forget(self) -> None:
        self._is_built = False
        self._counters = {}

    def _level(self, key: str, now: float) -> int:
        counter = self._counters.get(key)
        return counter.level if counter is not None and counter.ends_s > now else 0

    def _add(self, claim: Claim, now: float) -> None:
        counter = self._counters.get(claim.key)
        if counter is None or counter.ends_s <= now:
            self._counters[claim.key] = _Counter(claim.amount, now + claim.ttl_s)
            self._new += 1
            if self._new >= _SWEEP:
                self._sweep(now)
        else:
            counter.level += claim.amount

    def _sweep(self, now: float) -> None:
        self._new = 0
        self._counters = {key: counter for key, counter in self._counters.items() if counter.ends_s > now}
