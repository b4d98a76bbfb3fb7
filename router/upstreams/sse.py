"""Server-sent events: bytes in, the data of whole events out, however the network cut them."""

from weighbridge.errors import Failed

MAX_EVENT_BYTES = 1 << 20


class Splitter:
    """Feed it what was read. Comments and empty events are dropped; the bytes of the data are not touched."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that are complete now. Raises Failed on an event without an end."""
        if (
            not self._rest
            and chunk.startswith(b"data: ")
            and chunk.endswith(b"\n\n")
            and chunk.count(b"\n") == 2
            and b"\r" not in chunk
        ):
            return [chunk[6:-2]]  # one event, whole: the common case
        text = self._rest + chunk
        held = b""
        if b"\r" in text:
            if text.endswith(b"\r"):  # perhaps the first half of CRLF
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *blocks, rest = text.split(b"\n\n")
        self._rest = rest + held
        if len(self._rest) > MAX_EVENT_BYTES:
            raise Failed("The upstream sent an event larger than 1 MiB.", code="upstream_too_large")
        return [data for block in blocks if (data := _data_of(block))]

    def flush(self) -> list[bytes]:
        """What is left at the end of the connection, if it is an event that lacks only its blank line."""
        data = _data_of(self._rest.replace(b"\r", b"\n").strip(b"\n"))
        self._rest = b""
        return [data] if data else []


def _data_of(block: bytes) -> bytes:
    if b"\n" not in block:
        return _value(block)
    return b"\n".join(value for line in block.split(b"\n") if (value := _value(line)))


def _value(line: bytes) -> bytes:
    if line.startswith(b"data: "):
        return line[6:]
    if line.startswith(b"\xef\xbb\xbf"):  # a byte-order mark may open the stream
        return _value(line[3:])
    return line[5:] if line.startswith(b"data:") else b""
