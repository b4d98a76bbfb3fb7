"""Requests that come again under their Idempotency-Key: one answer, and one charge, whatever becomes of connections."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import suppress
from typing import NamedTuple

from weighbridge.cache import Kept
from weighbridge.errors import IdempotencyKeyReused, StillOpen, Unavailable
from weighbridge.idempotency import Note, digest_of, digest_of_bytes, name_of
from weighbridge.state.base import State, Unreachable
from weighbridge.telemetry import Metrics
from weighbridge.trip import Trip
from weighbridge.upstreams.base import Forward

LEASE_S = 15.0  # how long a key is held for a gateway that says no more
RENEW_S = 4.0
_LARGEST = 16  # one answer may take this part of what all notes may
_TRIES = 3  # a note may run out, or change, between two looks


class _Claim(NamedTuple):
    """A key that a request of ours holds, and the note that says so."""

    name: str
    note: Note


class Repeating:
    """Between the requests that have a key and the notes on them."""

    def __init__(self, state: State, metrics: Metrics) -> None:
        self._state = state
        self._metrics = metrics
        self._open: dict[str, _Claim] = {}  # by the request's id
        self._renewing: asyncio.Task[None] | None = None

    async def claim(self, trip: Trip, sending: Forward | None) -> None:
        """Claim the key for this request, or find the answer that there is.

        Raises StillOpen, IdempotencyKeyReused, or Unavailable.
        """
        request = trip.request
        digest = (
            digest_of_bytes(request.key, sending.body, sending.content_type)
            if sending
            else digest_of(request.key, request.body.fields)
        )
        if digest is None:
            return
        name = name_of(request.caller, request.dialect.path, trip.plan.fence, request.key)
        try:
            await self._look(trip, name, Note(digest, request.request_id))
        except Unreachable:
            if self._state.fail == "closed":
                message = "What has become of this Idempotency-Key cannot be looked up."
                raise Unavailable(message, code="state_unavailable", retry_after_s=5) from None
            self._metrics.repeated("unknown")

    async def _look(self, trip: Trip, name: str, ours: Note) -> None:
        was = None
        for _ in range(_TRIES):
            there = await self._state.swap(name, was, ours.text, LEASE_S)
            if there == was:
                self._metrics.repeated("first")
                self._hold(name, ours)
                return
            was = there
            note = Note.of(there) if there is not None else None
            if note is None:
                continue
            if note.digest != ours.digest:
                self._metrics.repeated("reused")
                raise IdempotencyKeyReused
            if note.kept is None:
                break
            if note.kept.upstream in trip.plan.reach:
                self._metrics.repeated("replayed")
                trip.kept, trip.is_repeat = note.kept, True
                return
            # Who gave that answer is not there any more, so it is asked for anew.
        self._metrics.repeated("open")
        raise StillOpen

    async def keep(self, trip: Trip, kept: Kept) -> None:
        """Note a whole answer, for whoever asks again."""
        claim = self._open.pop(trip.request.request_id, None)
        if claim:
            is_small = sum(map(len, kept.parts)) <= self._largest
            note = claim.note._replace(kept=kept).text if is_small else None
            await self._put(claim, note, self._state.answers_ttl_s)

    async def keeping(self, trip: Trip, parts: AsyncIterator[bytes], content_type: str) -> AsyncGenerator[bytes, None]:
        """The same parts, which are noted once they have come to a good end."""
        seen: list[bytes] = []
        size = 0
        try:
            async for part in parts:
                if size <= self._largest:  # beyond it none of them is noted
                    seen.append(part)
                    size += len(part)
                yield part
        finally:
            await parts.aclose()  # type: ignore[attr-defined]  # an async generator
        await self.keep(trip, Kept(trip.upstream, tuple(seen), None, content_type))

    async def firmly(self, request_id: str, answering: Awaitable[None]) -> None:
        """Answer a request that has a key. What does not come to a good end may be tried anew."""
        try:
            await answering
        finally:
            if claim := self._open.pop(request_id, None):
                await self._put(claim, None, LEASE_S)

    async def aclose(self) -> None:
        if self._renewing:
            self._renewing.cancel()

    @property
    def _largest(self) -> int:
        """How large one answer may be, in bytes."""
        return self._state.most_of_notes // _LARGEST

    def _hold(self, name: str, note: Note) -> None:
        self._open[note.request_id] = _Claim(name, note)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        """Say now and then that we are still at work: the keys of a gateway that died are soon free."""
        while self._open:
            await asyncio.sleep(RENEW_S)
            await asyncio.gather(*(self._put(claim, claim.note.text, LEASE_S) for claim in list(self._open.values())))

    async def _put(self, claim: _Claim, text: str | None, ttl_s: float) -> None:
        """Put this into the place of our claim, also where the store has lost that; not while it is away."""
        with suppress(Unreachable):
            if await self._state.swap(claim.name, claim.note.text, text, ttl_s) is None:
                await self._state.swap(claim.name, None, text, ttl_s)
