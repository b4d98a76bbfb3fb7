"""What goes wrong at an upstream, seen from three sides: the caller's, the wire's and the ledger's.

Each fault has the number of its row in docs/faults.md. Every case ends with the invariants: a row for each request that
was answered, a row for each request on the wire, nothing fenced at the remote, and the next good request served.
"""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import pytest
from running import UPSTREAM_KEY, RunningGateway
from scripted import (
    SENTENCE,
    Behaviour,
    ScriptedUpstream,
    chunk,
    completion,
    hang,
    raw_stream,
    reset,
    respond,
    stream,
)

CANARY = "canary.jane@example.com"
ASK = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
PRIVATE = {"model": "auto", "messages": [{"role": "user", "content": f"Write to {CANARY}"}]}
FENCE = [{"name": "stays here", "when": {"pii": ["email"]}, "then": {"fence": "local"}}]


def error(message: str, **fields: object) -> dict:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **fields}}


def event(fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


HEAD = event(chunk("m", {"role": "assistant", "content": "The "}))
REST = event(chunk("m", {"content": "end"}, "stop")) + b"data: [DONE]\n\n"
BOMB = gzip.compress(b'{"choices": [' + b" " * (64 << 20), 1)
TOOL = chunk("m", {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a'}}]})


@dataclass(frozen=True)
class Fault:
    """One way to fail. outcomes: what the caller may see where no other upstream may be asked."""

    row: str
    name: str
    behaviour: Behaviour
    outcomes: frozenset[str]
    streams: Sequence[bool] = (False, True)
    falls_back: bool | None = True  # None: it depends on how much came at once

    def __str__(self) -> str:
        return f"{self.row} {self.name}"


def fault(row: str, name: str, behaviour: Behaviour, *outcomes: str, **more: object) -> Fault:
    return Fault(row, name, behaviour, frozenset(outcomes), **more)  # type: ignore[arg-type]


STREAM, WHOLE = (True,), (False,)
FAULTS = [
    fault("U4", "hang at the first byte", hang(), "local_unavailable", streams=STREAM),
    fault("U5", "reset before the headers", reset(), "local_unavailable"),
    fault(
        "U6",
        "stream cut: broken chunk",
        stream(cut_after=5, how="close"),
        "upstream_cut",
        streams=STREAM,
        falls_back=False,
    ),
    fault(
        "U6", "stream cut: reset", stream(cut_after=5, how="reset"), "upstream_cut", streams=STREAM, falls_back=False
    ),
    fault(
        "U6",
        "stream cut: clean end",
        stream(cut_after=5, how="clean"),
        "upstream_cut",
        streams=STREAM,
        falls_back=False,
    ),
    fault("U7", "stall in the middle", stream(hold_after=5), "upstream_timeout", streams=STREAM, falls_back=False),
    fault(
        "U8",
        "garbled chunks",
        raw_stream(HEAD, *[b"data: {oops\n\n"] * 5, REST),
        "upstream_malformed",
        "local_unavailable",
        streams=STREAM,
        falls_back=None,
    ),
    fault(
        "U8", "one garbled chunk", raw_stream(HEAD, b"data: {oops\n\n", REST), "ok", streams=STREAM, falls_back=False
    ),
    fault(
        "U8",
        "mixed line ends and a mark",
        raw_stream(b"\xef\xbb\xbf" + HEAD.replace(b"\n", b"\r\n"), REST.replace(b"\n", b"\r")),
        "ok",
        streams=STREAM,
        falls_back=False,
    ),
    fault("U9", "html with 200", respond(200, b"<html>hi</html>", {"content-type": "text/html"}), "local_unavailable"),
    fault(
        "U9", "json where a stream was asked for", respond(200, {"choices": []}), "local_unavailable", streams=STREAM
    ),
    fault("U9", "an error with 200", respond(200, error("loading")), "local_unavailable"),
    fault(
        "U9", "an error as the first event", raw_stream(event(error("loading"))), "local_unavailable", streams=STREAM
    ),
    fault("U10", "no [DONE] after the finish", stream(done=False), "ok", streams=STREAM, falls_back=False),
    fault("U11", "429 with a long wait", respond(429, error("slow"), {"retry-after": "60"}), "rate_limit_exceeded"),
    fault("U11", "429 with a short wait", respond(429, error("slow"), {"retry-after-ms": "20"}), "rate_limit_exceeded"),
    fault(
        "U11",
        "429 until a date",
        respond(429, error("slow"), {"retry-after": "Fri, 31 Dec 2100 00:00:00 GMT"}),
        "rate_limit_exceeded",
    ),
    fault("U12", "429 without a word", respond(429, {}), "rate_limit_exceeded"),
    fault("U13", "500", respond(500, {}), "local_unavailable"),
    fault("U13", "503 with html", respond(503, b"<html>", {"content-type": "text/html"}), "local_unavailable"),
    fault("U14", "too long", respond(400, error("maximum context length is 4096 tokens")), "context_length_exceeded"),
    fault(
        "U15",
        "content filter",
        respond(400, error("filtered", code="content_filter")),
        "content_filter",
        falls_back=False,
    ),
    fault("U16", "our key refused", respond(401, error("Incorrect API key")), "local_unavailable"),
    fault("U16", "our key not allowed", respond(403, {}), "local_unavailable"),
    fault("U17", "a redirect", respond(302, b"", {"location": "http://127.0.0.1:1/"}), "local_unavailable"),
    fault("U20", "a header of 100 kB", respond(200, {}, {"x-long": "a" * 100_000}), "local_unavailable"),
    fault("U20", "a header of 1 MB", respond(200, {}, {"x-long": "a" * (1 << 20)}), "local_unavailable"),
    fault("U20", "a gzip bomb", respond(200, BOMB, {"content-encoding": "gzip"}), "local_unavailable"),
    fault(
        "U20",
        "an event without an end",
        raw_stream(b"data: " + b"a" * (17 << 20)),
        "upstream_too_large",
        "local_unavailable",
        streams=STREAM,
    ),
    fault("U21", "no usage", completion(usage=None), "ok", falls_back=False),
    fault("U21", "usage of zero", completion(usage=(0, 0)), "ok", falls_back=False),
    fault(
        "U22",
        "a tool call cut in the middle",
        raw_stream(HEAD, event(TOOL)),
        "upstream_cut",
        streams=STREAM,
        falls_back=False,
    ),
]
CASES = [pytest.param(f, s, id=f"{f}{' streamed' if s else ''}") for f in FAULTS for s in f.streams]


def post(gateway: RunningGateway, body: dict, is_stream: bool) -> httpx.Response:
    return httpx.post(f"{gateway.url}/chat/completions", json={**body, "stream": is_stream}, timeout=30)


def seen_by_caller(answer: httpx.Response, is_stream: bool) -> str:
    """`ok`, or the code of the error; a stream that is cut must say so, and a whole one must end with [DONE]."""
    if answer.status_code != 200:
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
        assert answer.json()["error"]["message"]
        return answer.json()["error"]["code"]
    if not is_stream:
        assert answer.json()["choices"]
        return "ok"
    *events, last = [line[6:] for line in answer.text.split("\n\n") if line]
    if last == "[DONE]":
        assert sum(bool(json.loads(e)["choices"] and json.loads(e)["choices"][0]["finish_reason"]) for e in events) == 1
        return "ok"
    assert not any(json.loads(e)["choices"][0]["finish_reason"] for e in events)
    return json.loads(last)["error"]["code"]


def check_invariants(gateway: RunningGateway, upstreams: Sequence[ScriptedUpstream], requests: int) -> None:
    rows, attempts = gateway.rows(), gateway.rows("attempts")
    assert len(rows) == requests
    assert len(attempts) == sum(len(upstream.chats) for upstream in upstreams)
    assert {row["status"] for row in (*rows, *attempts)} <= {"settled", "released", "unknown"}
    assert sum(row["attempts"] for row in rows) == len(attempts)
    for row in rows:
        assert row["attempts"] <= 4
        costs = [a["cost_nano_usd"] for a in attempts if a["request_id"] == row["request_id"]]
        assert row["cost_nano_usd"] == (None if None in costs else sum(costs))


def check_secrets(*answers: httpx.Response) -> None:
    for answer in answers:
        assert UPSTREAM_KEY not in answer.text + str(answer.headers)
        assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize(("fault", "is_stream"), CASES)
def test_a_fault_of_the_first_upstream(start, local, remote, fault: Fault, is_stream: bool):
    gateway = start()
    local.then(*[fault.behaviour] * 2)
    answer = post(gateway, ASK, is_stream)
    if fault.falls_back is None:
        assert seen_by_caller(answer, is_stream) in {*fault.outcomes, "ok"}
    elif fault.falls_back:
        assert seen_by_caller(answer, is_stream) == "ok"
        assert answer.headers["x-weighbridge-upstream"] == "remote"
        assert answer.headers["x-weighbridge-reason"].split()[0] == "fallback"
    else:
        assert seen_by_caller(answer, is_stream) in fault.outcomes
        assert not remote.chats
    local.always(completion())
    local._queue.clear()
    again = post(gateway, {**ASK, "model": "remote"}, is_stream)
    assert seen_by_caller(again, is_stream) == "ok"
    check_invariants(gateway, (local, remote), 2)
    check_secrets(answer, again)


@pytest.mark.parametrize(("fault", "is_stream"), CASES)
def test_a_fault_of_the_only_upstream_that_a_private_request_may_reach(
    start, local, remote, fault: Fault, is_stream: bool
):
    gateway = start(rules=FENCE, classifier={"use": "constant", "score": 0.99})
    local.always(fault.behaviour)
    answer = post(gateway, PRIVATE, is_stream)
    assert seen_by_caller(answer, is_stream) in fault.outcomes
    assert not remote.seen
    if answer.status_code in {429, 503}:
        assert int(answer.headers["retry-after"]) >= 1
    assert CANARY not in answer.text
    check_invariants(gateway, (local, remote), 1)
    check_secrets(answer)
    ledger = b"".join(path.read_bytes() for path in gateway.ledger_path.parent.iterdir())
    assert CANARY.encode() not in ledger


@pytest.mark.parametrize(("fault", "is_stream"), CASES)
def test_a_fault_of_every_upstream(start, local, remote, fault: Fault, is_stream: bool):
    gateway = start()
    local.always(fault.behaviour)
    remote.always(fault.behaviour)
    answer = post(gateway, ASK, is_stream)
    outcome = seen_by_caller(answer, is_stream)
    assert outcome == "ok" if "ok" in fault.outcomes else outcome != "ok"
    assert len(local.chats) + len(remote.chats) <= 4
    check_invariants(gateway, (local, remote), 1)
    check_secrets(answer)


def test_what_was_said_before_a_cut_is_counted_within_a_few_tokens(start, local):
    """U6: the words came one to an event, so the estimate knows how many there were."""
    gateway = start()
    local.then(stream(cut_after=11))
    post(gateway, ASK, True)
    (row,) = gateway.rows()
    assert (row["usage_source"], row["end_reason"]) == ("estimated", "upstream_cut")
    assert abs(row["output_tokens"] - 10) <= 1


def test_zero_stays_zero_and_missing_is_estimated(start, local):
    """U21: a provider that says 0 is believed, one that says nothing is estimated and marked."""
    gateway = start()
    local.then(completion(usage=(0, 0)), completion(usage=None))
    for _ in range(2):
        post(gateway, ASK, False)
    zero, missing = gateway.rows()
    assert (zero["input_tokens"], zero["output_tokens"], zero["usage_source"]) == (0, 0, "provider")
    assert missing["usage_source"] == "estimated"
    assert abs(missing["output_tokens"] - len(SENTENCE) / 4) <= 3
