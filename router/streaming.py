"""Chunks on their way to the client: what it may see of them, and what the ledger must know.

A chunk is read, and passed on as the bytes that it was; nothing is written anew.
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

MOST_GARBLED = 3  # chunks of a stream

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
        self._garbled = 0

    def _last(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _one(self, event: bytes) -> bytes:
        return _framed(self._shown(event))

    def _shown(self, event: bytes) -> bytes:
        if event == DONE:
            self.is_done = True
            return b""
        fields = self._parsed(event)
        if fields is None:
            return b""
        if fields.get("error") or ("error" in fields and "choices" not in fields):
            raise reported(event)
        self.chunks += 1
        choices = fields.get("choices") or ()
        if any(choice.get("finish_reason") for choice in choices if isinstance(choice, dict)):
            self.is_finished = True
        if "usage" not in fields:
            return event
        return self._without_usage(event, fields) if self._hide_usage else event

    def _parsed(self, event: bytes) -> dict[str, Any] | None:
        """The chunk's fields; None for one that is garbled, of which a few are left out."""
        try:
            fields = orjson.loads(event)
        except orjson.JSONDecodeError:
            fields = None
        if not isinstance(fields, dict):
            self._garbled += 1
            if self._garbled > MOST_GARBLED:
                raise Failed("The upstream sends chunks that are not JSON.", code="upstream_malformed")
            return None
        if isinstance(fields.get("usage"), dict):
            self.usage = usage_of(fields["usage"]) or self.usage
            self.chunks -= fields.get("choices") == []  # the extra chunk at the end says nothing
        return fields

    def _without_usage(self, event: bytes, fields: Mapping[str, Any]) -> bytes:
        if fields["usage"] is not None:
            return b"" if fields.get("choices") == [] else event
        # On every chunk but the last, once usage is asked for. Inside a string its quotes would be escaped.
        return event.replace(b',"usage":null', b"") if b',"usage":null' in event else _NO_USAGE.sub(b"", event)


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
        response = fields.get("response")
        if kind == "response.created" and isinstance(response, dict) and response.get("store") is not False:
            self.kept_id = response.get("id")
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
