"""Signals: what a client does right after an answer, as a sign of what that was worth. Never mixed up with feedback.

Three are known: the same ask again within a few minutes (`repeated`), the very same request again (`regenerated`), and
a tool that reports an error for what the answer called (`tool_error`). Asks are kept in memory only, as digests under
a key that is made anew with each start, so nothing can be read from them.
"""

import hashlib
import secrets
import time
from asyncio import Future
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from weighbridge import sessions
from weighbridge.errors import Unavailable
from weighbridge.ledger.base import Ledger
from weighbridge.ledger.notes import Signal, SignalKind
from weighbridge.schemas import Request
from weighbridge.tables import Signalling
from weighbridge.telemetry import Metrics
from weighbridge.trip import Trip

_MOST = 20_000  # answers that are remembered
_READ_CHARS = 300  # of a tool's result, which says so at its beginning
_ERRORS = ("error", "exception", "traceback", "failed", "fatal", "<tool_use_error>", '{"error', '{"is_error":true')


class _Answered(NamedTuple):
    request_id: str
    body: bytes
    location: str
    at_s: float


class Signals:
    """Looks at each request that has its answer: what it says of an earlier one, and what a later one may say of it."""

    def __init__(
        self, table: Signalling, ledger: Ledger, metrics: Metrics, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._within_s = table.within_s
        self._ledger = ledger
        self._metrics = metrics
        self._now = now
        self._key = secrets.token_bytes(32)
        self._seen: OrderedDict[bytes, _Answered] = OrderedDict()

    def saw(self, trip: Trip) -> None:
        """A request has its answer."""
        request, route = trip.request, trip.plan.target.route
        if not request.dialect.is_scored or not request.dialect.choices(request.body.fields):
            return
        location = trip.plan.reach[trip.upstream].location
        answered = _Answered(request.request_id, self._digest(request.body.text), location, self._now())
        loop = self._digest("loop", sessions.loop_key(request, route))
        if sessions.is_in_tool_loop(request.messages):
            if reports_an_error(request):
                self._tell(self._seen.get(loop), "tool_error", answered)
        elif ask := request.ask.strip():
            key = self._digest("ask", request.caller, route, sessions.named(request), " ".join(ask.casefold().split()))
            before = self._seen.get(key)
            is_same = before is not None and before.body == answered.body
            self._tell(before, "regenerated" if is_same else "repeated", answered)
            self._keep(key, answered)
        if sessions.may_go_on(request):
            self._keep(loop, answered)

    def _tell(self, before: _Answered | None, kind: SignalKind, now: _Answered) -> None:
        if before is None or now.at_s - before.at_s > self._within_s:
            return
        self._metrics.signalled(kind, before.location)
        try:
            written = self._ledger.note(Signal(before.request_id, kind, datetime.now(UTC), now.request_id))
        except Unavailable:
            self._metrics.ledger_failed()
            return
        written.add_done_callback(self._written)

    def _written(self, row: "Future[None]") -> None:
        if row.cancelled() or row.exception():
            self._metrics.ledger_failed()

    def _keep(self, key: bytes, answered: _Answered) -> None:
        self._seen[key] = answered
        self._seen.move_to_end(key)
        while len(self._seen) > _MOST:
            self._seen.popitem(last=False)

    def _digest(self, *parts: str) -> bytes:
        whole = "\x1f".join(parts).encode(errors="replace")
        return hashlib.blake2b(whole, digest_size=16, key=self._key).digest()


def reports_an_error(request: Request) -> bool:
    """Whether the last result of a tool is an error: it is marked as one, or begins as one does."""
    messages = request.body.fields.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        blocks = messages[-1].get("content")
        if isinstance(blocks, list) and any(isinstance(b, dict) and b.get("is_error") is True for b in blocks):
            return True
    return _begins_as_one(request.messages[-1])


def _begins_as_one(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        content = next((text for text in texts if isinstance(text, str)), "")
    beginning = content[:_READ_CHARS].lstrip().casefold() if isinstance(content, str) else ""
    return beginning.replace(" ", "").startswith(_ERRORS)
