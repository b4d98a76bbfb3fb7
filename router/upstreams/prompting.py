"""Chat for models without a chat template: asked through `/completions`, and answered as a chat."""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from weighbridge.dialects.base import translated
from weighbridge.upstreams.base import Stream
from weighbridge.wire import Body

DONE = b"[DONE]"
MOST_TOKENS = 512  # where the request names no limit; without one the API gives 16

# What means nothing to a text.
_OF_CHAT = frozenset(
    (
        *("messages", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "modalities"),
        *("max_completion_tokens", "logprobs", "top_logprobs", "store", "metadata", "reasoning_effort", "verbosity"),
        *("prediction", "service_tier", "chat_template_kwargs"),
    )
)


def asked(body: Body) -> Body:
    """The request of `/completions` for a chat of one message."""
    fields = body.fields
    kept = {name: value for name, value in fields.items() if name not in _OF_CHAT}
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens") or MOST_TOKENS
    logprobs = {"logprobs": fields.get("top_logprobs") or 0} if fields.get("logprobs") else {}
    return translated({**kept, "prompt": fields["messages"][0]["content"], "max_tokens": limit, **logprobs})


def answered(raw: bytes) -> bytes:
    """A whole text completion as a chat completion."""
    return json.dumps(_as_chat(json.loads(raw), "message"), ensure_ascii=False).encode()


class Chatting(Stream):
    """Chunks of text, read as those of a chat."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._begun: set[object] = set()  # the choices that have said who speaks
        self.headers = stream.headers

    async def read(self) -> list[bytes]:
        return [self._chunk(event) for event in await self._stream.read()]

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _chunk(self, event: bytes) -> bytes:
        if event == DONE:
            return event
        try:
            fields = orjson.loads(event)
        except orjson.JSONDecodeError:
            return event
        if not isinstance(fields, dict) or not isinstance(fields.get("choices"), list):
            return event  # an error, or what is not ours to judge
        chunk = _as_chat(fields, "delta")
        for choice in chunk["choices"]:
            if choice["index"] not in self._begun:
                self._begun.add(choice["index"])
                choice["delta"]["role"] = "assistant"
        return orjson.dumps(chunk)


def _as_chat(fields: Mapping[str, Any], part: str) -> dict[str, Any]:
    named = "chat.completion" if part == "message" else "chat.completion.chunk"
    choices = [_choice(choice, part) for choice in fields.get("choices") or () if isinstance(choice, dict)]
    return {**fields, "object": named, "choices": choices}


def _choice(choice: Mapping[str, Any], part: str) -> dict[str, Any]:
    said: dict[str, Any] = {"content": choice.get("text") or ""}
    if part == "message":
        said = {"role": "assistant", **said}
    logprobs = choice.get("logprobs")
    return {
        "index": choice.get("index") or 0,
        part: said,
        "logprobs": _logprobs(logprobs) if isinstance(logprobs, dict) else None,
        "finish_reason": choice.get("finish_reason"),
    }


def _logprobs(given: Mapping[str, Any]) -> dict[str, Any]:
    """Three lists side by side as one of tokens. The first token of a prompt has no probability."""
    tops = given.get("top_logprobs") or [None] * len(given.get("tokens") or ())
    entries = zip(given.get("tokens") or (), given.get("token_logprobs") or (), tops, strict=False)
    return {
        "content": [
            {**_token(token, logprob), "top_logprobs": [_token(*pair) for pair in (top or {}).items()]}
            for token, logprob, top in entries
            if logprob is not None
        ]
    }


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
