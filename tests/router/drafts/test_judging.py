"""From a draft to its evidence, whole or in chunks."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import chunk, completion_body

from weighbridge.drafts.judging import evidence_of, judged
from weighbridge.drafts.reading import Draft, Reading
from weighbridge.drafts.unasked import asking, without
from weighbridge.policies.base import Verification
from weighbridge.policies.evidence import Weights
from weighbridge.wire import parse

VERIFICATION = Verification(0.7, 48, 2.0, True, Weights())
ASK = "What is the capital of France?"


def read(*choices: dict[str, Any]) -> Reading:
    reading = Reading()
    reading.whole({**completion_body("m", "", None), "choices": list(choices)})
    return reading


def choice(text: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}


def logprobs(*values: float) -> dict[str, Any]:
    return {"content": [{"token": "t", "logprob": value} for value in values]}


def test_chunks_say_what_the_whole_says():
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":'}}
    rest = {"index": 0, "function": {"arguments": " 1}"}}
    reading = Reading()
    for one in (
        chunk("m", {"role": "assistant", "content": ""}),
        chunk("m", {"content": "Let me "}),
        chunk("m", {"content": "see."}),
        chunk("m", {"tool_calls": [call]}),
        chunk("m", {"tool_calls": [rest]}),
    ):
        assert not reading.is_whole
        reading.chunk(one)
    reading.chunk(chunk("m", {}, "tool_calls"))
    reading.chunk({**chunk("m", {}), "choices": []})
    draft = reading.drafts[0]
    assert (draft.text, draft.calls[0].name, draft.calls[0].arguments) == ("Let me see.", "f", '{"a": 1}')
    assert (reading.is_whole, reading.pieces) == (True, 4)


def test_thoughts_begin_a_draft_and_are_no_part_of_it():
    reading = Reading()
    reading.chunk(chunk("m", {"role": "assistant", "content": ""}))
    assert not reading.has_begun
    reading.chunk(chunk("m", {"reasoning_content": "Hm."}))
    assert (reading.has_begun, reading.pieces) == (True, 0)


def test_older_and_other_calls_are_calls_and_sound_is_something():
    older = read(choice(None, "function_call", function_call={"name": "f", "arguments": "{}"})).drafts[0]
    custom = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}
    other = read(choice(None, "tool_calls", tool_calls=[custom])).drafts[0]
    described = {"functions": [{"name": "f"}], "tools": [{"type": "custom", "custom": {"name": "f"}}]}
    sound = read(choice(None, audio={"data": "AAAA"})).drafts[0]
    for draft in (older, other, sound):
        assert evidence_of(draft, described, ASK, None).faults == ()


def test_the_mean_and_the_lowest_tenth_are_read():
    found = read({**choice("Paris."), "logprobs": logprobs(*[-0.1] * 9, -5.0)})
    evidence = evidence_of(found.drafts[0], {}, ASK, 0.2)
    assert evidence.mean_logprob == pytest.approx(-0.59)
    assert evidence.low_logprob == -0.1
    assert evidence_of(Draft("Paris."), {}, ASK, 0.2).mean_logprob is None


def test_the_servers_own_words_for_a_refusal_count():
    assert evidence_of(read(choice(None, refusal="No.")).drafts[0], {}, ASK, None).is_refusal
    assert evidence_of(read(choice("x", "content_filter")).drafts[0], {}, ASK, None).is_refusal


def test_the_clients_own_limit_is_no_truncation():
    draft = read(choice("Paris is", "length")).drafts[0]
    assert evidence_of(draft, {}, ASK, None).is_truncated
    assert not evidence_of(draft, {"max_tokens": 2}, ASK, None).is_truncated


def test_json_is_no_prose():
    draft = read(choice('{"a": "I cannot help with that"}')).drafts[0]
    assert not evidence_of(draft, {"response_format": {"type": "json_object"}}, ASK, None).is_refusal


def test_of_several_choices_the_worst_counts():
    bad = {**choice("I cannot help with that."), "index": 1}
    assert judged(read(choice("Paris.")), VERIFICATION, {}, ASK, 0.2).is_accepted
    assert judged(read(choice("Paris."), bad), VERIFICATION, {}, ASK, 0.2).why == "refusal"


def test_an_answer_without_choices_is_empty_of_everything_but_the_score():
    assert judged(Reading(), VERIFICATION, {}, ASK, 0.2).is_accepted


@pytest.mark.parametrize(
    "body",
    [
        '{"messages": [], "logprobs": true}',
        '{"messages": [], "stream": true, "tools": [{"type": "function"}]}',
    ],
)
def test_where_they_are_asked_for_or_cannot_be_had_nothing_is_added(body):
    parsed = parse(body.encode())
    assert asking(parsed) is parsed


def test_what_is_added_is_marked_as_ours():
    asked = asking(parse(b'{"messages": [1.50],  "logprobs": false}'))
    assert asked.text == '{"messages": [1.50],  "logprobs": true}'
    assert asked.added == {"logprobs"}


def test_an_answer_without_any_is_the_object_that_it_was():
    raw = b'{"choices": [{"index": 0, "logprobs": null}]}'
    assert without(raw, {"choices": [{"index": 0, "logprobs": None}]}) is raw


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.sampled_from(["choices", "delta", "logprobs", "content", "index"]), v),
)


@settings(deadline=None)
@given(json_values)
def test_whatever_a_server_sends_is_read(value):
    reading = Reading()
    for fields in (value, {"choices": value}, {"choices": [value]}, {"choices": [{"delta": value, "logprobs": value}]}):
        if isinstance(fields, dict):
            reading.chunk(fields)
            reading.whole(fields)
    judged(reading, VERIFICATION, {}, ASK, None)
