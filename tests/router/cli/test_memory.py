"""A cap on memory: above it nothing new is begun, what runs goes on, and it is over when memory falls."""

import asyncio
import json
import re
import signal

import httpx
import pytest
from commanding import ConfigFile
from scripted import Behaviour, ScriptedUpstream, Seen, completion

from weighbridge.resident import resident_bytes

ASK = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
LARGE = json.dumps({**ASK, "padding": "é" * (6 << 20)}, ensure_ascii=False).encode()
ROOM_MB = 40  # above what it takes when it does nothing


def once(is_over: asyncio.Event, then: Behaviour) -> Behaviour:
    """An answer that is held back until something is over."""
    loop = asyncio.get_running_loop()

    async def act(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(is_over.wait(), loop))
        await then(seen, writer)

    return act


async def metric(client: httpx.AsyncClient, name: str) -> float:
    """0 where it is not there."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", (await client.get("/metrics")).text, re.MULTILINE)
    return float(found[1]) if found else 0


async def resident_mb(client: httpx.AsyncClient) -> float:
    return await metric(client, "weighbridge_resident_bytes") / (1 << 20)


async def until(client: httpx.AsyncClient, status: int) -> httpx.Response:
    async with asyncio.timeout(30):
        while (answer := await client.post("/v1/chat/completions", json=ASK)).status_code != status:
            pass
    return answer


@pytest.mark.skipif(resident_bytes() is None, reason="this system does not tell what a process has in use")
async def test_above_the_cap_nothing_new_is_begun_and_what_runs_goes_on(config: ConfigFile, serve) -> None:
    """X14: too much memory in use: 503 `memory_full` and unready; what runs ends well, and then all is as before."""
    is_over = asyncio.Event()
    with ScriptedUpstream() as upstream:
        upstream.always(once(is_over, completion()))
        config.change('use = "simulated"', f'use = "openai"\nbase_url = "{upstream.url}"')
        config.change("context_window = 8192\n", "")
        config.change('pii = ["email"]', "has_tools = true")  # no rule reads the text
        config.change('keyword = ["weather"]', "has_image = true")
        gateway = await serve()
        async with httpx.AsyncClient(base_url=gateway.base_url.removesuffix("/v1"), timeout=60) as client:
            cap_mb = round(await resident_mb(client) + ROOM_MB)
            config.change("[server]", f"[server]\nmax_memory_mb = {cap_mb}")
            gateway.process.send_signal(signal.SIGHUP)
            while not await metric(client, 'weighbridge_reloads_total{outcome="ok"}'):
                pass
            running: list[asyncio.Future[httpx.Response]] = []
            while await resident_mb(client) <= cap_mb:
                running.append(asyncio.ensure_future(client.post("/v1/chat/completions", content=LARGE)))
                while len(upstream.chats) < len(running) and not running[-1].done():
                    await client.get("/health/live")
            assert len(upstream.chats) == len(running) > 0
            refused = await until(client, 503)
            assert refused.json()["error"]["code"] == "memory_full"
            assert refused.headers["retry-after"] == "1"
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "memory full")
            assert (await client.get("/health/live")).status_code == 200
            is_over.set()
            assert {answer.status_code for answer in await asyncio.gather(*running)} == {200}
            assert (await until(client, 200)).json()["choices"]
            assert await metric(client, 'weighbridge_turned_away_total{code="memory_full"}') >= 1
        assert (await gateway.end()).code == 0


async def test_where_memory_cannot_be_told_the_cap_is_said_to_have_no_effect(
    config: ConfigFile, weighbridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.change("[server]", "[server]\nmax_memory_mb = 512")
    monkeypatch.setattr("weighbridge.resident._STATM", "/nowhere/statm")
    assert "server.max_memory_mb has no effect" in (await weighbridge("validate")).out
