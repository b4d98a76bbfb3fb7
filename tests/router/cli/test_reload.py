"""`weighbridge reload` and SIGHUP: the config changes under a gateway that goes on answering."""

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from commanding import THRESHOLD, ConfigFile

from weighbridge.ledger.base import Entry
from weighbridge.ledger.sqlite import SQLite

ASK = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}


async def ask(client: httpx.AsyncClient, **fields: str) -> httpx.Response:
    return await client.post("/chat/completions", json={**ASK, **fields})


def entries(config: ConfigFile) -> list[Entry]:
    return list(SQLite(path=str(config.beside("ledger.db"))).entries())


async def is_open(config: ConfigFile, number: int) -> None:
    """So many requests are under way."""
    async with asyncio.timeout(30):
        while len(await asyncio.to_thread(entries, config)) < number:
            pass


async def is_unready(gateway: Any) -> None:
    """It has been told to end, and has heard it."""
    gateway.process.send_signal(signal.SIGTERM)
    async with httpx.AsyncClient(base_url=gateway.base_url.removesuffix("/v1")) as client, asyncio.timeout(30):
        with suppress(httpx.ConnectError):
            while (await client.get("/health/ready")).status_code == 200:
                pass


async def test_a_changed_file_counts_at_once_and_a_wrong_one_changes_nothing(
    config: ConfigFile, serve, weighbridge_process
) -> None:
    """C2: a wrong config at reload: the old one stays, and the log says why."""
    gateway = await serve()
    async with httpx.AsyncClient(base_url=gateway.base_url) as client:
        assert (await ask(client)).headers["x-weighbridge-upstream"] == "small"
        config.change(f"threshold = {THRESHOLD}", "threshold = 0.0")
        told = await weighbridge_process("reload")
        assert (told.code, told.err) == (0, "")
        async with asyncio.timeout(20):
            while (await ask(client)).headers["x-weighbridge-upstream"] == "small":
                pass
        config.change("threshold = 0.0", "threshold = 7")
        refused = await weighbridge_process("reload")
        assert refused.code == 78
        assert "threshold = 7" in refused.err
        gateway.process.send_signal(signal.SIGHUP)
        assert (await ask(client)).headers["x-weighbridge-upstream"] == "large"
    ended = await gateway.end()
    assert ended.code == 0
    assert "the old one stays" in ended.err


async def test_nobody_is_told_where_no_gateway_serves_the_file(config: ConfigFile, weighbridge_process) -> None:
    ended = await weighbridge_process("reload")
    assert ended.code == 1
    assert "No gateway of yours serves config.toml" in ended.err


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_no_request_fails_while_the_config_is_reloaded_again_and_again(
    workers: str, config: ConfigFile, serve
) -> None:
    """C3: reloads under traffic, one in three of a wrong file: no request fails."""
    gateway = await serve("--workers", workers)
    good, bad = config.text, config.text.replace("[routes.auto]", "[routes.auto\n")
    answers: asyncio.Queue[int] = asyncio.Queue()
    statuses: list[int] = []
    has_ended = asyncio.Event()

    async def caller() -> None:
        async with httpx.AsyncClient(base_url=gateway.base_url, timeout=30) as client:
            while not has_ended.is_set():
                answers.put_nowait((await ask(client)).status_code)

    callers = [asyncio.ensure_future(caller()) for _ in range(4)]
    for n in range(30):
        config.path.write_text(bad if n % 3 == 2 else good)
        os.kill(gateway.process.pid, signal.SIGHUP)
        statuses += [await answers.get() for _ in range(5)]
    has_ended.set()
    await asyncio.gather(*callers)
    assert set(statuses) == {200}
    assert len(statuses) >= 150
    assert (await gateway.end()).code == 0


async def test_an_answer_under_a_key_is_given_again_after_a_reload(config: ConfigFile, serve) -> None:
    gateway = await serve()
    key = {"idempotency-key": "4f6c1c0e"}
    async with httpx.AsyncClient(base_url=gateway.base_url, timeout=30) as client:
        first = await client.post("/chat/completions", json=ASK, headers=key)
        config.change(f"threshold = {THRESHOLD}", "threshold = 0.0")
        gateway.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            while (await ask(client)).headers["x-weighbridge-upstream"] == "small":
                pass
        again = await client.post("/chat/completions", json=ASK, headers=key)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-weighbridge-upstream"] == "small"
    await gateway.end()


async def test_a_stream_goes_on_through_a_reload(config: ConfigFile, serve) -> None:
    """C3: a reload during a stream: it ends as it began."""
    config.change('model = "sim-small"', 'model = "sim-small"\ntokens_per_s = 50')
    gateway = await serve()
    async with httpx.AsyncClient(base_url=gateway.base_url, timeout=30) as client:
        async with client.stream("POST", "/chat/completions", json={**ASK, "stream": True}) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            config.change('"sim-small"', '"sim-other"')
            gateway.process.send_signal(signal.SIGHUP)
            rest = [json.loads(line[6:])["model"] async for line in lines if line.startswith("data: {")]
        assert set(rest) == {"sim-small"}
        assert (await ask(client)).json()["model"] == "sim-other"
    await gateway.end()


async def test_a_gateway_that_is_told_to_end_is_unready_first_and_lets_streams_finish(
    config: ConfigFile, serve
) -> None:
    """X11: SIGTERM: unready at once, still listening, streams finish, exit 0."""
    config.change("drain_s = 3", "drain_s = 20\ndrain_delay_s = 5")
    config.change('model = "sim-small"', 'model = "sim-small"\ntokens_per_s = 30')
    gateway = await serve()
    async with (
        httpx.AsyncClient(base_url=gateway.base_url, timeout=30) as client,
        client.stream("POST", "/chat/completions", json={**ASK, "stream": True}) as answer,
    ):
        lines = answer.aiter_lines()
        await anext(lines)
        gateway.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            while (await client.get(f"{gateway.base_url[:-3]}/health/ready")).status_code == 200:
                pass
        assert (await ask(client)).status_code == 200
        assert [line async for line in lines if line][-1] == "data: [DONE]"
    _, err = await asyncio.wait_for(gateway.process.communicate(), 60)
    assert (gateway.process.returncode, err.decode()) == (0, "")


async def test_what_does_not_finish_in_time_ends_with_an_error_that_says_so(
    config: ConfigFile, serve, tmp_path: Path
) -> None:
    """X11: SIGTERM, and a stream that outlasts the grace: an error event `server_shutdown`."""
    config.change("drain_s = 3", "drain_s = 1\ndrain_delay_s = 0")
    config.change('model = "sim-small"', 'model = "sim-small"\ntokens_per_s = 1')
    gateway = await serve()
    async with httpx.AsyncClient(base_url=gateway.base_url, timeout=30) as client:
        whole = asyncio.ensure_future(ask(client))
        async with client.stream("POST", "/chat/completions", json={**ASK, "stream": True}) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            gateway.process.send_signal(signal.SIGTERM)
            rest = [line async for line in lines if line]
        assert json.loads(rest[-1][6:])["error"]["code"] == "server_shutdown"
        assert (await whole).status_code == 503
    await asyncio.wait_for(gateway.process.communicate(), 60)
    assert gateway.process.returncode == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_gateway_that_is_told_twice_ends_at_once_and_in_good_order(
    workers: str, config: ConfigFile, serve
) -> None:
    """X12: SIGTERM twice: what runs ends at once with `server_shutdown`, exit 0, and no row is left open."""
    config.change("drain_s = 3", "drain_s = 600")
    config.change('model = "sim-small"', 'model = "sim-small"\ntokens_per_s = 0.1')
    gateway = await serve("--workers", workers)
    async with httpx.AsyncClient(base_url=gateway.base_url, timeout=30) as client:
        whole = asyncio.ensure_future(ask(client))
        async with client.stream("POST", "/chat/completions", json={**ASK, "stream": True}) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            await is_open(config, 2)
            await is_unready(gateway)
            gateway.process.send_signal(signal.SIGTERM)
            rest = [line async for line in lines if line]
        assert json.loads(rest[-1][6:])["error"]["code"] == "server_shutdown"
        assert (await whole).status_code == 503
    _, err = await asyncio.wait_for(gateway.process.communicate(), 60)
    assert (gateway.process.returncode, err.decode()) == (0, "")
    assert sorted((row.status, row.error_code) for row in entries(config)) == [
        ("settled", "server_shutdown"),
        ("unknown", "server_shutdown"),
    ]


async def test_a_gateway_that_is_killed_while_it_ends_loses_no_row(config: ConfigFile, serve) -> None:
    """X12: SIGKILL while streams may still end: what was answered is there, and what ran is `unknown`."""
    config.change("drain_s = 3", "drain_s = 600")
    config.change('model = "sim-small"', 'model = "sim-small"\ntokens_per_s = 0.1')
    gateway = await serve()
    async with httpx.AsyncClient(base_url=gateway.base_url, timeout=30) as client:
        assert (await ask(client, model="large")).status_code == 200
        async with client.stream("POST", "/chat/completions", json={**ASK, "stream": True}) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            await is_unready(gateway)
            gateway.process.kill()
            await gateway.process.wait()
    again = await serve()
    assert [(row.status, row.error_code) for row in entries(config)] == [("settled", None), ("unknown", "process_died")]
    assert (await again.end()).code == 0
