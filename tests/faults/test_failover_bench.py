"""The sixteen faults of Failover Bench, a public crash test for gateways, by its verdicts.

github.com/failoverbench/failoverbench, its method 0.1, with waits as short as a test's. The first upstream breaks, the
second one is well. A caller who gets the whole answer has a pass; one who gets a clean error is safe. Whatever is cut
and looks whole, hangs, or asks a failing upstream too often is a fail.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import pytest
from running import RunningGateway
from scripted import Behaviour, ScriptedUpstream, Seen, chunk, completion, hang, raw_stream, reset, respond, stream

ANSWER = " ".join(f"word{n}" for n in range(60))
WELL = completion(ANSWER, usage=(20, 60))
ENOUGH_S = 10.0  # a call that takes longer hangs: every limit of the gateway is far below


def error(code: str, message: str = "no") -> dict:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def broken_event() -> Behaviour:
    """A whole stream, with an event in it that breaks off."""
    words = [chunk("small-1", {"content": f"{word} "}) for word in ANSWER.split()]
    usage = {"prompt_tokens": 20, "completion_tokens": 60, "total_tokens": 80}
    end = [chunk("small-1", {}, "stop"), {**chunk("small-1", {}), "choices": [], "usage": usage}]
    events = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in (*words, *end)]
    events.insert(10, b'data: {"id": "x", "choices": [{"delta": {"content": \n\n')
    return raw_stream(*events, b"data: [DONE]\n\n")


async def no_prefill(seen: Seen, writer) -> None:
    """As models do that will not go on with what an assistant has begun."""
    goes_on = seen.json["messages"][-1]["role"] == "assistant"
    await (respond(400, error("invalid_prefill")) if goes_on else WELL)(seen, writer)


@dataclass(frozen=True)
class Scenario:
    """first: what the first upstream does, one request after the other; the last of them for ever.

    most: so many attempts it may be asked for; least: so many it should be.
    """

    number: str
    title: str
    first: Sequence[Behaviour]
    second: Behaviour = WELL
    most: int = 4
    least: int = 1
    wait_s: float = 0.0  # between its first two attempts
    is_error: bool = False  # the caller should get an error
    plain: str = "pass"  # the verdict where streams are not read whole first

    def __str__(self) -> str:
        return f"{self.number} {self.title}"


LONG = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9631 tokens."
SCENARIOS = [
    Scenario("S01", "429 with Retry-After", [respond(429, {}, {"retry-after-ms": "200"}), WELL], least=2, wait_s=0.2),
    Scenario("S02", "429 without, persistent", [respond(429, {})]),
    Scenario("S03", "500 once", [respond(500, {}), WELL], least=2),
    Scenario("S04", "503 persistent", [respond(503, error("overloaded"))]),
    Scenario("S05", "reset before the headers", [reset(), WELL]),
    Scenario("S06", "no response at all", [hang()], most=1),
    Scenario("S07", "slow first token", [stream(ANSWER, hold_after=0)], most=1),
    Scenario("S08", "stream cut", [stream(ANSWER, cut_after=41)], plain="safe"),
    Scenario("S09", "stream stalls", [stream(ANSWER, hold_after=21)], plain="safe"),
    Scenario("S10", "malformed chunk", [broken_event()]),
    Scenario("S11", "no [DONE]", [stream(ANSWER, usage=(20, 60), done=False)]),
    Scenario("S12", "context length", [respond(400, error("context_length_exceeded", LONG))], most=1),
    Scenario("S13", "content filter", [respond(400, error("content_policy_violation"))], most=1, is_error=True),
    Scenario("S14", "the second one takes no prefill", [stream(ANSWER, cut_after=41)], no_prefill, plain="safe"),
    Scenario("S16", "accounting", [respond(503, error("overloaded"))]),
]


@dataclass
class Call:
    """What the caller saw."""

    text: str = ""
    model: str = ""
    error: str = ""
    is_whole: bool = False
    usage: dict = field(default_factory=dict)


def call(gateway: RunningGateway, model: str = "auto") -> Call:
    """One streamed request, read as a client reads it. Raises where it hangs."""
    seen, body = Call(), {"model": model, "messages": [{"role": "user", "content": "Explain."}], "stream": True}
    body["stream_options"] = {"include_usage": True}
    with httpx.stream("POST", f"{gateway.url}/chat/completions", json=body, timeout=ENOUGH_S) as answer:
        if answer.status_code != 200:
            answer.read()
            seen.error = answer.json()["error"]["code"]
            return seen
        for line in answer.iter_lines():
            if line == "data: [DONE]":
                seen.is_whole = True
            elif line.startswith("data: "):
                _note(json.loads(line[6:]), seen)
    seen.text = " ".join(seen.text.split())
    return seen


def _note(event: dict, seen: Call) -> None:
    if "error" in event:
        seen.error = event["error"]["code"]
        return
    seen.model = event["model"] or seen.model
    seen.usage = event.get("usage") or seen.usage
    for choice in event["choices"]:
        seen.text += choice["delta"].get("content") or ""


def verdict(scenario: Scenario, seen: Call, asked: Sequence[Seen]) -> str:
    """pass, partial, safe or fail."""
    looks_whole = seen.is_whole and not seen.error
    if (looks_whole and seen.text != ANSWER) or not len(asked) <= scenario.most or not (looks_whole or seen.error):
        return "fail"
    if looks_whole is scenario.is_error:
        return "safe" if seen.error else "partial"
    waited_s = asked[1].at_s - asked[0].at_s if len(asked) > 1 else scenario.wait_s
    is_clean = len(asked) >= scenario.least and waited_s >= scenario.wait_s
    return "pass" if is_clean and (seen.usage or scenario.is_error) else "partial"


def begun(start: Callable[..., RunningGateway], recovery: str) -> RunningGateway:
    policy = {"use": "threshold", "threshold": 0.5}
    route = {"small": "local", "large": "remote", "policy": policy, "recovery": recovery}
    return start(routes={"auto": route})


def played(scenario: Scenario, gateway: RunningGateway, local: ScriptedUpstream, remote: ScriptedUpstream) -> str:
    """Play it, and see that the gateway is well afterwards and the ledger has every attempt."""
    local.then(*scenario.first[:-1]).always(scenario.first[-1])
    remote.always(scenario.second)
    found = verdict(scenario, seen := call(gateway), list(local.chats))
    remote.always(WELL)
    assert call(gateway, "remote").text == ANSWER
    assert len(gateway.rows("attempts")) == len(local.chats) + len(remote.chats)
    if remote.chats[:-1] and not seen.error:
        assert seen.model == "large-1"
    return found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_every_fault_is_passed_where_streams_are_read_whole_first(start, local, remote, scenario: Scenario):
    """U6: all of Failover Bench with `recovery = "buffer"`: a pass each."""
    assert played(scenario, begun(start, "buffer"), local, remote) == "pass"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_no_fault_fails_in_plain_streaming(start, local, remote, scenario: Scenario):
    """U6: all of Failover Bench as streams come: a pass, or a clean error where words had left already."""
    assert played(scenario, begun(start, "none"), local, remote) == scenario.plain


@pytest.mark.parametrize("recovery", ["buffer", "none"])
def test_an_upstream_that_was_down_is_left_alone_and_used_again(start, local, remote, monkeypatch, recovery):
    """A6: S15 of Failover Bench: served meanwhile, probed one at a time, and back when it is well."""
    monkeypatch.setattr("weighbridge.breaker.PROBE_S", 0.3)
    gateway = begun(start, recovery)
    local.always(respond(503, error("overloaded")))
    remote.always(WELL)
    began_s = time.monotonic()
    assert [call(gateway).text for _ in range(20)] == [ANSWER] * 20
    probes = (time.monotonic() - began_s) / 0.3
    assert len(local.chats) <= 5 + 1 + probes
    local.always(WELL)
    while call(gateway).model != "small-1":
        assert time.monotonic() < began_s + 30
    assert call(gateway).model == "small-1"
