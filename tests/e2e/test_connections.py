"""Slow, silent and hostile connections: each gets a 4xx or is closed, never a 5xx, and the next good request works."""

import asyncio
import gc
import json
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from running import RunningGateway
from scripted import Behaviour, Seen, chunk, completion, hang, raw_stream

from weighbridge.connections import Connection

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
BODY = json.dumps(CHAT).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n" % len(BODY)
GOOD = HEAD + b"\r\n" + BODY
HASTY = {"header_timeout_s": 0.4, "body_timeout_s": 0.6, "idle_timeout_s": 0.5, "write_timeout_s": 0.4}


@contextmanager
def connected(gateway: RunningGateway, receive_bytes: int = 0) -> Iterator[socket.socket]:
    with socket.socket() as client:
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(20)
        client.connect(("127.0.0.1", gateway.port))
        yield client


def received(client: socket.socket) -> bytes:
    """Everything until the other side is through."""
    parts = []
    try:
        while part := client.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def dribbled(client: socket.socket, sent: bytes, byte: bytes) -> bytes:
    """What comes back while one byte after the other is sent, each well within any limit."""
    client.sendall(sent)
    client.settimeout(0.05)
    while True:
        try:
            client.sendall(byte)
            part = client.recv(1 << 16)
        except TimeoutError:
            continue
        except OSError:
            return b""
        client.settimeout(20)
        return part + received(client) if part else b""


def assert_refused(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:500]
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"connection"] == b"close"
    assert int(headers[b"content-length"]) == len(body)
    assert headers[b"x-request-id"]
    error = json.loads(body)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)


def assert_works(gateway: RunningGateway) -> None:
    assert httpx.post(f"{gateway.url}/chat/completions", json=CHAT).status_code == 200


# Slow ones.


def test_slow_headers_are_ended(start):
    """X4: slow headers: 408 at the limit."""
    gateway = start(server=HASTY)
    with connected(gateway) as client:
        assert_refused(
            dribbled(client, b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ", b"a"), 408, "request_timeout"
        )
    with connected(gateway) as client:
        assert_refused(dribbled(client, GOOD[:10], b""), 408, "request_timeout")
    assert_works(gateway)


def test_a_slow_body_is_ended(start, local):
    """X4: a slow body: 408 at the limit."""
    gateway = start(server=HASTY)
    head = HEAD.replace(b"%d" % len(BODY), b"100000")
    with connected(gateway) as client:
        assert_refused(dribbled(client, head + b"\r\n{", b" "), 408, "request_timeout")
    with connected(gateway) as client:
        chunked = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", HEAD)
        assert_refused(dribbled(client, chunked + b"\r\n", b"1\r\n \r\n"), 408, "request_timeout")
    assert_works(gateway)
    assert len(local.chats) == 1


def test_a_body_that_keeps_coming_may_take_its_time(start):
    gateway = start(server={**HASTY, "body_timeout_s": 0.3})
    filler = b" " * (64 << 10)
    head = re.sub(rb"\d+\r\n$", b"%d\r\n" % (len(BODY) + 8 * len(filler)), HEAD)
    with connected(gateway) as client:
        client.sendall(head + b"\r\n")
        for _ in range(8):
            client.sendall(filler)
            time.sleep(0.1)  # the line's pace, which is what this is about
        client.sendall(BODY)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_a_silent_connection_is_closed_without_a_word(start):
    gateway = start(server=HASTY)
    with connected(gateway) as client:
        assert received(client) == b""


@pytest.mark.parametrize("byte", [b"", b"\r\n"])
def test_an_idle_connection_is_closed(start, byte):
    gateway = start(server=HASTY)
    with connected(gateway) as client:
        client.sendall(GOOD)
        answer = client.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" not in answer
        assert dribbled(client, b"", byte) == b"" if byte else received(client) == b""


def test_slow_headers_on_a_kept_connection_are_ended(start):
    gateway = start(server=HASTY)
    with connected(gateway) as client:
        client.sendall(GOOD)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert_refused(dribbled(client, b"GET / HTTP/1.1\r\nx: ", b"a"), 408, "request_timeout")


def test_a_slow_answer_is_no_slow_client(start, local):
    async def slow(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)  # the upstream's pace, which is what this is about
        await completion()(seen, writer)

    local.then(slow)
    limits = ("header_timeout_s", "body_timeout_s", "idle_timeout_s", "write_timeout_s")
    gateway = start(server=dict.fromkeys(limits, 0.1))
    assert_works(gateway)


def a_long_stream(events: int) -> Behaviour:
    words = json.dumps(chunk("small-1", {"content": "x" * 60_000})).encode()
    last = json.dumps(chunk("small-1", {}, "stop")).encode()
    return raw_stream(*[b"data: " + words + b"\n\n"] * events, b"data: " + last + b"\n\n", b"data: [DONE]\n\n")


STREAMED = json.dumps({**CHAT, "stream": True}).encode()
STREAM = HEAD.replace(b"%d" % len(BODY), b"%d" % len(STREAMED)) + b"connection: close\r\n\r\n" + STREAMED


def test_a_client_that_stops_reading_a_stream_is_let_go(start, local):
    """X3: a client that does not read: let go at the limit."""
    local.always(a_long_stream(800))
    gateway = start(server=HASTY)
    with connected(gateway, receive_bytes=4096) as client:
        client.sendall(STREAM)
        assert client.recv(16).startswith(b"HTTP/1.1 200 ")
        while not (rows := gateway.rows())[0]["end_reason"]:
            assert len(rows) == 1
        assert rows[0]["end_reason"] == "client_gone"
        assert b"data: [DONE]" not in received(client)
    local.always(completion())
    assert_works(gateway)


def test_a_client_that_reads_slowly_gets_it_all(start, local):
    local.always(completion("x" * (8 << 20)))
    gateway = start(server={**HASTY, "write_timeout_s": 1})
    size = 0
    with connected(gateway, receive_bytes=64 << 10) as client:
        client.sendall(GOOD)
        while size < 8 << 20:
            part = client.recv(128 << 10)
            assert part
            size += len(part)
            time.sleep(0.03)  # the reader's pace, which is what this is about


# Many.


def test_good_traffic_passes_two_thousand_idle_connections(start):
    """X5: thousands of idle connections: good requests pass."""
    gateway = start(server={"max_connections": 512})
    with ExitStack() as held:
        for i in range(2000):
            client = held.enter_context(connected(gateway))
            if i % 3 == 0:
                client.sendall(b"GET /v1/models HT")
        for _ in range(20):
            assert_works(gateway)
    assert_works(gateway)


def test_good_traffic_passes_where_slow_bodies_hold_every_connection(start):
    gateway = start(server={"max_connections": 8})
    with ExitStack() as held:
        for _ in range(40):
            held.enter_context(connected(gateway)).sendall(GOOD[:-5])
        for _ in range(3):
            assert_works(gateway)


def test_where_all_are_at_work_one_more_is_told_to_wait(start, local):
    local.always(hang())
    gateway = start(server={"max_connections": 2})
    with connected(gateway) as one, connected(gateway) as two:
        for number, client in enumerate((one, two), 1):
            client.sendall(GOOD)
            client.settimeout(0.01)
            while len(local.chats) < number:
                with pytest.raises(TimeoutError):
                    client.recv(1)
        with connected(gateway) as three:
            assert b"too_many_connections" in received(three)


def test_a_connection_that_was_reset_leaves_nothing_behind(start):
    before = open_connections()
    gateway = start()
    with connected(gateway) as client:
        client.sendall(GOOD)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed without a goodbye
    deadline = time.monotonic() + 10
    while open_connections() - before:
        assert time.monotonic() < deadline
        gc.collect()


def open_connections() -> set[Connection]:
    """Those that anything still holds."""
    return {one for one in gc.get_objects() if type(one) is Connection}


def test_an_idle_connection_remembers_nothing_of_its_last_request(start):
    before = open_connections()
    gateway = start()
    with connected(gateway) as client:
        for _ in range(2):
            client.sendall(GOOD)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
            [connection] = open_connections() - before
            deadline = time.monotonic() + 10
            while (connection.scope, connection.headers, connection.cycle) != (None, None, None):
                assert time.monotonic() < deadline


# Hostile ones.

HOST = b"host: 127.0.0.1\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST
LARGE, BAD = (431, "headers_too_large"), (400, "invalid_http")
HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "a header of 1 MB": (GET + b"x: " + b"a" * (1 << 20) + b"\r\n\r\n", *LARGE),
    "a header without an end": (GET + b"x: " + b"a" * (1 << 20), *LARGE),
    "20,000 headers": (GET + b"x: 1\r\n" * 20_000 + b"\r\n", *LARGE),
    "101 headers": (GET + b"x: 1\r\n" * 100 + b"\r\n", *LARGE),
    "a URL of 100 KB": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", *LARGE),
    "17 KB of headers": (GET + b"x: %b\r\n" % (b"a" * 1000) * 17 + b"\r\n", *LARGE),
    "two content-lengths": (HEAD + b"content-length: 1\r\n\r\n" + BODY, *BAD),
    "the same content-length twice": (HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY, *BAD),
    "a length and chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", *BAD),
    "chunks that are not last": (POST + b"transfer-encoding: chunked, x\r\n\r\n", *BAD),
    "a negative length": (POST + b"content-length: -1\r\n\r\n", *BAD),
    "a bad chunk": (POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n", *BAD),
    "no host": (b"GET /v1/models HTTP/1.1\r\n\r\n", *BAD),
    "two hosts": (b"GET /v1/models HTTP/1.1\r\n" + HOST + HOST + b"\r\n", *BAD),
    "a space before the colon": (GET + b"x : y\r\n\r\n", *BAD),
    "bare line feeds": (b"GET / HTTP/1.1\nhost: 127.0.0.1\n\n", *BAD),
    "a NUL": (GET + b"x: a\x00b\r\n\r\n", *BAD),
    "a URL that is none": (b"GET http://[ HTTP/1.1\r\n" + HOST + b"\r\n", *BAD),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", *BAD),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", *BAD),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example\r\n\r\n", 405, "method_not_allowed"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_in_our_shape_and_the_next_request_works(gateway, name):
    """X6: headers of 1 MB, 20,000 headers, two lengths, no host: 4xx in our shape, and the next one is served."""
    sent, status, code = HOSTILE[name]
    with connected(gateway) as client:
        client.sendall(sent)
        assert_refused(received(client), status, code)
    assert_works(gateway)


@pytest.mark.parametrize("sent", [sent for sent, _, _ in HOSTILE.values()], ids=list(HOSTILE))
def test_behind_a_good_request_it_does_not_harm_the_good_answer(gateway, sent):
    with connected(gateway) as client:
        client.sendall(GOOD + sent)
        answer = received(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    body = answer.partition(b"\r\n\r\n")[2]
    assert json.JSONDecoder().raw_decode(body.decode("latin-1"))[0]["object"] == "chat.completion"


def test_headers_just_within_the_limits_are_heard(gateway):
    wide = b"x: %b\r\n" % (b"a" * 15_000)
    many = b"x: 1\r\n" * 99
    for more in (wide, many):
        with connected(gateway) as client:
            client.sendall(b"GET /v1/models HTTP/1.1\r\n" + HOST + more + b"\r\n")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_an_old_client_without_a_host_is_heard(gateway):
    with connected(gateway) as client:
        client.sendall(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert received(client).startswith(b"HTTP/1.1 200 ")


def test_an_offer_to_upgrade_is_ignored_and_loses_no_body(gateway):
    """Java's HTTP client offers HTTP/2 with the first request, body and all."""
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n"
    with connected(gateway) as client:
        for sent in (HEAD + offer + BODY, GOOD, HEAD + offer):
            client.sendall(sent)
            if sent.endswith(b"\r\n\r\n"):
                client.sendall(BODY)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /v1/models HTTP/1.1\r\n" + HOST + offer)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_requests_that_come_together_are_answered_in_turn(gateway):
    with connected(gateway) as client:
        client.sendall(GOOD * 3 + GOOD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
        assert received(client).count(b"HTTP/1.1 200 ") == 4


SENDERS: dict[str, Callable[[socket.socket], None]] = {
    "a body too large": lambda client: client.sendall(POST + b"content-length: 99999999\r\n\r\n" + b" " * 9000),
    "half a body": lambda client: client.sendall(GOOD[:-5]),
    "half a header": lambda client: client.sendall(GOOD[:20]),
    "nothing": lambda _: None,
}  # fmt: skip


@pytest.mark.parametrize("name", SENDERS)
def test_a_client_that_goes_in_the_middle_leaves_nothing_behind(start, caplog, name):
    gateway = start(server=HASTY)
    with connected(gateway) as client:
        SENDERS[name](client)
    assert_works(gateway)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
