"""Shadows: a share of the answers is compared with what the other side says to the same request, off the critical path.

What is asked here nobody waits for. It stays within the reach of the request's own plan, so a fence holds by
construction; it has a budget of its own; and it leaves as soon as anybody else needs its place.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from weighbridge import interpreting, sessions
from weighbridge.answers import READABLE, text_of_stream, text_of_whole
from weighbridge.attempts import Attempts, Failure
from weighbridge.budgets import Budget
from weighbridge.dialects.base import translated
from weighbridge.dialects.chat import CHAT
from weighbridge.errors import BadRequest, OverBudget, Unavailable
from weighbridge.learning import judging
from weighbridge.learning.calls import limit_of
from weighbridge.learning.judging import Worth
from weighbridge.learning.schema import UnknownKeyword
from weighbridge.learning.schema import check as check_schema
from weighbridge.ledger.base import Ledger, Opening, Settlement
from weighbridge.ledger.notes import SHADOW, Shadowed, Side
from weighbridge.metering import Meter
from weighbridge.planning import Plan, fits_into, has_image
from weighbridge.policies.base import Decision
from weighbridge.schemas import Request
from weighbridge.tables import Route, Shadow
from weighbridge.telemetry import Metrics
from weighbridge.trip import Prices, Trip

log = logging.getLogger(__name__)

_LONGEST = 1 << 20  # bytes of a stream that are kept to be compared
_JUDGE_TOKENS = 512
# Those whose side was free to choose. What a rule, a fence, a session, a budget or the client decided stays there.
_FREE = frozenset({"below_threshold", "at_or_above_threshold", "abstain", "classifier_unavailable", "cascade_accepted"})


def shadow_budgets(routes: Mapping[str, Route]) -> list[Budget]:
    """What shadows may spend, as budgets that count nothing else. Budgets over everything count shadows, too."""
    return [
        Budget(name=f"{SHADOW} {name}", usd=r.shadow.usd_per_day, callers=(SHADOW,), routes=(name,), at_cap="refuse")
        for name, r in routes.items()
        if r.shadow
    ]


@dataclass(frozen=True, slots=True)
class Pair:
    """A request that one side has answered, to be answered by the other one too."""

    request: Request
    plan: Plan
    shadow: Shadow
    small: str  # upstreams
    large: str
    served: Side

    @property
    def other(self) -> str:
        return self.large if self.served == "small" else self.small


class ShadowTrip(Trip):
    """The books of one call that no client asked for."""

    def opening(self, *, store_prompt: bool) -> Opening:  # the request's own row has it
        return super().opening(store_prompt=False)

    def stopped(self, cancelled: BaseException, output_tokens: int) -> Settlement:  # whoever it was
        return self.broken("client_gone", None, output_tokens)


class Shadowing:
    """Picks answers, asks the other side, has both judged, and keeps the books."""

    def __init__(  # noqa: PLR0913, PLR0917  # the parts that it works with
        self,
        routes: Mapping[str, Route],
        ledger: Ledger,
        prices: Prices,
        metrics: Metrics,
        attempts: Attempts,
        meter: Meter,
        *,
        chance: Callable[[], float] = random.random,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routes = routes
        self._ledger = ledger
        self._prices = prices
        self._metrics = metrics
        self._attempts = attempts.beside(Metrics())  # a shadow is no request in anybody's statistics
        self._meter = meter
        self._chance = chance
        self._now = now
        self._running: dict[asyncio.Task[None], str] = {}  # by the route
        self._closing: set[asyncio.Task[Any]] = set()
        self._rests_until_s: dict[str, float] = {}

    @classmethod
    def of(  # noqa: PLR0913, PLR0917  # as above
        cls,
        routes: Mapping[str, Route],
        ledger: Ledger,
        prices: Prices,
        metrics: Metrics,
        attempts: Attempts,
        meter: Meter,
    ) -> "Shadowing | None":
        """None where no route asks for shadows."""
        asked = {name: route for name, route in routes.items() if route.shadow}
        return cls(asked, ledger, prices, metrics, attempts, meter) if asked else None

    def answered(self, trip: Trip, body: bytes) -> None:
        """A whole answer is on record: compare it, if it is picked."""
        if pair := self._picked(trip):
            self._begin(pair, text_of_whole(pair.request.dialect, body))

    def watching(self, trip: Trip, parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """The same parts. They are compared, if they are picked, once they have come to a good end."""
        pair = self._picked(trip)
        return self._watched(pair, parts) if pair else parts

    async def aclose(self) -> None:
        """Stop whatever runs, and let its books be closed."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def settled(self) -> None:
        """Return when nothing runs any more."""
        while self._running:
            await asyncio.wait(list(self._running))

    async def _watched(self, pair: Pair, parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        seen: list[bytes] = []
        size = 0
        try:
            async for part in parts:
                size += len(part)
                if size <= _LONGEST:
                    seen.append(part)
                yield part
        finally:
            await parts.aclose()
        if size <= _LONGEST:
            self._begin(pair, text_of_stream(pair.request.dialect, seen))

    def _picked(self, trip: Trip) -> Pair | None:
        """Chance first, as it is cheap; then whether the other side may be asked at all."""
        plan = trip.plan
        route = self._routes.get(plan.target.route)
        if route is None or route.shadow is None or self._chance() >= route.shadow.share:
            return None
        small, large = _sides(trip, route)
        served: Side = "large" if trip.upstream == large else "small"
        judge = route.shadow.judge
        # The chain lies within the plan's reach, and has lost those whose window is too small.
        wanted = {small, large, judge} if judge is not None else {small, large}
        if small == large or not _is_free(trip) or not wanted <= plan.reach.keys() or not _is_plain(trip.request):
            return None
        return Pair(trip.request, plan, route.shadow, small, large, served)

    def _begin(self, pair: Pair, said: str) -> None:
        if not said:
            return
        name = pair.plan.target.route
        if not self._has_room(pair):
            self._metrics.shadowed(name, "busy")
            return
        task = asyncio.get_running_loop().create_task(self._run(pair, said), name="shadow")
        self._running[task] = name
        if line := self._attempts.lines.get(pair.other):
            line.guests.add(task)
        task.add_done_callback(self._ended)

    def _has_room(self, pair: Pair) -> bool:
        """Few enough run, nobody waits for the upstream, it is not known to be down, and there is money left."""
        name, other = pair.plan.target.route, pair.other
        line = self._attempts.lines.get(other)
        return (
            list(self._running.values()).count(name) < pair.shadow.at_once
            and self._metrics.in_flight.count <= pair.shadow.busy_above
            and (line is None or line.is_free)
            and self._attempts.breakers[other].wait_s == 0
            and self._now() >= self._rests_until_s.get(name, 0.0)
        )

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.pop(task, None)
        for line in self._attempts.lines.values():
            line.guests.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("unhandled %s in a shadow", type(error).__name__)

    async def _run(self, pair: Pair, said: str) -> None:
        name, outcome = pair.plan.target.route, "failed"
        try:
            outcome = await self._compared(pair, said)
        except Failure as failure:
            if isinstance(failure.error, OverBudget):
                outcome = "over_budget"
                self._rests_until_s[name] = self._now() + (failure.error.retry_after_s or 1.0)
        except Unavailable:
            self._metrics.ledger_failed()
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self._metrics.shadowed(name, outcome)

    async def _compared(self, pair: Pair, said: str) -> str:
        """Ask the other side, judge both answers, and write down what came of it."""
        request = pair.request
        body = await self._ask(pair, pair.other, _whole(request), "s", "the other answer")
        other = text_of_whole(request.dialect, body)
        small, large = (said, other) if pair.served == "small" else (other, said)
        worth = await self._worth(pair, small, large) if other else None
        keeps = pair.shadow.keep_texts
        await self._ledger.note(
            Shadowed(
                request_id=request.request_id,
                judged_at=datetime.now(UTC),
                route=pair.plan.target.route,
                served=pair.served,
                small=pair.small,
                large=pair.large,
                small_worth=worth.small if worth else None,
                large_worth=worth.large if worth else None,
                source=worth.source if worth else None,
                prompt=request.ask if keeps else None,
                small_answer=small if keeps else None,
                large_answer=large if keeps else None,
            )
        )
        return "judged" if worth else "unjudged"

    async def _worth(self, pair: Pair, small: str, large: str) -> Worth | None:
        """As `fit` judges: equal answers and schemas need no judge. None where nobody could say."""
        if judging.are_same(small, large):
            return Worth(1.0, 1.0, "same answer")
        if (schema := _schema_of(pair.request)) is not None:
            return Worth(judging.matches_schema(small, schema), judging.matches_schema(large, schema), "schema")
        judge = pair.shadow.judge
        if judge is None:
            return None
        verdicts = []
        for turn, (first, second) in enumerate(((small, large), (large, small)), 1):
            question = _question(pair, judge, judging.question(pair.request.ask, first, second))
            if not fits_into(pair.plan.reach[judge], question):
                return None
            body = await self._ask(pair, judge, question, f"j{turn}", "a judge")
            verdicts.append(judging.verdict_of(text_of_whole(CHAT, body)))
        return judging.agreed(verdicts[0], verdicts[1], judge)

    async def _ask(self, pair: Pair, upstream: str, request: Request, mark: str, what: str) -> bytes:
        """One call, with a row of its own. Raises Failure, with the books closed; so they are when it is cancelled."""
        asked = pair.request.request_id
        request = replace(request, request_id=f"{asked}-{mark}", caller=SHADOW, headers={}, received_s=self._now())
        request = replace(request, created_at=datetime.now(UTC))
        plan = replace(
            pair.plan,
            target=replace(pair.plan.target, pin=upstream),  # one attempt, and nobody instead
            decision=Decision(upstream, (), "shadow", f"{what}, for {asked}"),
            reach={upstream: pair.plan.reach[upstream]},
            assessment=None,
            classifier=None,
            rule=None,
        )
        trip = ShadowTrip(request, plan, self._prices, self._now, self._meter)
        completion = await self._attempts.make(trip, lambda called: interpreting.complete(called, request))
        trip.answered()
        usage = interpreting.took(completion, request)
        # It is paid for: whoever needs the place now, this is written down.
        closing = asyncio.ensure_future(self._attempts.close(trip, trip.succeeded(usage), 200))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        cost = (await asyncio.shield(closing)).cost_nano_usd
        self._metrics.shadow_paid(upstream, cost or 0)
        return completion.body


def _sides(trip: Trip, route: Route) -> tuple[str, str]:
    """The small and the large upstream of this request: a task may have a small one of its own."""
    chain = (trip.upstream, *(name for name in trip.plan.chain if name != trip.upstream))
    if route.large not in chain:
        return route.large, route.large
    return next((name for name in chain if name != route.large), route.large), route.large


def _is_free(trip: Trip) -> bool:
    """Nothing but the policy said where it went, it went there at once, and it may leave as it is."""
    plan = trip.plan
    return (
        plan.fence is None
        and plan.prepared is None
        and plan.target.pin is None
        and trip.kept is None
        and trip.reason in _FREE
    )


def _is_plain(request: Request) -> bool:
    """One answer in words to an ask in words, that no other turn hangs on."""
    fields = request.body.fields
    return (
        request.dialect in READABLE
        and request.dialect.choices(fields) == 1
        and request.dialect.goes_on_from(fields) is None
        and not sessions.is_in_tool_loop(request.messages)
        and not sessions.is_signed(request)
        and not has_image(request.messages)
        and bool(request.ask.strip())
    )


def _whole(request: Request) -> Request:
    """The same request, to be answered whole, and kept by nobody."""
    fields = {name: value for name, value in request.body.fields.items() if name not in {"stream", "stream_options"}}
    if request.dialect.keeps_answers:
        fields["store"] = False
    return replace(request, body=translated(fields))


def _question(pair: Pair, judge: str, text: str) -> Request:
    upstream = pair.plan.reach[judge]
    fields = {"model": upstream.model, "messages": [{"role": "user", "content": text}]}
    return replace(pair.request, dialect=CHAT, body=translated({**fields, limit_of(upstream): _JUDGE_TOKENS}))


def _schema_of(request: Request) -> Mapping[str, Any] | None:
    """The JSON schema that the answer has to fit, if there is one that is understood."""
    fields = request.body.fields
    if not request.dialect.wants_json_schema(fields):
        return None
    try:
        chat = fields if request.dialect is CHAT else request.dialect.translation(fields).chat
        schema = chat["response_format"]["json_schema"]["schema"]
        check_schema(schema)
    except (BadRequest, UnknownKeyword, KeyError, TypeError):
        return None
    return schema if isinstance(schema, dict) else None
