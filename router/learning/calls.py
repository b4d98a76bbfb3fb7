"""Calls to the user's own models outside the gateway, each paid from a purse that cannot be overdrawn."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from weighbridge.drafts.unasked import asking
from weighbridge.errors import UpstreamError
from weighbridge.units import Price, Usage, cost_of, estimated_tokens
from weighbridge.upstreams.base import Completion, Upstream
from weighbridge.wire import estimated_output_tokens, parse


class Capped(Exception):
    """The next call could go over the cap."""


class CallFailed(Exception):
    """A call gave no answer; its message is a code."""


@dataclass(frozen=True, slots=True)
class Model:
    """An upstream of the config, by its name, and what it charges."""

    name: str
    upstream: Upstream
    price: Price


def limit_of(upstream: Upstream) -> str:
    """How the most tokens of an answer are called there: the newer word is not known to every local server."""
    return "max_tokens" if upstream.location == "local" else "max_completion_tokens"


@dataclass(frozen=True, slots=True)
class Answer:
    """fields: the whole chat completion, as it came."""

    text: str
    cost_nano_usd: int
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Purse:
    """What was spent, and what is set aside for calls under way. now: monotonic seconds."""

    cap_nano_usd: int
    spent: int = 0
    reserved: int = 0
    now: Callable[[], float] = time.monotonic
    _settled: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    async def call(
        self, model: Model, messages: Sequence[Any], output_tokens: int, paid: list[int], *, ask_logprobs: bool = False
    ) -> Answer:
        """Ask a model. Raises Capped before the wire is touched, and CallFailed. paid: gets what it cost."""
        limit = limit_of(model.upstream)
        raw = orjson.dumps({"model": model.upstream.model, "messages": list(messages), limit: output_tokens})
        worst_usage = Usage(estimated_tokens(len(raw)), output_tokens, source="estimated")
        worst = cost_of(worst_usage, model.price, model.upstream.limits.total_s) or 0
        await self._room_for(worst)
        self.reserved += worst
        cost, began = worst, self.now()  # whatever ends it, the worst case counts until the cost is known
        try:
            body = parse(raw)
            completion = await model.upstream.complete(asking(body) if ask_logprobs else body)
            fields = json.loads(completion.body)
            text, usage = _read(completion, fields, len(raw))
            cost = cost_of(usage, model.price, self.now() - began) or 0
        except UpstreamError as error:
            cost = worst if error.billable else 0
            raise CallFailed(error.code) from error
        finally:
            self.reserved -= worst
            self.spent += cost
            paid.append(cost)
            self._settled.set()
        if not text.strip():
            raise CallFailed("empty_answer")
        return Answer(text, cost, fields)

    async def _room_for(self, worst: int) -> None:
        """Wait for calls under way, which mostly cost less than their worst case."""
        while self.spent + self.reserved + worst > self.cap_nano_usd:
            if not self.reserved:
                raise Capped
            self._settled.clear()
            await self._settled.wait()


def _read(completion: Completion, fields: Mapping[str, Any], asked_chars: int) -> tuple[str, Usage]:
    choices = fields.get("choices") or [{}]
    content = (choices[0].get("message") or {}).get("content")
    text = content if isinstance(content, str) else ""
    usage = completion.usage or Usage(
        estimated_tokens(asked_chars), estimated_output_tokens(completion.body), source="estimated"
    )
    return text, usage
