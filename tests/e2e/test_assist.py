"""A local model works on requests before the remote sees them: what it sees, what the remote sees, what is booked."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from running import RunningGateway
from scripted import Behaviour, Seen, completion, hang, reset, respond, stream

from weighbridge.ledger.chain import audit
from weighbridge.ledger.sqlite import SQLite

LONG = "The committee talked about the weather and the garden for a while. " * 40
MAIL = "jane.doe@example.com"
SLOPPY, CLEAR = "pls tell me hwo many days has a leap year", "Please tell me how many days a leap year has."
HARD = {"use": "constant", "score": 0.9}
COMPRESS = {"name": "shorter", "when": {"tokens_over": 200}, "then": {"preprocess": ["compress"]}}
CLEAN = {"name": "clearer", "when": {"tokens_under": 200}, "then": {"preprocess": ["clean"]}}
REDACT = {"name": "no names", "when": {"pii": ["email"]}, "then": {"preprocess": ["redact"]}}
TABLES = {
    "compress": {"upstream": "local", "budget_tokens": 200, "keep_last_turns": 1},
    "clean": {"upstream": "local"},
}
HISTORY = [
    {"role": "user", "content": LONG},
    {"role": "assistant", "content": "I see. That cost 12.50 euros."},
    {"role": "user", "content": "And the garden?"},
]


@pytest.fixture
def gateway(start, local) -> RunningGateway:
    """Everything goes to the remote, after the local model has worked on it."""
    local.always(completion("They talked of weather and garden; it cost 12.50 euros.", (700, 15)))
    return start(classifier=HARD, rules=[COMPRESS, CLEAN, REDACT], preprocess=TABLES)


def ask(gateway: RunningGateway, path: str = "chat/completions", **fields: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/{path}", json={"model": "auto", "messages": HISTORY, **fields})


def contents(seen: Seen) -> list[Any]:
    return [message["content"] for message in seen.json["messages"]]


def test_a_long_history_reaches_the_remote_shortened(gateway, local, remote):
    answer = ask(gateway)
    assert answer.status_code == 200
    assert contents(remote.chats[0])[0].endswith("They talked of weather and garden; it cost 12.50 euros.")
    assert contents(remote.chats[0])[1:] == ["And the garden?"]
    told = local.chats[0].json
    assert told["messages"][1]["content"].startswith("User: The committee")
    assert (told["temperature"], told["model"]) == (0, "small-1")
    assert answer.headers["x-weighbridge-preprocess"] == "compress 702 to 43 tokens"
    assert answer.headers["x-weighbridge-upstream"] == "remote"


def test_its_call_is_an_attempt_with_its_own_cost_and_the_baseline_is_of_the_whole(gateway):
    answer = ask(gateway)
    first, second = gateway.rows("attempts")
    assert (first["upstream"], first["input_tokens"], first["status"]) == ("local", 700, "settled")
    assert (second["upstream"], second["input_tokens"]) == ("remote", 12)
    row = gateway.rows()[0]
    assert (row["upstream"], row["attempts"], row["end_reason"]) == ("remote", 2, "ok")
    # 0.25 and 2 USD per million: 12 tokens there, and 659 more if nothing had been spared.
    assert row["cost_nano_usd"] == 12 * 250 + 17 * 2000
    assert row["baseline_cost_nano_usd"] == (12 + 659) * 250 + 17 * 2000
    assert answer.headers["x-weighbridge-attempts"] == "2"
    assert audit(SQLite(path=str(gateway.ledger_path)).links()).is_fine


def test_a_stream_is_asked_for_with_the_shortened_history_too(gateway, remote):
    with httpx.stream(
        "POST", f"{gateway.url}/chat/completions", json={"model": "auto", "messages": HISTORY, "stream": True}
    ) as answer:
        assert answer.headers["x-weighbridge-preprocess"].startswith("compress 703 to")
        assert "[DONE]" in answer.read().decode()
    assert len(contents(remote.chats[0])) == 2
    assert gateway.rows()[0]["attempts"] == 2


@pytest.mark.parametrize("endpoints", [[], ["/messages", "/responses"]])
def test_other_apis_are_shortened_too(start, local, remote, endpoints):
    local.always(completion("They talked; it cost 12.50 euros."))
    upstreams = {
        "remote": {"use": "openai", "base_url": remote.url, "model": "large-1", "location": "remote"},
        "local": {"use": "openai", "base_url": local.url, "model": "small-1", "location": "local"},
    }
    upstreams["remote"]["endpoints"] = endpoints
    gateway = start(classifier=HARD, rules=[COMPRESS], preprocess=TABLES, upstreams=upstreams)
    ask(gateway, "messages", max_tokens=9)
    httpx.post(f"{gateway.url}/responses", json={"model": "auto", "input": HISTORY})
    for seen in remote.chats:
        assert LONG[:60].encode() not in seen.body
        assert b"it cost 12.50 euros." in seen.body
        assert b"And the garden?" in seen.body
    assert len(remote.chats) >= 2


def test_a_sloppy_ask_reaches_the_remote_clear(gateway, local, remote):
    local.always(completion(CLEAR))
    answer = ask(gateway, messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": SLOPPY}])
    assert contents(remote.chats[0]) == ["Be kind.", CLEAR]
    assert answer.headers["x-weighbridge-preprocess"] == "clean 27 to 28 tokens"


def test_a_rewriting_that_changes_something_is_not_used(gateway, local, remote):
    local.always(completion("Please tell me how many days the leap year 2024 has."))
    answer = ask(gateway, messages=[{"role": "user", "content": SLOPPY}])
    assert contents(remote.chats[0]) == [SLOPPY]
    assert answer.headers["x-weighbridge-preprocess"] == "clean bypassed (changed numbers)"
    counted = httpx.get(f"{gateway.root}/metrics").text
    assert 'weighbridge_preprocess_total{outcome="bypassed",step="clean"} 1.0' in counted


def says(message: dict[str, Any], finish: str = "stop") -> Behaviour:
    return respond(200, {"choices": [{"index": 0, "message": message, "finish_reason": finish}]})


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (respond(500, {}), "no answer in time"),
        (reset(), "no answer in time"),
        (hang(), "no answer in time"),
        (says({"role": "assistant", "content": ""}), "empty answer"),
        (says({"role": "assistant", "content": "They tal"}, "length"), "cut answer"),
        (completion("They spent 999 euros."), "something is new"),
        (completion(LONG * 2), "not shorter"),
    ],
)
def test_in_doubt_the_request_goes_as_it_is(start, local, remote, behaviour, why):
    local.always(behaviour)
    tables = {**TABLES, "compress": {**TABLES["compress"], "time_limit_s": 0.3}}
    gateway = start(classifier=HARD, rules=[COMPRESS], preprocess=tables)
    body = json.dumps({"model": "auto", "messages": HISTORY}).encode()
    answer = httpx.post(f"{gateway.url}/chat/completions", content=body)
    assert answer.status_code == 200
    assert remote.chats[0].body == body.replace(b'"auto"', b'"large-1"')
    assert answer.headers["x-weighbridge-preprocess"] == f"compress bypassed ({why})"
    row = gateway.rows()[0]
    assert (row["attempts"], row["upstream"], row["end_reason"]) == (2, "remote", "ok")
    assert row["reason"] == "at_or_above_threshold"


def test_a_local_server_that_keeps_failing_is_not_asked_any_more(gateway, local, remote):
    local.always(respond(500, {}))
    for _ in range(12):
        assert ask(gateway).status_code == 200
    assert len(local.chats) < 12
    assert len(remote.chats) == 12


def test_what_stays_local_is_not_worked_on(start, local, remote):
    fence = {"name": "stays", "when": {"keyword": ["garden"]}, "then": {"fence": "local"}}
    gateway = start(classifier=HARD, rules=[COMPRESS, fence], preprocess=TABLES)
    answer = ask(gateway)
    assert contents(local.chats[0]) == [message["content"] for message in HISTORY]
    assert len(local.chats) == 1
    assert not remote.chats
    assert "x-weighbridge-preprocess" not in answer.headers


def test_what_a_local_upstream_answers_is_not_worked_on(start, local):
    ask(start(rules=[COMPRESS], preprocess=TABLES))
    assert [contents(seen)[-1] for seen in local.chats] == ["And the garden?"]


def test_what_was_redacted_stays_so(gateway, local, remote):
    local.always(completion("They wrote to <EMAIL_1>; it cost 12.50 euros."))
    remote.always(completion("I wrote to <EMAIL_1>."))
    history = [{"role": "user", "content": f"{LONG} Write to {MAIL}."}, *HISTORY[1:]]
    answer = ask(gateway, messages=history)
    assert answer.json()["choices"][0]["message"]["content"] == f"I wrote to {MAIL}."
    assert MAIL.encode() not in local.chats[0].body
    assert MAIL.encode() not in remote.chats[0].body
    assert b"They wrote to <EMAIL_1>" in remote.chats[0].body
    local.always(completion("They wrote to <EMAIL_7>; it cost 12.50 euros."))
    assert ask(gateway, messages=history).headers["x-weighbridge-preprocess"] == "compress bypassed (something is new)"


def test_the_next_turn_is_made_from_the_original(gateway, local):
    for more in ([], [{"role": "assistant", "content": "Green."}, {"role": "user", "content": "And now?"}]):
        ask(gateway, messages=[*HISTORY, *more])
    assert all(LONG in contents(seen)[1] for seen in local.chats)


def test_a_remote_that_fails_still_has_its_attempts(gateway, local, remote):
    remote.always(respond(500, {}))
    answer = ask(gateway)
    assert answer.status_code in {200, 502, 503}
    assert gateway.rows()[0]["attempts"] >= 3
    assert answer.headers["x-weighbridge-attempts"] == str(gateway.rows()[0]["attempts"])


def test_whoever_leaves_meanwhile_is_booked(gateway, local):
    local.always(hang())
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": HISTORY}, timeout=0.5)
    local.chats[0].left.wait(10)
    asyncio.run(until(lambda: gateway.rows()[0]["end_reason"] == "client_gone"))
    assert gateway.rows()[0]["upstream"] is None


async def until(is_so) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  # nobody here could set an event
            await asyncio.sleep(0.02)


def test_a_stream_of_the_local_model_is_not_needed(gateway, local, remote):
    local.always(stream())
    assert ask(gateway).headers["x-weighbridge-preprocess"].startswith("compress bypassed")
    assert len(remote.chats) == 1


def planned(gateway: RunningGateway, text: str, model: str = "auto") -> list[str]:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{gateway.url}/route", json=body).json()["signals"]["steps"]


def test_the_decision_tells_which_steps_are_planned(gateway, local, remote):
    assert planned(gateway, LONG) == ["compress"]
    assert planned(gateway, f"{LONG} Write to {MAIL}.") == ["redact", "compress"]
    assert planned(gateway, f"{SLOPPY} {MAIL}") == ["redact", "clean"]
    assert planned(gateway, LONG, "auto:local") == []
    assert not local.chats
    assert not remote.chats


def test_where_only_a_fallback_is_remote_nothing_but_redaction_is_planned(start):
    easy = start(rules=[COMPRESS, REDACT], preprocess=TABLES)
    assert planned(easy, f"{LONG} Write to {MAIL}.") == ["redact"]
    assert planned(easy, LONG) == []
