"""The endpoints of models: parse, call the gateway, answer. No decisions, no money.

A plain ASGI callable, because every framework layer on this path costs as much as the gateway itself.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

from weighbridge.asgi import (
    DisconnectWatch,
    Header,
    Receive,
    Scope,
    Send,
    error_answer,
    header,
    read_body,
    respond,
)
from weighbridge.attempts import Failure
from weighbridge.dialects.base import Dialect
from weighbridge.dialects.chat import CHAT
from weighbridge.dialects.completions import COMPLETIONS
from weighbridge.dialects.embeddings import EMBEDDINGS
from weighbridge.dialects.messages import MESSAGES
from weighbridge.dialects.responses import RESPONSES
from weighbridge.errors import CLIENT_GONE, ShuttingDown, UpstreamError, WeighbridgeError
from weighbridge.gateway import Answer, Gateway, Opened
from weighbridge.idempotency import HEADER
from weighbridge.schemas import Request
from weighbridge.trip import Trip
from weighbridge.units import as_usd
from weighbridge.wire import parse

DIALECTS: tuple[Dialect, ...] = (CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES)

_UNBUFFERED: list[Header] = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]

_random = random.Random(secrets.randbits(128))  # noqa: S311  # an id is no secret, and the system's source costs a call each


def new_request_id() -> str:
    """Unique, and in order of time."""
    return f"wb-{time.time_ns() // 1_000_000:x}{_random.getrandbits(64):016x}"


async def read_request(
    dialect: Dialect, receive: Receive, headers: Mapping[str, str], caller: str, most: int
) -> Request:
    """A request, read and checked. Raises BadRequest."""
    received_s = time.monotonic()
    body = parse(await read_body(receive, headers, most))
    dialect.check(body.fields)
    return Request(
        request_id=new_request_id(),
        dialect=dialect,
        body=body,
        caller=caller,
        headers=headers,
        received_s=received_s,
        created_at=datetime.now(UTC),
    )


class ModelEndpoint:
    """`POST` to the path of one dialect."""

    def __init__(self, dialect: Dialect, gateway: Gateway, max_body_bytes: int) -> None:
        self.dialect = dialect
        self._gateway = gateway
        self._most = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, caller = scope["weighbridge.headers"], scope["weighbridge.caller"]
        request = await read_request(self.dialect, receive, headers, caller, self._most)
        if HEADER in headers:
            request = with_key(request, self._gateway)
        await answer(self._gateway, send, receive, request, self._answered(send, request))

    async def _answered(self, send: Send, request: Request) -> None:
        if request.is_stream:
            await send_stream(send, await self._gateway.stream(request))
        else:
            await _send_whole(send, await self._gateway.complete(request))


def with_key(request: Request, gateway: Gateway) -> Request:
    """A request with its Idempotency-Key, where that is heeded."""
    key = request.headers.get(HEADER) if gateway.repeating else None
    return replace(request, key=key) if key else request


async def answer(gateway: Gateway, send: Send, receive: Receive, request: Request, answering: Awaitable[None]) -> None:
    """Let a request be answered, or its failure; stop when the client leaves, unless its key lets it come back."""
    if gateway.repeating and request.key:
        answering = gateway.repeating.firmly(request.request_id, answering)
    with DisconnectWatch(None if request.key else receive) as client:
        try:
            await answering
        except Failure as failure:
            await _send_failure(send, request, failure)
        except asyncio.CancelledError:
            if not client.has_left:  # so the server is stopping
                await _send_failure(send, request, Failure(ShuttingDown(), None))


async def _send_whole(send: Send, whole: Answer) -> None:
    headers = [*_trip_headers(whole.trip), *_money_headers(whole), *passed(whole.headers)]
    await respond(send, 200, headers, whole.body)


async def send_stream(send: Send, opened: Opened) -> None:
    """Send the parts as they come. Raises Failure when there is not even a first one."""
    kind = header("content-type", opened.content_type)
    headers = [*_trip_headers(opened.trip), *passed(opened.headers), kind, *_UNBUFFERED]
    has_begun = False
    last = b""
    try:
        # The parts must have begun before anything is awaited: only then does closing them close their books.
        async for part in opened.parts:
            if not has_begun:
                has_begun = True
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": part, "more_body": True})
    except Failure as failure:
        if not has_begun:
            raise
        # Too late for a status: one error event and no [DONE], so that a cut answer cannot pass for a whole one.
        last = opened.trip.request.dialect.error_event(failure.error)
    except asyncio.CancelledError as cancelled:
        if not has_begun or CLIENT_GONE in cancelled.args:
            raise
        last = opened.trip.request.dialect.error_event(ShuttingDown())
    finally:
        await opened.parts.aclose()  # type: ignore[attr-defined]  # an async generator
    await send({"type": "http.response.body", "body": last})


async def _send_failure(send: Send, request: Request, failure: Failure) -> None:
    status, headers, body = error_answer(failure.error, request.dialect)
    known = _trip_headers(failure.trip) if failure.trip else [header("x-request-id", request.request_id)]
    if isinstance(failure.error, UpstreamError):
        known += passed(failure.error.headers)
    await respond(send, status, [*known, *headers], body)


def _trip_headers(trip: Trip) -> list[Header]:
    """What we add to every answer, as far as it is known (docs/api.md)."""
    plan = trip.plan
    upstream = plan.reach[trip.upstream]
    request_id = trip.request.request_id.encode()
    headers = [
        (b"x-request-id", request_id),
        (b"x-litellm-call-id", request_id),
        *_named(plan.target.route, trip.upstream, upstream.location, upstream.model),
        header("x-weighbridge-reason", f"{trip.reason} {trip.why}".rstrip()),
        (b"x-weighbridge-attempts", b"%d" % len(trip.attempts)),
        (b"x-weighbridge-overhead-ms", b"%.2f" % (trip.overhead_s * 1000)),
    ]
    if trip.helped:
        said = ", ".join(f"{step} {what}" for step, what in trip.helped.items())
        headers.append(header("x-weighbridge-preprocess", said))
    if trip.is_repeat:
        headers.append((b"idempotent-replayed", b"true"))
    if trip.cache:
        headers.append((b"x-weighbridge-cache", trip.cache.encode()))
    if plan.assessment:
        headers.append((b"x-weighbridge-score", b"%.4f" % plan.assessment.score))
    if plan.decision.threshold is not None:
        headers.append((b"x-weighbridge-threshold", b"%.4f" % plan.decision.threshold))
    return headers


@lru_cache(maxsize=256)
def _named(route: str, upstream: str, location: str, model: str) -> tuple[Header, ...]:
    """The headers that are names from the config file, so the same for many requests."""
    return (
        header("x-weighbridge-route", route),
        header("x-weighbridge-upstream", upstream),
        header("x-weighbridge-location", location),
        header("x-weighbridge-model", model),
        header("x-litellm-model-name", model),
    )


def _money_headers(whole: Answer) -> list[Header]:
    cost, baseline = whole.closing.cost_nano_usd, whole.closing.baseline_cost_nano_usd
    headers = []
    if cost is not None:
        usd = as_usd(cost).encode()
        headers += [(b"x-weighbridge-cost-usd", usd), (b"x-litellm-response-cost", usd)]
    if baseline is not None:
        headers.append((b"x-weighbridge-baseline-cost-usd", as_usd(baseline).encode()))
    if cost is not None and baseline is not None:
        headers.append((b"x-weighbridge-saved-usd", as_usd(baseline - cost).encode()))
    return headers


def passed(headers: Mapping[str, str]) -> list[Header]:
    """An upstream's own headers, as far as the client may see them."""
    return [header(name, value) for name, value in headers.items()]


def dialect_of(path: str) -> Dialect:
    """In whose shape an error at this path is told."""
    return next((d for d in DIALECTS if path.removeprefix("/v1").startswith(d.path)), CHAT)


def refused(error: WeighbridgeError, path: str) -> tuple[int, list[Header], bytes]:
    """An error from before a request was one, ready to send."""
    status, headers, body = error_answer(error, dialect_of(path))
    return status, [header("x-request-id", new_request_id()), *headers], body
