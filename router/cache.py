"""The exact response cache: the same answer to the very same request of the same caller. In this process's memory."""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from weighbridge.units import Usage

Verdict = Literal["hit", "miss", "bypass"]

_FORM = ("stream", "stream_options")  # how an answer is sent, not what it says
_LARGEST = 16  # one answer may take this part of the whole
_OVERHEAD = 500  # bytes that an entry takes besides its parts, about
_PART_OVERHEAD = 40


class Caching(BaseModel):
    """`[cache]`: there is one where the table is.

    ttl_s: how long an answer is good. max_mb: what all of them may take; the one not asked for longest makes room.
    when: "deterministic" keeps answers at temperature 0, and embeddings; "always" keeps every answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttl_s: float = Field(default=3600, gt=0)
    max_mb: float = Field(default=64, gt=0)
    when: Literal["deterministic", "always"] = "deterministic"


class Kept(NamedTuple):
    """An answer as its client got it. upstream: who gave it. usage: None where that is not known.

    content_type: of a stream, or of what passes as it is; None where its dialect says it.
    """

    upstream: str
    parts: tuple[bytes, ...]
    usage: Usage | None
    content_type: str | None = None


class Lookup(NamedTuple):
    """What was found. key: under which the answer may be kept, once it is whole; None for not at all."""

    verdict: Verdict
    key: str | None
    kept: Kept | None = None


@dataclass(slots=True)
class _Entry:
    kept: Kept
    size: int
    ends_s: float


class Cache:
    """Answers by what was asked, and by whom. Not for threads: it lives on the event loop."""

    def __init__(self, caching: Caching, now: Callable[[], float] = time.monotonic) -> None:
        self._caching = caching
        self._now = now
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the one asked for last is last
        self._most = int(caching.max_mb * (1 << 20))
        self._size = 0

    def look(self, asker: Sequence[str], fields: Mapping[str, Any], control: str, *, is_generated: bool) -> Lookup:
        """asker: the caller, and all that decides where its request may go. control: its `cache-control` header."""
        directives = {part.strip().lower() for part in control.split(",")}
        is_sampled = is_generated and fields.get("temperature") != 0
        if "no-store" in directives or (is_sampled and self._caching.when == "deterministic"):
            return Lookup("bypass", None)
        key = key_of(asker, fields)
        if key is None or "no-cache" in directives:
            return Lookup("bypass", key)
        kept = self._get(key)
        return Lookup("hit" if kept else "miss", key, kept)

    def keep(self, key: str, kept: Kept) -> None:
        """Only what is whole and good."""
        self._drop(key)
        size = size_of(kept.parts)
        if size > self.largest:
            return
        self._entries[key] = _Entry(kept, size, self._now() + self._caching.ttl_s)
        self._size += size
        while self._size > self._most:
            self._drop(next(iter(self._entries)))

    @property
    def largest(self) -> int:
        """How large one answer may be, in bytes."""
        return self._most // _LARGEST

    def _get(self, key: str) -> Kept | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.ends_s <= self._now():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.kept

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry:
            self._size -= entry.size


def size_of(parts: Sequence[bytes]) -> int:
    """About the bytes that an answer takes."""
    return _OVERHEAD + sum(len(part) + _PART_OVERHEAD for part in parts)


def key_of(asker: Sequence[str], fields: Mapping[str, Any]) -> str | None:
    """A digest of everything that can change the answer, and of who asks. None for a body too deep to be written."""
    said = {name: value for name, value in fields.items() if name not in _FORM}
    # The parts of a stream are kept as they were sent, so what was asked of the stream counts as well.
    form = [True, fields.get("stream_options")] if fields.get("stream") else [False, None]
    try:
        whole = json.dumps([list(asker), form, said], sort_keys=True, separators=(",", ":"))
    except RecursionError:
        return None
    return hashlib.sha256(whole.encode()).hexdigest()
