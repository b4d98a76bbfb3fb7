"""Text completions: at home, and through chat."""

import json

import pytest

from weighbridge.dialects.completions import COMPLETIONS
from weighbridge.errors import BadRequest
from weighbridge.units import Usage


def body(prompt="Say hi", **fields):
    return {"model": "auto", "prompt": prompt, **fields}


@pytest.mark.parametrize("prompt", ["", "a", ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_every_kind_of_prompt_is_let_through(prompt):
    COMPLETIONS.check(body(prompt, suffix="end", n=2, best_of=3, max_tokens=0, logprobs=5, echo=True, future={}))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"stream": "yes"}, "stream"),
        ({"suffix": 1}, "suffix"),
        ({"n": 0}, "n"),
        ({"best_of": "2"}, "best_of"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_a_bad_field_is_named(fields, param):
    with pytest.raises(BadRequest) as caught:
        COMPLETIONS.check(body(**fields))
    assert caught.value.param == param


@pytest.mark.parametrize(("prompt", "ask"), [("a", "a"), (["a", "b"], "b"), ([1, 2], ""), ([[1], [2]], "")])
def test_the_last_prompt_is_what_is_scored(prompt, ask):
    assert COMPLETIONS.messages(body(prompt)) == [{"role": "user", "content": ask}]


def test_limits_are_those_of_the_api():
    assert COMPLETIONS.output_limit(body()) == 16
    assert COMPLETIONS.output_limit(body(max_tokens=7)) == 7
    assert COMPLETIONS.choices(body()) == 1
    assert COMPLETIONS.choices(body(["a", "b"], n=3)) == 6
    assert COMPLETIONS.choices(body([1, 2, 3], best_of=4)) == 4
    assert COMPLETIONS.choices(body([[1], [2]])) == 2


def test_answers_and_usage_are_read_as_those_of_chat():
    answer = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    assert COMPLETIONS.is_answer(answer)
    assert not COMPLETIONS.is_answer({"error": "x"})
    assert COMPLETIONS.usage_of(answer) == Usage(3, 4)
    assert not COMPLETIONS.wants_json_schema(body())
    assert COMPLETIONS.stream_changes(body(stream=True)) == {"stream_options": {"include_usage": True}}


def test_a_native_stream_passes_and_its_usage_stays_hidden_unless_asked_for():
    event = b'{"choices":[{"text":"hi","index":0,"finish_reason":"stop"}]}'
    usage = b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    for options, shown in ((None, b""), ({"include_usage": True}, b"data: %b\n\n" % usage)):
        relay = COMPLETIONS.relay(body(stream=True, stream_options=options))
        assert relay.take([event, usage]) == b"data: %b\n\n" % event + shown
        assert relay.end() == b"data: [DONE]\n\n"
        assert relay.usage == Usage(3, 4)


def test_a_prompt_is_one_message_of_the_users_and_the_rest_passes():
    chat = COMPLETIONS.translation(body(["Say hi"], temperature=0.5, seed=2**60, stop=["\n"], n=2, top_k=3)).chat
    assert chat == {
        "model": "auto",
        "messages": [{"role": "user", "content": "Say hi"}],
        "temperature": 0.5,
        "seed": 2**60,
        "stop": ["\n"],
        "n": 2,
        "top_k": 3,
        "max_tokens": 16,
    }
    streamed = COMPLETIONS.translation(body(stream=True, stream_options={"include_usage": True}, max_tokens=5)).chat
    assert (streamed["stream"], streamed["max_tokens"]) == (True, 5)
    assert streamed["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1]]}, "prompt"),
        ({"suffix": "}"}, "suffix"),
        ({"echo": True}, "echo"),
        ({"logprobs": 0}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_what_chat_cannot_do_is_refused_by_name(fields, param):
    with pytest.raises(BadRequest) as caught:
        COMPLETIONS.translation(body(**fields))
    assert (caught.value.param, caught.value.code) == (param, "not_supported")


def chat_answer(part, *said, **fields):
    choices = [
        {"index": at, part: {"content": text}, "finish_reason": reason} for at, (text, reason) in enumerate(said)
    ]
    return {"id": "chatcmpl-1", "created": 5, "model": "qwen", "choices": choices, **fields}


def test_a_whole_answer_is_plain_text():
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "own": 1}
    answer = COMPLETIONS.translation(body(n=2)).answer(
        chat_answer("message", ("hi", "stop"), ("ho", "length"), usage=usage, system_fingerprint="fp")
    )
    assert answer == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 5,
        "model": "qwen",
        "choices": [
            {"text": "hi", "index": 0, "logprobs": None, "finish_reason": "stop"},
            {"text": "ho", "index": 1, "logprobs": None, "finish_reason": "length"},
        ],
        "usage": usage,
        "system_fingerprint": "fp",
    }


def streamed(fields, *chunks):
    """What the client gets for chat chunks."""
    translation, relay = COMPLETIONS.translation(fields), COMPLETIONS.relay(fields)
    events = [event for chunk in chunks for event in translation.events(chunk)] + translation.end()
    sent = relay.take([json.dumps(event).encode() for event in events]) + relay.end()
    return [
        json.loads(line) for line in sent.decode().replace("data: ", "").split("\n\n") if line not in {"", "[DONE]"}
    ]


CHUNKS = (
    {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "usage": None},
    chat_answer("delta", ("hi", None), usage=None),
    chat_answer("delta", ("", "tool_calls"), usage=None),
    {
        "id": "chatcmpl-1",
        "model": "qwen",
        "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    },
)


def test_chunks_are_plain_text_and_the_usage_stands_alone():
    """litellm#8349: the chunk with the usage had a choice whose text was null."""
    first, last, usage = streamed(body(stream=True, stream_options={"include_usage": True}), *CHUNKS)
    assert first["choices"] == [{"text": "hi", "index": 0, "logprobs": None, "finish_reason": None}]
    assert last["choices"] == [{"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert first["usage"] is None
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert {each["object"] for each in (first, last, usage)} == {"text_completion"}


def test_usage_that_only_we_asked_for_is_taken_out():
    events = streamed(body(stream=True), *CHUNKS)
    assert len(events) == 2
    assert all("usage" not in event for event in events)


def test_broken_chunks_break_nothing():
    translation = COMPLETIONS.translation(body(stream=True))
    for chunk in ({}, {"choices": None}, {"choices": [None, {}, {"delta": None}, {"delta": {"content": 3}}]}):
        assert translation.events(chunk) == []


def test_openais_models_take_them():
    openai = pytest.importorskip("openai")
    whole = COMPLETIONS.translation(body()).answer(chat_answer("message", ("hi", "stop")))
    assert openai.types.Completion.model_validate(whole).choices[0].text == "hi"
    for event in streamed(body(stream=True, stream_options={"include_usage": True}), *CHUNKS):
        if event["choices"] and event["choices"][0]["finish_reason"] is None:
            event["choices"][0]["finish_reason"] = "stop"  # its type forgets that chunks have none
        openai.types.Completion.model_validate(event)
