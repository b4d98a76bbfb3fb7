"""A cascade through a whole gateway: what a client sees of a draft, what upstreams are asked, what is on record."""

import json
import time
from typing import Any

import httpx
import pytest
from running import RunningGateway, two_upstreams
from scripted import (
    Behaviour,
    Seen,
    answering,
    completion_body,
    raw_stream,
    reset,
    respond,
    stream,
)

from weighbridge.ledger.chain import audit
from weighbridge.ledger.sqlite import SQLite
from weighbridge.reports.report import report

ASK = [{"role": "user", "content": "What is the capital of France?"}]
REFUSAL = "I'm sorry, but I can't help with that request."
POLICY = {"use": "cascade", "threshold": 0.5}


def finishing(reason: str, text: str = "The capital of") -> Behaviour:
    """A whole answer that ends for this reason."""

    async def act(seen: Seen, writer: Any) -> None:
        body = completion_body(seen.json["model"], text, (12, 17))
        body["choices"][0]["finish_reason"] = reason
        await respond(200, body)(seen, writer)

    return act


@pytest.fixture
def gateway(start) -> RunningGateway:
    return cascading(start)


def cascading(start, policy: dict[str, Any] | None = None, **changes: Any) -> RunningGateway:
    routes = {"auto": {"small": "local", "large": "remote", "policy": {**POLICY, **(policy or {})}}}
    return start(routes=routes, **changes)


def ask(gateway: RunningGateway, **fields: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK, **fields}, timeout=30)


def wait_for_row(gateway: RunningGateway) -> dict[str, Any]:
    """The first request that has ended."""
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        if ended := [row for row in gateway.rows() if row["end_reason"]]:
            return ended[0]
        time.sleep(0.01)
    raise AssertionError("no request has ended")


def reason(answer: httpx.Response) -> str:
    return answer.headers["x-weighbridge-reason"].split()[0]


def text_of(answer: httpx.Response) -> str:
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return answer.json()["choices"][0]["message"]["content"]
    *chunks, last = [line[6:] for line in answer.text.split("\n\n") if line]
    assert last == "[DONE]"
    deltas = [choice["delta"] for c in chunks for choice in json.loads(c)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_good_draft_is_the_answer(gateway, local, remote, is_stream):
    local.then(answering("Paris is the capital of France."))
    answer = ask(gateway, stream=is_stream)
    assert text_of(answer).strip() == "Paris is the capital of France."
    assert answer.headers["x-weighbridge-reason"].startswith("cascade_accepted p 0.9")
    assert answer.headers["x-weighbridge-attempts"] == "1"
    assert not remote.seen
    (row,) = gateway.rows()
    assert (row["reason"], row["upstream"], row["cost_nano_usd"]) == ("cascade_accepted", "local", 0)


WEAK = [
    (answering(REFUSAL), "refusal"),
    (answering("Paris, I think, or Lyon.", logprob=-2.5), "logprobs"),
    (answering(" "), "empty"),
    (answering("and so on " * 40), "looping"),
    (answering("Die Hauptstadt ist Paris, und das ist auch gut so."), "other_language"),
]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_weak_draft_is_never_seen(gateway, local, remote, is_stream):
    remote.always(answering("Paris."))
    for draft, why in WEAK:
        local.then(draft)
        answer = ask(gateway, stream=is_stream)
        assert text_of(answer).strip() == "Paris."
        assert reason(answer) == "cascade_escalated"
        assert why in answer.headers["x-weighbridge-reason"]
        assert (answer.headers["x-weighbridge-upstream"], answer.headers["x-weighbridge-attempts"]) == ("remote", "2")
    assert {row["reason"] for row in gateway.rows()} == {"cascade_escalated"}
    metrics = httpx.get(f"{gateway.root}/metrics").text
    assert all(f'weighbridge_drafts_total{{outcome="escalated",why="{why}"}} 1' in metrics for _, why in WEAK)


def test_an_answer_that_ran_out_of_window_is_not_the_answer(gateway, local, remote):
    local.then(finishing("length"))
    assert reason(ask(gateway)) == "cascade_escalated"
    local.then(finishing("length"))
    assert reason(ask(gateway, max_tokens=4)) == "cascade_accepted"  # the large one would run into that, too


JSON_ASKED = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object", "required": ["city"]}},
    }
}


def test_json_that_is_not_what_was_asked_for_is_always_discarded(start, local):
    gateway = cascading(start, {"accept": 0.01})
    for draft in ('{"town": "Paris"}', 'Sure! {"city": "Paris"}', '{"city": "Par'):
        local.then(answering(draft))
        assert reason(ask(gateway, **JSON_ASKED)) == "cascade_escalated"
    local.then(answering('{"city": "Paris"}'))
    assert reason(ask(gateway, **JSON_ASKED)) == "cascade_accepted"


def test_what_only_we_asked_for_is_taken_out_to_the_letter(gateway, local):
    asked: list[bytes] = []
    raw = (
        b'{"id": "c1",  "object":"chat.completion", "created": 1, "model": "small-1", "x": 1.0e2,'
        b' "choices": [{"index": 0, "logprobs": %b, "message": {"role": "assistant", "content": "Gr\\u00fcezi, it is'
        b' Paris."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}'
    )
    told = b'{"content": [{"token": "a", "logprob": -0.01}], "refusal": null}'

    async def act(seen: Seen, writer: Any) -> None:
        asked.append(seen.body)
        await respond(200, raw % told)(seen, writer)

    local.then(act, act)
    assert ask(gateway).content == raw % b"null"
    assert json.loads(asked[0])["logprobs"] is True
    assert ask(gateway, logprobs=True).content == raw % told


def test_a_stream_shows_no_logprobs_that_its_client_did_not_ask_for(gateway, local):
    text = " ".join(f"word{i}" for i in range(100))
    local.then(answering(text), answering(text))
    shown = ask(gateway, stream=True)
    assert '"logprob"' not in shown.text
    assert '"usage"' not in shown.text
    assert '"logprob"' in ask(gateway, stream=True, logprobs=True).text


def test_a_server_that_takes_no_logprobs_is_asked_without_from_then_on(gateway, local):
    refusal = {"error": {"message": "Unsupported parameter: 'logprobs' is not supported with this model."}}
    local.then(respond(400, refusal), answering("Paris it is."), answering("Paris it is."))
    assert [reason(ask(gateway)) for _ in range(2)] == ["cascade_accepted"] * 2
    assert ["logprobs" in seen.json for seen in local.chats] == [True, False, False]
    assert gateway.rows("attempts")[0]["attempt_no"] == 1


def test_logprobs_need_not_be_asked_for(start, local):
    gateway = cascading(start, {"ask_logprobs": False})
    local.then(answering("Paris it is."))
    assert reason(ask(gateway)) == "cascade_accepted"
    assert "logprobs" not in local.chats[0].json


def test_the_discarded_draft_is_on_record_and_in_the_savings(start, local, remote):
    config = two_upstreams(local.url, remote.url)
    config["upstreams"]["local"] |= {"input_usd_per_mtok": "0.01", "output_usd_per_mtok": "0.1"}
    gateway = cascading(start, upstreams=config["upstreams"])
    local.then(answering(REFUSAL, usage=(100, 10)))
    remote.then(answering("Paris.", usage=(100, 20)))
    answer = ask(gateway)
    first, second = gateway.rows("attempts")
    assert (first["status"], first["end_reason"], first["error_code"]) == ("settled", "ok", "draft_rejected")
    assert (first["input_tokens"], first["output_tokens"], first["cost_nano_usd"]) == (100, 10, 2_000)
    assert second["cost_nano_usd"] == 100 * 250 + 20 * 2_000
    (row,) = gateway.rows()
    assert row["cost_nano_usd"] == first["cost_nano_usd"] + second["cost_nano_usd"]
    assert row["baseline_cost_nano_usd"] == second["cost_nano_usd"]
    assert answer.headers["x-weighbridge-saved-usd"] == "-0.000002"
    assert row["latency_s"] >= first["latency_s"] + second["latency_s"]
    assert row["ttft_s"] >= second["ttft_s"] + first["latency_s"]
    ledger = SQLite(path=str(gateway.ledger_path))
    told = report(ledger).total.savings
    assert (told.cost_nano_usd, told.saved_nano_usd) == (row["cost_nano_usd"], -2_000)
    assert not audit(ledger.links()).findings


def test_no_more_of_a_draft_is_read_than_is_needed_to_judge_it(gateway, local, remote):
    local.then(stream("I cannot help with that. " * 40, hold_after=60))
    remote.then(answering("Paris."))
    assert reason(ask(gateway, stream=True)) == "cascade_escalated"
    assert local.chats[0].left.wait(5)
    assert gateway.rows("attempts")[0]["usage_source"] == "estimated"


def test_a_draft_that_stalls_is_held_back_for_so_long_only(start, local):
    gateway = cascading(start, {"hold_s": 0.05})
    local.then(stream("Paris is the capital of France and of much else.", hold_after=5))
    with httpx.stream(
        "POST", f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK, "stream": True}
    ) as got:
        assert got.headers["x-weighbridge-reason"].startswith("cascade_accepted")
        assert b"capital" in next(got.iter_bytes())
    assert local.chats[0].left.wait(5)
    assert wait_for_row(gateway)["end_reason"] == "client_gone"


def test_a_long_stream_goes_on_after_its_verdict(gateway, local):
    text = " ".join(f"word{i}" for i in range(300))
    local.then(answering(text, logprob=-0.1))
    answer = ask(gateway, stream=True, stream_options={"include_usage": True})
    assert text_of(answer).strip() == text
    assert answer.text.count('"usage"') == 1


def test_a_stream_that_is_read_whole_anyway_is_judged_whole(start, local, remote):
    routes = {"auto": {"small": "local", "large": "remote", "policy": POLICY, "recovery": "buffer"}}
    gateway = start(routes=routes)
    local.then(answering(" ".join(f"word{i}" for i in range(100)) + " and so on" * 60))
    remote.then(answering("Paris."))
    assert text_of(ask(gateway, stream=True)).strip() == "Paris."


def test_the_large_model_is_asked_at_once_where_the_score_says_so(start, local, remote):
    gateway = cascading(start, classifier={"use": "constant", "score": 0.9})
    assert reason(ask(gateway)) == "at_or_above_threshold"
    assert not local.seen
    assert "logprobs" not in remote.chats[0].json


FENCE = [{"name": "stays", "when": {"pii": ["email"]}, "then": {"fence": "local"}}]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_fenced_draft_is_not_judged_for_it_must_not_leave(start, local, remote, is_stream):
    gateway = cascading(start, rules=FENCE)
    local.then(answering(REFUSAL))
    answer = ask(gateway, stream=is_stream, messages=[{"role": "user", "content": "Write to jane.doe@example.com"}])
    assert text_of(answer).strip() == REFUSAL
    assert reason(answer) == "fence"
    assert not remote.seen
    assert "logprobs" not in local.chats[0].json


def test_who_names_an_upstream_gets_its_answer(gateway, local, remote):
    local.then(answering(REFUSAL))
    assert text_of(ask(gateway, model="local")) == REFUSAL
    assert not remote.seen


def test_with_the_budget_used_up_a_draft_is_the_answer(start, local, remote):
    gateway = cascading(start, budgets=[{"name": "none", "usd": "0"}])
    local.then(answering(REFUSAL))
    answer = ask(gateway)
    assert text_of(answer) == REFUSAL
    assert reason(answer) == "budget"
    assert not remote.seen


FAILURES = [respond(500, {}), reset(), respond(400, {"error": {"message": "no such thing"}})]


@pytest.mark.parametrize("is_stream", [False, True])
def test_where_the_large_model_fails_a_weak_answer_is_better_than_none(gateway, local, remote, is_stream):
    local.always(answering(REFUSAL))
    for failure in FAILURES:
        remote.always(failure)
        answer = ask(gateway, stream=is_stream)
        assert text_of(answer).strip() == REFUSAL
        assert answer.headers["x-weighbridge-reason"].startswith("fallback remote")
        assert "logprobs" not in local.chats[-1].json
    asked = [row["upstream"] for row in gateway.rows("attempts")]
    assert (asked.count("local"), asked[-1]) == (2 * len(FAILURES), "local")
    assert {row["reason"] for row in gateway.rows()} == {"fallback"}


def test_while_the_large_model_is_down_no_draft_is_made_twice(gateway, local, remote):
    local.always(answering(REFUSAL))
    remote.always(reset())
    for _ in range(6):
        ask(gateway)
    asked = len(local.chats)
    answer = ask(gateway)
    assert (text_of(answer), reason(answer)) == (REFUSAL, "below_threshold")
    assert len(local.chats) == asked + 1


def test_a_budget_that_has_no_room_for_the_large_model_leaves_the_small_ones_answer(start, local, remote):
    gateway = cascading(start, budgets=[{"name": "tiny", "usd": "0.0001"}])
    local.always(answering(REFUSAL))
    answer = ask(gateway)
    assert (text_of(answer), reason(answer)) == (REFUSAL, "budget")
    assert "tiny" in answer.headers["x-weighbridge-reason"]
    assert not remote.seen


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_draft_of_a_remote_model_is_redacted_and_restored(start, local, remote, is_stream):
    config = two_upstreams(local.url, remote.url)
    config["upstreams"]["local"]["location"] = "remote"
    rules = [{"name": "no names", "when": {"pii": ["email"]}, "then": {"preprocess": ["redact"]}}]
    gateway = cascading(start, upstreams=config["upstreams"], rules=rules)
    mail = "jane.doe@example.com"

    async def echo(seen: Seen, writer: Any) -> None:
        await answering(f"It is {seen.json['messages'][-1]['content'].split()[-1]} then")(seen, writer)

    local.then(echo)
    answer = ask(gateway, stream=is_stream, messages=[{"role": "user", "content": f"Please say {mail}"}])
    assert text_of(answer).strip() == f"It is {mail} then"
    assert reason(answer) == "cascade_accepted"
    assert mail.encode() not in local.chats[0].body
    assert local.chats[0].json["logprobs"] is True


def test_ollamas_own_logprobs_are_evidence(start, local, remote):
    config = two_upstreams(local.url, remote.url)
    local_url = local.url.removesuffix("/v1")
    config["upstreams"]["local"] |= {"use": "ollama", "base_url": local_url}
    gateway = cascading(start, upstreams=config["upstreams"])

    def line(text: str, logprob: float) -> bytes:
        said = {"message": {"role": "assistant", "content": text}, "logprobs": [{"token": text, "logprob": logprob}]}
        return json.dumps({"model": "small-1", **said, "done": False}).encode() + b"\n"

    end = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    last = json.dumps({**end, "prompt_eval_count": 5, "eval_count": 2}).encode() + b"\n"
    local.then(raw_stream(line("Par", -0.1), line("is.", -0.1), last), raw_stream(line("Lyon", -4.0), last))
    sure, unsure = ask(gateway, stream=True), ask(gateway, stream=True)
    assert (text_of(sure), reason(sure)) == ("Paris.", "cascade_accepted")
    assert '"logprob"' not in sure.text
    assert unsure.headers["x-weighbridge-reason"].endswith("logprobs")
    assert all(seen.json["logprobs"] is True for seen in local.chats)


def test_a_draft_that_cannot_be_had_is_no_verdict_on_it(gateway, local, remote):
    local.always(respond(500, {}))
    assert reason(ask(gateway)) == "fallback"


def test_at_most_once_is_a_request_handed_on(gateway, local, remote):
    local.always(answering(REFUSAL))
    remote.always(answering(REFUSAL))
    assert text_of(ask(gateway)) == REFUSAL
    assert (len(local.chats), len(remote.chats)) == (1, 1)


def test_discarded_drafts_close_no_door(gateway, local, remote):
    local.always(answering(REFUSAL))
    assert [reason(ask(gateway)) for _ in range(8)] == ["cascade_escalated"] * 8


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_client_that_leaves_stops_its_draft(gateway, local, remote, is_stream):
    local.then(stream(hold_after=5))
    body = {"model": "auto", "messages": ASK, "stream": is_stream}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/chat/completions", json=body, timeout=0.3)
    assert local.chats[0].left.wait(5)
    assert wait_for_row(gateway)["end_reason"] == "client_gone"
    assert not remote.seen


def test_an_escalated_answer_is_kept_and_given_again(start, local, remote):
    gateway = cascading(start, cache={"when": "always"})
    local.then(answering(REFUSAL))
    remote.then(answering("Paris."))
    first, again = ask(gateway), ask(gateway)
    assert again.content == first.content
    assert again.headers["x-weighbridge-cache"] == "hit"
    assert reason(again) == "cascade_escalated"
    assert (len(local.chats), len(remote.chats)) == (1, 1)


MESSAGES = {"model": "auto", "max_tokens": 100, "messages": ASK}
RESPONSES = {"model": "auto", "input": "What is the capital of France?"}


@pytest.mark.parametrize("is_native", [False, True])
def test_other_dialects_are_drafted_as_a_chat(start, local, remote, is_native):
    config = two_upstreams(local.url, remote.url)
    config["upstreams"]["local"]["endpoints"] = ["/messages", "/responses"] if is_native else []
    config["upstreams"]["remote"]["endpoints"] = []
    gateway = cascading(start, upstreams=config["upstreams"])
    remote.always(answering("Paris."))
    for path, body in (("/messages", MESSAGES), ("/responses", RESPONSES)):
        for is_stream in (False, True):
            local.then(answering("Lyon."), answering(REFUSAL))
            answers = [httpx.post(f"{gateway.url}{path}", json={**body, "stream": is_stream}) for _ in range(2)]
            assert [reason(answer) for answer in answers] == ["cascade_accepted", "cascade_escalated"]
            assert "Lyon" in answers[0].text
            assert "Paris" in answers[1].text
            assert "sorry" not in answers[1].text
            assert '"logprob"' not in answers[0].text
    assert {seen.path for seen in local.chats} == {"/v1/chat/completions"}
    assert all(seen.json["logprobs"] is True for seen in local.chats)


def test_text_completions_go_straight_through_where_they_are_at_home(start, local, remote):
    config = two_upstreams(local.url, remote.url)
    config["upstreams"]["local"]["endpoints"] = ["/completions"]
    gateway = cascading(start, upstreams=config["upstreams"])
    text = {"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": " x", "finish_reason": "stop"}]}
    local.then(respond(200, text))
    answer = httpx.post(f"{gateway.url}/completions", json={"model": "auto", "prompt": "def f("})
    assert answer.json()["choices"][0]["text"] == " x"
    assert reason(answer) == "below_threshold"
    assert local.chats[0].path == "/v1/completions"


TOOLS = [
    {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "required": ["city"], "properties": {"city": {}}}},
    }
]


def calling(name: str, arguments: str) -> Behaviour:
    async def act(seen: Seen, writer: Any) -> None:
        body = completion_body(seen.json["model"], "", (12, 17))
        call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
        body["choices"][0] |= {
            "message": {"role": "assistant", "content": None, "tool_calls": [call]},
            "finish_reason": "tool_calls",
        }
        await respond(200, body)(seen, writer)

    return act


def test_a_call_that_cannot_be_made_is_discarded(gateway, local, remote):
    wrong = {"invalid_arguments": ("f", "{}"), "unknown_tool": ("g", "{}")}
    for why, (name, arguments) in wrong.items():
        local.then(calling(name, arguments))
        assert why in ask(gateway, tools=TOOLS).headers["x-weighbridge-reason"]
    local.then(calling("f", '{"city": "Paris"}'))
    assert reason(ask(gateway, tools=TOOLS)) == "cascade_accepted"
