"""Answers that are given again: found, and kept for the next time. Without a cache nothing is done."""

from collections.abc import AsyncGenerator, Sequence

from weighbridge.cache import Cache, Kept, Lookup
from weighbridge.planning import Plan
from weighbridge.schemas import Request
from weighbridge.telemetry import Metrics
from weighbridge.trip import Trip


class Reusing:
    """Between the requests and the cache."""

    def __init__(self, cache: Cache | None, metrics: Metrics) -> None:
        self._cache = cache
        self._metrics = metrics

    def look(self, trip: Trip) -> Kept | None:
        """The answer that this caller got to the very same request, if it is still there."""
        if self._cache is None or trip.kept:
            return trip.kept
        found = _found(self._cache, trip.request, trip.plan)
        trip.cache, trip.keep_as, trip.kept = found
        self._metrics.looked_up(found.verdict)
        return found.kept

    def keep(self, trip: Trip, parts: Sequence[bytes]) -> None:
        """Keep a whole answer. What stood in for another upstream is not what was asked for."""
        if self._cache and trip.keep_as and trip.is_as_planned:
            self._cache.keep(trip.keep_as, Kept(trip.attempt.upstream, tuple(parts), trip.usage))

    def keeping(self, trip: Trip, parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """The same parts, which are kept once they have come to a good end."""
        return self._kept(trip, parts, self._cache.largest) if self._cache and trip.keep_as else parts

    async def _kept(self, trip: Trip, parts: AsyncGenerator[bytes, None], largest: int) -> AsyncGenerator[bytes, None]:
        seen: list[bytes] = []
        size = 0
        try:
            async for part in parts:
                if size <= largest:  # beyond it the cache takes none of them
                    seen.append(part)
                    size += len(part)
                yield part
        finally:
            await parts.aclose()
        self.keep(trip, seen)


async def again(kept: Kept) -> AsyncGenerator[bytes, None]:
    """A stream, as it was sent before."""
    for part in kept.parts:
        yield part


def _found(cache: Cache, request: Request, plan: Plan) -> Lookup:
    fields, dialect = request.body.fields, request.dialect
    if dialect.keeps_answers and fields.get("store") is not False:
        return Lookup("bypass", None)  # its upstream keeps the answer, to be gone on from: each needs an id of its own
    control = request.headers.get("cache-control", "")
    return cache.look(_asker(request, plan), fields, control, is_generated=dialect.choices(fields) > 0)


def _asker(request: Request, plan: Plan) -> tuple[str, ...]:
    """Who asks, and everything about the way of the request that its body does not say."""
    prepared = str(sorted(plan.prepared.counts.items())) if plan.prepared else ""
    way = (plan.target.route, plan.decision.upstream, plan.fence or "", plan.rule or "", prepared)
    return (request.caller, request.dialect.path, *way)
