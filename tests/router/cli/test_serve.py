"""`weighbridge serve`: it announces itself, answers, drains, and says in a sentence why it cannot start."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from commanding import ConfigFile


async def asked(base_url: str, text: str = "hello", **headers: str) -> Any:
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(  # noqa: S310
        f"{base_url}/chat/completions", body, {"content-type": "application/json", **headers}
    )
    return await asyncio.to_thread(urllib.request.urlopen, request, timeout=30)


async def test_it_says_where_it_is_and_answers_there(config: ConfigFile, serve) -> None:
    gateway = await serve()
    assert gateway.line.startswith("Weighbridge is ready: http://127.0.0.1:")
    assert "routes: auto; ledger: ledger.db" in gateway.line
    answer = await asked(gateway.base_url)
    assert answer.headers["x-weighbridge-upstream"] == "small"
    assert answer.headers["server"] is None
    ended = await gateway.end()
    assert (ended.code, ended.out) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_in_good_order_when_told(number: signal.Signals, config: ConfigFile, serve) -> None:
    gateway = await serve()
    ended = await gateway.end(number)
    assert (ended.code, ended.err) == (0, "")


async def test_several_workers_share_the_port(config: ConfigFile, serve) -> None:
    gateway = await serve("--workers", "2")
    for _ in range(8):
        assert (await asked(gateway.base_url)).status == 200
    ended = await gateway.end()
    assert (ended.code, ended.err) == (0, "")


async def test_workers_end_when_who_supervises_them_is_killed(config: ConfigFile, serve) -> None:
    gateway = await serve("--workers", "2")
    gateway.process.kill()
    await asyncio.wait_for(gateway.process.communicate(), 60)  # their ends of the pipes are closed, too
    with pytest.raises(urllib.error.URLError, match="refused"):
        await asked(gateway.base_url)


async def test_a_worker_that_is_killed_is_replaced_while_the_other_serves(config: ConfigFile, serve) -> None:
    """X10: SIGKILL of a worker: the other serves, a new one comes, and what the dead one left open is `unknown`."""
    config.change('model = "sim-small"', 'model = "sim-small"\ntokens_per_s = 0.1')
    gateway = await serve("--workers", "2")
    body = {"model": "small", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    async with httpx.AsyncClient(base_url=gateway.base_url, timeout=30) as client:
        async with client.stream("POST", "/chat/completions", json=body) as answer:
            parts = answer.aiter_bytes()
            await anext(parts)
            before = await _two_workers(gateway.process.pid)
            ((serving,),) = _rows(config, "SELECT pid FROM processes p JOIN requests r ON r.process = p.process")
            os.kill(serving, signal.SIGKILL)
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(parts)
        others = [await client.post("/chat/completions", json={**body, "model": "large"}) for _ in range(4)]
        assert [answer.status_code for answer in others] == [200] * 4
        async with asyncio.timeout(30):
            while serving in (after := await _two_workers(gateway.process.pid)):
                pass
            while await asyncio.to_thread(_rows, config, _OPEN):
                pass
    assert len(before & after) == 1
    assert (await gateway.end()).code == 0
    found = _rows(config, "SELECT status, error_code FROM requests ORDER BY created_at")
    assert found == [("unknown", "process_died"), *[("settled", None)] * 4]


async def _two_workers(supervisor: int) -> set[int]:
    """Their processes, once there are two."""
    async with asyncio.timeout(30):
        while len(found := await asyncio.to_thread(_workers, supervisor)) != 2:
            pass
    return found


def _workers(supervisor: int) -> set[int]:
    try:
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}
    except OSError:  # one of them has just gone
        return set()


_OPEN = "SELECT 1 FROM requests WHERE status NOT IN ('settled', 'unknown')"


def _rows(config: ConfigFile, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(config.beside("ledger.db"))) as connection:
        return connection.execute(question).fetchall()


async def test_workers_that_count_budgets_each_by_itself_are_warned_of(config: ConfigFile, serve) -> None:
    config.change("[ledger]", '[[budgets]]\nname = "few"\nrequests = 5\n[ledger]')
    gateway = await serve("--workers", "2")
    ended = await gateway.end()
    assert "each of the 2 workers counts the budgets by itself" in ended.err
    assert '[state] use = \\"redis\\"' in ended.err


async def test_options_go_over_the_file(config: ConfigFile, serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    gateway = await serve("--port", str(port), "--host", "localhost")
    assert f"http://localhost:{port}/v1" in gateway.line
    await gateway.end()


async def test_a_taken_port_is_told(config: ConfigFile, weighbridge_process) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await weighbridge_process("serve", "--port", str(port))
    assert ended.code == 1
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use" in ended.err
    assert "--port takes another" in ended.err


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_ledger_that_cannot_be_opened_is_told(workers: str, config: ConfigFile, weighbridge_process) -> None:
    ended = await weighbridge_process(
        "serve", "--workers", workers, env={"WEIGHBRIDGE_LEDGER__PATH": "nowhere/at/all.db"}
    )
    assert ended.code == 1
    assert "nowhere/at/all.db cannot be opened" in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_classifier_that_cannot_be_loaded_is_a_bad_config(
    workers: str, config: ConfigFile, weighbridge_process
) -> None:
    config.change('use = "length"', 'use = "minilm"\nartefact = "nowhere"')
    ended = await weighbridge_process("serve", "--workers", workers)
    assert ended.code == 78
    assert "config.toml:17: classifier: nowhere/manifest.json: is missing" in ended.err


async def test_a_network_is_not_served_without_keys(config: ConfigFile, weighbridge_process) -> None:
    ended = await weighbridge_process("serve", "--host", "0.0.0.0")  # noqa: S104
    assert ended.code == 78
    assert ended.err.startswith('--host: server.host = "0.0.0.0" lets others than this machine in')


@pytest.mark.parametrize("keys", [None, "", " ,"])
async def test_keys_that_are_not_there_are_no_keys(keys: str | None, config: ConfigFile, weighbridge_process) -> None:
    config.change("port = 0", 'port = 0\napi_keys_env = "OUR_KEYS"')
    ended = await weighbridge_process("serve", env={} if keys is None else {"OUR_KEYS": keys})
    assert ended.code == 78
    assert ended.err.startswith('config.toml:3: server.api_keys_env = "OUR_KEYS" is not set or empty: set OUR_KEYS')


async def test_callers_need_a_key_where_keys_are_set(config: ConfigFile, serve) -> None:
    gateway = await serve(env={"WEIGHBRIDGE_SERVER__API_KEYS_ENV": "OUR_KEYS", "OUR_KEYS": "first, second"})
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        await asked(gateway.base_url)
    refused.value.close()
    assert (await asked(gateway.base_url, authorization="Bearer second")).status == 200
    await gateway.end()


async def test_a_keys_file_that_is_not_there_is_a_bad_config(config: ConfigFile, weighbridge_process) -> None:
    config.change("port = 0", 'port = 0\nkeys_path = "keys.json"')
    ended = await weighbridge_process("serve")
    assert ended.code == 78
    assert ended.err.startswith("config.toml:3: server.keys_path: keys.json: there is no such keys file; make it with")


async def test_an_empty_keys_file_lets_nobody_in_and_says_so(config: ConfigFile, serve) -> None:
    config.change("port = 0", 'port = 0\nkeys_path = "keys.json"')
    config.beside("keys.json").touch(mode=0o600)
    gateway = await serve()
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        await asked(gateway.base_url, authorization="Bearer anything")
    refused.value.close()
    ended = await gateway.end()
    assert "keys.json holds no keys, so it lets nobody in" in ended.err


async def test_keys_are_made_and_taken_away_while_it_runs(config: ConfigFile, serve, weighbridge) -> None:
    config.change("port = 0", 'port = 0\nkeys_path = "keys.json"')
    made = await weighbridge("keys", "add", "first")
    assert made.code == 0, made.err
    gateway = await serve("--workers", "2")
    assert (await asked(gateway.base_url, authorization=f"Bearer {made.out.strip()}")).status == 200
    second = (await weighbridge("keys", "add", "second")).out.strip()
    assert (await _until(200, gateway.base_url, second)) == 200
    await weighbridge("keys", "revoke", "second")
    assert (await _until(401, gateway.base_url, second)) == 401
    await gateway.end()


async def _until(status: int, base_url: str, key: str) -> int:
    """The status of the last answer, once it is this one ten times in a row, whichever worker it comes from."""
    found = [0]
    async with asyncio.timeout(30):
        while found[-10:] != [status] * 10:
            try:
                found.append((await asked(base_url, authorization=f"Bearer {key}")).status)
            except urllib.error.HTTPError as error:
                found.append(error.code)
                error.close()
    return found[-1]


async def test_good_traffic_passes_where_idle_connections_have_taken_every_file(config: ConfigFile, serve) -> None:
    """X13: every file is taken by idle connections: good requests pass."""
    gateway = await serve(files=64)
    port = int(gateway.base_url.removesuffix("/v1").rpartition(":")[2])
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    try:
        for _ in range(3):
            assert (await asked(gateway.base_url)).status == 200
    finally:
        for client in held:
            client.close()
    ended = await gateway.end()
    assert (ended.code, ended.err) == (0, "")


async def test_a_request_under_way_is_answered_before_the_end(config: ConfigFile, serve) -> None:
    config.change('model = "sim-small"', 'model = "sim-small"\nttft_s = 3')
    gateway = await serve()
    await _metrics(gateway.base_url)  # the first look loads what makes the page, which takes a while
    answer = asyncio.create_task(asked(gateway.base_url))
    while "weighbridge_in_flight 1.0" not in await _metrics(gateway.base_url):
        assert not answer.done(), "it was answered before it was seen"
    ended = await gateway.end()
    assert (await answer).status == 200
    assert ended.code == 0


async def _metrics(base_url: str) -> str:
    answer = await asyncio.to_thread(urllib.request.urlopen, base_url.removesuffix("/v1") + "/metrics")
    with answer:
        return answer.read().decode()
