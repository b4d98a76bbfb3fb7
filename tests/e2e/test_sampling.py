"""Further drafts of a cascade through a whole gateway: when they are made, what they decide, what is on record."""

import time
from typing import Any

import httpx
import pytest
from running import RunningGateway, two_upstreams
from scripted import answering, respond, stream

from weighbridge.ledger.chain import audit
from weighbridge.ledger.sqlite import SQLite

ASK = [{"role": "user", "content": "What is the capital of France?"}]
UNSURE = -1.5  # the log-probability of tokens that leave the verdict to the further drafts
REFUSAL = "I'm sorry, but I can't help with that request."


@pytest.fixture
def gateway(start) -> RunningGateway:
    return sampling(start)


def sampling(start, samples: int = 3, policy: dict[str, Any] | None = None, **changes: Any) -> RunningGateway:
    cascade = {"use": "cascade", "threshold": 0.5, "hold_s": 20, "samples": samples, **(policy or {})}
    return start(routes={"auto": {"small": "local", "large": "remote", "policy": cascade}}, **changes)


def ask(gateway: RunningGateway, **fields: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK, **fields}, timeout=30)


def reason(answer: httpx.Response) -> str:
    return answer.headers["x-weighbridge-reason"].split()[0]


def codes(gateway: RunningGateway) -> list[str | None]:
    return [row["error_code"] for row in gateway.rows("attempts")]


@pytest.mark.parametrize("is_stream", [False, True])
def test_drafts_that_agree_are_believed(gateway, local, remote, is_stream):
    local.then(answering("It is Paris.", UNSURE), answering("Paris"), answering("paris."))
    answer = ask(gateway, stream=is_stream)
    assert reason(answer) == "cascade_accepted"
    assert "It" in answer.text
    assert "paris." not in answer.text
    assert answer.headers["x-weighbridge-attempts"] == "3"
    assert not remote.seen
    assert codes(gateway) == [None, "extra_draft", "extra_draft"]
    assert [seen.json.get("stream") for seen in local.chats[1:]] == [True, True]
    assert not any("logprobs" in seen.json for seen in local.chats[1:])


@pytest.mark.parametrize("is_stream", [False, True])
def test_drafts_that_say_something_else_each_time_are_not(gateway, local, remote, is_stream):
    local.then(answering("Paris", UNSURE), answering("Lyon"), answering("Nice"))
    remote.then(answering("It is Paris."))
    answer = ask(gateway, stream=is_stream)
    assert reason(answer) == "cascade_escalated"
    assert "disagreement" in answer.headers["x-weighbridge-reason"]
    assert "It" in answer.text
    assert answer.headers["x-weighbridge-attempts"] == "4"
    assert codes(gateway) == ["draft_rejected", "extra_draft", "extra_draft", None]


@pytest.mark.parametrize("text", [REFUSAL, "Paris it is."])
def test_a_draft_whose_verdict_is_certain_is_the_only_one(gateway, local, remote, text):
    local.then(answering(text))
    ask(gateway)
    assert len(local.chats) == 1


def test_what_further_drafts_took_is_on_record_and_in_the_cost(start, local, remote):
    config = two_upstreams(local.url, remote.url)
    config["upstreams"]["local"] |= {"input_usd_per_mtok": "0.01", "output_usd_per_mtok": "0.1"}
    gateway = sampling(start, upstreams=config["upstreams"])
    local.then(*(answering("Paris", logprob, (100, 10)) for logprob in (UNSURE, -0.1, -0.1)))
    answer = ask(gateway)
    assert answer.headers["x-weighbridge-cost-usd"] == "0.000006"
    assert [row["cost_nano_usd"] for row in gateway.rows("attempts")] == [2_000] * 3
    (row,) = gateway.rows()
    assert (row["cost_nano_usd"], row["attempts"]) == (6_000, 3)
    assert row["baseline_cost_nano_usd"] == 100 * 250 + 10 * 2_000
    first, *others = gateway.rows("attempts")
    assert row["latency_s"] >= first["latency_s"] + max(other["latency_s"] for other in others)
    assert not audit(SQLite(path=str(gateway.ledger_path)).links()).findings


def test_a_draft_that_is_not_needed_any_more_is_stopped(start, local, remote):
    gateway = sampling(start, samples=4)
    local.then(answering("Paris", UNSURE), answering("Paris"), answering("Paris"), stream("Paris and", hold_after=1))
    assert reason(ask(gateway)) == "cascade_accepted"
    assert local.chats[-1].left.wait(5)
    assert codes(gateway) == [None, *["extra_draft"] * 3]
    assert {row["status"] for row in gateway.rows("attempts")} == {"settled"}


def test_a_stream_waits_no_longer_for_further_drafts_than_it_is_held_back(start, local, remote):
    gateway = sampling(start, policy={"hold_s": 0.2, "accept": 0.6})
    local.then(answering("Paris", UNSURE), *[stream("Paris", hold_after=1)] * 2)
    answer = ask(gateway, stream=True)
    assert reason(answer) == "cascade_accepted"  # by what the first one shows
    assert all(seen.left.wait(5) for seen in local.chats[1:])
    assert {row["usage_source"] for row in gateway.rows("attempts")[1:]} == {"estimated"}


def test_of_a_long_stream_the_beginnings_are_compared(start, local, remote):
    gateway = sampling(start, policy={"hold_tokens": 8})
    text = " ".join(f"word{i}" for i in range(200))
    local.then(answering(text, UNSURE), *[stream(text, hold_after=40)] * 2)
    answer = ask(gateway, stream=True)
    assert reason(answer) == "cascade_accepted"
    assert "word199" in answer.text
    assert all(seen.left.wait(5) for seen in local.chats[1:])


def test_a_place_for_one_at_a_time_is_enough(start, local, remote):
    config = two_upstreams(local.url, remote.url)
    config["upstreams"]["local"] |= {"max_concurrent": 1, "spill_after_s": 5}
    gateway = sampling(start, upstreams=config["upstreams"])
    local.always(answering("Paris", UNSURE))
    assert [reason(ask(gateway)) for _ in range(2)] == ["cascade_accepted"] * 2
    assert len(local.chats) == 6


def test_where_further_drafts_cannot_be_had_the_first_one_is_judged_alone(start, local, remote):
    gateway = sampling(start, policy={"accept": 0.6})
    local.then(answering("Paris", UNSURE), respond(500, {}), stream("Paris", cut_after=1))
    assert reason(ask(gateway)) == "cascade_accepted"
    assert codes(gateway)[0] is None
    assert all(code not in {None, "extra_draft"} for code in codes(gateway)[1:])


def test_a_budget_without_room_for_further_drafts_leaves_the_first_one(start, local, remote):
    budget = {"name": "small", "tokens": 6_000, "at_cap": "refuse", "pressure_from": 1.0}
    gateway = sampling(start, policy={"accept": 0.6}, budgets=[budget])
    local.then(answering("Paris", UNSURE))
    assert reason(ask(gateway)) == "cascade_accepted"
    assert len(local.chats) < 3


def test_who_wants_no_chance_is_sampled_for_comparison_only(gateway, local, remote):
    local.always(answering("Paris", UNSURE))
    ask(gateway, temperature=0, seed=5)
    asked = [(seen.json["temperature"], seen.json["seed"]) for seen in local.chats]
    assert asked[0] == (0, 5)
    assert sorted(asked[1:]) == [(0.7, 6), (0.7, 7)]


def test_several_choices_are_drafted_once(gateway, local, remote):
    local.then(answering("Paris", UNSURE))
    ask(gateway, n=2)
    assert len(local.chats) == 1


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_client_that_leaves_stops_all_of_them(start, local, remote, is_stream):
    gateway = sampling(start)
    local.then(answering("Paris", UNSURE), *[stream("Paris", hold_after=1)] * 2)
    body = {"model": "auto", "messages": ASK, "stream": is_stream}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/chat/completions", json=body, timeout=1)
    assert all(seen.left.wait(5) for seen in local.chats[1:])
    until_s = time.monotonic() + 10
    while not (rows := gateway.rows())[0]["end_reason"] and time.monotonic() < until_s:
        time.sleep(0.01)
    assert rows[0]["end_reason"] == "client_gone"
    assert not {row["status"] for row in gateway.rows("attempts")} & {"reserved", "sent"}
    assert not audit(SQLite(path=str(gateway.ledger_path)).links()).findings


FENCE = [{"name": "stays", "when": {"pii": ["email"]}, "then": {"fence": "local"}}]


def test_behind_a_fence_nothing_is_judged_and_so_nothing_sampled(start, local, remote):
    gateway = sampling(start, rules=FENCE)
    local.always(answering("Paris", UNSURE))
    answer = ask(gateway, messages=[{"role": "user", "content": "Write to jane.doe@example.com"}])
    assert reason(answer) == "fence"
    assert (len(local.chats), len(remote.chats)) == (1, 0)
