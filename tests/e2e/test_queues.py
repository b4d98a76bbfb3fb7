"""A local server with one place, and many callers: nobody fails, and who may go elsewhere does not wait for ever."""

import asyncio
import threading
from collections import Counter
from typing import Any

import httpx
import pytest
from running import two_upstreams
from scripted import Behaviour, Seen, completion, hang

FENCE = {"name": "stays", "when": {"header": {"x-private": "*"}}, "then": {"fence": "local"}}
BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}


class OneAtATime:
    """A server that notes how many requests it had at once, and answers when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.at_work = self.most = 0

    @property
    def behaviour(self) -> Behaviour:
        async def act(seen: Seen, writer: Any) -> None:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            await asyncio.to_thread(self.let.wait, 60)
            self.at_work -= 1
            await completion()(seen, writer)

        return act


@pytest.fixture
def one(local) -> OneAtATime:
    server = OneAtATime()
    local.always(server.behaviour)
    return server


@pytest.fixture
def begin(start, local, remote):
    def gateway(**keys: Any):
        upstreams = two_upstreams(local.url, remote.url)["upstreams"]
        upstreams["local"] |= {"max_concurrent": 1, **keys}
        for upstream in upstreams.values():
            upstream["limits"] = {"first_token_s": 60, "total_s": 120}
        return start(upstreams=upstreams, rules=[FENCE])

    return gateway


async def ask(client: httpx.AsyncClient, **options: Any) -> httpx.Response:
    return await client.post("/chat/completions", json=BODY, **options)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_thirty_two_callers_at_one_place_are_all_answered(begin, one, remote, is_stream):
    """A3: more requests than places: they wait, or go where it is quicker, and all are answered."""
    gateway = begin(spill_after_s=0.05)
    body = {**BODY, "stream": is_stream}
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
        asked = [asyncio.ensure_future(client.post("/chat/completions", json=body)) for _ in range(32)]
        while sum(task.done() for task in asked) < 31:  # all but the one at work, while that one still works
            await asyncio.wait([task for task in asked if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        one.let.set()
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {200}
    assert Counter(answer.headers["x-weighbridge-upstream"] for answer in answers) == {"local": 1, "remote": 31}
    assert one.most == 1
    spilled = next(a for a in answers if a.headers["x-weighbridge-upstream"] == "remote")
    assert spilled.headers["x-weighbridge-reason"] == "fallback local busy"
    assert {row["reason"] for row in gateway.rows() if row["location"] == "remote"} == {"fallback"}


async def test_the_fenced_wait_their_turn_and_go_nowhere_else(begin, one, remote):
    gateway = begin(spill_after_s=0)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, headers={"x-private": "yes"}) as client:
        asked = [asyncio.ensure_future(ask(client)) for _ in range(8)]
        one.let.set()
        answers = await asyncio.gather(*asked)
    assert {answer.headers["x-weighbridge-upstream"] for answer in answers} == {"local"}
    assert one.most == 1
    assert not remote.seen


async def test_a_full_line_tells_the_fenced_to_come_back(begin, one, local, remote):
    """A3: a full line: 429 `local_busy` for those who may not go elsewhere."""
    gateway = begin(queue=0)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, headers={"x-private": "yes"}) as client:
        first = asyncio.ensure_future(ask(client))
        await asyncio.to_thread(_until_seen, local)
        refused = await ask(client)
        one.let.set()
        assert (await first).status_code == 200
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "local_busy"
    assert int(refused.headers["retry-after"]) >= 1
    assert not remote.seen
    assert [row["error_code"] for row in gateway.rows()] == [None, "local_busy"]


async def test_a_caller_that_leaves_the_line_leaves_no_gap(begin, one, local):
    gateway = begin()
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, headers={"x-private": "yes"}) as client:
        first = asyncio.ensure_future(ask(client))
        await asyncio.to_thread(_until_seen, local)
        with pytest.raises(httpx.ReadTimeout):
            await ask(client, timeout=0.2)
        one.let.set()
        assert (await first).status_code == 200
        assert (await ask(client)).status_code == 200
    assert one.most == 1


async def test_a_place_is_free_again_after_a_failure_and_after_a_client_that_left(begin, local):
    gateway = begin()
    local.then(hang())
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, headers={"x-private": "yes"}) as client:
        with pytest.raises(httpx.ReadTimeout):
            await ask(client, timeout=0.2)
        local.always(completion())
        for _ in range(3):
            assert (await ask(client)).status_code == 200


def _until_seen(local: Any) -> None:
    while not local.seen:
        threading.Event().wait(0.005)
