"""What fails upstream, as the client, the wire and the ledger see it."""

import asyncio
import json
import socket
import sqlite3
import threading
import time
from contextlib import closing
from typing import Any

import httpx
import openai
import pytest
from running import RunningGateway, two_upstreams
from scripted import (
    SENTENCE,
    ScriptedUpstream,
    Seen,
    closed_port,
    completion,
    hang,
    raw_stream,
    reset,
    respond,
    stream,
)

ASK = [{"role": "user", "content": "What is the capital of France?"}]


def chat(gateway: RunningGateway, **fields) -> httpx.Response:
    return httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK, **fields}, timeout=30)


def events_of(answer: httpx.Response) -> list[str]:
    return [line[6:] for line in answer.text.split("\n\n") if line]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(respond(503, b"<html>down</html>", {"content-type": "text/html"}), id="503 html"),
        pytest.param(respond(429, {"error": {"message": "slow down"}}), id="429"),
        pytest.param(respond(401, {"error": {"message": "bad key"}}), id="401"),
        pytest.param(respond(302, b"", {"location": "http://127.0.0.1:1/"}), id="redirect"),
        pytest.param(respond(200, b"<html>hello</html>", {"content-type": "text/html"}), id="html with 200"),
        pytest.param(respond(200, {"error": {"message": "loading model"}}), id="error with 200"),
        pytest.param(respond(400, {"error": {"message": "maximum context length is 4096 tokens"}}), id="too long"),
    ],
)
def test_a_failure_before_the_first_byte_falls_back_to_the_other_upstream(gateway, local, remote, failure, is_stream):
    local.then(failure)
    answer = chat(gateway, stream=is_stream)
    assert answer.status_code == 200
    assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert answer.headers["x-weighbridge-reason"].split()[0] == "fallback"
    assert answer.headers["x-weighbridge-attempts"] == "2"
    assert (len(local.chats), len(remote.chats)) == (1, 1)
    (request,) = gateway.rows()
    first, second = gateway.rows("attempts")
    assert (request["reason"], request["upstream"], request["attempts"]) == ("fallback", "remote", 2)
    assert (first["attempt_no"], second["attempt_no"]) == (1, 2)
    assert first["status"] in {"released", "unknown"}
    assert second["status"] == "settled"


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("accident", [respond(500, {}), respond(502, b"<html>"), reset()], ids=["500", "502", "reset"])
def test_an_upstream_that_trips_over_a_request_is_asked_once_more_before_the_next(
    gateway, local, remote, accident, is_stream
):
    """U13: 500 once is survived where it happened; a second one sends the request to the other upstream."""
    local.then(accident, completion(), accident, accident)
    first, second = chat(gateway, stream=is_stream), chat(gateway, stream=is_stream)
    assert [a.headers["x-weighbridge-upstream"] for a in (first, second)] == ["local", "remote"]
    assert [a.headers["x-weighbridge-attempts"] for a in (first, second)] == ["2", "3"]
    assert (len(local.chats), len(remote.chats)) == (4, 1)
    assert [row["upstream"] for row in gateway.rows("attempts")] == ["local"] * 4 + ["remote"]


def test_an_error_event_at_the_head_of_a_stream_falls_back(gateway, local, remote):
    local.then(raw_stream(b'data: {"error": {"message": "model is loading", "code": 503}}\n\n'))
    answer = chat(gateway, stream=True)
    assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert events_of(answer)[-1] == "[DONE]"


def test_an_upstream_that_nothing_listens_for_falls_back_within_a_moment(start, local, remote):
    """U1: connection refused: the other upstream answers."""
    config = two_upstreams(f"http://127.0.0.1:{closed_port()}/v1", remote.url)
    answer = chat(start(upstreams=config["upstreams"]))
    assert answer.headers["x-weighbridge-upstream"] == "remote"


def test_a_silent_upstream_is_left_at_the_first_token_limit(gateway, local, remote):
    """U3: no first token in time: the other upstream answers, and the silent attempt is unknown."""
    local.then(hang())
    answer = chat(gateway, stream=True)
    assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert local.chats[0].left.wait(5)
    assert gateway.rows("attempts")[0]["end_reason"] == "timeout"
    assert gateway.rows("attempts")[0]["status"] == "unknown"


def test_both_down_is_one_error_that_says_when_to_come_back(gateway, local, remote):
    """A5: both sides down: one error, with the time to come back."""
    local.then(respond(503, {}))
    remote.then(reset(), reset())
    answer = chat(gateway)
    assert answer.status_code in {502, 503}
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    # The last one is tried once more: nothing was received, so nothing is done twice.
    assert answer.headers["x-weighbridge-attempts"] == "3"
    assert gateway.rows()[0]["status"] in {"unknown", "released"}
    assert gateway.rows()[0]["http_status"] == answer.status_code


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_the_upstreams_own_verdict_on_the_request_reaches_the_client(gateway, local, remote, status):
    error = {"message": "`temperature` is odd", "type": "invalid_request_error", "param": "temperature", "code": "odd"}
    local.then(respond(status, {"error": error}))
    answer = chat(gateway)
    assert answer.status_code == status
    assert answer.json()["error"] == error
    assert answer.headers["x-should-retry"] == "false"
    assert not remote.chats


def test_an_upstreams_error_never_shows_its_address_or_a_key(gateway, local):
    message = "see http://10.0.0.1:8000/v1/secret with Bearer sk-abcdef0123456789 and sk-proj-abcdefgh12345678"
    local.then(respond(400, {"error": {"message": message}}))
    text = chat(gateway).text
    assert "10.0.0.1" not in text
    assert "abcdef" not in text


def test_a_refused_key_is_our_fault_and_not_the_clients(gateway, local, remote):
    local.then(respond(401, {"error": {"message": "Incorrect API key provided: sk-ups..."}}))
    remote.then(respond(403, {}))
    answer = chat(gateway)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_auth"


def test_a_rate_limit_with_nowhere_left_to_go_keeps_its_wait(gateway, local, remote):
    local.then(respond(429, {}, {"retry-after": "3"}))
    remote.then(respond(429, {}, {"retry-after": "7"}))
    answer = chat(gateway)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("how", ["close", "reset", "clean"])
def test_a_stream_cut_in_the_middle_is_an_error_and_never_a_whole_answer(gateway, local, how):
    local.then(stream(cut_after=5, how=how))
    answer = chat(gateway, stream=True)
    *chunks, last = events_of(answer)
    assert json.loads(last)["error"]["code"] == "upstream_cut"
    assert "[DONE]" not in chunks
    assert not any(json.loads(c)["choices"][0]["finish_reason"] for c in chunks)
    (row,) = gateway.rows()
    assert (row["status"], row["end_reason"], row["usage_source"]) == ("settled", "upstream_cut", "estimated")


def test_the_sdk_raises_on_a_cut_stream(gateway, local):
    local.then(stream(cut_after=5))
    with (
        openai.OpenAI(base_url=gateway.url, api_key="none", max_retries=0) as client,
        pytest.raises(openai.APIError),
    ):
        list(client.chat.completions.create(model="auto", messages=ASK, stream=True))


def test_a_stream_that_stalls_is_ended_with_an_error(start, local, remote):
    """U7: content stops: an error event, and the upstream is closed."""
    config = two_upstreams(local.url, remote.url)
    config["upstreams"]["local"]["limits"] = {"first_token_s": 300, "idle_s": 0.5}
    gateway = start(upstreams=config["upstreams"])
    local.then(stream(hold_after=5))
    answer = chat(gateway, stream=True)
    assert json.loads(events_of(answer)[-1])["error"]["code"] == "upstream_timeout"
    assert gateway.rows()[0]["end_reason"] == "timeout"
    assert local.chats[0].left.wait(5)


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(stream(separator=b"\r\n\r\n"), id="crlf"),
        pytest.param(stream(slices=1), id="a byte at a time"),
        pytest.param(stream(separator=b"\r\n\r\n", slices=1), id="crlf a byte at a time"),
        pytest.param(stream("Grüße → 😀 naïve", slices=1), id="split inside characters"),
        pytest.param(stream(before=b": ping\n\n: pong\n\n"), id="comments"),
        pytest.param(stream(done=False), id="no done"),
    ],
)
def test_every_form_of_a_proper_stream_arrives_whole(gateway, local, form):
    local.then(form)
    answer = chat(gateway, stream=True)
    *chunks, last = events_of(answer)
    assert last == "[DONE]"
    text = "".join(json.loads(c)["choices"][0]["delta"].get("content", "") for c in chunks)
    assert text in {SENTENCE, "Grüße → 😀 naïve"}
    assert ": p" not in answer.text


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_upstream_stops_when_the_client_leaves_before_the_first_byte(gateway, local, is_stream):
    """X1: the client leaves before the first byte: the upstream is closed within a second."""
    local.then(hang())
    leave_after(gateway, is_stream=is_stream, until=lambda: local.chats)
    assert local.chats[0].left.wait(1)
    row = wait_for_row(gateway)
    assert row["end_reason"] == "client_gone"


def test_the_upstream_stops_when_the_client_leaves_a_stream(gateway, local):
    """X2: the client leaves a stream: the upstream is closed within a second."""
    local.then(stream(hold_after=5))
    with httpx.stream(
        "POST", f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK, "stream": True}
    ) as got:
        next(got.iter_bytes())
    assert local.chats[0].left.wait(1)
    row = wait_for_row(gateway)
    assert (row["end_reason"], row["status"], row["usage_source"]) == ("client_gone", "settled", "estimated")
    assert row["output_tokens"] >= 1


@pytest.mark.parametrize("failure", [respond(429, {}), reset()], ids=["429", "reset"])
def test_a_client_that_leaves_between_two_attempts_leaves_no_request_open(start, local, remote, monkeypatch, failure):
    """S2: the ledger is locked while a failure is booked, and the client leaves: its request is closed all the same."""
    monkeypatch.setattr("weighbridge.ledger._sqlite_schema.BUSY_S", 30.0)
    gateway, may_fail = start(), threading.Event()
    assert "weighbridge_attempt_failures_total{" not in metrics(gateway)

    async def late(seen: Seen, writer: Any) -> None:
        await asyncio.to_thread(may_fail.wait, 10)
        await failure(seen, writer)

    local.then(late)
    with closing(sqlite3.connect(gateway.ledger_path, isolation_level=None)) as lock:

        def has_failed() -> bool:
            lock.execute("BEGIN IMMEDIATE")
            may_fail.set()
            return bool(wait_until(lambda: "weighbridge_attempt_failures_total{" in metrics(gateway)))

        leave_after(gateway, is_stream=False, until=lambda: local.chats and has_failed())
        wait_until(lambda: "weighbridge_in_flight 0.0" in metrics(gateway))
        lock.execute("ROLLBACK")
    row = wait_for_row(gateway)
    assert (row["end_reason"], row["http_status"], row["attempts"]) == ("client_gone", 499, 1)
    assert [row["end_reason"] for row in gateway.rows("attempts")] != ["client_gone"]
    assert not remote.chats


def metrics(gateway: RunningGateway) -> str:
    return httpx.get(f"{gateway.root}/metrics").text


def leave_after(gateway: RunningGateway, *, is_stream: bool, until) -> None:
    body = json.dumps({"model": "auto", "messages": ASK, "stream": is_stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(head + body)
        wait_until(until)


def wait_for_row(gateway: RunningGateway) -> dict:
    return wait_until(lambda: next((row for row in gateway.rows() if row["end_reason"]), None))


def wait_until(condition, limit_s: float = 10):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


FENCE = [{"name": "stays here", "when": {"pii": ["email"]}, "then": {"fence": "local"}}]
PRIVATE = [{"role": "user", "content": "Write to jane.doe@example.com that I am late"}]


@pytest.mark.parametrize("model", ["auto", "auto:remote", "remote", "large-1", "router-x-0.0"])
def test_a_fenced_request_never_reaches_the_remote(start, local: ScriptedUpstream, remote: ScriptedUpstream, model):
    """P1: a private request while the local side fails: nothing reaches the remote one, whatever name was asked for."""
    gateway = start(rules=FENCE, classifier={"use": "constant", "score": 0.99})
    answers = []
    for behaviour in (completion(), respond(429, {}), reset(), respond(500, {})):
        local.always(behaviour)
        answers.append(chat(gateway, model=model, messages=PRIVATE))
    assert [a.status_code for a in answers] == [200, 429, 503, 503]
    assert answers[0].headers["x-weighbridge-reason"].split()[0] == "fence"
    assert answers[2].json()["error"]["code"] == "local_unavailable"
    assert "retry-after" in answers[2].headers
    assert not remote.seen


def test_a_failure_that_passes_is_survived_where_only_one_upstream_may_answer(start, local, remote):
    gateway = start(rules=FENCE)
    local.then(respond(503, {}), completion(), reset(), completion(), respond(429, {}, {"retry-after-ms": "5"}))
    answers = [chat(gateway, messages=PRIVATE) for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 200]
    assert [a.headers["x-weighbridge-attempts"] for a in answers] == ["2", "2", "2"]
    assert [row["status"] for row in gateway.rows("attempts")][::2] == ["released", "unknown", "released"]
    assert not remote.seen


def test_an_upstream_that_keeps_failing_is_left_alone_and_its_callers_are_told_at_once(start, local, remote):
    """A1: the local side is down: fenced requests get 503 at once, others the remote side."""
    gateway = start(rules=FENCE)
    local.always(respond(500, {}))
    for _ in range(3):
        chat(gateway, messages=PRIVATE)
    asked = len(local.chats)
    assert asked <= 6
    answer = chat(gateway, messages=PRIVATE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "local_unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert len(local.chats) == asked
    assert chat(gateway).headers["x-weighbridge-upstream"] == "remote"
    assert gateway.rows()[-1]["reason"] == "fallback"
    assert not any(canary in str(remote.seen) for canary in ("jane.doe",))


def test_what_one_caller_gets_wrong_closes_the_door_for_nobody(gateway, local):
    """U14: refusals of one caller's requests: the breaker stays closed for the others."""
    for status in (400, 404, 422, 429):
        local.then(*[respond(status, {"error": {"message": "no"}})] * 3)
    for _ in range(12):
        chat(gateway, model="local")
    assert chat(gateway, model="local").status_code == 200


def test_a_rule_can_deny_and_the_ledger_keeps_it(start, local, remote):
    gateway = start(rules=[{"name": "no", "when": {"keyword": ["forbidden"]}, "then": {"deny": "Not here."}}])
    answer = chat(gateway, messages=[{"role": "user", "content": "a forbidden thing"}])
    assert answer.status_code == 403
    assert answer.json()["error"]["message"] == "Not here."
    assert not local.chats
    assert not remote.chats
    assert gateway.rows()[0]["http_status"] == 403


def test_a_rule_can_choose_the_upstream(start, remote):
    gateway = start(rules=[{"name": "code", "when": {"keyword": ["python"]}, "then": {"upstream": "remote"}}])
    answer = chat(gateway, messages=[{"role": "user", "content": "some python please"}])
    assert answer.headers["x-weighbridge-reason"].split()[0] == "rule"
    assert answer.headers["x-weighbridge-upstream"] == "remote"


def test_what_does_not_fit_the_small_window_goes_to_the_large_model(start, local, remote):
    config = two_upstreams(local.url, remote.url)
    config["upstreams"]["local"]["context_window"] = 100
    config["upstreams"]["remote"]["context_window"] = 10_000
    gateway = start(upstreams=config["upstreams"])
    long = chat(gateway, messages=[{"role": "user", "content": "word " * 200}])
    assert long.headers["x-weighbridge-reason"].split()[0] == "context_window"
    assert long.headers["x-weighbridge-upstream"] == "remote"
    longer = chat(gateway, messages=[{"role": "user", "content": "word " * 20_000}])
    assert longer.status_code == 400
    assert longer.json()["error"]["code"] == "context_length_exceeded"
    assert not local.chats


def test_without_a_local_upstream_a_fenced_request_is_refused(start, local, remote):
    config = two_upstreams(local.url, remote.url)
    config["upstreams"]["local"]["location"] = "remote"
    gateway = start(upstreams=config["upstreams"], rules=FENCE)
    answer = chat(gateway, messages=PRIVATE)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "local_unavailable"
    assert not local.chats
    assert not remote.chats


def test_an_upstreams_limits_reach_the_client_with_its_words_and_headers(gateway, local):
    error = {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}
    told = {"retry-after-ms": "2500", "x-ratelimit-remaining-requests": "0", "set-cookie": "a=b"}
    local.always(respond(429, {"error": error}, told))
    answer = chat(gateway, model="local")
    assert answer.json()["error"]["code"] == "insufficient_quota"
    assert answer.json()["error"]["message"] == error["message"]
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("3", "2500")
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(("theirs", "ours"), [(500, 502), (502, 502), (503, 503), (504, 504), (529, 503)])
def test_an_upstreams_own_failure_is_told_by_a_gateways_status(gateway, local, theirs, ours):
    local.always(respond(theirs, {}))
    assert chat(gateway, model="local").status_code == ours


@pytest.mark.parametrize("how", ["close", "reset", "clean"])
def test_a_stream_that_breaks_is_had_from_the_other_upstream_where_it_is_read_whole_first(start, local, remote, how):
    """U6: a cut stream with `recovery = "buffer"`: the other upstream answers whole."""
    route = {"small": "local", "large": "remote", "policy": {"use": "threshold"}, "recovery": "buffer"}
    gateway = start(routes={"auto": route})
    local.then(stream(cut_after=5, how=how))
    answer = chat(gateway, stream=True)
    assert events_of(answer)[-1] == "[DONE]"
    said = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events_of(answer)[:-1]]
    assert "".join(said) == SENTENCE
    assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert gateway.rows()[0]["end_reason"] == "ok"
