"""Health: is the process up, and can it serve. Plain ASGI, so that a start need not wait for the pages' framework."""

import orjson

from weighbridge.asgi import Send, respond
from weighbridge.parts import Parts

_LIVE = frozenset({"/health/live", "/health/liveliness", "/healthz"})
_READY = frozenset({"/health/ready", "/health/readiness", "/readyz", "/health"})


def is_probe(path: str, method: str) -> bool:
    """Whether this is one of the names under which orchestrators ask."""
    return method in {"GET", "HEAD"} and (path in _LIVE or path in _READY)


async def answer_probe(path: str, parts: Parts, send: Send) -> None:
    """Live: the process is up. Ready: at least one upstream is usable, and the ledger writable."""
    if path in _LIVE:
        await respond(send, 200, [], b'{"status":"ok"}')
        return
    state = await parts.readiness()
    await respond(send, 200 if state["status"] == "ready" else 503, [], orjson.dumps(state))
