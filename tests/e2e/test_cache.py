"""The response cache before real sockets: the same bytes again, without an upstream, and on record."""

import json
import sqlite3
from datetime import UTC, datetime

import httpx
import pytest
from scripted import SENTENCE, completion, respond, stream
from serving import serving

from weighbridge.ledger.sqlite import SQLite
from weighbridge.reports.report import report

ASK = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}
HARD = {"use": "constant", "score": 0.9}


def post(gateway, path: str = "chat/completions", headers: dict[str, str] | None = None, **fields) -> httpx.Response:
    body = fields.pop("body", ASK)
    return httpx.post(f"{gateway.url}/{path}", json={**body, **fields}, headers=headers, timeout=30)


def outcomes(*answers: httpx.Response) -> list[str | None]:
    assert {answer.status_code for answer in answers} == {200}
    return [answer.headers.get("x-weighbridge-cache") for answer in answers]


@pytest.fixture
def cached(start):
    """Sends everything to the remote upstream, and keeps what it can."""
    return start(classifier=HARD, cache={})


def test_the_same_request_is_answered_again_without_an_upstream(cached, remote):
    first, again = post(cached), post(cached)
    assert outcomes(first, again) == ["miss", "hit"]
    assert again.content == first.content
    assert len(remote.chats) == 1
    for name in ("route", "upstream", "location", "model", "score", "threshold", "baseline-cost-usd"):
        assert again.headers[f"x-weighbridge-{name}"] == first.headers[f"x-weighbridge-{name}"]
    assert again.headers["x-weighbridge-reason"] == "at_or_above_threshold cache remote"
    assert again.headers["x-weighbridge-attempts"] == "0"
    assert again.headers["x-weighbridge-cost-usd"] == "0"
    assert again.headers["x-weighbridge-saved-usd"] == first.headers["x-weighbridge-cost-usd"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


def test_an_answer_given_again_has_a_row_and_no_attempt(cached):
    first, again = post(cached), post(cached)
    paid, free = cached.rows()
    assert free["request_id"] == again.headers["x-request-id"]
    assert (free["status"], free["end_reason"], free["http_status"], free["attempts"]) == ("settled", "ok", 200, 0)
    assert (free["reason"], free["reason_detail"]) == ("at_or_above_threshold", "cache remote")
    assert (free["upstream"], free["model"], free["location"]) == (None, None, None)
    assert (free["cost_nano_usd"], free["baseline_cost_nano_usd"]) == (0, paid["cost_nano_usd"])
    assert (free["input_tokens"], free["output_tokens"], free["usage_source"]) == (12, 17, "provider")
    assert [row["request_id"] for row in cached.rows("attempts")] == [first.headers["x-request-id"]]
    verdict = {"request_id": free["request_id"], "score": 1}
    assert httpx.post(f"{cached.url}/feedback", json=verdict).status_code == 200


def test_what_was_saved_is_in_the_report_and_how_fast_it_was_is_not(cached):
    for _ in range(4):
        post(cached)
    figures = report(SQLite(path=str(cached.ledger_path)), now=datetime.now(UTC)).total
    one = cached.rows()[0]["cost_nano_usd"]
    assert (figures.savings.requests, figures.savings.remote) == (4, 1)
    assert (figures.savings.cost_nano_usd, figures.savings.saved_nano_usd) == (one, 3 * one)
    assert figures.errors == 0
    assert figures.latency.remote.p50_s == pytest.approx(cached.rows()[0]["latency_s"], abs=1e-6)
    text = httpx.get(f"{cached.root}/metrics").text
    assert 'weighbridge_cache_lookups_total{outcome="hit"} 3.0' in text
    assert 'weighbridge_cache_lookups_total{outcome="miss"} 1.0' in text


@pytest.mark.parametrize("options", [None, {"include_usage": True}])
def test_a_stream_is_streamed_again(cached, remote, options):
    fields = {"stream": True} | ({"stream_options": options} if options else {})
    first, again = post(cached, **fields), post(cached, **fields)
    assert outcomes(first, again) == ["miss", "hit"]
    assert again.content == first.content
    assert again.content.endswith(b"data: [DONE]\n\n")
    assert (b'"usage"' in again.content) == bool(options)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert len(remote.chats) == 1
    with httpx.stream("POST", f"{cached.url}/chat/completions", json={**ASK, **fields}) as answer:
        assert len(list(answer.iter_raw())) > 1
    paid, free, _ = cached.rows()
    assert (free["is_stream"], free["attempts"], free["output_tokens"]) == (1, 0, 17)
    assert free["baseline_cost_nano_usd"] == paid["cost_nano_usd"]


def test_a_stream_and_a_whole_answer_are_kept_apart(cached, remote):
    both = outcomes(post(cached), post(cached, stream=True), post(cached), post(cached, stream=True))
    assert both == ["miss", "miss", "hit", "hit"]
    assert len(remote.chats) == 2


def test_no_caller_gets_what_another_one_was_told(start, remote):
    gateway = start({"KEYS": "anns-key,bobs-key"}, classifier=HARD, cache={}, server={"api_keys_env": "KEYS"})
    keys = [{"authorization": f"Bearer {name}-key"} for name in ("anns", "bobs", "anns", "bobs")]
    assert outcomes(*(post(gateway, headers=key) for key in keys)) == ["miss", "miss", "hit", "hit"]
    assert len(remote.chats) == 2


def test_a_fenced_request_never_gets_the_answer_of_a_remote_upstream(start, local, remote):
    remote.always(completion("from afar"))
    rules = [{"name": "stays", "when": {"header": {"x-data-class": "private"}}, "then": {"fence": "local"}}]
    gateway = start(classifier=HARD, cache={}, rules=rules)
    private = {"x-data-class": "private"}
    answers = [post(gateway, headers=headers) for headers in ({}, private, {}, private)]
    assert outcomes(*answers) == ["miss", "miss", "hit", "hit"]
    assert [answer.headers["x-weighbridge-location"] for answer in answers] == ["remote", "local"] * 2
    assert ["from afar" in answer.text for answer in answers] == [True, False] * 2
    assert (len(local.chats), len(remote.chats)) == (1, 1)


def test_an_upstream_asked_for_by_name_answers_for_itself(cached):
    names = ("auto", "local", "remote", "auto:local", "local")
    assert outcomes(*(post(cached, model=name) for name in names)) == [*["miss"] * 4, "hit"]


@pytest.mark.parametrize("how", ["close", "reset", "clean"])
def test_an_answer_that_broke_off_is_not_kept(cached, remote, how):
    remote.then(stream(cut_after=5, how=how))
    broken = post(cached, stream=True)
    assert b"[DONE]" not in broken.content
    whole, again = post(cached, stream=True), post(cached, stream=True)
    assert outcomes(broken, whole, again) == ["miss", "miss", "hit"]
    assert len(remote.chats) == 2


def test_an_answer_whose_client_left_is_not_kept(cached, remote):
    remote.then(stream(hold_after=3))
    with httpx.stream("POST", f"{cached.url}/chat/completions", json={**ASK, "stream": True}) as leaving:
        next(leaving.iter_raw())
    assert remote.chats[0].left.wait(10)
    assert outcomes(post(cached, stream=True), post(cached, stream=True)) == ["miss", "hit"]


def test_an_error_is_not_kept(cached, remote):
    remote.then(respond(400, {"error": {"message": "no", "type": "invalid_request_error", "code": None}}))
    assert post(cached).status_code == 400
    assert outcomes(post(cached), post(cached)) == ["miss", "hit"]


def test_what_stood_in_for_another_upstream_is_not_kept(cached, remote):
    remote.then(respond(503, {}))
    first, second, third = post(cached), post(cached), post(cached)
    assert [a.headers["x-weighbridge-upstream"] for a in (first, second, third)] == ["local", "remote", "remote"]
    assert outcomes(first, second, third) == ["miss", "miss", "hit"]


def test_a_client_may_ask_for_a_new_answer(cached, remote):
    remote.then(completion("old"), completion("new"))
    answers = [post(cached), post(cached, headers={"cache-control": "no-cache"}), post(cached)]
    assert outcomes(*answers) == ["miss", "bypass", "hit"]
    assert ["new" in answer.text for answer in answers] == [False, True, True]


def test_what_is_drawn_by_lot_is_not_kept_unless_asked_for(start, remote):
    warm = {**ASK, "temperature": 1}
    gateway = start(classifier=HARD, cache={})
    assert outcomes(post(gateway, body=warm), post(gateway, body=warm)) == ["bypass", "bypass"]
    always = start(classifier=HARD, cache={"when": "always"})
    assert outcomes(post(always, body=warm), post(always, body=warm)) == ["miss", "hit"]
    assert len(remote.chats) == 3


def test_without_the_table_nothing_is_kept_and_nothing_is_said(hard, remote):
    assert outcomes(post(hard), post(hard)) == [None, None]
    assert len(remote.chats) == 2


def test_an_answer_given_again_takes_nothing_of_a_budget(start, remote):
    gateway = start(classifier=HARD, cache={}, budgets=[{"name": "one", "requests": 1, "at_cap": "refuse"}])
    assert outcomes(*(post(gateway) for _ in range(5))) == ["miss", *["hit"] * 4]
    assert post(gateway, seed=1).status_code == 429
    assert outcomes(post(gateway)) == ["hit"]


def test_without_a_record_there_is_no_answer_either(cached):
    post(cached)
    with sqlite3.connect(cached.ledger_path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        refused = post(cached)
        other.execute("ROLLBACK")
    other.close()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ledger_unavailable")
    assert outcomes(post(cached)) == ["hit"]


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("completions", {"model": "auto", "prompt": "hi", "temperature": 0}, ["miss", "hit"]),
        ("embeddings", {"model": "remote", "input": "hi"}, ["miss", "hit"]),
        ("responses", {"model": "auto", "input": "hi", "temperature": 0}, ["bypass", "bypass"]),
        ("responses", {"model": "auto", "input": "hi", "temperature": 0, "store": False}, ["miss", "hit"]),
        (
            "messages",
            {"model": "auto", "max_tokens": 50, "temperature": 0, "messages": ASK["messages"]},
            ["miss", "hit"],
        ),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_every_api_has_its_answers_kept(cached, remote, path, body, found, is_stream):
    if is_stream and path == "embeddings":
        pytest.skip("embeddings come whole")
    remote.always(serving("large-1"))
    answers = [post(cached, path, body=body, **({"stream": True} if is_stream else {})) for _ in range(2)]
    assert outcomes(*answers) == found
    if found[-1] == "hit":
        assert answers[1].content == answers[0].content
    assert SENTENCE.split(" ", 1)[0] in answers[1].text or path == "embeddings"


def test_a_tool_loop_goes_on_where_the_kept_answer_came_from(start, local, remote):
    gateway = start(classifier=HARD, cache={})
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    remote.then(respond(200, {"id": "c", "object": "chat.completion", "model": "large-1", "choices": [choice]}))
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    sessions = [{"x-session-id": name} for name in ("one", "two")]
    assert outcomes(*(post(gateway, headers=headers, tools=tools) for headers in sessions)) == ["miss", "hit"]
    loop = [*ASK["messages"], message, {"role": "tool", "tool_call_id": "call_1", "content": "42"}]
    for headers in sessions:
        answer = post(gateway, headers=headers, tools=tools, messages=loop, n=1)
        assert answer.headers["x-weighbridge-reason"].split()[0] == "session", json.dumps(headers)
