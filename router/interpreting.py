"""Between a request's dialect and what an upstream speaks: straight through where it can be, through chat where not."""

import json
from dataclasses import replace

import orjson

from weighbridge.dialects.base import Translation, translated
from weighbridge.errors import BadRequest, Failed, Incapable, NotServed
from weighbridge.preprocess.base import Prepared
from weighbridge.schemas import Request
from weighbridge.streaming import DONE, Relay, reported
from weighbridge.units import Usage
from weighbridge.upstreams.base import Completion, Stream, Upstream
from weighbridge.wire import Body, estimated_output_tokens


async def complete(upstream: Upstream, request: Request, prepared: Prepared | None = None) -> Completion:
    """The whole answer, in the request's dialect. Raises UpstreamError. prepared: what a remote upstream is sent."""
    if prepared and upstream.location == "remote":
        completion = await complete(upstream, replace(request, body=prepared.body))
        return replace(completion, body=prepared.undo.whole(completion.body)) if prepared.undo else completion
    if upstream.serves(request.dialect.path):
        try:
            return await upstream.complete(request.body, request.dialect)
        except NotServed:
            pass
    translation, body = translation_of(request)
    completion = await upstream.complete(body)
    answer = translation.answer(orjson.loads(completion.body))
    return replace(completion, body=json.dumps(answer, ensure_ascii=False).encode())


def took(completion: Completion, request: Request) -> Usage:
    """What a whole answer took: as its upstream says, else estimated."""
    return completion.usage or Usage(
        request.estimated_input_tokens, estimated_output_tokens(completion.body), source="estimated"
    )


async def stream(
    upstream: Upstream, request: Request, prepared: Prepared | None = None, *, is_buffered: bool
) -> tuple[Stream, Relay, bytes]:
    """An open stream, what follows it, and its first bytes for the client. Raises UpstreamError.

    What comes first is looked at: an upstream may say 200 and then report an error. is_buffered: all of it is, so that
    an answer that breaks can still be had from another upstream.
    """
    opened = await _opened(upstream, request, prepared)
    relay = request.dialect.relay(request.body.fields)
    try:
        parts: list[bytes] = []
        while (is_buffered or not any(parts)) and not relay.is_done:
            events = await opened.read()
            if not events:
                relay.end()
                break
            parts.append(relay.take(events))
    except BaseException:
        await opened.aclose()
        raise
    return opened, relay, b"".join(parts)


async def _opened(upstream: Upstream, request: Request, prepared: Prepared | None = None) -> Stream:
    if prepared and upstream.location == "remote":
        opened = await _opened(upstream, replace(request, body=prepared.body))
        return prepared.undo.stream(opened) if prepared.undo else opened
    if upstream.serves(request.dialect.path):
        try:
            return await upstream.stream(request.body, request.dialect)
        except NotServed:
            pass
    translation, body = translation_of(request)
    return Translated(await upstream.stream(body), translation)


def translation_of(request: Request) -> tuple[Translation, Body]:
    """A request in terms of chat. Raises Incapable."""
    try:
        translation = request.dialect.translation(request.body.fields)
        return translation, translated(translation.chat)
    except BadRequest as error:
        # Another upstream may speak the dialect itself.
        raise Incapable(error.message, param=error.param, code=error.code) from error
    except RecursionError:
        raise Incapable("The body is nested too deeply.") from None


class Translated(Stream):
    """Chat chunks, read as another dialect's events."""

    def __init__(self, stream: Stream, translation: Translation) -> None:
        self._stream = stream
        self._translation = translation
        self._has_ended = False
        self._is_finished = False
        self.headers = stream.headers

    async def read(self) -> list[bytes]:
        while not self._has_ended:
            chunks = await self._stream.read()
            self._has_ended = not chunks or chunks[-1] == DONE
            events = [event for chunk in chunks if chunk != DONE for event in self._events(chunk)]
            if self._has_ended and self._is_finished:  # a cut answer gets no closing events
                events += map(_as_json, self._translation.end())
            if events:
                return events
        return []

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _events(self, chunk: bytes) -> list[bytes]:
        try:
            fields = orjson.loads(chunk)
        except orjson.JSONDecodeError:
            raise Failed("The upstream sent a chunk that is not JSON.", code="upstream_malformed") from None
        if "error" in fields and "choices" not in fields:
            raise reported(chunk)
        self._is_finished |= any(choice.get("finish_reason") for choice in fields.get("choices") or ())
        return [_as_json(event) for event in self._translation.events(fields)]


def _as_json(event: object) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()
