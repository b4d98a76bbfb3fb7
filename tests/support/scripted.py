"""A scripted model server on loopback: it answers as it is told, and keeps every byte that it receives."""

import asyncio
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from weighbridge.upstreams.presence import LOOKS_AS

SENTENCE = "The quick brown fox jumps over the lazy dog while the weighbridge counts every single token."


@dataclass
class Seen:
    """One request as it arrived. `left` is set when the other side closed the connection before we did.

    head: its first line and its headers, byte for byte; headers: by their names in lower case; at_s: when it came.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    head: bytes = b""
    left: threading.Event = field(default_factory=threading.Event)
    at_s: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


Behaviour = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


class ScriptedUpstream:
    """Start it with `with`. `then(...)` queues behaviours, one a request; `always(...)` is for when none waits.

    Looks in the background are answered from `tells`, by path, or by 404 where it tells nothing, and are not in `seen`.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.tells: dict[str, Behaviour] = {}
        self.connections: list[object] = []
        self.port = 0
        self._queue: deque[Behaviour] = deque()
        self._default: Behaviour = completion()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def chats(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "POST"]

    def then(self, *behaviours: Behaviour) -> "ScriptedUpstream":
        self._queue.extend(behaviours)
        return self

    def always(self, behaviour: Behaviour) -> "ScriptedUpstream":
        self._default = behaviour
        return self

    def __enter__(self) -> "ScriptedUpstream":
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=1 << 26)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read_request(reader):
                if request.headers.get("user-agent") == LOOKS_AS:
                    await self.tells.get(request.path, respond(404, {}))(request, writer)
                    await writer.drain()
                    continue
                self.seen.append(request)
                if (peer := writer.get_extra_info("peername")) not in self.connections:
                    self.connections.append(peer)
                behaviour = self._default
                if request.method == "POST" and self._queue:
                    behaviour = self._queue.popleft()
                watch = asyncio.ensure_future(_note_leaving(reader, request))
                try:
                    await behaviour(request, writer)
                    await writer.drain()
                finally:
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _note_leaving(reader: asyncio.StreamReader, request: Seen) -> None:
    # Our clients never send the next request early, so whatever ends the read is the end of the connection.
    while not reader.at_eof():
        if reader._buffer:  # a pipelined request: not ours to take
            return
        await reader._wait_for_data("leaving")
    request.left.set()


async def _read_request(reader: asyncio.StreamReader) -> Seen | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Seen(method, path, headers, body, head)


# Behaviours


def respond(status: int, body: bytes | dict, headers: dict[str, str] | None = None) -> Behaviour:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    extra = {"content-type": "application/json", **(headers or {})}

    async def act(_: Seen, writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(raw)}\r\n\r\n".encode() + raw)

    return act


def completion(text: str = SENTENCE, usage: tuple[int, int] | None = (12, 17), **fields: Any) -> Behaviour:
    async def act(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.method == "GET":
            await respond(200, {"object": "list", "data": [{"id": "m"}]})(seen, writer)
        elif seen.json.get("stream"):
            await stream(text, usage=usage)(seen, writer)
        else:
            await respond(200, completion_body(seen.json["model"], text, usage) | fields)(seen, writer)

    return act


def answering(text: str, logprob: float = -0.05, usage: tuple[int, int] = (12, 17)) -> Behaviour:
    """An answer with the log-probabilities of its tokens, where they are asked for."""

    async def act(seen: Seen, writer: asyncio.StreamWriter) -> None:
        words = [word + " " for word in text.split(" ")]
        fields = seen.json

        def told(tokens: list[str]) -> dict[str, Any] | None:
            content = [{"token": token, "logprob": logprob, "bytes": None, "top_logprobs": []} for token in tokens]
            return {"content": content, "refusal": None} if fields.get("logprobs") else None

        if not fields.get("stream"):
            body = completion_body(fields["model"], text, usage)
            body["choices"][0]["logprobs"] = told(words)
            await respond(200, body)(seen, writer)
            return
        chunks = [chunk("m", {"role": "assistant", "content": ""})]
        chunks += [chunk("m", {"content": word}) for word in words]
        for one, word in zip(chunks[1:], words, strict=True):
            one["choices"][0]["logprobs"] = told([word])
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
        chunks += [chunk("m", {}, "stop"), {**chunk("m", {}), "choices": [], "usage": counts}]
        events = [b"data: %b\n\n" % json.dumps(one).encode() for one in chunks]
        await raw_stream(*events, b"data: [DONE]\n\n")(seen, writer)

    return act


def completion_body(model: str, text: str, usage: tuple[int, int] | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
    }
    if usage:
        body["usage"] = {
            "prompt_tokens": usage[0],
            "completion_tokens": usage[1],
            "total_tokens": sum(usage),
        }
    return body


def chunk(model: str, delta: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **fields,
    }


def events(model: str, text: str, usage: tuple[int, int] | None, asked_usage: bool) -> list[bytes]:
    null = {"usage": None} if asked_usage else {}
    words = [w + " " for w in text.split(" ")]
    words[-1] = words[-1].rstrip()
    chunks = [chunk(model, {"role": "assistant", "content": ""}, **null)]
    chunks += [chunk(model, {"content": word}, **null) for word in words]
    chunks.append(chunk(model, {}, "stop", **null))
    if usage and asked_usage:
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        chunks.append({**chunk(model, {}), "choices": [], "usage": counts})
    return [json.dumps(c).encode() for c in chunks] + [b"[DONE]"]


def stream(
    text: str = SENTENCE,
    usage: tuple[int, int] | None = (12, 17),
    *,
    cut_after: int | None = None,
    how: str = "close",
    hold_after: int | None = None,
    separator: bytes = b"\n\n",
    slices: int | None = None,
    before: bytes = b"",
    done: bool = True,
) -> Behaviour:
    """A stream of one event a word.

    cut_after: stop after so many events, by `how`: "close" (a broken chunked body), "reset" or "clean" (a proper end).
    hold_after: send no more after that many events, and keep the connection. slices: write so many bytes at a time.
    """

    async def act(seen: Seen, writer: asyncio.StreamWriter) -> None:
        asked = bool((seen.json.get("stream_options") or {}).get("include_usage"))
        all_events = events(seen.json["model"], text, usage, asked)
        if not done:
            all_events.pop()
        kept = all_events[: cut_after if cut_after is not None else hold_after]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        raw = before + b"".join(b"data: " + event + separator for event in kept)
        for i in range(0, len(raw), slices or len(raw) or 1):
            part = raw[i : i + (slices or len(raw))]
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
        if hold_after is not None:
            await _hold(seen)
        if cut_after is not None and how != "clean":
            _break(writer, how)
            return
        writer.write(b"0\r\n\r\n")

    return act


def raw_stream(*parts: bytes) -> Behaviour:
    """These bytes as an event stream, each part in a write of its own."""

    async def act(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for part in parts:
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    return act


def hang() -> Behaviour:
    """Take the request and say nothing."""

    async def act(seen: Seen, _: asyncio.StreamWriter) -> None:
        await _hold(seen)

    return act


def reset() -> Behaviour:
    """Break the connection before any answer."""

    async def act(_: Seen, writer: asyncio.StreamWriter) -> None:
        _break(writer, "reset")

    return act


async def _hold(seen: Seen) -> None:
    await asyncio.to_thread(seen.left.wait, 60)


def _break(writer: asyncio.StreamWriter, how: str) -> None:
    if how == "reset":
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort() if how == "reset" else writer.close()


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
