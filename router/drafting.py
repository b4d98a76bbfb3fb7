"""A draft through an upstream: asked for as a chat, held back, judged, and passed on or given up.

Whatever dialect a client speaks, its draft is a chat answer, so what it shows of its worth is read in one place.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import orjson

from weighbridge import interpreting
from weighbridge.dialects.base import Translation
from weighbridge.dialects.chat import CHAT
from weighbridge.drafts import unasked
from weighbridge.drafts.again import is_one
from weighbridge.drafts.judging import is_settled, judged
from weighbridge.drafts.reading import Draft, Reading
from weighbridge.errors import Incapable, UpstreamError
from weighbridge.policies.base import Verification
from weighbridge.policies.evidence import Verdict
from weighbridge.preprocess.base import Prepared
from weighbridge.schemas import Request
from weighbridge.streaming import DONE, Relay
from weighbridge.trip import Trip
from weighbridge.units import Usage
from weighbridge.upstreams.base import Completion, Stream, Upstream
from weighbridge.wire import Body

Tell = Callable[[Verdict], None]


@dataclass(frozen=True, slots=True)
class Further:
    """Which further drafts are wanted, to be compared with the first.

    most: how many. pieces: how much of each; None is to its end. within_s: how long they may take. are_enough: whether
    those that are here decide, whatever so many others will say.
    """

    most: int
    pieces: int | None
    within_s: float
    are_enough: Callable[[Sequence[Draft], int], bool]


Sample = Callable[[Trip, Body, Further], Awaitable[Sequence[Draft]]]


class Discarded(Exception):
    """A draft that is not good enough. usage: what it took."""

    def __init__(self, verdict: Verdict, usage: Usage) -> None:
        super().__init__(verdict.words)
        self.verdict = verdict
        self.usage = usage


async def complete(upstream: Upstream, trip: Trip, tell: Tell, sample: Sample) -> Completion:
    """A whole answer; where it is to be verified, a draft that was good enough. Raises Discarded, UpstreamError."""
    request, prepared = trip.request, trip.plan.prepared
    asked = _asked(upstream, trip)
    if asked is None:
        return await interpreting.complete(upstream, request, prepared)
    completion = await upstream.complete(asked.body)
    answer = orjson.loads(completion.body)
    reading = Reading()
    reading.whole(answer)
    others = await _others(reading, asked, trip, sample, None)
    _judge(reading, asked, trip, tell, interpreting.took(completion, request), others)
    body = unasked.without(completion.body, answer) if asked.body.added else completion.body
    if asked.translation:
        shown = asked.translation.answer(orjson.loads(body))
        body = json.dumps(shown, ensure_ascii=False).encode()
    undo = asked.prepared.undo if asked.prepared else None
    return replace(completion, body=undo.whole(body) if undo else body)


async def stream(
    upstream: Upstream, trip: Trip, tell: Tell, sample: Sample, *, is_buffered: bool
) -> tuple[Stream, Relay, bytes]:
    """The same as a stream, with all that was held back as its first bytes."""
    asked = _asked(upstream, trip)
    if asked is None:
        prepared = trip.plan.prepared
        return await interpreting.stream(upstream, trip.request, prepared, is_buffered=is_buffered)
    watched = _Watched(await upstream.stream(asked.body), hides=bool(asked.body.added))
    opened: Stream = interpreting.Translated(watched, asked.translation) if asked.translation else watched
    if asked.prepared and asked.prepared.undo:
        opened = asked.prepared.undo.stream(opened)
    held = _Held(opened)
    relay = trip.request.dialect.relay(trip.request.body.fields)
    try:
        first, left_s = await _held_back(held, watched, relay, None if is_buffered else asked.verification)
        estimated = Usage(trip.request.estimated_input_tokens, relay.chunks, source="estimated")
        others = await _others(watched.reading, asked, trip, sample, left_s)
        _judge(watched.reading, asked, trip, tell, relay.usage or estimated, others)
    except BaseException:
        await held.aclose()
        raise
    watched.is_judged = True
    return held, relay, first


async def _held_back(
    held: "_Held", watched: "_Watched", relay: Relay, limits: Verification | None
) -> tuple[bytes, float | None]:
    """The beginning of a stream, until it is enough for a verdict, and how many seconds are left for that.

    All of it, and None, where there are no limits.
    """
    parts: list[bytes] = []
    loop = asyncio.get_running_loop()
    ends_s: float | None = None  # the clock begins with the first token: what comes before is the upstream's own time
    while not relay.is_done and not (limits and watched.reading.pieces >= limits.hold_tokens):
        events = await held.within(None if ends_s is None else ends_s - loop.time())
        if events is None:
            break
        if not events:
            relay.end()
            break
        parts.append(relay.take(events))
        if limits and ends_s is None and watched.reading.has_begun:
            ends_s = loop.time() + limits.hold_s
    if limits is None:
        return b"".join(parts), None
    return b"".join(parts), limits.hold_s if ends_s is None else max(0.0, ends_s - loop.time())


async def _others(
    reading: Reading, asked: "_Asked", trip: Trip, sample: Sample, within_s: float | None
) -> Sequence[Draft]:
    """Further drafts, where what they say can change the verdict. within_s: None is as long again for each of them."""
    verification = asked.verification
    most = verification.samples - 1

    def are_enough(others: Sequence[Draft], left: int) -> bool:
        return is_settled(reading, verification, asked.fields, trip.request.ask, trip.score, others, left)

    if not (most and reading.pieces and is_one(asked.plain)) or are_enough((), most):
        return ()
    took_s = trip.drafted() if reading.is_whole else 0.0
    if within_s is None:
        within_s = most * max(took_s, verification.hold_s)
    pieces = None if reading.is_whole else reading.pieces
    return await sample(trip, asked.plain, Further(most, pieces, within_s, are_enough))


class _Asked:
    """A draft as its upstream is asked for it. translation: None where the client speaks chat itself.

    plain: the chat without what the gateway itself wants to know.
    """

    def __init__(
        self, verification: Verification, body: Body, translation: Translation | None, prepared: Prepared | None
    ) -> None:
        self.verification = verification
        self.translation = translation
        self.prepared = prepared
        self.fields = body.fields
        self.plain = body
        self.body = unasked.asking(body) if verification.ask_logprobs else body


def _asked(upstream: Upstream, trip: Trip) -> _Asked | None:
    """None where this attempt's answer is not to be verified, or cannot be: it cannot be put as a chat."""
    verification = trip.verification
    request: Request = trip.request
    dialect = request.dialect
    if verification is None or (not dialect.is_chat and upstream.serves(dialect.path)):
        return None
    prepared = trip.plan.prepared if upstream.location == "remote" else None
    if prepared:
        request = replace(request, body=prepared.body)
    if dialect is CHAT:
        return _Asked(verification, request.body, None, prepared)
    try:
        translation, body = interpreting.translation_of(request)
    except Incapable:
        return None
    return _Asked(verification, body, translation, prepared)


def _judge(  # noqa: PLR0913, PLR0917  # a draft and all that bears on it
    reading: Reading, asked: _Asked, trip: Trip, tell: Tell, usage: Usage, others: Sequence[Draft]
) -> None:
    """Raises Discarded."""
    found = judged(reading, asked.verification, asked.fields, trip.request.ask, trip.score, others)
    trip.verdict = found
    tell(found)
    if not found.is_accepted:
        raise Discarded(found, usage)


class _Watched(Stream):
    """A stream of chat chunks from which evidence is read until it was judged. hides: without their logprobs."""

    def __init__(self, stream: Stream, *, hides: bool) -> None:
        self._stream = stream
        self._hides = hides
        self.headers = stream.headers
        self.reading = Reading()
        self.is_judged = False

    async def read(self) -> list[bytes]:
        return [self._seen(event) for event in await self._stream.read()]

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _seen(self, event: bytes) -> bytes:
        if event == DONE or (self.is_judged and (not self._hides or b'"logprobs"' not in event)):
            return event
        try:
            chunk = orjson.loads(event)
        except orjson.JSONDecodeError:
            return event  # the relay says what is wrong with it
        if not isinstance(chunk, dict):
            return event
        if not self.is_judged:
            self.reading.chunk(chunk)
        return unasked.without(event, chunk) if self._hides else event


class _Held(Stream):
    """A stream whose next events can be waited for only so long, without losing them."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._reading: asyncio.Task[list[bytes]] | None = None
        self.headers = stream.headers
        self.content_type = stream.content_type

    async def within(self, patience_s: float | None) -> list[bytes] | None:
        """The next events; None where they are not here in time, and come with the next reading."""
        if patience_s is None:
            return await self.read()
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._stream.read())
        await asyncio.wait({self._reading}, timeout=max(0.0, patience_s))
        return await self.read() if self._reading.done() else None

    async def read(self) -> list[bytes]:
        reading, self._reading = self._reading, None
        return await (reading if reading else self._stream.read())

    async def aclose(self) -> None:
        if self._reading:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, UpstreamError):
                await self._reading
        await self._stream.aclose()
