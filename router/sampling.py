"""Sampling: further drafts of a request, beside the one that is judged. Each is an attempt with a row of its own."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from weighbridge.attempts import Attempts, Failure
from weighbridge.dialects.chat import CHAT
from weighbridge.drafting import Further
from weighbridge.drafts.again import again
from weighbridge.drafts.reading import Draft, Reading
from weighbridge.ledger.base import Settlement
from weighbridge.streaming import Relay
from weighbridge.trip import Trip
from weighbridge.units import Usage
from weighbridge.upstreams.base import Upstream
from weighbridge.wire import Body

EXTRA_DRAFT = "extra_draft"  # it was made to be compared, it is paid for, and no client sees it


class Beside(Trip):
    """The books of one further draft, within those of its request."""

    closes = False

    def __init__(self, trip: Trip) -> None:
        vars(self).update(vars(trip))
        self.seat = None
        self.skipped = {}
        self.relay: Relay | None = None

    def succeeded(self, usage: Usage | None) -> Settlement:
        return self._settle("settled", "ok", EXTRA_DRAFT, usage)

    def stopped(self, cancelled: BaseException, output_tokens: int) -> Settlement:
        """It was not needed any more, or too late, or the client has left."""
        return self.succeeded(self.took(self.relay) if self.relay else None)

    def took(self, relay: Relay) -> Usage:
        """As its upstream says, else estimated."""
        return relay.usage or Usage(self.request.estimated_input_tokens, relay.chunks, source="estimated")


@dataclass(frozen=True, slots=True)
class _Sample:
    draft: Draft
    usage: Usage | None


class Sampling:
    """Makes them at the draft's own upstream, all at once as far as its line allows."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts

    async def __call__(self, trip: Trip, body: Body, further: Further) -> Sequence[Draft]:
        """Those that came in time, until they are enough. What is not needed any more is stopped."""
        ends_s = asyncio.get_running_loop().time() + further.within_s
        made = [asyncio.create_task(self._one(trip, again(body, no), further)) for no in range(1, further.most + 1)]
        running: set[asyncio.Task[Draft | None]] = set(made)
        found: list[Draft] = []
        try:
            while running and not further.are_enough(found, len(running)):
                patience_s = max(0.0, ends_s - asyncio.get_running_loop().time())
                done, running = await asyncio.wait(running, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                found += [draft for task in done if (draft := task.result())]
        finally:
            for task in made:
                task.cancel()
            await asyncio.gather(*made, return_exceptions=True)
        return found

    async def _one(self, trip: Trip, body: Body, further: Further) -> Draft | None:
        """None where it failed, or there was no place or no money for it."""
        beside = Beside(trip)
        try:
            sample = await self._attempts.aside(beside, trip.attempt.upstream, _reading(body, further, beside))
        except Failure:
            return None
        return sample.draft if sample else None


def _reading(body: Body, further: Further, beside: Beside) -> Callable[[Upstream], Any]:
    """How an upstream is asked for one, and how much of it is read."""

    async def read(upstream: Upstream) -> _Sample:
        reading, relay = Reading(), CHAT.relay(body.fields)
        beside.relay = relay
        stream = await upstream.stream(body)
        try:
            while not relay.is_done and (further.pieces is None or reading.pieces < further.pieces):
                events = await stream.read()
                relay.take(events)
                for event in events:
                    reading.event(event)
                if not events:
                    relay.end()
                    break
        finally:
            await stream.aclose()
        return _Sample(next(iter(reading.drafts.values()), Draft()), beside.took(relay))

    return read
