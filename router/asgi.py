"""The few things that the hot path needs of HTTP, without a framework's cost on each request."""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

import orjson

from weighbridge.dialects.base import Dialect
from weighbridge.errors import CLIENT_GONE, BadRequest, TooLarge, WeighbridgeError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

_LOOK_AFTER_S = 0.2
_UNSAFE = re.compile(r"[^\x20-\x7e]")


class ClientGone(Exception):
    """The client left in the middle of its request: there is nobody to answer."""


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers, names in lower case; of a repeated one the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def header(name: str, value: str) -> Header:
    """A header that is safe to send, whatever the value came from: ASCII, one line, not long."""
    return name.encode(), _UNSAFE.sub("?", value)[:160].encode()


async def read_body(receive: Receive, headers: Mapping[str, str], most: int) -> bytes:
    """The request's body. Raises TooLarge, BadRequest for one that is compressed, or ClientGone."""
    if headers.get("content-encoding", "identity") != "identity":
        error = BadRequest("The body is compressed; send it as it is.", param="content-encoding")
        error.status = 415
        raise error
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > most:
        raise _too_large(most)
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The body is larger than {most / (1 << 20):g} MB (server.max_body_mb).")


async def respond(send: Send, status: int, headers: Iterable[Header], body: bytes) -> None:
    """A whole JSON answer."""
    every = [*headers, (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": body})


def error_answer(error: WeighbridgeError, dialect: Dialect) -> tuple[int, list[Header], bytes]:
    """An error as a whole answer: status, headers that tell whether to try again, body."""
    headers = []
    if error.retry_after_s is not None:
        headers.append(header("retry-after", str(math.ceil(error.retry_after_s))))
    if error.should_retry is False:
        headers.append((b"x-should-retry", b"false"))
    headers += [header(name, value) for name, value in dialect.error_headers(error).items()]
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return error.status, headers, orjson.dumps(dialect.error_body(error), default=str)


class DisconnectWatch:
    """Cancels the task that answers when its client leaves. A context manager around the answering.

    It begins to look after a moment: most answers are gone by then, and a task for each would cost more than they do.
    receive: None for an answer that is finished whether its client is there or not.
    """

    def __init__(self, receive: Receive | None) -> None:
        self._receive = receive
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Future[None] | None = None
        self.has_left = False

    def __enter__(self) -> "DisconnectWatch":
        self._task = asyncio.current_task()
        if self._receive:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_AFTER_S, self._begin, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def _begin(self, receive: Receive) -> None:
        self._watch = asyncio.ensure_future(_until_gone(receive))
        self._watch.add_done_callback(self._gone)

    def _gone(self, watch: "asyncio.Future[None]") -> None:
        if not watch.cancelled() and self._task is not None:
            self.has_left = True
            self._task.cancel(CLIENT_GONE)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
