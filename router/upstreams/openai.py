"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, LM Studio. Bytes pass as they are."""

import asyncio
from contextlib import suppress

from weighbridge.errors import Failed, UpstreamError
from weighbridge.upstreams.base import Completion, Stream
from weighbridge.upstreams.http import HttpUpstream, Reply, parsed
from weighbridge.upstreams.sse import Splitter
from weighbridge.wire import Body, error_fields, parse, usage_of


class OpenAI(HttpUpstream):
    """`base_url` includes the `/v1`."""

    include_usage: bool = True  # ask for the usage of streams, for the ledger; off for servers that refuse the field

    async def complete(self, body: Body) -> Completion:
        reply = await self.post("/chat/completions", body.spliced({"model": self.model}), first_token_s=None)
        raw = await reply.body()
        fields = parsed(raw)
        if not isinstance(fields, dict) or not isinstance(fields.get("choices"), list):
            raise _nonsense(raw)
        if not fields.get("model"):
            raw = _named(raw, self.model)
        return Completion(raw, usage_of(fields.get("usage")), reply.headers)

    async def stream(self, body: Body) -> Stream:
        changes: dict[str, object] = {"model": self.model}
        options = body.fields.get("stream_options") or {}
        if self.include_usage and not options.get("include_usage"):
            changes["stream_options"] = {**options, "include_usage": True}
        reply = await self.post("/chat/completions", body.spliced(changes), first_token_s=self.limits.first_token_s)
        if not reply.content_type.startswith("text/event-stream"):
            raise _nonsense(await reply.body())
        return EventStream(reply)

    async def check(self) -> str:
        listed = await self.get("/models")
        names = [m.get("id") for m in listed.get("data", []) if isinstance(m, dict)] if isinstance(listed, dict) else []
        if self.model in names:
            return f"answers, and serves {self.model}"
        return f"answers, but does not list {self.model} (it lists {', '.join(map(str, names[:5])) or 'nothing'})"


class EventStream(Stream):
    """Server-sent events, as they come."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._splitter = Splitter()
        self._is_done = False
        self.headers = reply.headers

    async def read(self) -> list[bytes]:
        while chunk := await self._reply.chunk():
            if events := self._splitter.feed(chunk):
                self._reply.progress()
                self._is_done = events[-1] == b"[DONE]"
                return events
        return self._splitter.flush()

    async def aclose(self) -> None:
        if self._is_done and not self._reply.has_ended:
            # The end of the body is on its way; with it the connection can serve again.
            with suppress(TimeoutError, UpstreamError):
                async with asyncio.timeout(1):
                    await self._reply.chunk()
        self._reply.close()


def _nonsense(raw: bytes) -> Failed:
    """A 200 that is no answer: an error in disguise, or something else altogether."""
    message = error_fields(raw)[0]
    return Failed(
        f"The upstream reported an error: {message}" if message else "The upstream's answer is not a chat completion.",
        code="upstream_malformed",
    )


def _named(raw: bytes, model: str) -> bytes:
    return parse(raw).spliced({"model": model})
