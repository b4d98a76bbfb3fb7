"""The scripted upstream: an OpenAI-compatible server that gives one fixed answer, as lean as Python allows.

Run as a program: `python -m rig.upstream --port N`. `GET /script?delay_ms=100&gap_ms=4` sets how long it waits before
an answer and between the events of a stream; 0 and 0 is the beginning.
"""

import argparse
import asyncio
import re
from typing import cast
from urllib.parse import parse_qs, urlsplit

import uvloop

from rig import script


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _response(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


_WHOLE = _response(script.whole_answer())
_MODELS = _response(b'{"object":"list","data":[{"id":"small-model","object":"model","created":0,"owned_by":"rig"}]}')
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_EVENTS = [_framed(event) for event in script.events()]
_LAST = _framed(script.DONE) + b"0\r\n\r\n"
_PLAIN_END = [*_EVENTS, _LAST]
_USAGE_END = [*_EVENTS, _framed(script.usage_event()), _LAST]
_IS_STREAM = re.compile(rb'"stream"\s*:\s*true')
_WANTS_USAGE = re.compile(rb'"include_usage"\s*:\s*true')


class Pace:
    """How long it takes; one for the whole server."""

    delay_s = 0.0
    gap_s = 0.0


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pace: Pace) -> None:
        self.loop = loop
        self.pace = pace
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data if self.buffer else data
        end = buffer.find(b"\r\n\r\n")
        body = _body(buffer, end) if end >= 0 else None
        if body is None:
            self.buffer = buffer
            return
        self.buffer = b""
        self._route(buffer[:end], body)

    def _route(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"POST"):
            if self.pace.delay_s:
                self.loop.call_later(self.pace.delay_s, self._answer, body)
            else:
                self._answer(body)
        elif head.startswith(b"GET /script"):
            query = parse_qs(urlsplit(head.split(b" ", 2)[1].decode()).query)
            self.pace.delay_s = float(query["delay_ms"][0]) / 1000
            self.pace.gap_s = float(query["gap_ms"][0]) / 1000
            self._write(_MODELS)
        else:
            self._write(_MODELS)

    def _answer(self, body: bytes) -> None:
        if not _IS_STREAM.search(body):
            self._write(_WHOLE)
            return
        self._write(_STREAM_HEAD)
        # Each event in its own turn of the loop, so that it leaves in its own packet as a model's tokens do.
        self._tell(_USAGE_END if _WANTS_USAGE.search(body) else _PLAIN_END, 0)

    def _tell(self, events: list[bytes], i: int) -> None:
        if self.transport is None:
            return
        self.transport.write(events[i])
        if i + 1 == len(events):
            return
        if self.pace.gap_s:
            self.loop.call_later(self.pace.gap_s, self._tell, events, i + 1)
        else:
            self.loop.call_soon(self._tell, events, i + 1)

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)


def _body(buffer: bytes, end: int) -> bytes | None:
    """The request's body, or None while some of it is still to come."""
    head = buffer[:end].lower()
    at = head.find(b"content-length:")
    if at >= 0:
        length = int(head[at + 15 : (head + b"\r\n").index(b"\r\n", at)])
        return buffer[end + 4 :] if len(buffer) >= end + 4 + length else None
    if b"transfer-encoding: chunked" in head:
        # Good enough to look for words in: JSON holds no bare line break, so no chunk looks like the last one.
        return buffer[end + 4 :] if buffer.endswith(b"0\r\n\r\n") else None
    return b""


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    pace = Pace()
    server = await loop.create_server(lambda: Upstream(loop, pace), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_serve(parser.parse_args().port))
