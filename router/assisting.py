"""Assisting: a local model works on a request before a remote upstream sees it. In doubt the request goes as it is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from weighbridge.asks import whole_text
from weighbridge.attempts import Attempts
from weighbridge.dialects.base import translated
from weighbridge.errors import TimedOut
from weighbridge.preprocess.asking import Answer, Question, Work
from weighbridge.preprocess.asking import said as answer_of
from weighbridge.preprocess.base import Doubt, Prepared
from weighbridge.preprocess.clean import cleaning
from weighbridge.preprocess.compress import shortening
from weighbridge.preprocess.tables import Assist, Preprocess
from weighbridge.telemetry import Metrics
from weighbridge.trip import Trip
from weighbridge.units import estimated_tokens
from weighbridge.upstreams.base import Completion, Upstream
from weighbridge.wire import Body

_IN_VAIN = ("not needed", "bypassed")


class Late(Doubt):
    """The local model failed, or was not asked."""


class Assisting:
    """Does the steps that the rules ask for. Each call of the local model is an attempt of the request."""

    def __init__(
        self, options: Preprocess, attempts: Attempts, metrics: Metrics, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options
        self._attempts = attempts
        self._metrics = metrics
        self._now = now

    async def help(self, trip: Trip) -> None:
        """Put what was made of the request into the plan. Nothing is done where a local upstream is to answer."""
        plan = trip.plan
        if not plan.assists or plan.reach[plan.decision.upstream].location != "remote":
            return
        for step, table in self._options.steps.items():
            if step in plan.assists:
                # What was redacted stays so: the local model sees placeholders too, and gives none of its own.
                before = trip.plan.prepared or Prepared(trip.request.body)
                trip.helped[step] = said = await self._tried(trip, before, table)
                outcome = said.partition(" (")[0]
                self._metrics.helped(step, outcome if outcome in _IN_VAIN else "used")

    async def _tried(self, trip: Trip, before: Prepared, table: Assist) -> str:
        """Do a step, and say in a word or two what became of it."""
        try:
            work = self._work(before.body, table)
            if work is None:
                return "not needed"
            body = translated(await self._done(trip, work, await self._answers(trip, work, table)))
        except Doubt as doubt:
            return f"bypassed ({doubt})"
        tokens = [estimated_tokens(len(whole_text(each.fields))) for each in (before.body, body)]
        spared = before.spared_tokens + max(0, tokens[0] - tokens[1])
        trip.plan = replace(trip.plan, prepared=replace(before, body=body, spared_tokens=spared))
        return f"{tokens[0]} to {tokens[1]} tokens"

    def _work(self, body: Body, table: Assist) -> Work | None:
        if table is self._options.compress:
            return shortening(body.fields, self._options.compress)
        return cleaning(body.fields, self._options.clean) if self._options.clean else None

    async def _answers(self, trip: Trip, work: Work, table: Assist) -> list[Answer]:
        """One after the other: a small machine does not get faster by being asked for all at once."""
        end_s = self._now() + table.time_limit_s
        answers: list[Answer] = []
        for question in work.questions:
            completion = None
            if self._now() < end_s and not any(isinstance(answer, Late) for answer in answers):
                completion = await self._attempts.aside(trip, table.upstream, self._asking(question, end_s))
            answers.append(answer_of(completion.body) if completion else Late("no answer in time"))
        return answers

    async def _done(self, trip: Trip, work: Work, answers: Sequence[Answer]) -> dict[str, Any]:
        """The checks take a while on long texts: in a thread, since nobody else must wait for that."""
        try:
            return await asyncio.to_thread(work.done, answers)
        except asyncio.CancelledError:
            self._attempts.left_early(trip)
            raise

    def _asking(self, question: Question, end_s: float) -> Callable[[Upstream], Awaitable[Completion]]:
        async def ask(upstream: Upstream) -> Completion:
            try:
                async with asyncio.timeout(end_s - self._now()):
                    return await upstream.complete(question.body())
            except TimeoutError:
                raise TimedOut("The local model did not work on the request in time.") from None

        return ask
