"""A small model that knows no tools: requests with tools go elsewhere within their fence, or are told why not."""

import httpx
import pytest
from running import two_upstreams
from scripted import ScriptedUpstream

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
FENCE = {"name": "stays", "when": {"header": {"x-private": "*"}}, "then": {"fence": "local"}}


@pytest.fixture
def ask(start, local, remote):
    upstreams = two_upstreams(local.url, remote.url)["upstreams"]
    upstreams["local"]["quirks"] = ["no_tools"]
    with ScriptedUpstream() as second:
        upstreams["second"] = {**upstreams["local"], "base_url": second.url, "quirks": []}
        gateway = start(upstreams=upstreams, rules=[FENCE])

        def post(headers=None, **fields):
            body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **fields}
            return httpx.post(f"{gateway.url}/chat/completions", json=body, headers=headers, timeout=30)

        yield post


def test_a_request_with_tools_goes_to_who_knows_them(ask, local):
    answer = ask(tools=TOOLS)
    assert answer.status_code == 200
    assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert answer.headers["x-weighbridge-reason"] == "fallback local unsupported_by_upstream"
    assert ask().headers["x-weighbridge-upstream"] == "local"
    assert len(local.chats) == 1


def test_a_fenced_one_is_told_why_nobody_answers(ask, local, remote):
    answer = ask({"x-private": "yes"}, tools=TOOLS)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unsupported_by_upstream"
    assert "tools" in answer.json()["error"]["message"]
    assert not local.seen
    assert not remote.seen


def test_one_that_asks_for_it_by_name_is_told_so(ask, remote):
    assert ask(model="local", tools=TOOLS).json()["error"]["param"] == "tools"
    assert ask(model="second", tools=TOOLS).status_code == 200
    assert not remote.seen
