"""State within one process: for a single gateway, and nothing to install."""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import PrivateAttr

from weighbridge.state.base import NOTE_BYTES, Claim, Forgotten, Held, State

_SWEEP = 1024  # so many new counters between two looks for those that no longer count


@dataclass(slots=True)
class _Counter:
    level: int
    ends_s: float  # monotonic


@dataclass(slots=True)
class _Note:
    text: str
    ends_s: float  # monotonic

    @property
    def size(self) -> int:
        return len(self.text) + NOTE_BYTES


class Memory(State):
    """Counters and notes in dicts. The event loop makes them atomic: nothing here waits.

    Places are never forgotten: whoever holds one is in this process.
    """

    _counters: dict[str, _Counter] = PrivateAttr(default_factory=dict)
    _places: dict[str, dict[str, float]] = PrivateAttr(default_factory=dict)  # counter -> holder -> until when
    _is_built: bool = PrivateAttr(default=False)
    _new: int = PrivateAttr(default=0)
    _notes: OrderedDict[str, _Note] = PrivateAttr(default_factory=OrderedDict)  # the one written last is last
    _size: int = PrivateAttr(default=0)  # of all notes

    async def take(self, claims: Sequence[Claim]) -> str | None:
        if not self._is_built:
            raise Forgotten
        now = time.monotonic()
        for claim in claims:
            level = len(self._held(claim.key, now)) if claim.holder else self._level(claim.key, now)
            if level + claim.amount > claim.cap:
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

    async def leave(self, places: Mapping[str, str]) -> None:
        for key, holder in places.items():
            self._places.get(key, {}).pop(holder, None)

    async def levels(self, keys: Sequence[str]) -> list[int]:
        now = time.monotonic()
        return [self._level(key, now) for key in keys]

    async def rebuild(self, levels: Mapping[str, tuple[int, float]], places: Mapping[str, Held] | None = None) -> bool:
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

    async def swap(self, name: str, was: str | None, becomes: str | None, ttl_s: float) -> str | None:
        now = time.monotonic()
        note = self._notes.get(name)
        there = note.text if note is not None and note.ends_s > now else None
        if there == was:
            self._drop(name)
            if becomes is not None:
                self._notes[name] = new = _Note(becomes, now + ttl_s)
                self._size += new.size
            self._make_room(now)
        return there

    def _make_room(self, now: float) -> None:
        """The oldest notes go where all of them take too much, and where their time is over."""
        while self._notes:
            name, oldest = next(iter(self._notes.items()))
            if oldest.ends_s > now and self._size <= self.most_of_notes:
                return
            self._drop(name)

    def _drop(self, name: str) -> None:
        note = self._notes.pop(name, None)
        if note:
            self._size -= note.size

    def _level(self, key: str, now: float) -> int:
        counter = self._counters.get(key)
        return counter.level if counter is not None and counter.ends_s > now else 0

    def _held(self, key: str, now: float) -> dict[str, float]:
        self._places[key] = held = {h: ends_s for h, ends_s in self._places.get(key, {}).items() if ends_s > now}
        return held

    def _add(self, claim: Claim, now: float) -> None:
        if claim.holder:
            self._places[claim.key][claim.holder] = now + claim.ttl_s
            return
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
        self._places = {key: held for key, held in self._places.items() if held}
