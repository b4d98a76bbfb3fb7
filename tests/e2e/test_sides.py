"""One side of a route goes down and comes back, under callers who came at the same time."""

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import RunningGateway, two_upstreams
from scripted import Seen, closed_port, completion, respond

SUPPORT = str(Path(__file__).parents[1] / "support")
ASK = [{"role": "user", "content": "What is the capital of France?"}]
FENCE = [{"name": "stays", "when": {"header": {"x-private": "*"}}, "then": {"fence": "local"}}]
PATIENT = {"connect_s": 5, "first_token_s": 60, "idle_s": 60, "total_s": 120}

CLIENT = httpx.Client(verify=False, timeout=60, limits=httpx.Limits(max_connections=64))  # noqa: S501  # plain HTTP


@pytest.fixture(scope="module", autouse=True)
def _closes() -> Iterator[None]:
    yield
    CLIENT.close()


# A model server as a process of its own, which streams a few words and then thinks.
SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
from scripted import ScriptedUpstream, stream
with ScriptedUpstream() as upstream:
    upstream.always(stream(hold_after=5))
    print(upstream.port, flush=True)
    sys.stdin.read()
"""


class Process:
    """Its first word is the port."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", SERVER, SUPPORT]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/v1"

    def kill(self) -> None:
        """As the system does when memory runs out."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.kill()


def ask(gateway: RunningGateway, model: str = "auto", *, is_private: bool = False, **fields: Any) -> httpx.Response:
    headers = {"x-private": "yes"} if is_private else {}
    body = {"model": model, "messages": ASK, **fields}
    return CLIENT.post(f"{gateway.url}/chat/completions", json=body, headers=headers)


def shown(gateway: RunningGateway, line: str) -> bool:
    return line in CLIENT.get(f"{gateway.root}/metrics").text.splitlines()


def test_a_local_model_that_is_killed_in_a_stream_ends_it_and_lets_go_of_those_in_line(start, remote, process):
    """A2: the local model is killed in a stream: an error event, those in line go on, and it is left alone."""
    upstreams = two_upstreams(process.url, remote.url)["upstreams"]
    upstreams["local"] |= {"max_concurrent": 1, "spill_after_s": 60, "limits": PATIENT}
    gateway = start(upstreams=upstreams, rules=FENCE)
    body = {"model": "auto", "messages": ASK, "stream": True}
    with (
        ThreadPoolExecutor(2) as callers,
        CLIENT.stream("POST", f"{gateway.url}/chat/completions", json=body) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        free, fenced = (callers.submit(ask, gateway, is_private=is_private) for is_private in (False, True))
        while not shown(gateway, 'weighbridge_queue_length{upstream="local"} 2.0'):
            pass
        process.kill()
        rest = [line for line in lines if line]
    assert '"upstream_cut"' in rest[-1]
    assert free.result().headers["x-weighbridge-reason"] == "fallback local upstream_unavailable"
    assert (fenced.result().status_code, fenced.result().json()["error"]["code"]) == (503, "local_unavailable")
    cut = next(row for row in gateway.rows() if row["is_stream"])
    assert (cut["status"], cut["end_reason"], cut["usage_source"]) == ("settled", "upstream_cut", "estimated")
    while ask(gateway).headers["x-weighbridge-attempts"] != "1":
        pass
    assert ask(gateway).headers["x-weighbridge-reason"] == "fallback local circuit_open"
    assert {row["status"] for row in gateway.rows("attempts") if row["end_reason"] == "error"} == {"released"}


def test_with_the_remote_side_down_easy_requests_notice_nothing_and_hard_ones_are_answered_locally(start, local):
    """A4: the remote side is down: local answers as ever, `fallback` for what is hard, 503 where only it may answer."""
    upstreams = two_upstreams(local.url, f"http://127.0.0.1:{closed_port()}/v1")["upstreams"]
    gateway = start(upstreams=upstreams)
    easy, hard = ask(gateway), ask(gateway, "router-x-0.1")
    assert (easy.headers["x-weighbridge-reason"].split()[0], easy.headers["x-weighbridge-attempts"]) == (
        "below_threshold",
        "1",
    )
    assert (hard.status_code, hard.headers["x-weighbridge-upstream"]) == (200, "local")
    assert hard.headers["x-weighbridge-reason"] == "fallback remote upstream_unavailable"
    refused = [ask(gateway, "remote") for _ in range(8)]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in refused} == {
        (503, "upstream_unavailable")
    }
    assert 1 <= int(refused[-1].headers["retry-after"]) <= 5
    again = ask(gateway, "router-x-0.1")
    assert again.headers["x-weighbridge-reason"] == "fallback remote circuit_open"
    assert [row["status"] for row in gateway.rows("attempts") if row["upstream"] == "remote"] == ["released"] * 5


def test_an_upstream_that_is_back_is_asked_by_one_caller_before_it_is_asked_by_all(start, local, remote, monkeypatch):
    """A6: the remote side is back: one probe, whatever waits; when that is answered, everything."""
    monkeypatch.setattr("weighbridge.breaker.PROBE_S", 0.3)
    may_answer = threading.Event()

    async def held(seen: Seen, writer: Any) -> None:
        await asyncio.to_thread(may_answer.wait, 60)
        await completion()(seen, writer)

    upstreams = two_upstreams(local.url, remote.url)["upstreams"]
    upstreams["remote"]["limits"] = PATIENT
    gateway = start(upstreams=upstreams, classifier={"use": "constant", "score": 0.9})
    remote.always(respond(503, {}))
    while ask(gateway).headers["x-weighbridge-attempts"] != "1":
        pass
    remote.always(held)
    down = len(remote.chats)
    with ThreadPoolExecutor(40) as callers:
        first = []
        while len(remote.chats) == down:  # until a probe is due
            first = [callers.submit(ask, gateway) for _ in range(20)]
            while sum(one.done() for one in first) < 19:
                wait([one for one in first if not one.done()], return_when=FIRST_COMPLETED)
        assert served(one for one in first if one.done()) == {"local": 19}
        assert served(callers.submit(ask, gateway) for _ in range(20)) == {"local": 20}
        assert len(remote.chats) == down + 1
        may_answer.set()
        assert served(one for one in first)["remote"] == 1
        assert served(callers.submit(ask, gateway) for _ in range(20)) == {"remote": 20}


def served(asked: Iterable[Future[httpx.Response]]) -> Counter[str]:
    """How many were answered by whom. All of them are asked before one is waited for."""
    return Counter(one.result().headers["x-weighbridge-upstream"] for one in list(asked))
