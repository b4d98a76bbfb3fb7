"""A local server that loads its model: neither dead nor ready. Who may go elsewhere goes, others wait or are told."""

import threading
from typing import Any

import httpx
import pytest
from running import two_upstreams
from scripted import Seen, completion, reset, respond

FENCE = {"name": "stays", "when": {"header": {"x-private": "*"}}, "then": {"fence": "local"}}
PRIVATE = {"x-private": "yes"}
BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
LOADING = respond(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})
LIMITS = {"connect_s": 1, "first_token_s": 5, "idle_s": 5, "total_s": 20, "load_s": 30}


class Loader:
    """llama.cpp's server: everything is a 503 until its model is there. asked: when it was looked at while loading."""

    def __init__(self, local: Any) -> None:
        self.is_loading = True
        self.asked = threading.Event()
        local.always(self.answer)
        local.tells["/health"] = self.health

    async def answer(self, seen: Seen, writer: Any) -> None:
        await (LOADING if self.is_loading else completion())(seen, writer)

    async def health(self, seen: Seen, writer: Any) -> None:
        self.asked.set()
        await (LOADING if self.is_loading else respond(200, {"status": "ok"}))(seen, writer)


@pytest.fixture
def loader(local) -> Loader:
    return Loader(local)


@pytest.fixture
def begin(start, local, remote):
    def gateway(*, load_s: float = 30, **keys: Any):
        upstreams = two_upstreams(local.url, remote.url)["upstreams"]
        for upstream in upstreams.values():
            upstream["limits"] = {**LIMITS, "load_s": load_s}
        upstreams["local"] |= keys
        return start(upstreams=upstreams, rules=[FENCE])

    return gateway


def ask(gateway: Any, **options: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/chat/completions", json=BODY, timeout=60, **options)


def test_who_may_go_elsewhere_does_not_wait_for_a_model(begin, loader, local, remote):
    answer = ask(begin())
    assert answer.status_code == 200
    assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert answer.headers["x-weighbridge-reason"] == "fallback local loading"
    assert not local.seen


@pytest.mark.parametrize(("loading", "headers"), [("spill", PRIVATE), ("wait", PRIVATE), ("wait", {})])
def test_who_must_stay_or_is_told_to_waits_until_the_model_is_there(begin, loader, remote, loading, headers):
    gateway = begin(loading=loading)
    loader.asked.clear()
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(gateway, headers=headers)))
    waiting.start()
    loader.asked.wait(10)
    loader.is_loading = False
    waiting.join(30)
    assert answers[0].status_code == 200
    assert answers[0].headers["x-weighbridge-upstream"] == "local"
    assert answers[0].headers["x-weighbridge-attempts"] == "1"
    assert not remote.seen


@pytest.mark.parametrize(("headers", "code"), [(PRIVATE, "local_unavailable"), ({}, "upstream_loading")])
def test_who_is_refused_is_told_when_to_come_back(begin, loader, local, remote, headers, code):
    answer = ask(begin(loading="refuse"), headers=headers)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == code
    assert int(answer.headers["retry-after"]) >= 1
    assert not local.seen
    assert not remote.seen


def test_a_model_that_takes_too_long_is_not_waited_for_for_ever(begin, loader, remote):
    gateway = begin(load_s=0.2, loading="wait")
    fenced = ask(gateway, headers=PRIVATE)
    assert (fenced.status_code, fenced.json()["error"]["code"]) == (503, "local_unavailable")
    assert ask(gateway).headers["x-weighbridge-upstream"] == "remote"
    assert [row["error_code"] for row in gateway.rows()] == ["local_unavailable", None]


def test_a_cold_start_is_not_taken_for_death(begin, local, loader, remote):
    loader.is_loading = False
    gateway = begin(loading="refuse")
    loader.is_loading = True
    for _ in range(8):
        assert ask(gateway).json()["error"]["code"] == "upstream_loading"
    loader.is_loading = False
    while (answer := ask(gateway)).status_code == 503:  # until it is looked at again
        assert answer.json()["error"]["code"] == "upstream_loading"
    assert answer.headers["x-weighbridge-upstream"] == "local"
    assert not remote.seen


def test_a_request_that_meets_a_loading_server_is_sent_again_when_it_is_ready(begin, local, loader, remote):
    loader.is_loading = False
    gateway = begin()
    local.then(LOADING)
    answer = ask(gateway, headers=PRIVATE)
    assert answer.status_code == 200
    assert answer.headers["x-weighbridge-attempts"] == "2"
    assert [row["error_code"] for row in gateway.rows("attempts")] == ["upstream_loading", None]
    assert gateway.rows("attempts")[0]["cost_nano_usd"] == 0


def test_a_server_that_dies_while_it_loads_is_left_for_another(begin, loader, local, remote):
    gateway = begin(loading="wait")
    loader.asked.clear()
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(gateway)))
    waiting.start()
    loader.asked.wait(10)
    local.tells["/health"] = reset()
    local.always(reset())
    waiting.join(30)
    assert answers[0].status_code == 200
    assert answers[0].headers["x-weighbridge-upstream"] == "remote"


def test_a_client_that_leaves_while_the_model_loads_is_in_the_ledger(begin, loader, local):
    gateway = begin()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/chat/completions", json=BODY, timeout=0.3, headers=PRIVATE)
    loader.is_loading = False
    assert ask(gateway, headers=PRIVATE).status_code == 200
    assert [row["end_reason"] for row in gateway.rows()] == ["client_gone", "ok"]
    assert len(local.chats) == 1
