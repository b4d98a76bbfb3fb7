"""One config at work: its parts and the paths that lead to them. A changed config is another snapshot."""

import asyncio

from weighbridge.api import DIALECTS, ModelEndpoint, new_request_id
from weighbridge.asgi import ASGIApp, Message, Receive, Scope, Send, header, headers_of
from weighbridge.cors import Cors, is_preflight
from weighbridge.errors import MemoryFull, MethodNotAllowed
from weighbridge.forwarding import ForwardEndpoint, KeptResponses
from weighbridge.health import answer_probe, is_probe
from weighbridge.parts import Parts


class Snapshot:
    """Lets callers in and sends each request to its handler. A request stays with the snapshot that it came to."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._models = {d.path: ModelEndpoint(d, parts.gateway, parts.max_body_bytes) for d in DIALECTS}
        self._kept_responses = KeptResponses(parts)
        self._forwards = ForwardEndpoint(parts)
        self._pages: ASGIApp | None = None
        self._loading = asyncio.Lock()
        origins = parts.config.server.cors_origins
        self.cors = Cors(frozenset(origins)) if origins else None
        self._running: set[asyncio.Task[None]] = set()
        self._is_idle = asyncio.Event()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        headers = headers_of(scope)
        if self.cors and is_preflight(scope["method"], headers):
            await send({"type": "http.response.start", "status": 204, "headers": self.cors.preflight(headers)})
            await send({"type": "http.response.body"})
            return
        scope["weighbridge.headers"] = headers
        scope["weighbridge.caller"] = self.parts.access.admit(path, headers)
        if endpoint := self._endpoint(path.removeprefix("/v1")):
            if endpoint is not self._kept_responses and scope["method"] != "POST":
                raise MethodNotAllowed(scope["method"], path)
            if self.parts.ceiling and self.parts.ceiling.is_reached:
                self.parts.metrics.turned_away(MemoryFull.code)
                raise MemoryFull
            with self.parts.metrics.in_flight.track_inprogress():
                await self._run(endpoint, scope, receive, send)
        elif is_probe(path, scope["method"]):
            await answer_probe(path, self.parts, send)
        else:
            pages = self._pages or await self._loaded()
            # HEAD is GET without the body, and the server itself leaves that out.
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            await pages({**scope, "method": method}, receive, _numbered(send))

    async def _run(self, endpoint: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in one
        self._running.add(task)
        try:
            await endpoint(scope, receive, send)
        finally:
            self._running.discard(task)
            if not self._running:
                self._is_idle.set()

    async def _loaded(self) -> ASGIApp:
        """The pages. Their framework takes half a second to load, and many a gateway is never asked for one."""
        async with self._loading:
            if self._pages is None:
                self._pages = await asyncio.to_thread(_pages, self.parts)
        return self._pages

    async def ended(self) -> None:
        """Return when every request that came here has its answer."""
        while self._running:
            self._is_idle.clear()
            await self._is_idle.wait()

    def cut(self) -> None:
        """Let every request that runs here end now, with a word to its client."""
        for task in self._running:
            task.cancel()

    def _endpoint(self, path: str) -> ASGIApp | None:
        """What calls an upstream; pages do not. A path without its /v1."""
        if model := self._models.get(path):
            return model
        if KeptResponses.has(path):
            return self._kept_responses
        return self._forwards if ForwardEndpoint.has(path) else None


def _numbered(send: Send) -> Send:
    """A send that gives an answer its id where it has none yet; what calls an upstream does so itself."""

    async def numbered(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if not any(name == b"x-request-id" for name, _ in headers):
                message = {**message, "headers": [*headers, header("x-request-id", new_request_id())]}
        await send(message)

    return numbered


def _pages(parts: Parts) -> ASGIApp:
    from weighbridge.pages import made  # noqa: PLC0415  # see above

    return made(parts)
