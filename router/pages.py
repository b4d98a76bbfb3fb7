"""Everything that is not the hot path: models, the decision alone, feedback, health, metrics, the dashboard."""

import logging
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from weighbridge import __version__
from weighbridge.api import read_request, refused
from weighbridge.asgi import read_body
from weighbridge.dialects.chat import CHAT
from weighbridge.dialects.messages import check_count
from weighbridge.dialects.messages_count import count_tokens
from weighbridge.energy import Footprint
from weighbridge.errors import BadRequest, MethodNotAllowed, NotFound, Unavailable, WeighbridgeError
from weighbridge.ledger.base import CannotOpen
from weighbridge.parts import Parts
from weighbridge.reports.render import render
from weighbridge.reports.report import report
from weighbridge.wire import parse

log = logging.getLogger(__name__)


def made(parts: Parts) -> FastAPI:
    """The application of all pages."""
    app = FastAPI(title="Weighbridge", version=__version__, redirect_slashes=False)
    add_pages(app, parts)
    return app


def add_pages(app: FastAPI, parts: Parts) -> None:
    """Give the application its pages; the API answers with and without `/v1`."""
    for prefix in ("/v1", ""):
        app.include_router(_api(parts), prefix=prefix, include_in_schema=prefix != "")
    app.include_router(_operations(parts))
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(WeighbridgeError, _refused)
    app.add_exception_handler(CannotOpen, _without_ledger)


def _api(parts: Parts) -> APIRouter:
    router = APIRouter()

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """Routes first, then upstreams."""
        return {"object": "list", "data": [_model(name, parts) for name in _listed(parts)]}

    @router.get("/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        parts.planner.target(name)
        return _model(name, parts)

    @router.post("/route")
    async def route(request: Request) -> JSONResponse:
        """The decision for a chat body, and no upstream call."""
        headers = request.scope["weighbridge.headers"]
        caller = request.scope["weighbridge.caller"]
        chat = await read_request(CHAT, request.receive, headers, caller, parts.max_body_bytes)
        return JSONResponse(await parts.gateway.explain(chat))

    @router.post("/messages/count_tokens")
    async def count(request: Request) -> dict[str, int]:
        """About how many tokens a messages body has; nobody is asked."""
        raw = await read_body(request.receive, request.scope["weighbridge.headers"], parts.max_body_bytes)
        fields = parse(raw).fields
        check_count(fields)
        parts.planner.target(fields["model"])
        return {"input_tokens": count_tokens(fields)}

    @router.post("/feedback")
    async def feedback(request: Request) -> dict[str, str]:
        """The user's verdict on an answer: 0 (useless) to 1 (perfect)."""
        raw = await read_body(request.receive, request.scope["weighbridge.headers"], parts.max_body_bytes)
        fields = parse(raw).fields
        request_id, score, comment = fields.get("request_id"), fields.get("score"), fields.get("comment")
        if not isinstance(request_id, str):
            raise BadRequest("`request_id` must be the x-request-id of an answer.", param="request_id")
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise BadRequest("`score` must be a number from 0 to 1.", param="score")
        if comment is not None and not isinstance(comment, str):
            raise BadRequest("`comment` must be a string.", param="comment")
        if not await parts.ledger.feedback(request_id, float(score), comment):
            raise NotFound(f"There is no request {request_id[:80]!r} in the ledger.", param="request_id")
        return {"status": "recorded", "request_id": request_id}

    return router


def _operations(parts: Parts) -> APIRouter:
    router = APIRouter()

    @router.get("/metrics")
    async def metrics() -> Response:
        parts.drift_watch.look()
        text, content_type = parts.metrics.exposition()
        return Response(text, headers={"content-type": content_type})

    @router.get("/", include_in_schema=False)
    def dashboard() -> HTMLResponse:
        """The report of the last thirty days, as a page. Not async: it reads the ledger, so it runs in a thread."""
        footprint = Footprint.of(parts.config.energy, parts.config.upstreams)
        page = render(report(parts.ledger, now=datetime.now(UTC), since="30d", footprint=footprint), "html")
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
        return HTMLResponse(page, headers={"content-security-policy": policy, "cache-control": "no-store, private"})

    return router


def _listed(parts: Parts) -> list[str]:
    return [*parts.config.routes, *parts.config.upstreams]


def _model(name: str, parts: Parts) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": parts.started_at, "owned_by": "weighbridge"}


async def _not_served(request: Request, error: Exception) -> Response:
    """A path or a method that we do not have, in the shape of every other error."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for nothing else
    if error.status_code == 405:
        return await _refused(request, MethodNotAllowed(request.method, request.url.path))
    return await _refused(request, NotFound(f"There is nothing at {request.url.path[:200]}."))


async def _without_ledger(request: Request, error: Exception) -> Response:
    """The error names the store's file or host, which is for the log."""
    log.error("the ledger cannot be read: %s", error)
    unread = Unavailable("The ledger cannot be read.", code="ledger_unavailable", retry_after_s=5)
    return await _refused(request, unread)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, WeighbridgeError)  # noqa: S101  # registered for nothing else
    status, headers, body = refused(error, request.scope["path"])
    plain = {name.decode(): value.decode() for name, value in headers}
    return Response(body, status, {**plain, "content-type": "application/json"})
