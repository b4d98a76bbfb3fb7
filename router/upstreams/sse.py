"""Server-sent events: bytes in, the data of whole events out, however the network cut them."""

import json

from weighbridge.errors import Failed

MAX_EVENT_BYTES = 16 << 20  # a picture may come as one event

_BOM = b"\xef\xbb\xbf"


class Splitter:
    """Feed it what was read. Comments and empty events are dropped; the bytes of the data are not touched."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of what is not yet a whole event
        self._size = 0
        self._has_begun = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that are complete now. Raises Failed on an event without an end."""
        if (
            not self._parts
            and chunk.startswith(b"data: ")
            and chunk.endswith(b"\n\n")
            and chunk.count(b"\n") == 2
            and b"\r" not in chunk
        ):
            return [chunk[6:-2]] if len(chunk) > 8 else []  # one event, whole: the common case
        is_held = bool(self._parts) and self._parts[-1].endswith(b"\r")
        is_within_a_line = not is_held and b"\n" not in chunk and b"\r" not in chunk
        self._parts.append(chunk)
        self._size += len(chunk)
        # A long line is not looked at again with each part of it.
        events = [] if is_within_a_line else self._split(b"".join(self._parts))
        if self._size > MAX_EVENT_BYTES:
            raise Failed("The upstream sent an event larger than 16 MiB.", code="upstream_too_large")
        return events

    def flush(self) -> list[bytes]:
        """What is left at the end of the connection, if it is an event that lacks only its blank line."""
        rest = b"".join(self._parts).replace(b"\r", b"\n")
        self._parts = []
        data = _data_of(rest.strip(b"\n"))
        return [data] if data and (rest.endswith(b"\n\n") or _is_whole(data)) else []

    def _split(self, text: bytes) -> list[bytes]:
        held = b""
        if not self._has_begun:
            self._has_begun = True
            text = text.removeprefix(_BOM)
        if b"\r" in text:
            if text.endswith(b"\r"):  # perhaps the first half of CRLF
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *blocks, rest = text.split(b"\n\n")
        rest += held
        self._parts = [rest] if rest else []
        self._size = len(rest)
        return [data for block in blocks if (data := _data_of(block))]


def _data_of(block: bytes) -> bytes:
    if b"\n" not in block:
        return _value(block) or b""
    return b"\n".join([value for line in block.split(b"\n") if (value := _value(line)) is not None])


def _value(line: bytes) -> bytes | None:
    """What a line adds to the data; None for a comment and for every other field."""
    if line.startswith(b"data: "):
        return line[6:]
    if line.startswith(b"data:"):
        return line[5:]
    return b"" if line == b"data" else None


def _is_whole(data: bytes) -> bool:
    """An end in the middle of an event must not look like one."""
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return data == b"[DONE]"
    return True
