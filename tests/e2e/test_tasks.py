"""Task-aware routing, from the ask to the row in the ledger, with the classifier that is shipped."""

import json

import httpx
import pytest
from running import two_upstreams
from scripted import ScriptedUpstream, respond

SUMMARY = "Summarise this paragraph in one sentence: The council met on Tuesday and agreed to repair the bridge."


@pytest.fixture
def sums():
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def gateway(start, local, remote, sums):
    tables = two_upstreams(local.url, remote.url)
    upstreams = {**tables["upstreams"], "sums": {**tables["upstreams"]["local"], "base_url": sums.url}}
    route = {**tables["routes"]["auto"], "small_by_task": {"summarization": "sums"}}
    route["policy"] = {"use": "threshold", "threshold": 1.0}
    classifier = {"use": "minilm", "time_limit_s": 30}
    return start(upstreams=upstreams, routes={"auto": route}, classifier=classifier)


def ask(gateway, text: str, **fields) -> httpx.Response:
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}
    return httpx.post(f"{gateway.url}/chat/completions", json=body, timeout=60)


def test_a_summary_is_answered_by_the_model_for_summaries(gateway, local, sums):
    answer = ask(gateway, SUMMARY)
    assert answer.headers["x-weighbridge-upstream"] == "sums"
    assert "goes to sums" in answer.headers["x-weighbridge-reason"]
    assert ask(gateway, "hello").headers["x-weighbridge-upstream"] == "local"
    assert (len(sums.chats), len(local.chats)) == (1, 1)
    assert [row["task"] for row in gateway.rows()] == ["summarization", "chat"]


def test_when_it_fails_the_usual_small_one_answers_before_the_large_one(gateway, local, remote, sums):
    sums.then(respond(503, {"error": {"message": "loading"}}))
    answer = ask(gateway, SUMMARY, stream=True)
    assert (answer.status_code, answer.headers["x-weighbridge-upstream"]) == (200, "local")
    assert (len(sums.chats), len(local.chats), len(remote.chats)) == (1, 1, 0)


def test_asking_for_local_goes_by_task_too(gateway, remote, sums):
    assert ask(gateway, SUMMARY, model="auto:local").headers["x-weighbridge-upstream"] == "sums"
    shown = httpx.post(
        f"{gateway.url}/route", json={"model": "auto:local", "messages": [{"role": "user", "content": SUMMARY}]}
    ).json()
    assert (shown["upstream"], shown["fence"], shown["signals"]["task"]) == ("sums", "local", "summarization")
    assert json.dumps(shown["signals"]["fallbacks"]) == '["local"]'
    assert not remote.chats
