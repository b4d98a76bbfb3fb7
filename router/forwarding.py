"""Endpoints whose bytes pass as they are: moderations, audio, pictures, and responses that an upstream keeps."""

import time
from datetime import UTC, datetime

from weighbridge import sessions
from weighbridge.api import answer, new_request_id, passed, send_stream, with_key
from weighbridge.asgi import Receive, Scope, Send, header, read_body
from weighbridge.dialects.opaque import Opaque, body_of
from weighbridge.errors import NotFound
from weighbridge.gateway import Gateway
from weighbridge.parts import Parts
from weighbridge.schemas import Request
from weighbridge.upstreams.base import Forward

_OPAQUE = ("/moderations", "/audio/", "/images/")


class ForwardEndpoint:
    """Routed by their model's name and by the rules; never weighed."""

    def __init__(self, parts: Parts) -> None:
        self._gateway: Gateway = parts.gateway
        self._most = parts.max_body_bytes

    @staticmethod
    def has(path: str) -> bool:
        """Whether a path, without its /v1, is one of these."""
        return path.startswith(_OPAQUE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix("/v1")
        received_s = time.monotonic()
        sending = await _sending(scope, receive, path, self._most)
        request = Request(
            request_id=new_request_id(),
            dialect=Opaque(path),
            body=body_of(sending.body, sending.content_type),
            caller=scope["weighbridge.caller"],
            headers=scope["weighbridge.headers"],
            received_s=received_s,
            created_at=datetime.now(UTC),
        )
        request = with_key(request, self._gateway)
        await answer(self._gateway, send, receive, request, self._answered(send, request, sending))

    async def _answered(self, send: Send, request: Request, sending: Forward) -> None:
        await send_stream(send, await self._gateway.forward(request, sending))


class KeptResponses:
    """`GET`, `DELETE` and the rest of `/v1/responses/{id}`: only the upstream that made a response knows it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @staticmethod
    def has(path: str) -> bool:
        """Whether a path, without its /v1, is one of these."""
        return path.startswith("/responses/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix("/v1")
        response_id = path.split("/")[2]
        name = await self._parts.ledger.recall(sessions.response_key(scope["weighbridge.caller"], response_id))
        upstream = self._parts.config.upstreams.get(name or "")
        if upstream is None or not upstream.serves("/responses"):
            raise NotFound(f"No upstream keeps a response {response_id[:80]!r}.", param="response_id")
        stream = await upstream.forward(await _sending(scope, receive, path, self._parts.max_body_bytes))
        try:
            headers = [header("x-request-id", new_request_id()), *passed(stream.headers)]
            headers.append(header("content-type", stream.content_type))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while parts := await stream.read():
                await send({"type": "http.response.body", "body": b"".join(parts), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await stream.aclose()


async def _sending(scope: Scope, receive: Receive, path: str, most: int) -> Forward:
    headers = scope["weighbridge.headers"]
    raw = await read_body(receive, headers, most)
    query = scope["query_string"].decode("latin-1")
    whole = f"{path}?{query}" if query else path
    return Forward(scope["method"], whole, headers.get("content-type", "application/json"), raw)
