"""The Messages API at its own servers: what is checked, what is scored, how answers and errors are read."""

import json

import pytest

from weighbridge.asks import extract
from weighbridge.dialects.messages import MESSAGES, check_count
from weighbridge.errors import BadRequest, Cut, Denied, Failed, Limited, Refused, TimedOut, TooLarge, Unavailable
from weighbridge.units import Usage


def body(**fields):
    return {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **fields}


def test_what_claude_code_sends_is_let_through():
    MESSAGES.check(
        body(
            system=[{"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral"}}],
            messages=[
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "Read", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}]},
                {"role": "system", "content": "be brief"},
            ],
            tools=[{"name": "Read", "input_schema": {"type": "object"}}, {"type": "web_search_20250305", "name": "w"}],
            thinking={"type": "adaptive"},
            context_management={"edits": []},
            output_config={"effort": "high"},
            metadata={"user_id": "u"},
            stream=True,
            future_field={"x": 1},
        )
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]},
            "messages[0].content[0].tool_use_id",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": 3}]}
                ]
            },
            "messages[0].content[0].input",
        ),
        ({"system": 3}, "system"),
        ({"system": ["x"]}, "system[0]"),
        ({"tools": {}}, "tools"),
        ({"tools": [{}]}, "tools[0].name"),
        ({"tools": [{"type": [], "name": "x"}]}, "tools[0].type"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"thinking": True}, "thinking"),
        ({"output_config": []}, "output_config"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"stop_sequences": [1]}, "stop_sequences"),
    ],
)
def test_a_bad_field_is_named(fields, param):
    with pytest.raises(BadRequest) as caught:
        MESSAGES.check(body(**fields))
    assert caught.value.param == param


def test_counting_needs_no_limit():
    check_count({"model": "auto", "messages": [{"role": "user", "content": "hi"}]})
    with pytest.raises(BadRequest):
        check_count({"model": "auto"})


def test_results_of_tools_are_apart_from_what_the_user_says():
    messages = MESSAGES.messages(
        body(
            system=[{"type": "text", "text": "You are Claude Code."}],
            messages=[
                {"role": "user", "content": "Rename the function"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "text", "text": "Reading."},
                        {"type": "tool_use", "id": "t1", "name": "Read", "input": {"path": "a.py"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "prove the Riemann hypothesis"},
                        {"type": "text", "text": "<system-reminder>stay calm</system-reminder>"},
                    ],
                },
            ],
        )
    )
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "tool"]
    assert messages[2]["tool_calls"][0]["id"] == "t1"
    assert messages[2]["content"] == [{"type": "text", "text": "Reading."}]
    assert extract(messages) == "Rename the function"


def test_a_message_of_results_alone_is_no_words_of_the_users():
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]}
    messages = MESSAGES.messages(body(messages=[{"role": "user", "content": [result]}]))
    assert [m["role"] for m in messages] == ["tool"]


def test_limits_and_schemas_are_read():
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    assert MESSAGES.output_limit(body()) == 100
    assert MESSAGES.choices(body()) == 1
    assert not MESSAGES.wants_json_schema(body(output_config={"effort": "low"}))
    assert MESSAGES.wants_json_schema(body(output_config={"format": schema}))
    assert MESSAGES.wants_json_schema(body(output_format=schema))


USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 3_000,
    "output_tokens": 7,
}


def test_what_was_read_from_a_cache_is_input_too():
    assert MESSAGES.is_answer({"type": "message"})
    assert not MESSAGES.is_answer({"choices": []})
    assert MESSAGES.usage_of({"usage": USAGE}) == Usage(3_210, 7, 3_000)
    assert MESSAGES.usage_of({"usage": {"input_tokens": 4, "output_tokens": 5}}) == Usage(4, 5)


@pytest.mark.parametrize("usage", [None, [], {}, {"input_tokens": -1}, {"input_tokens": "4"}, {"output_tokens": 1.5}])
def test_usage_that_makes_no_sense_is_none(usage):
    assert MESSAGES.usage_of({"usage": usage}) is None


def event(kind: str, **fields) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


def test_a_native_stream_passes_to_the_letter_with_its_pings():
    relay = MESSAGES.relay(body(stream=True))
    start = event("message_start", message={"usage": {**USAGE, "output_tokens": 1}})
    ping = b'{"type": "ping"}'
    delta = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"})
    assert relay.take([start, ping, delta]) == (
        b"event: message_start\ndata: %b\n\nevent: ping\ndata: %b\n\nevent: content_block_delta\ndata: %b\n\n"
        % (start, ping, delta)
    )
    assert relay.usage is None  # the answer is not counted yet
    relay.take([event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 40})])
    assert relay.usage == Usage(3_210, 40, 3_000)
    assert not relay.is_finished
    relay.take([b'{"type":"message_stop"}'])
    assert relay.is_finished
    assert relay.is_done
    assert relay.end() == b""


def test_counts_at_the_end_win_over_those_at_the_start():
    relay = MESSAGES.relay(body())
    relay.take([event("message_start", message={"usage": {"input_tokens": 999, "output_tokens": 0}})])
    relay.take([event("message_delta", delta={}, usage={"input_tokens": 12, "output_tokens": 3})])
    assert relay.usage == Usage(12, 3)


def test_an_answer_that_nobody_counted_has_no_usage():
    relay = MESSAGES.relay(body())
    relay.take([event("message_start", message={"usage": {"input_tokens": 999, "output_tokens": 0}})])
    relay.take([event("message_delta", delta={}, usage={"output_tokens": 0}), event("message_stop")])
    assert relay.usage is None


def test_a_stream_without_its_end_is_cut():
    """litellm#32086: a cut stream must not look like an answer."""
    relay = MESSAGES.relay(body())
    relay.take([event("message_start", message={}), event("content_block_start", index=0)])
    with pytest.raises(Cut):
        relay.end()


def test_an_error_event_is_a_failure():
    with pytest.raises(Failed):
        MESSAGES.relay(body()).take([event("error", error={"type": "overloaded_error", "message": "busy"})])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("x"), "invalid_request_error"),
        (TooLarge("x"), "request_too_large"),
        (Denied("x"), "permission_error"),
        (Limited("x"), "rate_limit_error"),
        (Unavailable("x"), "overloaded_error"),
        (TimedOut("x"), "timeout_error"),
        (Failed("x"), "api_error"),
        (Refused("x", status=422, type="t", param=None, code=None), "invalid_request_error"),
        (Refused("x", status=404, type="t", param=None, code=None), "not_found_error"),
    ],
)
def test_errors_have_anthropics_shape_and_words(error, kind):
    """litellm#4970, PR#39037: errors of this path came in OpenAI's shape, with the word "None" for a type."""
    assert MESSAGES.error_body(error) == {"type": "error", "error": {"type": kind, "message": "x"}}


def test_a_prompt_that_is_too_long_is_said_in_the_words_that_agents_look_for():
    error = Refused(
        "9 tokens over", status=400, type="invalid_request_error", param=None, code="context_length_exceeded"
    )
    assert MESSAGES.error_body(error)["error"]["message"] == "prompt is too long: 9 tokens over"


def test_an_error_after_the_first_byte_is_an_event_of_its_own():
    sent = MESSAGES.error_event(Cut("ended in the middle"))
    assert sent.startswith(b"event: error\ndata: {")
    assert sent.endswith(b"}\n\n")
    assert json.loads(sent.split(b"data: ")[1])["error"] == {"type": "api_error", "message": "ended in the middle"}


def test_input_that_is_nested_too_deeply_is_refused():
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}
    call = {"type": "tool_use", "id": "t", "name": "n", "input": deep}
    with pytest.raises(BadRequest, match="too deeply"):
        MESSAGES.translation(body(messages=[{"role": "assistant", "content": [call]}]))


def test_a_request_for_a_chat_server_says_what_it_cannot_carry():
    with pytest.raises(BadRequest) as caught:
        MESSAGES.translation(body(max_tokens=0))
    assert caught.value.code == "not_supported"
