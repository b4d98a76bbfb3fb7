"""How long and how much a client may take: uvicorn's HTTP/1.1, with an end to what is too slow, too large or too many.

One timer for each connection looks at where it stands. Nothing is added to a request but the time of its first byte.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from weighbridge.api import refused
from weighbridge.asgi import ASGIApp, Header, Receive, Scope, Send, respond
from weighbridge.errors import BadRequest, MethodNotAllowed, Unavailable, WeighbridgeError
from weighbridge.server import Server

BYTES_A_SECOND = 16 << 10  # who sends at least so many may take longer than body_timeout_s
LINGER_S = 2.0  # after a refusal, so that it is read before the connection goes
LINGER_BYTES = 4 << 20
OWN_FILES = 32  # what a process has open of its own
_UPGRADES = frozenset({b"upgrade", b"http2-settings"})


@dataclass(frozen=True, slots=True)
class Limits:
    """`[server]` in bytes and seconds."""

    header_bytes: int
    headers: int
    body_bytes: int
    connections: int
    header_s: float
    body_s: float
    write_s: float

    @classmethod
    def of(cls, server: Server, files: float = math.inf) -> "Limits":
        """files: how many the process may have open. A request may need a second one, to its upstream."""
        return cls(
            header_bytes=int(server.max_header_kb * 1024),
            headers=server.max_headers,
            body_bytes=int(server.max_body_mb * (1 << 20)),
            connections=int(min(server.max_connections, max(1, (files - OWN_FILES) // 2))),
            header_s=server.header_timeout_s,
            body_s=server.body_timeout_s,
            write_s=server.write_timeout_s,
        )


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, *arguments: Any, limits: Limits, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._limits = limits
        self._period_s = min(limits.header_s, limits.body_s, limits.write_s)
        self._timer: asyncio.TimerHandle | None = None
        self._began_s = 0.0  # when the request that is being read did, or the connection
        self._paused_s = 0.0  # since when the client has read nothing of what waits for it
        self._left = 0  # bytes that waited then
        self._is_closing = False
        self._refused_s: float | None = None
        self._read = 0  # bytes of the last read
        self._received = 0  # bytes of the request, but for the read in which it began
        self._is_refused = False
        self._why: WeighbridgeError | None = None

    # What the transport tells.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._began_s = self.loop.time()
        self._look_at(self._began_s + self._period_s)
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unset_keepalive_if_required()  # uvicorn's own forgets it after a reset, and everything hangs on it
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._watch_reading()
        super().pause_writing()

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            self._began_s = self.loop.time()  # it was idle
            self._unset_keepalive_if_required()
        self._read = len(data)
        if self._is_refused:
            self._linger()
            return
        begun = self.scope
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._why or _malformed("This is not an HTTP/1.1 request."))
        if self.scope is begun:
            self._received += self._read
            if self._received > self._limits.header_bytes and self._is_in_headers:
                self._refuse(self._too_large())

    # What the parser tells.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._began_s = self.loop.time()
        self._received = 0

    def on_headers_complete(self) -> None:
        self._why = self._wrong()
        if self._why is not None:
            raise ValueError  # ends the parsing
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None and not self.cycle.more_body:
            # What an idle connection remembers of its last request is more than it takes itself.
            self.scope = self.headers = self.cycle = None  # type: ignore[assignment]  # as before the first one

    def _wrong(self) -> WeighbridgeError | None:
        """What is wrong with the headers."""
        names = [name for name, _ in self.headers]
        if len(names) > self._limits.headers:
            return self._too_large()
        # Only where much was read can they be large.
        if self._read + self._received > self._limits.header_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._limits.header_bytes:
                return self._too_large()
        hosts = names.count(b"host")
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            return _malformed("A request must have one Host header.")
        return None

    def _too_large(self) -> WeighbridgeError:
        most, headers = self._limits.header_bytes >> 10, self._limits.headers
        error = BadRequest(
            f"The headers are more than {headers}, or larger than {most} KB with the request line "
            "(server.max_headers, server.max_header_kb).",
            code="headers_too_large",
        )
        error.status = 431
        return error

    # An Upgrade is declined by ignoring it. The parser stops there, and a body behind it would be lost.

    def _should_upgrade(self) -> bool:
        return True  # so that nothing is begun before the headers come again

    def _decline(self, rest: bytes) -> None:
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(MethodNotAllowed("CONNECT", self.url.decode("latin-1")))
            return
        head = [method, b" ", self.url, b" HTTP/", self.parser.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name == b"connection":
                tokens = (token.strip() for token in value.split(b","))
                head += [name, b": ", b", ".join(t for t in tokens if t.lower() not in _UPGRADES), b"\r\n"]
            elif name not in _UPGRADES:
                head += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([*head, b"\r\n", rest]))

    # What the timer finds.

    @property
    def _is_in_headers(self) -> bool:
        """A request has begun, and its headers are not all there."""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    @property
    def _is_waiting(self) -> bool:
        """Nobody works for this client."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _may_go(self) -> bool:
        """Nothing that anybody worked for is lost with it."""
        return self._is_waiting or (self.cycle.more_body and not self.cycle.response_started and not self.pipeline)

    def _look(self) -> None:
        """End what has lasted too long, and look again when the next thing could have."""
        now_s = self.loop.time()
        if self._due_s(now_s) <= now_s:
            self._end()
        self._look_at(max(now_s, min(self._due_s(now_s), now_s + self._period_s)))

    def _look_at(self, moment_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(moment_s, self._look)

    def _due_s(self, now_s: float) -> float:
        """When what happens now will have lasted too long."""
        limits = self._limits
        if self.transport.is_closing():
            # What is left is the client's to read: a close waits for that, and must not wait for ever.
            if not self._is_closing:
                self._is_closing = True
                self._watch_reading()
            return self._paused_s + limits.write_s
        if self._refused_s is not None:
            return self._refused_s + LINGER_S
        if self.flow.write_paused:
            return self._paused_s + limits.write_s
        if self.flow.read_paused:
            self._began_s = now_s  # what we do not read, the client cannot send
            return math.inf
        if self.timeout_keep_alive_task is not None:
            return math.inf  # uvicorn's own timer ends an idle connection; any byte stops it
        if self.scope is None or self._is_in_headers:
            return self._began_s + limits.header_s
        if self._is_waiting:
            return self._body_due_s
        return self._body_due_s if self.cycle.more_body else math.inf

    @property
    def _body_due_s(self) -> float:
        return self._began_s + self._limits.body_s + min(self._received, self._limits.body_bytes) / BYTES_A_SECOND

    def _end(self) -> None:
        if self.transport.is_closing() or self.flow.write_paused:
            left = self._left
            self._watch_reading()
            if self._left >= left:  # else it is slow, but it reads
                self.transport.abort()
        elif self._refused_s is not None:
            self.transport.abort()
        elif self._is_in_headers:
            self._refuse(_too_slow("The headers took too long (server.header_timeout_s)."))
        elif self._is_waiting:
            self.transport.close()
        else:
            self._refuse(_too_slow("The body took too long (server.body_timeout_s)."))

    def _watch_reading(self) -> None:
        """Begin to measure whether the client reads what waits for it."""
        self._paused_s = self.loop.time()
        self._left = self.transport.get_write_buffer_size()

    # How it is refused.

    def _refuse(self, error: WeighbridgeError) -> None:
        """Answer, and take no more requests."""
        if self._is_refused:
            return
        self._is_refused = True
        if self._is_in_headers and not self._is_waiting:
            # It came behind a request whose answer is under way: that one goes out, and then it is over.
            self.cycle.keep_alive = False
            return
        if self.pipeline and not self._is_in_headers:
            self.cycle.keep_alive = False
            self.pipeline[0] = (self.cycle, _refusing(error))  # type: ignore[assignment]  # when it is its turn
            return
        if not self._is_in_headers and self.cycle is not None:
            has_begun = self.cycle.response_started
            self.cycle.disconnected = True  # who waits for the rest of the body need not wait for it
            self.cycle.message_event.set()
            if has_begun:
                self.transport.close()
                return
        self._refused_s = self.loop.time()
        self._answer(error)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._look_at(self._refused_s + LINGER_S)

    def _answer(self, error: WeighbridgeError) -> None:
        """Write an error as a whole answer, past the application."""
        path = self.url.decode("latin-1").partition("?")[0] if self.scope is not None else ""
        status, headers, body = refused(error, path)
        every: list[Header] = [
            *self.server_state.default_headers,
            *headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = [b"%b: %b\r\n" % header for header in every]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))

    def _linger(self) -> None:
        """Read what is still coming, so that the refusal is not lost to a reset."""
        self._received += self._read
        if self._received > LINGER_BYTES:
            self.transport.abort()

    def _make_room(self) -> None:
        """Who has done nothing for longest goes, then who is not through with asking; else it is the new one."""
        others = [c for c in self.connections if isinstance(c, Connection) and c is not self]
        idle = [c for c in others if c._may_go and not c.transport.is_closing()]
        idle.sort(key=lambda connection: (not connection._is_waiting, connection._began_s))
        for connection in idle[: 1 + len(idle) // 16]:  # several at once: a flood must not cost a look at all for each
            connection.transport.close()
        if not idle:
            self._is_refused = True
            error = Unavailable("Too many connections (server.max_connections).", code="too_many_connections")
            error.retry_after_s = 1
            self._answer(error)
            self.transport.close()


def _refusing(error: WeighbridgeError) -> ASGIApp:
    """An application that only says no."""

    async def refuse(scope: Scope, _: Receive, send: Send) -> None:
        await respond(send, *refused(error, scope["path"]))

    return refuse


def _malformed(what: str) -> WeighbridgeError:
    return BadRequest(what, code="invalid_http")


def _too_slow(what: str) -> WeighbridgeError:
    error = BadRequest(what, code="request_timeout")
    error.status = 408
    return error
