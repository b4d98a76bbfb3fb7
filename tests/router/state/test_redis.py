"""The counters in Redis: shared, exact, and no trouble to anybody while Redis is in trouble."""

import asyncio
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import redis_server
from redis_server import RedisServer

from weighbridge.ledger.base import CannotOpen
from weighbridge.state.base import Claim, Forgotten, Unreachable
from weighbridge.state.redis import Redis


@pytest.fixture(autouse=True)
def _quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for Redis to come back need not wait for long."""
    monkeypatch.setattr("weighbridge.breaker.PROBE_S", 0.05)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """One to be harmed."""
    with RedisServer() as server:
        monkeypatch.setenv(redis_server.VARIABLE, server.url)
        yield server


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What states have in common that count together, in a server that is left in peace."""
    monkeypatch.setenv(redis_server.VARIABLE, redis_server.running().url)
    return {"prefix": redis_server.new_prefix(), "timeout_s": 5}


@asynccontextmanager
async def opened(**options: object) -> AsyncIterator[Redis]:
    state = Redis(**options)
    await state.aopen()
    yield state
    await state.aclose()


def claim(amount: int, cap: int = 100, key: str = "day") -> Claim:
    return Claim(key, amount, cap, 60)


async def until_it_answers(state: Redis) -> str | None:
    """Take until Redis is asked again. Raises Forgotten."""
    async with asyncio.timeout(20):
        while True:
            with suppress(Unreachable):
                return await state.take([claim(1)])
            await asyncio.sleep(0.01)


# Together.


async def test_gateways_with_one_redis_never_take_more_than_there_is(shared):
    async with opened(**shared) as one, opened(**shared) as other:
        await one.rebuild({})

        async def caller(state: Redis) -> int:
            return sum([await state.take([claim(3, cap=1000)]) is None for _ in range(10)])

        taken = await asyncio.gather(*(caller(state) for state in (one, other) for _ in range(32)))
        assert sum(taken) == 333
        assert await one.levels(["day"]) == await other.levels(["day"]) == [999]


async def test_gateways_of_another_prefix_count_for_themselves(shared):
    async with opened(**shared) as one, opened(**shared | {"prefix": redis_server.new_prefix()}) as other:
        for state in (one, other):
            assert await state.rebuild({"day": (7, 60.0)})
        await one.take([claim(10)])
        assert await other.levels(["day"]) == [7]


async def test_every_key_is_ours_and_runs_out_but_for_the_mark(shared):
    async with opened(**shared) as state:
        await state.rebuild({"month": (7, 60.0)})
        await state.take([claim(1)])
        await state.give({"day": -5, "month": -10})
    client = redis_server.running().client
    keys = client.keys(f"{{{shared['prefix']}}}*")
    assert len(keys) == 3
    assert sorted(client.pttl(key) > 0 for key in keys) == [False, True, True]
    assert client.ttl(next(key for key in keys if key.endswith("month"))) in range(1, 61)
    client.close()


async def test_what_one_gateway_makes_forgotten_is_forgotten_for_all(shared):
    async with opened(**shared) as one, opened(**shared) as other:
        await one.rebuild({"day": (50, 60.0)})
        await other.take([claim(1)])
        await one.forget()
        with pytest.raises(Forgotten):
            await other.take([claim(1)])
        assert await other.rebuild({"day": (90, 60.0)})
        assert await one.take([claim(11)]) == "day"
        # A claim of the time before is given back to the counters that there are now.
        await one.give({"day": -10})
        assert await other.levels(["day"]) == [80]


# In trouble.


async def test_a_redis_that_was_restarted_empty_is_rebuilt_before_anything_is_taken(server):
    async with opened() as state:
        await state.rebuild({})
        await state.take([claim(50)])
        server.kill()
        with pytest.raises(Unreachable):
            await state.take([claim(1)])
        server.start()
        with pytest.raises(Forgotten):
            await until_it_answers(state)
        assert await state.rebuild({"day": (99, 60.0)})
        assert await state.take([claim(2)]) == "day"


async def test_a_redis_that_was_away_and_kept_its_counters_is_rebuilt_too(server):
    async with opened() as state:
        await state.rebuild({})
        await state.take([claim(50)])
        server.freeze()
        with pytest.raises(Unreachable):
            await state.take([claim(1)])
        server.thaw()
        with pytest.raises(Forgotten):
            await until_it_answers(state)
        assert await state.rebuild({"day": (70, 60.0)})
        assert await state.levels(["day"]) == [70]


async def test_one_that_says_nothing_is_waited_for_once(monkeypatch, caplog):
    monkeypatch.setattr("weighbridge.breaker.PROBE_S", 3600)
    with Scripted(None) as server:
        monkeypatch.setenv(redis_server.VARIABLE, server.url)
        async with opened(timeout_s=0.05) as state:
            with pytest.raises(Unreachable):
                await state.take([claim(1)])
            asked = server.commands
            for asks in (state.take([claim(1)]), state.levels(["day"]), state.give({"day": 1}), state.rebuild({})):
                with pytest.raises(Unreachable):
                    await asks
    assert server.commands == asked > 0
    assert "TimeoutError" in caplog.text


async def test_without_redis_nothing_fails_but_what_asks_it(server):
    server.kill()
    async with opened() as state:
        for asks in (state.take([claim(1)]), state.levels(["day"]), state.give({"day": 1}), state.rebuild({})):
            with pytest.raises(Unreachable):
                await asks


async def test_scripts_that_redis_has_lost_are_sent_again(server):
    async with opened() as state:
        await state.rebuild({})
        await state.take([claim(50)])
        server.run("SCRIPT", "FLUSH")
        taken = await asyncio.gather(*(state.take([claim(10)]) for _ in range(10)))
        assert taken.count(None) == 5
        assert await state.levels(["day"]) == [100]


async def test_a_replica_that_takes_no_writes_counts_as_away(server):
    with RedisServer() as master:
        async with opened() as state:
            await state.rebuild({})
            server.run("REPLICAOF", "127.0.0.1", str(master.port))
            with pytest.raises(Unreachable):
                await state.take([claim(1)])
            server.run("REPLICAOF", "NO", "ONE")
            with pytest.raises(Forgotten):
                await until_it_answers(state)


async def test_a_full_redis_counts_as_away_and_takes_no_half_of_a_claim(server):
    async with opened() as state:
        await state.rebuild({})
        await state.take([claim(1)])
        server.run("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(Unreachable):
            await state.take([claim(1), claim(1, key="month")])
        assert await state.levels(["day", "month"]) == [1, 0]


async def test_a_password_is_asked_for_and_given(monkeypatch):
    with RedisServer(requirepass="right") as server:
        for password, outcome in (("", Unreachable), (":wrong@", Unreachable), (":right@", Forgotten)):
            monkeypatch.setenv(redis_server.VARIABLE, f"redis://{password}127.0.0.1:{server.port}/0")
            async with opened() as state:
                with pytest.raises(outcome):
                    await state.take([claim(1)])


class Scripted:
    """Says the same to every command, or nothing, and counts them."""

    def __init__(self, reply: bytes | None) -> None:
        self._reply = reply
        self.commands = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> "Scripted":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while commands := client.recv(65536).count(b"*"):
                self.commands += commands
                if self._reply is None:
                    continue
                client.sendall(self._reply * commands)
                if not self._reply.endswith(b"\r\n"):
                    return


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (b"-READONLY You can't write against a read only replica: canary.\r\n", "ReadOnlyError"),
        (b"-LOADING Redis is loading the dataset in memory: canary\r\n", "BusyLoadingError"),
        (b"-NOAUTH Authentication required: canary.\r\n", "AuthenticationError"),
        (b"-OOM command not allowed when used memory > 'maxmemory': canary.\r\n", "OutOfMemoryError"),
        (b"-MISCONF Redis is configured to save RDB snapshots: canary\r\n", "ResponseError MISCONF"),
        (b"-CLUSTERDOWN The cluster is down: canary\r\n", "ClusterDownError"),
        (b"HTTP/1.1 400 canary\r\n", "InvalidResponse"),
        (b"$canary\r\n", "ValueError"),
        (b"*2\r\n$5\r\ncan", "ConnectionError"),
    ],
)
async def test_whatever_else_redis_says_it_counts_as_away(reply, named, monkeypatch, caplog):
    """R5: READONLY, LOADING, NOAUTH, OOM, MISCONF, nonsense: as if it were away, and its words stay with us."""
    monkeypatch.setattr("weighbridge.breaker.PROBE_S", 3600)
    with Scripted(reply) as server:
        monkeypatch.setenv(redis_server.VARIABLE, server.url)
        async with opened() as state:
            for _ in range(20):
                with pytest.raises(Unreachable):
                    await state.take([claim(1)])
            asked = server.commands
            with pytest.raises(Unreachable):
                await state.take([claim(1)])
    assert server.commands == asked
    assert named in caplog.text
    assert "canary" not in caplog.text


# Cancelled.


async def test_what_a_caller_who_left_had_claimed_is_given_back(server):
    async with opened(timeout_s=10) as state:
        await state.rebuild({})
        server.freeze()
        leaving = asyncio.ensure_future(state.take([claim(60)]))
        staying = asyncio.ensure_future(state.take([claim(30)]))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        server.thaw()
        assert await staying is None
    assert [server.run("GET", key) for key in server.run("KEYS", "*day")] == ["30"]


async def test_nobody_gets_the_answer_to_a_question_of_somebody_who_left(server):
    """R7: a question that is cancelled: no answer is taken for another."""
    async with opened(timeout_s=10) as state:
        await state.rebuild({str(i): (i, 60.0) for i in range(400)})
        for round_ in range(20):
            asked = [asyncio.ensure_future(state.levels([str(i)])) for i in range(20 * round_, 20 * round_ + 20)]
            for turns, task in enumerate(asked[::2]):
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
            found = await asyncio.gather(*asked, return_exceptions=True)
            wrong = [f for i, f in enumerate(found, 20 * round_) if isinstance(f, list) and f != [i]]
            assert wrong == []


async def test_answers_that_come_too_late_are_nobodys(server):
    """R3: an answer after its time: nobody gets it, and the next question gets its own."""
    async with opened() as patient, opened(timeout_s=0.05) as state:
        await patient.rebuild({"a": (1, 60.0), "b": (2, 60.0)})
        server.freeze()
        with pytest.raises(Unreachable):
            await state.levels(["a"])
        server.thaw()
        async with asyncio.timeout(20):
            while True:
                with suppress(Unreachable):
                    assert await state.levels(["b"]) == [2]
                    break
                await asyncio.sleep(0.01)


# The URL.


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:6379", "redis://:canary/1@host:6379/0", "canary"])
async def test_a_url_that_is_none_is_refused_at_the_start_without_showing_it(url, monkeypatch):
    monkeypatch.setenv(redis_server.VARIABLE, url)
    with pytest.raises(CannotOpen, match=redis_server.VARIABLE) as refused:
        await Redis().aopen()
    assert "canary" not in str(refused.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    def make(name: str) -> tuple[Path, Path]:
        key, made = tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        subprocess.run([*command, *subject, "-keyout", key, "-out", made], check=True, capture_output=True)
        return key, made

    return make


async def test_over_tls_only_a_server_whose_certificate_is_good_is_believed(certificate, monkeypatch):
    key, good = certificate("localhost")
    _, other = certificate("elsewhere")
    with RedisServer(**{"tls-cert-file": str(good), "tls-key-file": str(key), "tls-auth-clients": "no"}) as server:
        server.kill()
        server.start(port="0", **{"tls-port": str(server.port)})
        for authority, outcome in ((good, Forgotten), (other, Unreachable)):
            url = f"rediss://localhost:{server.port}/0?ssl_ca_certs={authority}"
            monkeypatch.setenv(redis_server.VARIABLE, url)
            async with opened(timeout_s=5) as state:
                with pytest.raises(outcome):
                    await state.take([claim(1)])
