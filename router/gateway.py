"""The story of one request: plan, attempt, account. No HTTP server, no SDK, no store; those come in as parts."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import orjson

from weighbridge import drafting, interpreting, sessions
from weighbridge.assisting import Assisting
from weighbridge.attempts import Attempts, Failure
from weighbridge.cache import Cache, Kept
from weighbridge.errors import BadRequest, Unavailable, UpstreamError, WeighbridgeError
from weighbridge.ledger.base import Closing, EndReason, Ledger
from weighbridge.metering import Meter
from weighbridge.planning import Planner, explained
from weighbridge.preprocess.tables import Preprocess
from weighbridge.repeating import Repeating
from weighbridge.reusing import Reusing, again
from weighbridge.sampling import Sampling
from weighbridge.schemas import Request
from weighbridge.shadowing import Shadowing
from weighbridge.signals import Signals
from weighbridge.streaming import Bytes, Relay
from weighbridge.telemetry import Metrics
from weighbridge.trip import Prices, Trip
from weighbridge.units import Usage
from weighbridge.unserved import turned_away
from weighbridge.upstreams.base import Completion, Forward, Stream, Upstream


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, accounted for: it is in the ledger."""

    trip: Trip
    body: bytes
    headers: Mapping[str, str]
    closing: Closing


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream whose first chunk is here. `parts` must be run to its end or closed: it does the accounting."""

    trip: Trip
    headers: Mapping[str, str]
    content_type: str
    parts: AsyncIterator[bytes]


class Gateway:
    """Answers requests of every dialect."""

    def __init__(  # noqa: PLR0913, PLR0917  # the parts of the story, each of them once
        self,
        planner: Planner,
        ledger: Ledger,
        prices: Prices,
        metrics: Metrics,
        attempts: Attempts,
        cache: Cache | None = None,
        meter: Meter | None = None,
        shadowing: Shadowing | None = None,
        signals: Signals | None = None,
        preprocess: Preprocess | None = None,
        repeating: Repeating | None = None,
    ) -> None:
        self._planner = planner
        self._ledger = ledger
        self._prices = prices
        self._metrics = metrics
        self._attempts = attempts
        self._reusing = Reusing(cache, metrics)
        self._meter = meter
        self._shadowing = shadowing
        self._signals = signals
        self._sampling = Sampling(attempts)
        self.repeating = repeating
        self._assisting = Assisting(preprocess or Preprocess(), attempts, metrics)

    async def explain(self, request: Request) -> dict[str, object]:
        """The decision alone, as `/v1/route` shows it. Raises WeighbridgeError."""
        return explained(await self._planner.plan(request), request)

    async def complete(self, request: Request) -> Answer:
        """A whole answer. Raises Failure; every way out of here is in the ledger."""
        trip = await self._begin(request)
        if kept := self._reusing.look(trip):
            return Answer(trip, b"".join(kept.parts), {}, await self._given_again(trip, kept))
        await self._assisting.help(trip)
        completion = await self._attempts.make(trip, self._asking(trip))
        trip.answered()
        kept_id = request.dialect.kept_id(orjson.loads(completion.body)) if request.dialect.keeps_answers else None
        self._remember(trip, kept_id)
        closing = await self._attempts.close(trip, trip.succeeded(interpreting.took(completion, request)), 200)
        self._reusing.keep(trip, [completion.body])
        if self.repeating and request.key:
            await self.repeating.keep(trip, Kept(trip.upstream, (completion.body,), None))
        if self._shadowing is not None:
            self._shadowing.answered(trip, completion.body)
        return Answer(trip, completion.body, completion.headers, closing)

    async def stream(self, request: Request) -> Opened:
        """An answer in parts. Raises Failure before the first part; afterwards the parts themselves tell."""
        trip = await self._begin(request)
        if kept := self._reusing.look(trip):
            await self._given_again(trip, kept)
            return Opened(trip, {}, Stream.content_type, again(kept))
        await self._assisting.help(trip)
        stream, relay, first = await self._attempts.make(trip, self._asking_to_stream(trip))
        trip.answered()
        parts = self._reusing.keeping(trip, self._parts(trip, stream, relay, first))
        if self.repeating and request.key:
            parts = self.repeating.keeping(trip, parts, stream.content_type)
        if self._shadowing is not None:
            parts = self._shadowing.watching(trip, parts)
        return Opened(trip, stream.headers, stream.content_type, parts)

    async def forward(self, request: Request, sending: Forward) -> Opened:
        """An answer of which nothing but its bytes is known. Raises Failure before the first of them."""
        trip = await self._begin(request, sending)
        if kept := trip.kept:
            await self._given_again(trip, kept)
            return Opened(trip, {}, kept.content_type or "", again(kept))
        stream = await self._attempts.make(trip, lambda upstream: upstream.forward(sending))
        trip.answered()
        parts = self._parts(trip, stream, Bytes(), b"")
        if self.repeating and request.key:
            parts = self.repeating.keeping(trip, parts, stream.content_type)
        return Opened(trip, stream.headers, stream.content_type, parts)

    async def _begin(self, request: Request, sending: Forward | None = None) -> Trip:
        try:
            plan = await self._planner.plan(request)
        except WeighbridgeError as error:
            self._metrics.turned_away(error.code)
            if not isinstance(error, BadRequest):  # a request that made sense, and has its row
                await self._ledger.turned_away(*turned_away(request, error))
            raise Failure(error, None) from error
        trip = Trip(request, plan, self._prices, time.monotonic, self._meter)
        if self.repeating and request.key:
            await self._claim(self.repeating, trip, sending)
        return trip

    async def _claim(self, repeating: Repeating, trip: Trip, sending: Forward | None) -> None:
        """Its key: claimed, or with the answer that there is already."""
        try:
            await repeating.claim(trip, sending)
        except WeighbridgeError as error:
            self._metrics.turned_away(error.code)
            if not isinstance(error, BadRequest):
                opening = trip.opening(store_prompt=self._ledger.store_prompts)
                await self._ledger.turned_away(opening, trip.unanswered(error))
            raise Failure(error, None) from error

    def _asking(self, trip: Trip) -> Callable[[Upstream], Awaitable[Completion]]:
        """How each upstream is asked."""
        request, prepared = trip.request, trip.plan.prepared
        if trip.plan.decision.verify is None:
            return lambda upstream: interpreting.complete(upstream, request, prepared)
        return lambda upstream: drafting.complete(upstream, trip, self._metrics.judged, self._sampling)

    def _asking_to_stream(self, trip: Trip) -> Callable[[Upstream], Awaitable[tuple[Stream, Relay, bytes]]]:
        request, prepared, is_buffered = trip.request, trip.plan.prepared, trip.plan.is_buffered
        if trip.plan.decision.verify is None:
            return lambda upstream: interpreting.stream(upstream, request, prepared, is_buffered=is_buffered)
        judged, sample = self._metrics.judged, self._sampling
        return lambda upstream: drafting.stream(upstream, trip, judged, sample, is_buffered=is_buffered)

    async def _given_again(self, trip: Trip, kept: Kept) -> Closing:
        """Account for an answer that cost nothing: a row of its own, without an attempt."""
        closing = trip.given_again(kept)
        if trip.is_repeat:  # what the answer saved, and what it is a sign of, is counted with the first
            closing = closing._replace(baseline_cost_nano_usd=0)
        else:
            self._remember(trip, None)
        opening = trip.opening(store_prompt=self._ledger.store_prompts)._replace(reason_detail=trip.why)
        try:
            await self._ledger.turned_away(opening, closing)
        except Unavailable as error:
            raise Failure(error, None) from error
        self._metrics.request_ended(trip.plan, closing)
        if self.repeating and trip.request.key:
            await self.repeating.keep(trip, kept)
        return closing

    async def _parts(self, trip: Trip, stream: Stream, relay: Relay, first: bytes) -> AsyncGenerator[bytes, None]:
        """Pass the chunks on, and account for them before the last bytes leave: a proper end acknowledges the row."""
        part = first
        try:
            while True:
                if part:
                    yield part
                if relay.is_done:
                    break
                events = await stream.read()
                if not events:
                    break
                part = relay.take(events)
            end = relay.end()
        except UpstreamError as error:
            self._attempts.broke(trip)
            await self._attempts.close(trip, trip.broken(_end_reason(error), error.code, relay.chunks), 200)
            raise Failure(error, trip) from error
        except (asyncio.CancelledError, GeneratorExit) as stopped:
            self._attempts.abandon(trip, trip.stopped(stopped, relay.chunks))
            # Whatever else happens to us now, the upstream must be stopped.
            await asyncio.shield(stream.aclose())
            raise
        else:
            usage = relay.usage
            if usage is None and relay.is_metered:
                usage = Usage(trip.request.estimated_input_tokens, relay.chunks, source="estimated")
            self._remember(trip, relay.kept_id)
            await self._attempts.close(trip, trip.succeeded(usage), 200)
            if end:
                yield end
        finally:
            await stream.aclose()

    def _remember(self, trip: Trip, kept_id: str | None) -> None:
        """Where the next turn of this session has to go; committed with what follows."""
        if self._signals is not None:
            self._signals.saw(trip)
        plan = trip.plan
        is_new = plan.target.pin is None and trip.reason != "session"
        if keys := sessions.keys(trip.request, plan.target.route, kept_id, is_new=is_new):
            self._ledger.remember(keys, trip.upstream)


def _end_reason(error: UpstreamError) -> EndReason:
    if error.end_reason == "timeout":
        return "timeout"
    return "upstream_cut" if error.code == "upstream_cut" else "error"
