"""The application: the hot path as a plain ASGI callable, FastAPI for everything else, one handler for every error."""

import gc
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from weighbridge import __version__
from weighbridge.api import DIALECTS, ModelEndpoint, refused
from weighbridge.asgi import ASGIApp, ClientGone, Message, Receive, Scope, Send, headers_of, respond
from weighbridge.config import Config, require_keys
from weighbridge.cors import Cors, is_preflight
from weighbridge.errors import MethodNotAllowed, WeighbridgeError
from weighbridge.forwarding import ForwardEndpoint, KeptResponses
from weighbridge.pages import add_pages
from weighbridge.parts import Parts, compose

log = logging.getLogger(__name__)


def create_app(config: Config, environ: Mapping[str, str] = os.environ) -> "Application":
    """The whole gateway as an ASGI application. Raises ConfigError."""
    require_keys(config, environ)
    return Application(compose(config, environ))


class Application:
    """Lets callers in, sends each request to its handler, and turns every error into an answer."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._models = {d.path: ModelEndpoint(d, parts.gateway, parts.max_body_bytes) for d in DIALECTS}
        self._kept_responses = KeptResponses(parts)
        self._forwards = ForwardEndpoint(parts)
        self._pages = _pages(parts)
        origins = parts.config.server.cors_origins
        self._cors = Cors(frozenset(origins)) if origins else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        if self._cors:
            send = self._cors.marking(scope, send)
        answer = _Started(send)
        try:
            await self._handle(scope, receive, answer)
        except ClientGone:
            pass
        except WeighbridgeError as error:
            if error.status == 401:
                self.parts.metrics.turned_away(error.code)
            if not answer.has_begun:
                await respond(send, *refused(error, scope["path"]))
        except Exception as error:
            # The one place for what nobody foresaw: the connection lives on, and the log names the kind, not the text.
            log.error("unhandled %s at %s", type(error).__name__, _where(error))
            if not answer.has_begun:
                unforeseen = WeighbridgeError("The gateway failed; its log says more.")
                await respond(send, *refused(unforeseen, scope["path"]))

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        headers = headers_of(scope)
        if self._cors and is_preflight(scope["method"], headers):
            await send({"type": "http.response.start", "status": 204, "headers": self._cors.preflight(headers)})
            await send({"type": "http.response.body"})
            return
        scope["weighbridge.headers"] = headers
        scope["weighbridge.caller"] = self.parts.access.admit(path, headers)
        if endpoint := self._endpoint(path.removeprefix("/v1")):
            if endpoint is not self._kept_responses and scope["method"] != "POST":
                raise MethodNotAllowed(scope["method"], path)
            with self.parts.metrics.in_flight.track_inprogress():
                await endpoint(scope, receive, send)
        else:
            # HEAD is GET without the body, and the server itself leaves that out.
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            await self._pages({**scope, "method": method}, receive, send)

    def _endpoint(self, path: str) -> ASGIApp | None:
        """What calls an upstream; pages do not. A path without its /v1."""
        if model := self._models.get(path):
            return model
        if KeptResponses.has(path):
            return self._kept_responses
        return self._forwards if ForwardEndpoint.has(path) else None


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
