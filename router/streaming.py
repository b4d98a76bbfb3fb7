"""Chunks on their way to the client: what it may see of them, and what the ledger must know.

A chunk is looked at with substring tests and passed on as it is; only those that carry usage or an error are parsed.
Inside a JSON string a quote is escaped, so `"usage":` with its quotes can only be a key.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from weighbridge.errors import Cut, Failed, UpstreamError
from weighbridge.units import Usage
from weighbridge.wire import error_fields, usage_of

DONE = b"[DONE]"

_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"[^"]')
_HAS_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_USAGE = re.compile(rb',\s*"usage"\s*:\s*null')


class Relay(ABC):
    """One stream's passage."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.chunks = 0  # about the output tokens so far, for an answer that is cut before it says
        self.is_finished = False  # the answer is whole
        self.is_done = False  # nothing more is to come
        self.kept_id: str | None = None  # the id under which the upstream keeps the answer

    @property
    def is_metered(self) -> bool:
        """Whether its chunks tell how much was generated."""
        return True

    def take(self, events: list[bytes]) -> bytes:
        """What to send for these events. Raises UpstreamError at an error event."""
        if len(events) == 1:
            return self._one(events[0])
        return b"".join([self._one(event) for event in events])

    def end(self) -> bytes:
        """The last bytes of a whole answer. Raises Cut where the upstream stopped in the middle."""
        if not self.is_finished:
            raise Cut("The upstream's answer ended in the middle.")
        return self._last()

    @abstractmethod
    def _one(self, event: bytes) -> bytes: ...

    def _last(self) -> bytes:
        return b""


class ChoiceRelay(Relay):
    """Chunks with choices, as chat and text completions have them. `[DONE]` leaves with the end.

    hide_usage: the usage was asked for by us, not by the client, so what it adds is taken out again.
    """

    def __init__(self, *, hide_usage: bool) -> None:
        super().__init__()
        self._hide_usage = hide_usage

    def _last(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _one(self, event: bytes) -> bytes:
        return _framed(self._shown(event))

    def _shown(self, event: bytes) -> bytes:
        if event == DONE:
            self.is_done = True
            return b""
        if b'"error"' in event and b'"choices"' not in event:
            raise reported(event)
        self.chunks += 1
        if _FINISHED.search(event):
            self.is_finished = True
        if b'"usage"' not in event:
            return event
        if b',"usage":null' in event:  # on every chunk but the last, once usage is asked for
            return event.replace(b',"usage":null', b"") if self._hide_usage else event
        return self._with_usage(event)

    def _with_usage(self, event: bytes) -> bytes:
        if not _HAS_USAGE.search(event):
            return _NO_USAGE.sub(b"", event) if self._hide_usage else event
        try:
            fields = orjson.loads(event)
        except orjson.JSONDecodeError:
            raise Failed("The upstream sent a chunk that is not JSON.", code="upstream_malformed") from None
        self.usage = usage_of(fields.get("usage")) or self.usage
        is_extra = fields.get("choices") == []
        if is_extra:
            self.chunks -= 1
        return b"" if self._hide_usage and is_extra else event


Merge = Callable[[Mapping[str, Any], Usage | None], Usage | None]


class TypedRelay(Relay):
    """Events that carry their `type`, as Responses and Messages have them.

    last: the types that end an answer. usage: reads one event, given what is known so far.
    """

    def __init__(self, *, last: frozenset[str], usage: Merge) -> None:
        super().__init__()
        self._last_types = last
        self._usage = usage

    def _one(self, event: bytes) -> bytes:
        if event == DONE:
            return b""
        try:
            fields = orjson.loads(event)
            kind = str(fields.get("type", ""))
        except (orjson.JSONDecodeError, AttributeError):
            raise Failed("The upstream sent an event that is not a JSON object.", code="upstream_malformed") from None
        if kind == "error" or (not kind and "error" in fields):
            raise reported(event)
        if kind.endswith("delta"):
            self.chunks += 1
        self.usage = self._usage(fields, self.usage)
        if kind == "response.created" and fields["response"].get("store") is not False:
            self.kept_id = fields["response"]["id"]
        if kind in self._last_types:
            self.is_finished = self.is_done = True
        return b"event: %b\n%b" % (kind.encode(), _framed(event))


class Bytes(Relay):
    """Bytes of which we know nothing: whole when the connection says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_finished = True

    @property
    def is_metered(self) -> bool:
        return False

    def _one(self, event: bytes) -> bytes:
        return event


def _framed(data: bytes) -> bytes:
    if not data:
        return b""
    return b"data: %b\n\n" % (data.replace(b"\n", b"\ndata: ") if b"\n" in data else data)


def reported(event: bytes) -> UpstreamError:
    """An error that the upstream sent as an event."""
    message = error_fields(event)[0]
    return Failed(f"The upstream reported an error: {message}" if message else "The upstream reported an error.")
