"""A small HTTP/1.1 client: a pool of kept connections to one server, bytes in, bytes out.

httptools (llhttp) reads the answers. There are no redirects, cookies, proxies or compression: an upstream needs none of
them, and each would be a way around the fence. It exists because the client decides what a gateway costs.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

import httptools

MAX_HEAD_BYTES = 32 << 10
# A server that closes an idle connection may do it just as we send. Local ones commonly do after 5 s.
KEEP_PLAIN_S = 4.0
KEEP_TLS_S = 30.0
_HIGH = 256 << 10  # unread bytes at which the server is made to wait


class Broken(ConnectionError):
    """The connection ended early, or what came over it is not HTTP."""


class NoConnection(OSError):
    """The server could not be reached."""


class Link(asyncio.Protocol):
    """One connection: one exchange at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: "deque[Link]", live: "set[Link]") -> None:
        self._loop = loop
        self._pool = pool
        self._live = live
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._has_ended = False
        self.idle_since = 0.0
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[str, str] = {}  # names in lower case
        self.is_done = False
        self._is_kept = self._is_framed = self._is_paused = self._is_closed = False
        self._head_size = self._size = 0
        self._parts: list[bytes] = []

    @property
    def is_usable(self) -> bool:
        """Whether it can carry another exchange."""
        return not self._has_ended

    def send(self, request: bytes) -> None:
        """Begin an exchange."""
        self._begin()
        cast("asyncio.Transport", self._transport).write(request)

    async def head(self) -> None:
        """Return once status and headers are here. Raises Broken."""
        while not self.status:
            await self._news()

    async def read(self) -> bytes:
        """What has come, or nothing at the end of the body. Raises Broken."""
        while not self._parts:
            if self.is_done:
                return b""
            await self._news()
        parts, self._parts = self._parts, []
        self._size = 0
        if self._is_paused:
            self._is_paused = False
            cast("asyncio.Transport", self._transport).resume_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Back to the pool after a whole answer; otherwise the connection ends, and with it the server's work."""
        if self._is_closed:
            return
        self._is_closed = True  # closing twice must not give it to two
        if self.is_done and self._is_kept and not self._has_ended and not self._parts:
            self.idle_since = time.monotonic()
            self._pool.append(self)
        else:
            self.abort()

    def abort(self) -> None:
        """End the connection now."""
        self._has_ended = True
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._live.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._live.discard(self)
        if self.status and not self._is_framed and not self._has_ended:
            self.is_done = True  # a body without a length ends with its connection, when the server ends it
        self._has_ended = True
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self.is_done or self._is_closed:  # a server that talks unasked cannot be trusted with the next request
            self.abort()
            return
        if not self.status:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()
        if not self.status and self._head_size > MAX_HEAD_BYTES:
            self.abort()

    # httptools calls these.

    def on_message_begin(self) -> None:
        if self.is_done:  # what follows a whole answer is nobody's
            raise Broken("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        self.headers[key] = value.decode("latin-1")
        if key in {"content-length", "transfer-encoding"}:
            self._is_framed = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:  # 100 and 103 announce the real one
            self.status = status
            self._wake()

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > _HIGH and not self._is_paused:
            self._is_paused = True
            cast("asyncio.Transport", self._transport).pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self.status:
            self.is_done = True
            self._is_kept = self._parser.should_keep_alive()
            self._wake()

    async def _news(self) -> None:
        if self._has_ended:
            raise Broken("the connection ended")
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Client:
    """The connections to one server.

    base_url: the path of each request is appended to it. headers: sent with every request. connect_s: seconds.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], connect_s: float) -> None:
        url = urlsplit(base_url)
        self._host = url.hostname or ""
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._port = url.port or (443 if self._tls else 80)
        self._path = url.path
        self._connect_s = connect_s
        self._keep_s = KEEP_TLS_S if self._tls else KEEP_PLAIN_S
        self._pool: deque[Link] = deque()  # those that wait for a request
        self._live: set[Link] = set()  # every connection there is
        lines = {"host": url.netloc.rpartition("@")[2], **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")

    async def request(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> Link:
        """Send, and return once the head of the answer is here. Raises NoConnection, Broken or ssl.SSLError.

        A connection that breaks is not tried again: the server may have begun, and an answer costs money.
        """
        link = self._kept() or await self._connected()
        first = f"{method} {self._path}{path} HTTP/1.1\r\n".encode("ascii")
        kind = content_type.encode("latin-1")
        link.send(b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (first, self._head, kind, len(body), body))
        try:
            await link.head()
        except BaseException:
            link.abort()
            raise
        return link

    def _kept(self) -> Link | None:
        oldest = time.monotonic() - self._keep_s
        while self._pool:
            link = self._pool.pop()
            if link.is_usable and link.idle_since > oldest:
                return link
            link.abort()
        return None

    async def _connected(self) -> Link:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s):
                _, link = await loop.create_connection(
                    lambda: Link(loop, self._pool, self._live), self._host, self._port, ssl=self._tls
                )
        except TimeoutError as error:
            raise NoConnection("it did not accept the connection in time") from error
        except ssl.SSLError:
            raise
        except OSError as error:
            raise NoConnection("it cannot be reached") from error
        return link

    def close(self) -> None:
        """End every connection."""
        for link in list(self._live):
            link.abort()
