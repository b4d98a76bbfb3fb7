"""The client to upstreams: connections kept, bytes as they came, and no end taken for another."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import closed_port

from weighbridge.upstreams.link import MAX_HEAD_BYTES, Broken, Client, NoConnection

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(*answers: bytes, keep: bool = True) -> AsyncIterator[tuple[Client, list[bytes]]]:
    """A client to a server that answers each request with the next of these bytes."""
    seen: list[bytes] = []
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(b"connection")
        try:
            while waiting:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(waiting.pop(0))
                await writer.drain()
                if not keep:
                    break
            if keep:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}/v1", {"x-own": "1"}, 1)
    try:
        yield client, seen
    finally:
        client.close()
        listening.close()
        await asyncio.sleep(0.01)


async def whole(client: Client, path: str = "/x") -> bytes:
    link = await client.request("GET", path)
    body = b""
    while part := await link.read():
        body += part
    link.close()
    return body


SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
ANNOUNCED = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + SIZED


@pytest.mark.parametrize("answer", [SIZED, CHUNKED, ANNOUNCED])
async def test_a_body_comes_whole_and_its_connection_serves_again(answer):
    async with server(answer, answer) as (client, seen):
        assert await whole(client) == b"hello"
        assert await whole(client) == b"hello"
        assert seen.count(b"connection") == 1
        assert seen[1].startswith(b"GET /v1/x HTTP/1.1\r\nhost: 127.0.0.1:")
        assert b"\r\nx-own: 1\r\n" in seen[1]


async def test_a_body_without_a_length_ends_with_its_connection():
    async with server(b"HTTP/1.1 200 OK\r\n\r\nhello", keep=False) as (client, _):
        assert await whole(client) == b"hello"


@pytest.mark.parametrize(
    "answer", [SIZED[:-1], CHUNKED[:-5], CHUNKED[:-9], b"HTTP/1.1 200 OK\r\n", b"", b"nonsense\r\n\r\n"]
)
async def test_an_answer_that_breaks_off_is_broken(answer):
    async with server(answer, keep=False) as (client, _):
        with pytest.raises(Broken):
            await whole(client)


async def test_a_head_without_an_end_is_refused():
    async with server(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2 * MAX_HEAD_BYTES) as (client, _):
        with pytest.raises(Broken):
            await whole(client)


async def test_a_server_that_closes_after_its_answer_gets_a_new_connection():
    async with server(SIZED, SIZED, keep=False) as (client, seen):
        assert await whole(client) == b"hello"
        await asyncio.sleep(0.05)
        assert await whole(client) == b"hello"
        assert seen.count(b"connection") == 2


async def test_bytes_beyond_the_answer_are_nobodys_and_end_the_connection():
    async with server(SIZED + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", SIZED) as (client, seen):
        assert await whole(client) == b"hello"
        assert await whole(client) == b"hello"
        assert seen.count(b"connection") == 2


async def test_a_connection_closed_twice_serves_one_request_at_a_time():
    async with server(SIZED, SIZED, SIZED) as (client, _):
        link = await client.request("GET", "/x")
        while await link.read():
            pass
        link.close()
        link.close()
        first = await client.request("GET", "/x")
        second = await client.request("GET", "/x")
        assert first is not second
        first.abort()
        second.abort()


async def test_a_large_body_waits_for_its_reader():
    size = 8 << 20
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) as (client, _):
        link = await client.request("GET", "/x")
        await asyncio.sleep(0.05)
        assert len(await link.read()) < size
        link.abort()


async def test_a_closed_port_is_no_connection():
    with pytest.raises(NoConnection):
        await Client(f"http://127.0.0.1:{closed_port()}", {}, 1).request("GET", "/")


async def test_a_server_too_busy_to_take_a_connection_is_no_connection():
    """U2: nobody takes the connection: given up after connect_s."""
    with socket.socket() as busy, ExitStack() as waiting:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        for _ in range(3):  # its line is full then
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(busy.getsockname())
        with pytest.raises(NoConnection):
            await Client(f"http://127.0.0.1:{busy.getsockname()[1]}", {}, 0.2).request("GET", "/")


async def test_a_name_that_does_not_exist_is_no_connection():
    """U19: a name that is not known: as if nothing listened."""
    with pytest.raises(NoConnection):
        await Client("http://no-such-host.invalid", {}, 2).request("GET", "/")


async def test_plain_http_on_a_tls_url_is_a_tls_error():
    """U18: no TLS where TLS was asked for: an error, and never plain HTTP instead."""
    async with server(SIZED) as (client, _):
        secure = Client(f"https://127.0.0.1:{client._port}/", {}, 1)
        with pytest.raises((ssl.SSLError, NoConnection)):
            await secure.request("GET", "/")


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(1, len(CHUNKED) - 1), max_size=10), answer=st.sampled_from([SIZED, CHUNKED, ANNOUNCED])
)
def test_wherever_the_network_cuts_it_the_body_is_the_same(cuts, answer):
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            at = 0
            for cut in [*sorted({min(c, len(answer)) for c in cuts}), len(answer)]:
                writer.write(answer[at:cut])
                await writer.drain()
                await asyncio.sleep(0)
                at = cut
            writer.close()

        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = Client(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", {}, 1)
        assert await whole(client) == b"hello"
        client.close()
        listening.close()
        await asyncio.sleep(0.01)

    asyncio.run(scenario())
