"""Chunks on their way to the client: what it may see of them, and what the ledger must know.

A chunk is looked at with substring tests and passed on as it is; only those that carry usage or an error are parsed.
Inside a JSON string a quote is escaped, so `"usage":` with its quotes can only be a key.
"""

import re

import orjson

from weighbridge.errors import Cut, Failed, UpstreamError
from weighbridge.units import Usage
from weighbridge.wire import error_fields, usage_of

DONE = b"[DONE]"

_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_HAS_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_USAGE = re.compile(rb',\s*"usage"\s*:\s*null')


class Relay:
    """One stream's passage.

    hide_usage: the usage was asked for by us, not by the client, so what it adds is taken out again.
    """

    def __init__(self, *, hide_usage: bool) -> None:
        self._hide_usage = hide_usage
        self.usage: Usage | None = None
        self.chunks = 0  # about the output tokens so far, for an answer that is cut before it says
        self.is_finished = False  # a finish reason has come: the answer is whole
        self.is_done = False

    def take(self, events: list[bytes]) -> bytes:
        """What to send for these events, `[DONE]` left out. Raises UpstreamError at an error event."""
        if len(events) == 1:
            return _framed(self._one(events[0]))
        return b"".join([_framed(self._one(event)) for event in events])

    def end(self) -> bytes:
        """The last bytes of a whole answer. Raises Cut where the upstream stopped in the middle."""
        if not self.is_finished:
            raise Cut("The upstream's answer ended in the middle.")
        return b"data: [DONE]\n\n"

    def _one(self, event: bytes) -> bytes:
        if event == DONE:
            self.is_done = True
            return b""
        if b'"error"' in event and b'"choices"' not in event:
            raise _reported(event)
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


def _framed(data: bytes) -> bytes:
    if not data:
        return b""
    return b"data: %b\n\n" % (data.replace(b"\n", b"\ndata: ") if b"\n" in data else data)


def _reported(event: bytes) -> UpstreamError:
    """An error that the upstream sent as an event."""
    message = error_fields(event)[0]
    return Failed(f"The upstream reported an error: {message}" if message else "The upstream reported an error.")
