"""Gateways that share their budgets in a Redis which is in trouble: no free budget where it matters, and no waiting."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest
import redis_server
from redis.exceptions import ResponseError
from redis_server import RedisServer
from running import RunningGateway
from scripted import ScriptedUpstream, Seen, completion

Start = Callable[..., RunningGateway]

ASK = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 100}
HARD = {"use": "constant", "score": 0.9}
CANARY = "canary-password"
Trouble = Callable[[RedisServer], object]


def fault(_: str, name: str, begin: Trouble) -> Any:
    """A row of docs/faults.md, and how it begins."""
    return pytest.param(begin, id=name)


def _break_saving(server: RedisServer) -> None:
    """MISCONF: it takes no writes, because it cannot save."""
    server.run("CONFIG", "SET", "save", "1 1")
    server.run("SET", "x", "y")
    server.remove_folder()
    while server.run("INFO", "persistence")["rdb_last_bgsave_status"] == "ok":
        with suppress(ResponseError):  # one is on its way
            server.run("BGSAVE")


def _lock(server: RedisServer) -> None:
    """NOAUTH: from now on it wants a password, also from those that are connected."""
    server.run("CONFIG", "SET", "requirepass", CANARY)
    server.run("CLIENT", "KILL", "TYPE", "normal", password=CANARY)


TROUBLE = [
    fault("R1", "Redis stopped", RedisServer.kill),
    fault("R2", "Redis frozen", RedisServer.freeze),
    fault("R5", "Redis a replica", lambda server: server.run("REPLICAOF", "127.0.0.1", "1")),
    fault("R5", "Redis full", lambda server: server.run("CONFIG", "SET", "maxmemory", "1")),
    fault("R5", "Redis cannot save", _break_saving),
    fault("R5", "Redis wants another password", _lock),
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    with RedisServer() as server:
        monkeypatch.setenv(redis_server.VARIABLE, server.url)
        yield server


@pytest.fixture
def _quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.breaker.PROBE_S", 0.05)


def shared(fail: str = "open", timeout_s: float = 0.25, **budget: Any) -> dict[str, Any]:
    """A config whose budget refuses what is above it, counted in Redis."""
    state = {"use": "redis", "fail": fail, "timeout_s": timeout_s}
    return {"classifier": HARD, "state": state, "budgets": [{"name": "day", "at_cap": "refuse", **budget}]}


PATIENT = {"timeout_s": 10}  # where it matters that everything is counted, however busy the machine is


CLIENT = httpx.Client(verify=False, timeout=30, limits=httpx.Limits(max_connections=64))  # noqa: S501  # plain HTTP


def post(gateway: RunningGateway) -> httpx.Response:
    return CLIENT.post(f"{gateway.url}/chat/completions", json=ASK)


def statuses(gateway: RunningGateway, times: int) -> list[int]:
    return [post(gateway).status_code for _ in range(times)]


def until(gateway: RunningGateway, status: int) -> None:
    deadline = time.monotonic() + 30
    while post(gateway).status_code != status:
        assert time.monotonic() < deadline


def counted(server: RedisServer) -> int:
    """Where the counter of the budget stands; 0 where it is forgotten."""
    epoch = server.run("GET", "{weighbridge}")
    counters = server.run("KEYS", f"{{weighbridge}}:{epoch}:*day*")
    is_set = {counter: server.run("TYPE", counter) == "zset" for counter in counters}
    return sum(int(server.run("ZCARD" if is_set[counter] else "GET", counter)) for counter in counters)


def test_two_gateways_never_let_more_through_than_the_budget_has(start: Start, server, remote):
    """64 callers at once, at two gateways: exact to the request."""
    pair = [start(**shared(requests=40, **PATIENT)) for _ in range(2)]
    with ThreadPoolExecutor(64) as callers:
        found = [answer.status_code for answer in callers.map(lambda i: post(pair[i % 2]), range(128))]
    assert (found.count(200), found.count(429)) == (40, 88)
    assert len(remote.chats) == 40


def test_two_gateways_never_spend_more_than_the_budget_has(start: Start, server, remote):
    """64 callers at once, at two gateways: exact to the nano-dollar, in what was set aside."""
    pair = [start(**shared(usd="0.002", **PATIENT)) for _ in range(2)]
    with ThreadPoolExecutor(64) as callers:
        found = [answer.status_code for answer in callers.map(lambda i: post(pair[i % 2]), range(64))]
    assert set(found) == {200, 429}
    assert 0 < sum(row["cost_nano_usd"] or 0 for row in pair[0].rows("attempts")) <= 2_000_000
    # What the counter holds is what the ledger holds.
    spent = sum(row["cost_nano_usd"] for row in pair[0].rows("attempts"))
    assert counted(server) == spent


@pytest.mark.parametrize("begin", TROUBLE)
def test_in_open_mode_requests_pass_while_redis_is_in_trouble(start: Start, server, remote, begin, caplog):
    """Whatever it is, nobody waits for long, and nobody is refused."""
    gateway = start(**shared(requests=3))
    assert statuses(gateway, 1) == [200]
    begin(server)
    assert statuses(gateway, 20) == [200] * 20
    assert "canary" not in caplog.text


@pytest.mark.parametrize("begin", TROUBLE)
def test_in_closed_mode_nothing_passes_uncounted(start: Start, server, remote, begin):
    """503 `state_unavailable`, in our own words, and no byte to an upstream."""
    gateway = start(**shared("closed", requests=100))
    assert statuses(gateway, 1) == [200]
    begin(server)
    for _ in range(20):
        refused = post(gateway)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "state_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        for secret in ("redis", str(server.port), CANARY):
            assert secret not in refused.text.lower()
    assert len(remote.chats) == 1
    assert [row["end_reason"] for row in gateway.rows()] == ["ok", *["refused"] * 20]


@pytest.mark.usefixtures("_quick_probes")
@pytest.mark.parametrize("fail", ["open", "closed"])
def test_a_redis_that_comes_back_empty_gives_no_budget_twice(start: Start, server, remote, fail):
    """R4: the counters are rebuilt from the ledger before anything is let through."""
    pair = [start(**shared(fail, requests=10)) for _ in range(2)]
    assert statuses(pair[0], 2) + statuses(pair[1], 2) == [200] * 4
    server.kill()
    server.start()
    assert sorted(statuses(pair[0], 5) + statuses(pair[1], 5)) == [200] * 6 + [429] * 4
    assert len(remote.chats) == 10


@pytest.mark.usefixtures("_quick_probes")
def test_what_passed_uncounted_is_counted_afterwards(start: Start, server, remote):
    """R6: Redis kept its counters, but not what passed while it was away: they are put right from the ledger."""
    gateway = start(**shared(requests=1000))
    assert statuses(gateway, 2) == [200] * 2
    server.freeze()
    assert statuses(gateway, 6) == [200] * 6
    server.thaw()
    deadline = time.monotonic() + 30
    while counted(server) != len(remote.chats):
        assert time.monotonic() < deadline
        assert statuses(gateway, 1) == [200]


@pytest.mark.usefixtures("_quick_probes")
def test_in_closed_mode_the_budget_holds_through_every_outage(start: Start, server, remote):
    """R4: 64 callers at two gateways, while Redis is killed, frozen, emptied and its scripts are lost."""
    pair = [start(**shared("closed", requests=60)) for _ in range(2)]
    until(pair[0], 200)

    def trouble() -> None:
        for _ in range(2):
            server.freeze()
            until(pair[0], 503)
            server.thaw()
            server.kill()
            server.start()
            server.run("SCRIPT", "FLUSH")

    with ThreadPoolExecutor(64) as callers:
        troubled = callers.submit(trouble)
        found = [answer.status_code for answer in callers.map(lambda i: post(pair[i % 2]), range(200))]
        troubled.result(60)
    until(pair[1], 429)
    assert set(found) <= {200, 429, 503}
    assert len(remote.chats) == 60


def test_the_scripts_are_sent_again_where_redis_has_lost_them(start: Start, server):
    """R6: SCRIPT FLUSH: nobody notices."""
    gateway = start(**shared("closed", requests=3))
    assert statuses(gateway, 1) == [200]
    server.run("SCRIPT", "FLUSH")
    assert statuses(gateway, 3) == [200, 200, 429]


def test_clients_that_leave_hold_no_place(start: Start, server, remote: ScriptedUpstream):
    """R7: a request that is cancelled, at whatever moment, gives back what it had claimed."""
    gateway = start(**shared("closed", concurrency=2))
    assert statuses(gateway, 1) == [200]
    for wait_s in [0.001 * i for i in range(1, 41)]:
        with suppress(httpx.ReadTimeout):
            CLIENT.post(f"{gateway.url}/chat/completions", json=ASK, timeout=httpx.Timeout(5, read=wait_s))
    until(gateway, 200)
    deadline = time.monotonic() + 20
    while counted(server):
        assert time.monotonic() < deadline


@pytest.mark.usefixtures("_quick_probes")
@pytest.mark.parametrize("fail", ["open", "closed"])
def test_places_that_are_held_are_not_given_twice_when_redis_comes_back_empty(start: Start, server, remote, fail):
    """R4: what runs, in whichever gateway, keeps its place by the ledger, and leaves it when it ends."""
    pair = [start(**shared(fail, concurrency=2)) for _ in range(2)]
    may_end = threading.Event()

    async def late(seen: Seen, writer: Any) -> None:
        await asyncio.to_thread(may_end.wait, 30)
        await completion()(seen, writer)

    remote.then(late, late)
    with ThreadPoolExecutor(2) as callers:
        # Where the machine is slow Redis counts as away at first, and a closed gateway refuses.
        held = [callers.submit(until, gateway, 200) for gateway in pair]
        while len(remote.chats) < 2:
            assert not any(one.done() for one in held)
        server.kill()
        server.start()
        until(pair[0], 429)
        before = len(remote.chats)
        assert statuses(pair[0], 3) + statuses(pair[1], 3) == [429] * 6
        assert len(remote.chats) == before
        may_end.set()
    deadline = time.monotonic() + 20
    while counted(server):
        assert time.monotonic() < deadline
    assert statuses(pair[0], 1) + statuses(pair[1], 1) == [200] * 2


@pytest.mark.usefixtures("_quick_probes")
def test_a_gateway_starts_without_redis_and_finds_it_later(start: Start, server):
    """R1: no Redis at the start: no reason not to start."""
    server.kill()
    gateway = start(**shared("closed", requests=1))
    assert statuses(gateway, 2) == [503] * 2
    server.start()
    until(gateway, 200)
    assert statuses(gateway, 1) == [429]


def test_a_budget_that_is_new_in_a_running_redis_begins_where_the_ledger_stands(start: Start, server):
    """What was spent today counts, also for a budget that was written today."""
    assert statuses(start(**shared(requests=10)), 3) == [200] * 3
    assert statuses(start(**shared(requests=4, name="stricter")), 3) == [200, 429, 429]
