"""The one engine that makes attempts: whom to try, how often, when to stop, and what of it the ledger learns.

No other layer retries. At most `MOST` attempts go out for a request, whatever fails. One that trips over a request is
tried once more; else, while another upstream is left, that is tried, and the last one again where nothing was received
and another try may help. Who asked for one upstream by name gets one attempt at it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from typing import TypeVar

from weighbridge.breaker import Breaker
from weighbridge.budgets import Budgets, Exhausted, Hold
from weighbridge.declining import for_client, nobody_answers, still_loading
from weighbridge.drafting import Discarded
from weighbridge.errors import (
    Busy,
    Limited,
    Loading,
    OverBudget,
    Refused,
    Unavailable,
    UpstreamError,
    WeighbridgeError,
)
from weighbridge.ledger.base import Closing, Ledger, Settlement
from weighbridge.pausing import MOST, pause
from weighbridge.queues import UNKNOWN_S, Average, Full, Line
from weighbridge.state.base import Unreachable
from weighbridge.telemetry import Metrics
from weighbridge.trip import BUSY, CIRCUIT_OPEN, LOADING, Trip
from weighbridge.units import Metered
from weighbridge.upstreams.base import Upstream

T = TypeVar("T")
Told = TypeVar("Told", bound=Metered)

_NOTHING = Hold()


class Failure(Exception):
    """A request that got no answer: the client's error, and how far the request came."""

    def __init__(self, error: WeighbridgeError, trip: Trip | None) -> None:
        super().__init__(error.code)
        self.error = error
        self.trip = trip


class Attempts:
    """Makes them, and keeps the books on each."""

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        budgets: Budgets,
        upstreams: Mapping[str, Upstream],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._budgets = budgets
        self.breakers = {name: Breaker(now) for name in upstreams}
        self.lines = {n: Line(u.max_concurrent, u.queue, now) for n, u in upstreams.items() if u.max_concurrent}
        self._takes = {name: Average() for name in upstreams}  # until an answer, or the first of it, is here
        self._now = now
        self._leaving: set[asyncio.Future[None]] = set()

    def beside(self, metrics: Metrics) -> "Attempts":
        """Another one over the same breakers, lines and budgets, whose requests are counted apart."""
        other = copy(self)
        other._metrics = metrics
        return other

    async def make(self, trip: Trip, act: Callable[[Upstream], Awaitable[T]]) -> T:
        """Let `act` call one upstream after the other until one answers. Raises Failure, with the books closed."""
        left = list(trip.plan.chain)
        while True:
            name = self._next(trip, left)
            if name is None:
                raise await self._turned_away(
                    trip, nobody_answers(trip, min(self.breakers[name].wait_s for name in trip.plan.chain))
                )
            if not await self._is_ready(trip, name, left):
                continue
            if trip.plan.decision.verify is not None:
                trip.may_escalate = bool(self._open(trip, left[1:]))
            began_s = self._now()
            try:
                answer = await act(trip.plan.reach[name])
            except UpstreamError as error:
                await self._failed(trip, error, left)
            except Discarded as draft:
                await self._discarded(trip, draft, left)
            except asyncio.CancelledError as cancelled:
                self.abandon(trip, trip.stopped(cancelled, 0))
                raise
            else:
                self.breakers[name].succeeded()
                self._takes[name].add(self._now() - began_s)
                return answer

    async def aside(self, trip: Trip, name: str, act: Callable[[Upstream], Awaitable[Told]]) -> Told | None:
        """An attempt that helps to make the request and does not answer it. None where it failed or is not made."""
        is_away = trip.plan.reach[name].is_loading or not self.breakers[name].admits()
        if is_away or not await self._is_ready(trip, name, [name, *trip.plan.chain]):
            return None
        trip.attempt.is_aside = True
        told = None
        try:
            told = await act(trip.plan.reach[name])
        except UpstreamError as error:
            self._tell_breaker(name, error)
            self._metrics.attempt_failed(name, error.code)
            settlement = trip.failed(error)
        except asyncio.CancelledError as cancelled:
            self.abandon(trip, trip.stopped(cancelled, 0))
            raise
        else:
            self.breakers[name].succeeded()
            trip.answered()
            settlement = trip.succeeded(told.usage)
        trip.stand_up()
        await self._book(trip, settlement)
        return told

    def _next(self, trip: Trip, left: list[str]) -> str | None:
        """The first upstream left whose breaker lets us through; those it does not are left out."""
        while left:
            if self.breakers[left[0]].admits():
                return left[0]
            trip.skipped[left.pop(0)] = CIRCUIT_OPEN
        return None

    async def _is_ready(self, trip: Trip, name: str, left: list[str]) -> bool:
        """Its model, a place and a reservation. False where the next one in line is to be tried instead."""
        if not await self._loaded(trip, name, left) or not await self._seated(trip, name, left):
            return False
        is_reserved = False
        try:
            is_reserved = await self._reserve(trip, name, left)
        finally:
            if not is_reserved:
                trip.stand_up()
        return is_reserved

    async def _loaded(self, trip: Trip, name: str, left: list[str]) -> bool:
        """What an upstream that loads its model does with who comes: wait, go elsewhere or be refused."""
        upstream = trip.plan.reach[name]
        if not upstream.is_loading:
            return True
        is_wait = upstream.loading == "wait" or (upstream.loading == "spill" and not self._open(trip, left[1:]))
        began_s = self._now()
        try:
            if is_wait and await upstream.loaded(trip.request.received_s + upstream.limits.load_s - began_s):
                return True
        except asyncio.CancelledError:
            self.breakers[name].left()
            self.left_early(trip)
            raise
        finally:
            trip.queued(self._now() - began_s)
        self.breakers[name].left()
        trip.skipped[left.pop(0)] = LOADING
        if left and upstream.loading != "refuse":
            return False
        raise await self._turned_away(trip, still_loading(trip))

    def _open(self, trip: Trip, names: list[str]) -> list[str]:
        """Those whose breaker would let us through, and which do not load."""
        return [n for n in names if self.breakers[n].wait_s == 0 and not trip.plan.reach[n].is_loading]

    async def _seated(self, trip: Trip, name: str, left: list[str]) -> bool:
        """Take a place where the upstream has a line. False where another one is likely to answer sooner."""
        line = self.lines.get(name)
        if line is None:
            return True
        began_s = self._now()
        try:
            trip.seat = await line.enter(self._patience_s(trip, name, left[1:]))
        except Full as full:
            self.breakers[name].left()
            trip.skipped[left.pop(0)] = BUSY
            if left:
                return False
            message = "The local upstream is busy, and the request must not go elsewhere."
            raise await self._turned_away(trip, Busy(message, retry_after_s=max(1.0, full.wait_s))) from None
        except asyncio.CancelledError:
            self.breakers[name].left()
            self.left_early(trip)
            raise
        finally:
            trip.queued(self._now() - began_s)
        return True

    def _patience_s(self, trip: Trip, name: str, others: list[str]) -> float | None:
        """How long to wait for a place: no longer than another would take. None where there is no other."""
        open_ones = self._open(trip, others)
        if not open_ones:
            return None
        spill_after_s = trip.plan.reach[name].spill_after_s
        if spill_after_s is not None:
            return spill_after_s
        known = (self._takes[other].seconds for other in open_ones)
        return min(UNKNOWN_S if seconds is None else seconds for seconds in known)

    def left_early(self, trip: Trip) -> None:
        """The client did not wait, and no attempt is under way."""
        if not trip.closes:
            return
        if trip.attempts:
            self.abandon(trip, trip.left_after(trip.total))
            return
        opening = trip.opening(store_prompt=self._ledger.store_prompts)
        closing = trip.unanswered(Busy("The client left."))._replace(http_status=499, end_reason="client_gone")
        self._see_off(asyncio.ensure_future(self._ledger.turned_away(opening, closing)))

    async def _failed(self, trip: Trip, error: UpstreamError, left: list[str]) -> None:
        """Book a failure. Returns when another attempt is due, with `left` as it now is."""
        name = trip.attempt.upstream
        trip.stand_up()
        self._tell_breaker(name, error)
        self._metrics.attempt_failed(name, error.code)
        settlement = trip.failed(error)
        pause_s = pause(trip, error, len(left) - 1, is_open=self.breakers[name].is_open)
        if pause_s is None:
            left.pop(0)
        # Who had a draft already gets that rather than an error.
        may_go_on = error.may_fall_back or (trip.has_escalated and trip.was_fallback)
        is_over = not left or not may_go_on or trip.made >= MOST
        if is_over:
            await self.close(trip, settlement, error.status)
            raise Failure(for_client(error, trip), trip) from error
        await self._book(trip, settlement)
        if pause_s:
            try:
                await asyncio.sleep(pause_s)
            except asyncio.CancelledError:
                self.abandon(trip, trip.left_after(settlement))
                raise

    async def _discarded(self, trip: Trip, draft: Discarded, left: list[str]) -> None:
        """Book a draft that is not good enough: no fault of its upstream's. The next one in line is asked."""
        name = trip.attempt.upstream
        trip.stand_up()
        self.breakers[name].succeeded()
        settlement = trip.discarded(draft.usage)
        left.append(left.pop(0))  # asked again, and not verified, where the others fail
        await self._book(trip, settlement)

    async def _book(self, trip: Trip, settlement: Settlement) -> None:
        """An attempt has ended, and the request goes on."""
        try:
            await self._put_right(trip, settlement)
            await self._record(settlement, None)
        except asyncio.CancelledError:
            self.abandon(trip, trip.left_after(settlement))
            raise

    def _tell_breaker(self, name: str, error: UpstreamError) -> None:
        if isinstance(error, Refused | Limited | Loading):
            self.breakers[name].left()
        else:
            self.breakers[name].failed(for_good=error.code == "upstream_auth")

    async def _turned_away(self, trip: Trip, error: WeighbridgeError) -> Failure:
        """No attempt is made, or no other one."""
        if not trip.closes:
            return Failure(error, trip)
        if trip.attempts:
            await self.close(trip, trip.total, error.status)
            return Failure(error, trip)
        opening = trip.opening(store_prompt=self._ledger.store_prompts)
        await self._ledger.turned_away(opening, trip.unanswered(error))
        self._metrics.turned_away(error.code)
        return Failure(error, None)

    async def _claimed(self, trip: Trip, name: str) -> Hold | Exhausted:
        """The attempt's worst case, claimed from every budget that it counts in."""
        if not self._budgets:
            return _NOTHING
        request, plan = trip.request, trip.plan
        cost, tokens = trip.worst(name)
        is_local = plan.reach[name].location == "local"
        try:
            return await self._budgets.claim(
                request.caller,
                plan.target.route,
                is_local=is_local,
                counted=trip.counted,
                cost=cost or 0,
                tokens=tokens,
                holder=f"{request.request_id}/{len(trip.attempts) + 1}",
            )
        except Unreachable:
            error = Unavailable("The budgets cannot be looked up.", code="state_unavailable", retry_after_s=5)
            raise await self._turned_away(trip, error) from None

    def _without(self, trip: Trip, name: str, left: list[str], used_up: Exhausted) -> None:
        """Go on without an upstream that a budget closes: to local ones within reach, if it leaves those open."""
        trip.skipped[name] = used_up.budget.name
        reach = trip.plan.reach
        closed = {name for name, why in trip.skipped.items() if why not in {BUSY, LOADING}}
        tried = {attempt.upstream for attempt in trip.attempts} | closed
        if trip.has_escalated:  # its draft may still be the answer
            tried.discard(trip.plan.decision.upstream)
        is_open = used_up.budget.at_cap == "local"
        local = [n for n in (*left, *reach) if is_open and reach[n].location == "local" and n not in tried]
        left[:] = dict.fromkeys(local)

    async def _reserve(self, trip: Trip, name: str, left: list[str]) -> bool:
        """Commit the attempt before the wire is touched. False where a budget keeps it from this upstream."""
        hold = await self._claimed(trip, name)
        if isinstance(hold, Exhausted):
            self.breakers[name].left()
            self._without(trip, name, left, hold)
            if left:
                return False
            message = f"The budget {hold.budget.name} is used up."
            raise await self._turned_away(trip, OverBudget(message, retry_after_s=hold.retry_after_s))
        is_first = not trip.attempts
        reservation = trip.begin(name, hold)
        opening = trip.opening(store_prompt=self._ledger.store_prompts) if is_first else None
        try:
            await self._ledger.reserve(opening, reservation)
        except Unavailable as error:
            self.breakers[name].left()
            await self._put_right(trip, trip.never_sent("error"))
            trip.withdraw()
            if is_first or not trip.closes:
                raise Failure(error, None) from error
            await self.close(trip, trip.total, error.status)
            raise Failure(error, trip) from error
        except asyncio.CancelledError:
            self.abandon(trip, trip.never_sent("client_gone"))
            raise
        self._ledger.sent(reservation.request_id, reservation.attempt_no)
        return True

    async def close(self, trip: Trip, settlement: Settlement, http_status: int) -> Closing:
        """The last attempt has ended, and with it the request."""
        trip.stand_up()
        upstream = trip.plan.reach[trip.attempt.upstream]
        if upstream.location == "local" and (unread := trip.unread_words):
            upstream.notice("read_less", f"read {settlement.input_tokens} tokens, at least {unread} too few")
        closing = trip.closing(http_status)
        self._metrics.request_ended(trip.plan, closing)
        await self._put_right(trip, settlement)
        await self._record(settlement, closing)
        return closing

    def broke(self, trip: Trip) -> None:
        """The upstream failed in the middle of its answer."""
        self.breakers[trip.attempt.upstream].failed()

    def abandon(self, trip: Trip, settlement: Settlement) -> None:
        """The client has left: the row is on its way to the disk, and there is nobody to wait for it."""
        trip.stand_up()
        self.breakers[trip.attempt.upstream].left()
        closing = trip.closing(499) if trip.closes else None
        if closing:
            self._metrics.request_ended(trip.plan, closing)
        row = asyncio.ensure_future(self._ledger.settle(settlement, closing))
        self._see_off(row)
        if trip.attempt.hold.amounts:
            self._see_off(asyncio.ensure_future(self._put_right(trip, settlement)))

    def _see_off(self, work: "asyncio.Future[None]") -> None:
        self._leaving.add(work)
        work.add_done_callback(self._left)

    async def _put_right(self, trip: Trip, settlement: Settlement) -> None:
        """Give back what was claimed and not used. What nobody knows stays claimed."""
        attempt = trip.attempt
        if not attempt.hold.amounts:
            return
        hold, attempt.hold = attempt.hold, Hold()
        cost, tokens = settlement.cost_nano_usd, None
        if settlement.status == "released":
            cost, tokens = 0, 0
        elif settlement.input_tokens is not None:
            tokens = settlement.input_tokens + (settlement.output_tokens or 0)
        await self._budgets.settle(hold, cost=cost, tokens=tokens)

    async def _record(self, settlement: Settlement, closing: Closing | None) -> None:
        try:
            await self._ledger.settle(settlement, closing)
        except Unavailable:
            # The reservation stands, so the ledger knows that something is owed; the client keeps its answer.
            self._metrics.ledger_failed()

    def _left(self, row: "asyncio.Future[None]") -> None:
        self._leaving.discard(row)
        if row.exception():
            self._metrics.ledger_failed()
