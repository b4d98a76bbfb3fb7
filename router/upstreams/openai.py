"""Any server that speaks OpenAI's API: OpenAI, vLLM, llama.cpp, LM Studio. Bytes pass as they are."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeVar

from weighbridge.dialects.base import Dialect
from weighbridge.dialects.chat import CHAT
from weighbridge.dialects.completions import COMPLETIONS
from weighbridge.errors import Failed, NotServed, Refused, UpstreamError
from weighbridge.upstreams import prompting
from weighbridge.upstreams.adapting import Lack, adapted, lack_of
from weighbridge.upstreams.base import Completion, Forward, Stream
from weighbridge.upstreams.families import Quirk, is_prompted, quirk_of, suited
from weighbridge.upstreams.http import HttpUpstream, Reply, parsed
from weighbridge.upstreams.presence import is_same_model
from weighbridge.upstreams.quirks import Tidy, tidied
from weighbridge.upstreams.sse import Splitter
from weighbridge.wire import Body, error_fields, parse

T = TypeVar("T")

# What ends a stream: with the rest of the body read, its connection can serve again.
_LAST = re.compile(rb'^\[DONE\]$|"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed)|message_stop)"')


_NAME = re.compile(rb'"model"\s*:\s*"([^"\\]+)"')


class OpenAI(HttpUpstream):
    """`base_url` includes the `/v1`.

    endpoints: what the server has besides chat completions, such as ["/embeddings", "/responses"]. Without it the
        gateway finds out: what answers 404 or 405 is not asked for again. Anthropic's /messages is asked for only where
        it is named here.
    lacks: what the server does not take, to be put in words that it knows. What it refuses in plain words is learnt.
    other_model: what is done with an answer that a local server gives in another model's name.
    """

    include_usage: bool = True  # ask for the usage of streams, for the ledger; off for servers that refuse the field
    endpoints: tuple[str, ...] | None = None
    lacks: tuple[Lack, ...] = ()
    other_model: Literal["note", "refuse"] = "note"

    @cached_property
    def _learnt(self) -> "_Learnt":
        """Made on first use: a private attribute of pydantic's costs more to read on every request."""
        return _Learnt(frozenset(self.lacks))

    def serves(self, path: str) -> bool:
        if path == CHAT.path:
            return True
        if self.endpoints is not None:
            return path in self.endpoints
        return path != "/messages" and path not in self._learnt.missing

    async def complete(self, body: Body, dialect: Dialect = CHAT) -> Completion:
        if dialect is not CHAT:
            return await self._completed(body, dialect)
        spoken, completion = await self._suiting(body, self._completed)
        if spoken is CHAT:
            return completion
        return replace(completion, body=prompting.answered(completion.body))

    async def stream(self, body: Body, dialect: Dialect = CHAT) -> Stream:
        if dialect is not CHAT:
            return await self._streamed(body, dialect)
        spoken, stream = await self._suiting(body, self._streamed)
        return stream if spoken is CHAT else prompting.Chatting(stream)

    async def _suiting(self, body: Body, act: Callable[[Body, Dialect], Awaitable[T]]) -> tuple[Dialect, T]:
        """Ask as the model can be asked; where its refusal shows another quirk, once more with that in mind."""
        while True:
            if self._learnt.quirks is None:
                self._learnt.quirks = await self.known_quirks()
            quirks = self._learnt.quirks
            dialect: Dialect = CHAT
            sent = suited(body, quirks, self.task_prefix)
            if is_prompted(quirks):
                sent, dialect = prompting.asked(sent), COMPLETIONS
            try:
                return dialect, await act(sent, dialect)
            except Refused as refusal:
                learnt = quirk_of(refusal, body.fields)
                if learnt is None or learnt in quirks:
                    raise
                self._learnt.quirks = quirks | {learnt}

    async def _completed(self, body: Body, dialect: Dialect) -> Completion:
        reply = await self._post(dialect, body, first_token_s=None)
        raw = await reply.body()
        fields = parsed(raw)
        if not isinstance(fields, dict) or not dialect.is_answer(fields):
            raise _nonsense(raw)
        if fields.get("model"):
            self._look_at_name(fields["model"])
        else:
            raw = _named(raw, self.model)
        if self._is_mended(dialect):
            raw = tidied(raw)
        return Completion(raw, dialect.usage_of(fields), reply.headers)

    async def _streamed(self, body: Body, dialect: Dialect) -> Stream:
        reply = await self._post(dialect, body, first_token_s=self.limits.first_token_s)
        if not reply.content_type.startswith("text/event-stream"):
            raise _nonsense(await reply.body())
        look = self._look_at_name if self.location == "local" else None
        return EventStream(reply, Tidy(self.model) if self._is_mended(dialect) else None, look)

    async def forward(self, sending: Forward) -> Stream:
        path = sending.path.partition("?")[0]
        try:
            reply = await self.send(sending)
        except Refused as refusal:
            raise self._known(path, refusal) from refusal
        return ByteStream(reply)

    async def check(self) -> str:
        names = await self.models()
        if self.model in names:
            return f"answers, and serves {self.model}"
        return f"answers, but does not list {self.model} (it lists {', '.join(map(str, names[:5])) or 'nothing'})"

    async def models(self) -> list[str]:
        listed = await self.get("/models")
        data = listed.get("data") if isinstance(listed, dict) else None
        return [str(m.get("id")) for m in data or () if isinstance(m, dict)]

    def _look_at_name(self, name: object) -> None:
        """A local server may answer with another model than it was asked for. Raises Failed where it must not."""
        if self.location != "local" or not isinstance(name, str) or is_same_model(name, self.model):
            return
        self.notice("other_model", f"answers as {name[:200]!r}")
        if self.other_model == "refuse":
            raise Failed("The upstream answered with another model.", code="upstream_other_model")

    def _is_mended(self, dialect: Dialect) -> bool:
        return self.location == "local" and dialect is CHAT

    async def _post(self, dialect: Dialect, body: Body, first_token_s: float | None) -> Reply:
        """Send it in the server's words; where it says that it lacks one, once more without."""
        while True:
            lacks = self._learnt.lacks
            sent = adapted(body, lacks) if lacks and dialect is CHAT else body
            changes = {"model": self.model}
            if self.include_usage and sent.fields.get("stream") and Lack.STREAM_OPTIONS not in lacks:
                changes |= dialect.stream_changes(sent.fields)
            try:
                return await self.post(dialect.path, sent.spliced(changes), first_token_s=first_token_s)
            except Refused as refusal:
                lack = lack_of(refusal, sent.fields, sent.added) if dialect is CHAT else None
                if lack is None or lack in lacks:
                    raise self._known(dialect.path, refusal) from refusal
                self._learnt.lacks = lacks | {lack}

    def _known(self, path: str, refusal: Refused) -> Refused:
        """A refusal, or that the server has nothing at this path, which is remembered."""
        if path != CHAT.path and refusal.status in {404, 405} and refusal.code != "model_not_found":
            if self.endpoints is None:
                self._learnt.missing.add(path)
            return NotServed(path)
        return refusal


@dataclass(slots=True)
class _Learnt:
    """What a server turned out not to take, and not to have, and its model not to know."""

    lacks: frozenset[Lack]
    missing: set[str] = field(default_factory=set)
    quirks: frozenset[Quirk] | None = None


class EventStream(Stream):
    """Server-sent events, as they come."""

    def __init__(self, reply: Reply, tidy: Tidy | None, look: Callable[[str], None] | None = None) -> None:
        self._reply = reply
        self._look = look  # at the model's name, once
        self._splitter = Splitter()
        self._tidy = tidy
        self._is_done = False
        self.headers = reply.headers

    async def read(self) -> list[bytes]:
        while chunk := await self._reply.chunk():
            if events := self._splitter.feed(chunk):
                self._reply.progress()
                if self._look and (named := _NAME.search(events[0])):
                    look, self._look = self._look, None
                    look(named[1].decode("utf-8", "replace"))
                self._is_done = bool(_LAST.search(events[-1]))
                return self._mended(events)
        return self._mended(self._splitter.flush())

    def _mended(self, events: list[bytes]) -> list[bytes]:
        return events if self._tidy is None else [self._tidy.chunk(event) for event in events]

    async def aclose(self) -> None:
        if self._is_done and not self._reply.has_ended:
            # The end of the body is on its way; with it the connection can serve again.
            with suppress(TimeoutError, UpstreamError):
                async with asyncio.timeout(1):
                    await self._reply.chunk()
        self._reply.close()


class ByteStream(Stream):
    """A forwarded answer, byte for byte."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.headers = reply.headers
        self.content_type = reply.content_type or "application/octet-stream"

    async def read(self) -> list[bytes]:
        chunk = await self._reply.chunk()
        self._reply.progress()
        return [chunk] if chunk else []

    async def aclose(self) -> None:
        self._reply.close()


def _nonsense(raw: bytes) -> Failed:
    """A 200 that is no answer: an error in disguise, or something else altogether."""
    message = error_fields(raw)[0]
    return Failed(
        f"The upstream reported an error: {message}" if message else "The upstream's answer is not what was asked for.",
        code="upstream_malformed",
    )


def _named(raw: bytes, model: str) -> bytes:
    return parse(raw).spliced({"model": model})
