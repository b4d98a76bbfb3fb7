"""Whole chat completions as messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.dialects.messages_answer import message_of
from weighbridge.errors import Failed


def answer_to(message, finish_reason="stop", *, stop_sequences=(), usage=None, **choice):
    completion = {
        "id": "chatcmpl-abc",
        "model": "qwen",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason, **choice}],
        "usage": usage,
    }
    return message_of(
        completion, message_id="msg_own", model="auto", stop_sequences=list(stop_sequences), input_tokens=11
    )


def call(arguments='{"path": "a"}', **fields):
    return {"id": "call_1", "type": "function", "function": {"name": "Read", "arguments": arguments}, **fields}


def test_a_text_answer():
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 60}}
    assert answer_to({"role": "assistant", "content": "Hi."}, usage=usage) == {
        "id": "msg_abc",
        "type": "message",
        "role": "assistant",
        "model": "qwen",
        "content": [{"type": "text", "text": "Hi."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 40,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 60,
            "output_tokens": 5,
        },
    }


def test_thoughts_come_first_by_either_name():
    """litellm#29518: the thoughts of vLLM's models were dropped. litellm#20246: and lost under their newer name."""
    for name in ("reasoning_content", "reasoning"):
        thinking, said = answer_to({"content": "Hi.", name: "hm"})["content"]
        assert thinking == {"type": "thinking", "thinking": "hm", "signature": ""}
        assert said == {"type": "text", "text": "Hi."}


def test_calls_are_blocks_with_parsed_input():
    message = answer_to({"content": None, "tool_calls": [call(), call('{"n": 12345678901234567890}', id="call_2")]})
    assert message["stop_reason"] == "tool_use"
    assert message["content"] == [
        {"type": "tool_use", "id": "call_1", "name": "Read", "input": {"path": "a"}},
        {"type": "tool_use", "id": "call_2", "name": "Read", "input": {"n": 12345678901234567890}},
    ]


@pytest.mark.parametrize("arguments", ["", None, "{", "[1]", '"x"', '{"a": NaN}', '{"a": 1e999}', "[" * 9_999, 7])
def test_arguments_that_are_no_object_are_an_empty_one(arguments):
    (block,) = answer_to({"tool_calls": [call(arguments)]})["content"]
    assert block["input"] == {}
    json.dumps(block, allow_nan=False)


def test_arguments_that_came_as_an_object_are_taken_so():
    (block,) = answer_to({"tool_calls": [call({"path": "a"})]})["content"]
    assert block["input"] == {"path": "a"}


def test_a_call_without_an_id_gets_one_and_a_call_without_a_name_is_none():
    (block,) = answer_to({"tool_calls": [call(id=""), {"id": "x", "function": {}}, {"id": "y"}, None]})["content"]
    assert block["id"] == "toolu_own_0"


def test_the_older_function_call_is_a_call():
    message = answer_to({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, "function_call")
    assert message["content"][0]["name"] == "f"
    assert message["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("message", "finish_reason", "stop_reason"),
    [
        ({"content": "x"}, "stop", "end_turn"),
        ({"content": "x"}, "length", "max_tokens"),
        ({"content": "x"}, "content_filter", "refusal"),
        ({"content": "x", "refusal": "no"}, "stop", "refusal"),
        ({"content": "x"}, "eos", "end_turn"),
        ({"content": "x"}, None, "end_turn"),
        # Local servers: litellm#12481, vllm#9209.
        ({"tool_calls": [call()]}, "stop", "tool_use"),
        ({"content": "x"}, "tool_calls", "end_turn"),
        ({"tool_calls": [call()]}, "length", "max_tokens"),
    ],
)
def test_why_it_stopped(message, finish_reason, stop_reason):
    assert answer_to(message, finish_reason)["stop_reason"] == stop_reason


def test_the_stop_sequence_is_named_where_the_server_tells():
    message = answer_to({"content": "x"}, stop_reason="END", stop_sequences=["END"])
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")
    message = answer_to({"content": "x"}, stop_reason=151_645, stop_sequences=["END"])
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)


def test_text_in_parts_and_refusals_are_text():
    assert answer_to({"content": [{"type": "text", "text": "a"}, {"text": "b"}]})["content"][0]["text"] == "ab"
    assert answer_to({"content": None, "refusal": "I cannot."})["content"][0]["text"] == "I cannot."


def test_an_empty_answer_has_no_blocks():
    assert answer_to({"content": ""})["content"] == []


def test_what_nobody_counted_is_an_estimate_of_the_input():
    assert answer_to({"content": "x"})["usage"] == {"input_tokens": 11, "output_tokens": 0}


def test_the_asked_model_and_an_own_id_stand_where_the_server_gives_none():
    message = message_of(
        {"choices": [{"message": {"content": "x"}}]},
        message_id="msg_own",
        model="auto",
        stop_sequences=[],
        input_tokens=1,
    )
    assert (message["id"], message["model"]) == ("msg_own", "auto")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(["content", "tool_calls", "function_call", "reasoning", "refusal", "role", "finish_reason"])


@given(st.dictionaries(names, json_values), json_values, json_values)
def test_whatever_a_server_says_is_a_message_or_its_failure(message, usage, choices):
    known = {"message_id": "msg_own", "model": "auto", "stop_sequences": ["END"], "input_tokens": 1}
    message_of({"choices": [{"message": message, **message}], "usage": usage}, **known)
    with pytest.raises(Failed):
        message_of({"choices": choices if choices != [{}] else None}, **known)
