"""Ollama over its own `/api/chat`: what its OpenAI endpoint ignores (`num_ctx`, `keep_alive`) is heeded there."""

import json
import re
import time
from os import urandom
from typing import Any

import orjson
from pydantic import Field, PrivateAttr, field_validator

from weighbridge.dialects.base import Dialect
from weighbridge.dialects.chat import CHAT
from weighbridge.dialects.embeddings import EMBEDDINGS
from weighbridge.errors import Cut, Failed, Incapable, Refused, Unreachable, UpstreamError
from weighbridge.upstreams import ollama_translation as translation
from weighbridge.upstreams.base import Completion, Stream
from weighbridge.upstreams.families import Quirk, suited
from weighbridge.upstreams.http import HttpUpstream, Reply, parsed
from weighbridge.upstreams.presence import Presence, of_ollama_server
from weighbridge.wire import Body, error_fields

MAX_LINE_BYTES = 1 << 20

# Ollama answers 400 to what a model cannot do, in words only.
_INCAPABLE = re.compile(r"does not support|no multimodal|not support(?:ed)? (?:tools|images|vision)", re.IGNORECASE)
_THINKING = re.compile(r"does not support thinking|think value .* not supported", re.IGNORECASE)
_NO_SUCH_MODEL = re.compile(r"model .*not found", re.IGNORECASE)
_TOO_LONG = re.compile(r"context (?:length|size|window)", re.IGNORECASE)
# Older ones ignore `truncate` and cut a prompt that is too long without a word.
_FIRST_HONEST = (0, 12, 6)


class Ollama(HttpUpstream):
    """`base_url` is the root, without `/v1`.

    context_window: asked for with every request (`num_ctx`). Without it Ollama takes its own default, often 4096.
    keep_alive: how long the model stays in memory after a request: "10m", seconds, or -1 for ever.
    think: true, false, "low", "medium" or "high"; without it what the client asks for.
    options: Ollama's own, for every request: num_gpu, num_thread, ... A request's own values go before them.
    """

    base_url: str = "http://127.0.0.1:11434"
    keep_alive: str | int | None = None
    think: bool | str | None = None
    options: dict[str, bool | int | float | str | list[str]] = Field(default_factory=dict)

    _quirks: frozenset[Quirk] | None = PrivateAttr(default=None)
    _cannot_think: bool = PrivateAttr(default=False)  # learnt from its first refusal

    @field_validator("base_url")
    @classmethod
    def _is_the_root(cls, url: str) -> str:
        if url.endswith("/v1"):
            raise ValueError(f"{url!r} is Ollama's OpenAI endpoint, which ignores num_ctx: leave out the /v1")
        return url

    async def look(self) -> Presence:
        return await of_ollama_server(self._root, self.model, self.context_window)

    def serves(self, path: str) -> bool:
        return path in {CHAT.path, EMBEDDINGS.path}

    async def complete(self, body: Body, dialect: Dialect = CHAT) -> Completion:
        if dialect is EMBEDDINGS:
            return await self._embedded(body)
        reply = await self._ask(body, is_stream=False)
        answer = parsed(await reply.body())
        if not isinstance(answer, dict) or not isinstance(answer.get("message"), dict):
            raise _failure(answer)
        answer_id, created = _new_id(), int(time.time())
        return Completion(
            translation.completion(answer, answer_id=answer_id, created=created), translation.usage_of(answer)
        )

    async def stream(self, body: Body, dialect: Dialect = CHAT) -> Stream:
        reply = await self._ask(body, is_stream=True)
        options = body.fields.get("stream_options") or {}
        wants_usage = bool(options.get("include_usage"))
        chunks = translation.Chunks(answer_id=_new_id(), created=int(time.time()), wants_usage=wants_usage)
        return _LineStream(reply, chunks)

    async def check(self) -> str:
        found = await self.get("/api/version")
        version = str(found.get("version", "?")) if isinstance(found, dict) else "?"
        try:
            reply = await self._post_json("/api/show", {"model": self.model}, self.limits.connect_s)
            shown = parsed(await reply.body())
        except Unreachable:
            raise Unreachable(f"Ollama {version} answers, but {_pull(self.model)} {await self._installed()}") from None
        return f"Ollama {version} has {self.model}{_window(shown, self.context_window)}{_warning(version)}"

    async def _ask(self, body: Body, *, is_stream: bool) -> Reply:
        if self._quirks is None:
            self._quirks = await self.known_quirks()
        body = suited(body, self._quirks, self.task_prefix)
        wanted = translation.request(body.fields, self._settings(), is_stream=is_stream)
        if self._cannot_think:
            wanted.pop("think", None)
        first_token_s = self.limits.first_token_s if is_stream else None
        try:
            return await self._post_json("/api/chat", wanted, first_token_s)
        except Incapable as refusal:
            if "think" not in wanted or not _THINKING.search(refusal.message):
                raise
        # An effort that this model does not know is no reason to leave the client without an answer. Nothing was done
        # yet, and it is asked only once.
        self._cannot_think = True
        del wanted["think"]
        return await self._post_json("/api/chat", wanted, first_token_s)

    async def _embedded(self, body: Body) -> Completion:
        """Embeddings have no window to be lost: Ollama's OpenAI endpoint will do."""
        try:
            reply = await self.post("/v1/embeddings", body.spliced({"model": self.model}), first_token_s=None)
        except Refused as refusal:
            raise _explained(refusal, self.model) from refusal
        raw = await reply.body()
        fields = parsed(raw)
        if not isinstance(fields, dict) or not EMBEDDINGS.is_answer(fields):
            raise _failure(fields)
        return Completion(raw, EMBEDDINGS.usage_of(fields), reply.headers)

    async def _post_json(self, path: str, wanted: dict[str, Any], first_token_s: float | None = None) -> Reply:
        try:
            return await self.post(path, json.dumps(wanted).encode(), first_token_s=first_token_s)
        except Refused as refusal:
            raise _explained(refusal, self.model) from refusal

    async def _installed(self) -> str:
        listed = await self.get("/api/tags")
        models = listed.get("models") if isinstance(listed, dict) else None
        names = [str(model.get("name")) for model in models or () if isinstance(model, dict)]
        return f"(installed: {', '.join(names[:8]) or 'no model'})"

    def _settings(self) -> translation.Settings:
        return translation.Settings(
            model=self.model,
            context_window=self.context_window,
            keep_alive=self.keep_alive,
            think=self.think,
            options=self.options,
        )


class _LineStream(Stream):
    """Ollama's lines of JSON, read as OpenAI's chunks."""

    def __init__(self, reply: Reply, chunks: translation.Chunks) -> None:
        self._reply = reply
        self._chunks = chunks
        self._rest = b""

    async def read(self) -> list[bytes]:
        while not self._chunks.is_done:
            chunk = await self._reply.chunk()
            if not chunk and not self._rest:
                raise Cut("The upstream ended its answer in the middle.")
            *lines, self._rest = (self._rest + chunk).split(b"\n") if chunk else (self._rest, b"")
            if len(self._rest) > MAX_LINE_BYTES:
                raise Failed("The upstream sent a line larger than 1 MiB.", code="upstream_too_large")
            if events := [event for line in lines if line.strip() for event in self._events(line)]:
                self._reply.progress()
                return events
        return []

    async def aclose(self) -> None:
        self._reply.close()

    def _events(self, line: bytes) -> list[bytes]:
        fields = parsed(line)
        if not isinstance(fields, dict) or "error" in fields:
            raise _failure(fields)
        return self._chunks.of(fields)


def _new_id() -> str:
    return f"chatcmpl-{urandom(12).hex()}"


def _explained(refusal: Refused, model: str) -> UpstreamError:
    """Ollama's refusal: of the request, of what this model cannot do, or because the model is not there."""
    # Newer versions wrap their engine's own error, as text.
    message = error_fields(refusal.message.encode())[0] or refusal.message
    if refusal.status == 404 and _NO_SUCH_MODEL.search(message):
        return Unreachable(_pull(model), code="model_not_installed")
    if refusal.code != "context_length_exceeded" and _INCAPABLE.search(message):
        return Incapable(message, param=refusal.param)
    return Refused(message, status=refusal.status, type=refusal.type, param=refusal.param, code=refusal.code)


def _failure(fields: object) -> UpstreamError:
    """A 200 that turned out to be a failure, before the first token or in the middle."""
    message = error_fields(orjson.dumps(fields))[0] if isinstance(fields, dict) and "error" in fields else None
    if message and _TOO_LONG.search(message):
        code = "context_length_exceeded"
        return Refused("The context window is full.", status=400, type="invalid_request_error", param=None, code=code)
    if message:
        return Failed("Ollama reported an error while it ran the model.")
    return Failed("The upstream's answer is not one of Ollama's.", code="upstream_malformed")


def _pull(model: str) -> str:
    return f"the model {model} is not installed: run `ollama pull {model}`"


def _window(shown: object, configured: int | None) -> str:
    """What the model could hold in its context, beside what it is asked to."""
    info = shown.get("model_info") if isinstance(shown, dict) else None
    lengths = (value for name, value in (info or {}).items() if name.endswith(".context_length"))
    trained = next((value for value in lengths if isinstance(value, int)), None)
    most = f", trained on contexts of {trained:,} tokens" if trained else ""
    if configured is None:
        return f"{most}; context_window is not set, so Ollama's default applies (often 4,096)"
    if trained and configured > trained:
        return f"{most}: context_window = {configured} is more than it can hold"
    return f"{most}; context_window = {configured}"


def _warning(version: str) -> str:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if numbers and numbers < _FIRST_HONEST:
        return "; before 0.12.6 it cuts prompts that are too long without saying so: update it"
    return ""
