"""The application: the hot path as a plain ASGI callable, FastAPI for everything else, one handler for every error."""

import gc
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from weighbridge import __version__
from weighbridge.access import ANYONE
from weighbridge.api import ChatEndpoint, refused
from weighbridge.asgi import Message, Receive, Scope, Send, headers_of, respond
from weighbridge.config import Config, require_keys
from weighbridge.errors import MethodNotAllowed, WeighbridgeError
from weighbridge.pages import add_pages
from weighbridge.parts import Parts, compose

log = logging.getLogger(__name__)

_CHAT = frozenset({"/v1/chat/completions", "/chat/completions"})


def create_app(config: Config, environ: Mapping[str, str] = os.environ) -> "Application":
    """The whole gateway as an ASGI application. Raises ConfigError."""
    require_keys(config, environ)
    return Application(compose(config, environ))


class Application:
    """Lets callers in, sends each request to its handler, and turns every error into an answer."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._chat = ChatEndpoint(parts.gateway, parts.max_body_bytes)
        self._pages = _pages(parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        answer = _Started(send)
        try:
            await self._handle(scope, receive, answer)
        except WeighbridgeError as error:
            if not answer.has_begun:
                await respond(send, *refused(error))
        except Exception as error:
            # The one place for what nobody foresaw: the connection lives on, and the log names the kind, not the text.
            log.error("unhandled %s at %s", type(error).__name__, _where(error))
            if not answer.has_begun:
                await respond(send, *refused(WeighbridgeError("The gateway failed; its log says more.")))

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        headers = headers_of(scope)
        is_probe = path.startswith(("/health", "/readyz"))
        scope["weighbridge.headers"] = headers
        scope["weighbridge.caller"] = ANYONE if is_probe else self.parts.access.caller(headers)
        if path in _CHAT:
            if scope["method"] != "POST":
                raise MethodNotAllowed(scope["method"], path)
            with self.parts.metrics.in_flight.track_inprogress():
                await self._chat(scope, receive, send)
        else:
            # HEAD is GET without the body, and the server itself leaves that out.
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            await self._pages({**scope, "method": method}, receive, send)


class _Started:
    """A send that remembers whether the answer has begun: after that no other can be sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        self.has_begun = True
        await self._send(message)


def _pages(parts: Parts) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await parts.aopen()
        # What start-up made lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        yield
        await parts.aclose()

    app = FastAPI(title="Weighbridge", version=__version__, lifespan=lifespan, redirect_slashes=False)
    add_pages(app, parts)
    return app


def _where(error: Exception) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""
