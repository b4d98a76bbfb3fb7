"""Simulated: an upstream without a model or a network, for the demo, tests and benchmarks. Its answers say so.

The same prompt gets the same answer, of the same length and at the same pace, every time.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from os import urandom
from typing import Any

from pydantic import Field

from weighbridge.dialects.base import Dialect
from weighbridge.dialects.chat import CHAT
from weighbridge.errors import Cut, TimedOut, Unreachable
from weighbridge.units import Usage, estimated_tokens
from weighbridge.upstreams.base import Completion, Stream, Upstream
from weighbridge.wire import Body

# What stands in the place of an answer. Nobody can take it for one.
_FILLER = (
    "No model was asked: the gateway made this text up to stand for a real answer of this length, "
    "so that routing, streaming, costs and times can be tried without a server or a key."
)
_TEN_BITS = 1023


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one prompt will get. tokens: JSON string fragments, escaped and without quotes, one per token."""

    id: str
    created: int
    tokens: Sequence[str]
    finish_reason: str
    usage: Usage
    is_failing: bool
    is_cut: bool


class Simulated(Upstream):
    """Answers from memory at a declared pace.

    ttft_s, tokens_per_s: how long until the first token, and how many come each second after it (0: all at once).
    speed: how many times faster than that it runs. The ledger records the shorter times: they are what was measured.
    answers: texts to choose from, by the prompt; without any, one that says that no model was asked.
    output_tokens: the mean length of an answer; without it an answer is as long as its text. Each prompt gets between
        a quarter and seven quarters of the mean. A request may ask for a length: `"simulate": {"output_tokens": 40}`.
    fail_share, cut_share: the share of prompts, 0..1, that get no answer, and half of one.
    """

    seed: int = Field(default=0, ge=0)
    ttft_s: float = Field(default=0, ge=0)
    tokens_per_s: float = Field(default=0, ge=0)
    speed: float = Field(default=1, gt=0)
    answers: tuple[str, ...] = ()
    output_tokens: int | None = Field(default=None, gt=0)
    fail_share: float = Field(default=0, ge=0, le=1)
    cut_share: float = Field(default=0, ge=0, le=1)

    @cached_property
    def _texts(self) -> tuple[tuple[str, ...], ...]:
        opening = f"Simulated answer by {self.model}:"
        return tuple(_tokens(f"{opening} {answer}") for answer in self.answers or (_FILLER,))

    @cached_property
    def _head(self) -> str:
        return f',"model":{json.dumps(self.model)},"choices":[{{"index":0,'

    async def complete(self, body: Body, dialect: Dialect = CHAT) -> Completion:
        plan = self._plan(body.fields)
        await self._work(plan)
        content = "".join(plan.tokens)
        return Completion(
            (
                f'{{"id":"{plan.id}","object":"chat.completion","created":{plan.created}{self._head}'
                f'"message":{{"role":"assistant","content":"{content}","refusal":null}},"logprobs":null,'
                f'"finish_reason":"{plan.finish_reason}"}}],"usage":{_usage(plan.usage)}}}'
            ).encode(),
            plan.usage,
        )

    async def stream(self, body: Body, dialect: Dialect = CHAT) -> Stream:
        plan = self._plan(body.fields)
        if plan.is_failing:
            raise _failure()
        options = body.fields.get("stream_options")
        wants_usage = isinstance(options, Mapping) and options.get("include_usage") is True
        return _SimulatedStream(self, plan, _Writer(plan, self._head, wants_usage=wants_usage))

    async def check(self) -> str:
        pace = f"{self.tokens_per_s:g} tokens/s" if self.tokens_per_s else "all tokens at once"
        return f"simulated: no model, no network; {self.ttft_s:g} s to the first token, {pace}"

    def due_s(self, tokens: int) -> float:
        """Seconds from the request until that many tokens are out."""
        pace = (tokens - 1) / self.tokens_per_s if self.tokens_per_s else 0.0
        return (self.ttft_s + pace) / self.speed

    async def _work(self, plan: _Plan) -> None:
        """Take as long as the whole answer takes."""
        takes_s = self.due_s(len(plan.tokens))
        if takes_s > 0:
            await asyncio.sleep(min(takes_s, self.limits.total_s))
        if takes_s > self.limits.total_s:
            raise TimedOut(f"The simulated upstream took longer than {self.limits.total_s:g} s.")
        if plan.is_failing:
            raise _failure()
        if plan.is_cut:
            raise Cut("The simulated upstream broke off, as its cut_share asks.")

    def _plan(self, fields: Mapping[str, Any]) -> _Plan:
        prompt = _text(fields.get("messages"))
        # 64 bits decide everything, ten or more at a time.
        bits = int.from_bytes(blake2b(f"{self.seed}\n{prompt}".encode(errors="replace"), digest_size=8).digest(), "big")
        text = self._texts[(bits >> 40) % len(self._texts)]
        wanted = self._length(bits, fields.get("simulate")) or len(text)
        allowed = fields.get("max_completion_tokens") or fields.get("max_tokens") or wanted
        given = max(1, min(wanted, allowed)) if isinstance(allowed, int) else wanted
        return _Plan(
            id=f"chatcmpl-{urandom(12).hex()}",
            created=int(time.time()),
            tokens=(text * (given // len(text) + 1))[:given],
            finish_reason="stop" if given == wanted else "length",
            usage=Usage(estimated_tokens(len(prompt)), given),
            is_failing=(bits & _TEN_BITS) < self.fail_share * (_TEN_BITS + 1),
            is_cut=(bits >> 10 & _TEN_BITS) < self.cut_share * (_TEN_BITS + 1),
        )

    def _length(self, bits: int, asked: object) -> int | None:
        tokens = asked.get("output_tokens") if isinstance(asked, Mapping) else None
        if isinstance(tokens, int):
            return max(1, tokens)
        if self.output_tokens is None:
            return None
        return max(1, round(self.output_tokens * (0.25 + 1.5 * (bits >> 20 & _TEN_BITS) / _TEN_BITS)))


class _Writer:
    """Turns a plan's tokens into chunks.

    The one with the usage always comes: the ledger needs it, and the gateway keeps it from a client that did not ask.
    """

    def __init__(self, plan: _Plan, head: str, *, wants_usage: bool) -> None:
        self._start = f'{{"id":"{plan.id}","object":"chat.completion.chunk","created":{plan.created}{head}'
        self._end = "}]" + (',"usage":null}' if wants_usage else "}")
        self._plan = plan

    def opening(self) -> bytes:
        return self._chunk('"delta":{"role":"assistant","content":""},"finish_reason":null')

    def token(self, token: str) -> bytes:
        return self._chunk(f'"delta":{{"content":"{token}"}},"finish_reason":null')

    def ending(self) -> list[bytes]:
        last = self._chunk(f'"delta":{{}},"finish_reason":"{self._plan.finish_reason}"')
        start = self._start.removesuffix('{"index":0,')
        return [last, f'{start}],"usage":{_usage(self._plan.usage)}}}'.encode(), b"[DONE]"]

    def _chunk(self, choice: str) -> bytes:
        return f"{self._start}{choice}{self._end}".encode()


class _SimulatedStream(Stream):
    """Gives at each read what is due by then, so that a slow reader does not slow the upstream."""

    def __init__(self, upstream: Simulated, plan: _Plan, writer: _Writer) -> None:
        self._upstream = upstream
        self._plan = plan
        self._writer = writer
        self._sent = 0
        self._is_over = False
        self._began_at = asyncio.get_running_loop().time()

    async def read(self) -> list[bytes]:
        if self._is_over:
            return []
        if self._plan.is_cut and self._sent >= len(self._plan.tokens) / 2:
            self._is_over = True
            raise Cut("The simulated upstream broke off, as its cut_share asks.")
        await self._wait()
        if self._is_over:
            return []
        first, self._sent = self._sent, self._due()
        events = [self._writer.token(token) for token in self._plan.tokens[first : self._sent]]
        if first == 0:
            events.insert(0, self._writer.opening())
        if self._sent == len(self._plan.tokens) and not self._plan.is_cut:
            self._is_over = True
            events += self._writer.ending()
        return events

    async def aclose(self) -> None:
        self._is_over = True

    async def _wait(self) -> None:
        """Wait for the next token, no longer than the limits allow."""
        upstream, limits = self._upstream, self._upstream.limits
        due_s = upstream.due_s(self._sent + 1)
        if due_s == 0:
            return
        passed_s = self._passed_s()
        patience_s = min(limits.idle_s if self._sent else limits.first_token_s, limits.total_s - passed_s)
        await asyncio.sleep(max(0.0, min(due_s - passed_s, patience_s)))
        if due_s - passed_s > patience_s:
            self._is_over = True
            raise TimedOut("The simulated upstream was slower than its limits allow.")

    def _due(self) -> int:
        """How many tokens are out by now: at least one more than were sent."""
        tokens, upstream = self._plan.tokens, self._upstream
        total = len(tokens)
        if upstream.tokens_per_s:
            generating_s = self._passed_s() * upstream.speed - upstream.ttft_s
            total = min(total, int(generating_s * upstream.tokens_per_s) + 1)
        if self._plan.is_cut:
            total = min(total, (len(tokens) + 1) // 2)
        return max(total, self._sent + 1)

    def _passed_s(self) -> float:
        return asyncio.get_running_loop().time() - self._began_at


def _failure() -> Unreachable:
    return Unreachable("The simulated upstream did not answer, as its fail_share asks.")


def _usage(usage: Usage) -> str:
    total = usage.input_tokens + usage.output_tokens
    return f'{{"prompt_tokens":{usage.input_tokens},"completion_tokens":{usage.output_tokens},"total_tokens":{total}}}'


def _tokens(text: str) -> tuple[str, ...]:
    """A word with the space before it for a token, ready to stand in a JSON string."""
    first, *rest = text.split()
    return tuple(json.dumps(token)[1:-1] for token in (first, *(f" {word}" for word in rest)))


def _text(messages: object) -> str:
    """Everything that the messages say."""
    contents = (
        (message.get("content") for message in messages if isinstance(message, dict))
        if isinstance(messages, list)
        else ()
    )
    return "\n".join(content if isinstance(content, str) else _parts(content) for content in contents)


def _parts(content: object) -> str:
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))
