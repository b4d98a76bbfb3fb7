"""The story of one request: plan, attempt, account. No HTTP server, no SDK, no store; those come in as parts."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import orjson

from weighbridge import interpreting, sessions
from weighbridge.errors import BadRequest, Unavailable, UpstreamError, WeighbridgeError
from weighbridge.ledger.base import Closing, EndReason, Ledger, Settlement
from weighbridge.planning import Planner, explained
from weighbridge.schemas import Request
from weighbridge.streaming import Bytes, Relay
from weighbridge.telemetry import Metrics
from weighbridge.trip import Prices, Trip, turned_away
from weighbridge.units import Usage
from weighbridge.upstreams.base import Forward, Stream, Upstream
from weighbridge.wire import estimated_output_tokens

T = TypeVar("T")


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


class Failure(Exception):
    """A request that got no answer: the client's error, and how far the request came."""

    def __init__(self, error: WeighbridgeError, trip: Trip | None) -> None:
        super().__init__(error.code)
        self.error = error
        self.trip = trip


class Gateway:
    """Answers requests of every dialect."""

    def __init__(
        self,
        planner: Planner,
        ledger: Ledger,
        prices: Prices,
        metrics: Metrics,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._planner = planner
        self._ledger = ledger
        self._prices = prices
        self._metrics = metrics
        self._now = now
        self._leaving: set[asyncio.Future[None]] = set()

    async def explain(self, request: Request) -> dict[str, object]:
        """The decision alone, as `/v1/route` shows it. Raises WeighbridgeError."""
        return explained(await self._planner.plan(request), request)

    async def complete(self, request: Request) -> Answer:
        """A whole answer. Raises Failure; every way out of here is in the ledger."""
        trip = await self._begin(request)
        completion = await self._attempt(trip, lambda upstream: interpreting.complete(upstream, request))
        trip.answered()
        usage = completion.usage or Usage(
            request.estimated_input_tokens, estimated_output_tokens(completion.body), source="estimated"
        )
        kept_id = request.dialect.kept_id(orjson.loads(completion.body)) if request.dialect.keeps_answers else None
        self._remember(trip, kept_id)
        closing = await self._close(trip, trip.succeeded(usage), 200)
        return Answer(trip, completion.body, completion.headers, closing)

    async def stream(self, request: Request) -> Opened:
        """An answer in parts. Raises Failure before the first part; afterwards the parts themselves tell."""
        trip = await self._begin(request)
        stream, relay, first = await self._attempt(trip, lambda upstream: interpreting.stream(upstream, request))
        trip.answered()
        return Opened(trip, stream.headers, stream.content_type, self._parts(trip, stream, relay, first))

    async def forward(self, request: Request, sending: Forward) -> Opened:
        """An answer of which nothing but its bytes is known. Raises Failure before the first of them."""
        trip = await self._begin(request)
        stream = await self._attempt(trip, lambda upstream: upstream.forward(sending))
        trip.answered()
        return Opened(trip, stream.headers, stream.content_type, self._parts(trip, stream, Bytes(), b""))

    async def _begin(self, request: Request) -> Trip:
        try:
            plan = await self._planner.plan(request)
        except WeighbridgeError as error:
            self._metrics.turned_away(error.code)
            if not isinstance(error, BadRequest):  # a request that made sense, and has its row
                await self._ledger.turned_away(*turned_away(request, error))
            raise Failure(error, None) from error
        return Trip(request, plan, self._prices, self._now)

    async def _attempt(self, trip: Trip, act: Callable[[Upstream], Awaitable[T]]) -> T:
        """Try the plan's upstreams in order, once each, until one answers."""
        *others, last = trip.plan.chain
        for name in (*others, last):
            await self._reserve(trip, name)
            try:
                return await act(trip.plan.reach[name])
            except UpstreamError as error:
                settlement = trip.failed(error)
                self._metrics.attempt_failed(name, error.code)
                if name == last or not error.may_fall_back:
                    await self._close(trip, settlement, error.status)
                    raise Failure(_for_client(error, trip), trip) from error
                await self._record(settlement, None)
            except asyncio.CancelledError:
                self._abandon(trip, trip.broken("client_gone", None, 0))
                raise
        raise AssertionError("a plan has at least one upstream")

    async def _reserve(self, trip: Trip, name: str) -> None:
        """Commit the attempt before the wire is touched."""
        is_first = not trip.attempts
        reservation = trip.begin(name)
        opening = (
            trip.opening(classifier=self._planner.classifier_version, store_prompt=self._ledger.store_prompts)
            if is_first
            else None
        )
        try:
            await self._ledger.reserve(opening, reservation)
        except Unavailable as error:
            raise Failure(error, trip) from error
        except asyncio.CancelledError:
            self._abandon(trip, trip.never_sent("client_gone"))
            raise
        self._ledger.sent(reservation.request_id, reservation.attempt_no)

    async def _parts(self, trip: Trip, stream: Stream, relay: Relay, first: bytes) -> AsyncIterator[bytes]:
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
            await self._close(trip, trip.broken(_end_reason(error), error.code, relay.chunks), 200)
            raise Failure(error, trip) from error
        except (asyncio.CancelledError, GeneratorExit):
            self._abandon(trip, trip.broken("client_gone", None, relay.chunks))
            # Whatever else happens to us now, the upstream must be stopped.
            await asyncio.shield(stream.aclose())
            raise
        else:
            usage = relay.usage
            if usage is None and relay.is_metered:
                usage = Usage(trip.request.estimated_input_tokens, relay.chunks, source="estimated")
            self._remember(trip, relay.kept_id)
            await self._close(trip, trip.succeeded(usage), 200)
            if end:
                yield end
        finally:
            await stream.aclose()

    def _remember(self, trip: Trip, kept_id: str | None) -> None:
        """Where the next turn of this session has to go; committed with what follows."""
        plan = trip.plan
        is_new = plan.target.pin is None and trip.reason != "session"
        if keys := sessions.keys(trip.request, plan.target.route, kept_id, is_new=is_new):
            self._ledger.remember(keys, trip.attempt.upstream)

    async def _close(self, trip: Trip, settlement: Settlement, http_status: int) -> Closing:
        closing = trip.closing(http_status)
        self._metrics.request_ended(trip.plan, closing)
        await self._record(settlement, closing)
        return closing

    async def _record(self, settlement: Settlement, closing: Closing | None) -> None:
        try:
            await self._ledger.settle(settlement, closing)
        except Unavailable:
            # The reservation stands, so the ledger knows that something is owed; the client keeps its answer.
            self._metrics.ledger_failed()

    def _abandon(self, trip: Trip, settlement: Settlement) -> None:
        """The client has left: the row is on its way to the disk, and there is nobody to wait for it."""
        closing = trip.closing(499)
        self._metrics.request_ended(trip.plan, closing)
        row = asyncio.ensure_future(self._ledger.settle(settlement, closing))
        self._leaving.add(row)
        row.add_done_callback(self._left)

    def _left(self, row: "asyncio.Future[None]") -> None:
        self._leaving.discard(row)
        if row.exception():
            self._metrics.ledger_failed()


def _end_reason(error: UpstreamError) -> EndReason:
    if error.end_reason == "timeout":
        return "timeout"
    return "upstream_cut" if error.code == "upstream_cut" else "error"


def _for_client(error: UpstreamError, trip: Trip) -> WeighbridgeError:
    """What the client is told when nothing is left to try."""
    retry_after_s = error.retry_after_s or 5
    if trip.plan.fence and error.status in {502, 503, 504}:
        message = "The request must stay on a local upstream, and none answers."
        return Unavailable(message, code="local_unavailable", retry_after_s=retry_after_s)
    if error.status == 503:
        error.retry_after_s = retry_after_s
    return error
