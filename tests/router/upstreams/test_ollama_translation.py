"""OpenAI's chat completions in Ollama's words, and back."""

import json

import pytest

from weighbridge.errors import BadRequest
from weighbridge.units import Usage
from weighbridge.upstreams.ollama_translation import Chunks, Incapable, Settings, completion, request, usage_of

PIXEL = "iVBORw0KGgo="
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def asked(settings=None, *, is_stream=False, **fields):
    fields.setdefault("messages", [{"role": "user", "content": "Hi"}])
    return request(fields, settings or Settings("qwen2.5:3b"), is_stream=is_stream)


def translated(*messages):
    return asked(messages=list(messages))["messages"]


# The request


def test_a_plain_request_names_our_model_and_forbids_silent_cutting():
    assert asked(model="auto") == {
        "model": "qwen2.5:3b",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "truncate": False,
        "shift": False,
        "options": {},
    }
    assert asked(is_stream=True)["stream"] is True


@pytest.mark.parametrize(
    ("name", "value", "theirs"),
    [
        ("temperature", 0, "temperature"),
        ("top_p", 0.9, "top_p"),
        ("top_k", 40, "top_k"),
        ("min_p", 0.05, "min_p"),
        ("seed", 7, "seed"),
        ("frequency_penalty", 0.5, "frequency_penalty"),
        ("presence_penalty", -0.5, "presence_penalty"),
        ("repeat_penalty", 1.1, "repeat_penalty"),
        ("repetition_penalty", 1.1, "repeat_penalty"),
        ("max_tokens", 100, "num_predict"),
        ("max_completion_tokens", 100, "num_predict"),
    ],
)
def test_sampling_goes_into_the_options(name, value, theirs):
    assert asked(**{name: value})["options"] == {theirs: value}
    assert asked(**{name: None})["options"] == {}


def test_the_newer_name_of_the_limit_goes_before_the_older():
    assert asked(max_tokens=1, max_completion_tokens=2)["options"] == {"num_predict": 2}


@pytest.mark.parametrize(("stop", "theirs"), [("END", ["END"]), (["a", "b"], ["a", "b"])])
def test_stop_is_always_a_list(stop, theirs):
    assert asked(stop=stop)["options"] == {"stop": theirs}


def test_no_stop_is_no_option():
    assert asked(stop=None)["options"] == asked(stop=[])["options"] == {}


def test_the_window_of_the_config_is_asked_for_whatever_the_client_says():
    settings = Settings("m", context_window=8192, options={"num_gpu": 99, "temperature": 0.1})
    options = asked(settings, temperature=0.7, options={"num_ctx": 100, "num_thread": 4})["options"]
    assert options == {"num_ctx": 8192, "num_gpu": 99, "temperature": 0.7, "num_thread": 4}


def test_keep_alive_comes_from_the_config_else_from_the_client():
    assert asked(Settings("m", keep_alive="10m"), keep_alive=0)["keep_alive"] == "10m"
    assert asked(Settings("m", keep_alive=-1))["keep_alive"] == -1
    assert asked(keep_alive=0)["keep_alive"] == 0


def test_logprobs_are_asked_for():
    body = asked(logprobs=True, top_logprobs=3)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)
    assert "logprobs" not in asked(logprobs=False)


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning": {"effort": "medium"}}, "medium"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"think": True}, True),
        ({"think": "low"}, "low"),
    ],
)
def test_effort_becomes_think(fields, think):
    assert asked(**fields)["think"] == think


def test_an_unknown_effort_is_left_to_the_model_and_the_config_goes_first():
    assert "think" not in asked(reasoning_effort="colossal")
    assert "think" not in asked(reasoning={"effort": ["x"]})
    assert asked(Settings("m", think=False), reasoning_effort="high")["think"] is False


def test_response_formats():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert asked(response_format={"type": "json_object"})["format"] == "json"
    described = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    assert asked(response_format=described)["format"] == schema
    assert "format" not in asked(response_format={"type": "text"})


def test_roles_that_ollama_does_not_know():
    messages = translated({"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"})
    assert messages[0] == {"role": "system", "content": "Be brief."}


def test_parts_become_text_and_images():
    url = f"data:image/png;base64,{PIXEL}"
    [message] = translated(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is"},
                {"type": "text", "text": "this?"},
                {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
                {"type": "image_url", "image_url": url},
            ],
        }
    )
    assert message == {"role": "user", "content": "What is\nthis?", "images": [PIXEL, PIXEL]}


def test_a_whole_tool_loop():
    messages = translated(
        {"role": "user", "content": "Weather in Oslo and Rome?"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Two calls.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
                {"id": "c2", "type": "function", "function": {"name": "clock", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "3 degrees"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "noon"}]},
    )
    assert messages[1] == {
        "role": "assistant",
        "content": "",
        "thinking": "Two calls.",
        "tool_calls": [
            {"id": "c1", "function": {"name": "weather", "arguments": {"city": "Oslo"}}},
            {"id": "c2", "function": {"name": "clock", "arguments": {}}},
        ],
    }
    assert messages[2] == {"role": "tool", "content": "3 degrees", "tool_call_id": "c1", "tool_name": "weather"}
    assert messages[3] == {"role": "tool", "content": "noon", "tool_call_id": "c2", "tool_name": "clock"}


def test_the_older_function_results_are_tool_results():
    [_, message] = translated(
        {"role": "user", "content": "?"}, {"role": "function", "name": "clock", "content": "noon"}
    )
    assert message == {"role": "tool", "content": "noon", "tool_name": "clock"}


def test_tools_are_offered_as_they_are():
    assert asked(tools=[WEATHER], tool_choice="auto")["tools"] == [WEATHER]
    assert asked(tools=[WEATHER], tool_choice="required")["tools"] == [WEATHER]


def test_what_is_not_to_be_called_is_not_offered():
    assert "tools" not in asked(tools=[WEATHER], tool_choice="none")
    named = {"type": "function", "function": {"name": "clock"}}
    assert asked(tools=[WEATHER, CLOCK], tool_choice=named)["tools"] == [CLOCK]
    assert "tools" not in asked(tools=[])


def test_what_means_nothing_to_ollama_is_left_out():
    body = asked(
        user="u", metadata={"a": "b"}, store=True, service_tier="flex", parallel_tool_calls=False, logit_bias={}
    )
    assert set(body) == {"model", "messages", "stream", "truncate", "shift", "options"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}
                ]
            },
            "messages[0].content",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/svg+xml,<svg/>"}]}
                ]
            },
            "messages[0].content",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            "messages[0].content",
        ),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{oops"}}]}]},
            "messages[0].tool_calls",
        ),
    ],
)
def test_what_ollama_cannot_do_is_said_and_may_go_elsewhere(fields, param):
    with pytest.raises(Incapable) as caught:
        asked(**fields)
    assert caught.value.param == param
    assert caught.value.status == 400
    assert caught.value.may_fall_back
    assert not caught.value.billable


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": "all"},
        {"tools": ["weather"]},
        {"messages": [{"role": "assistant", "tool_calls": "none"}]},
        {"messages": [{"role": "assistant", "tool_calls": ["none"]}]},
    ],
)
def test_malformed_fields_are_the_clients_fault(fields):
    with pytest.raises(BadRequest):
        asked(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": "f"}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}]},
        {"tools": [{"type": "function", "function": "f"}], "tool_choice": {"function": {"name": "f"}}},
        {"tools": [WEATHER], "tool_choice": {"function": "f"}},
        {"response_format": "json"},
        {"options": "hot"},
        {"modalities": "audio"},
        {"chat_template_kwargs": [1]},
    ],
)
def test_odd_shapes_never_break_the_translation(fields):
    json.dumps(asked(**fields))


def test_integers_of_any_size_survive():
    assert json.loads(json.dumps(asked(seed=2**70)))["options"]["seed"] == 2**70


# The whole answer


DONE = {"model": "qwen2.5:3b", "done": True, "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 5}


def answer_of(**fields):
    return json.loads(completion({**DONE, **fields}, answer_id="chatcmpl-1", created=1_700_000_000))


def test_a_whole_answer():
    assert answer_of(message={"role": "assistant", "content": "Hello."}) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "qwen2.5:3b",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 26, "completion_tokens": 5, "total_tokens": 31},
    }


def test_thinking_is_reasoning_content():
    message = answer_of(message={"content": "4", "thinking": "2 + 2"})["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("4", "2 + 2")


def test_an_empty_answer_is_an_empty_string():
    assert answer_of(message={"role": "assistant", "content": ""})["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize(("theirs", "ours"), [("stop", "stop"), ("length", "length"), ("load", "stop"), (None, "stop")])
def test_done_reasons(theirs, ours):
    assert answer_of(message={"content": "x"}, done_reason=theirs)["choices"][0]["finish_reason"] == ours


def test_tool_calls_get_ids_and_arguments_as_text():
    calls = [
        {"function": {"index": 0, "name": "weather", "arguments": {"city": "Zürich", "days": 2}}},
        {"id": "call_own", "function": {"index": 0, "name": "clock", "arguments": {}}},
    ]
    choice = answer_of(message={"content": "", "tool_calls": calls})["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    first, second = choice["message"]["tool_calls"]
    assert first == {
        "id": "call_1_0",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Zürich","days":2}'},
    }
    assert (second["id"], second["function"]["arguments"]) == ("call_own", "{}")


def test_a_call_that_was_cut_is_not_called_whole():
    call = {"function": {"name": "f", "arguments": {}}}
    choice = answer_of(message={"tool_calls": [call]}, done_reason="length")["choices"][0]
    assert choice["finish_reason"] == "length"


def test_logprobs_in_openais_shape():
    tokens = [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": [{"token": "Yo", "logprob": -2.5}]}]
    choice = answer_of(message={"content": "Hi"}, logprobs=tokens)["choices"][0]
    assert choice["logprobs"] == {
        "content": [
            {
                "token": "Hi",
                "logprob": -0.1,
                "bytes": [72, 105],
                "top_logprobs": [{"token": "Yo", "logprob": -2.5, "bytes": None}],
            }
        ],
        "refusal": None,
    }


@pytest.mark.parametrize("missing", ["prompt_eval_count", "eval_count"])
def test_usage_that_is_not_whole_is_unknown_and_zero_stays_zero(missing):
    assert usage_of({k: v for k, v in DONE.items() if k != missing}) is None
    assert usage_of({**DONE, "prompt_eval_count": 0}) == Usage(0, 5)


def test_no_fingerprint_is_invented():
    assert "system_fingerprint" not in answer_of(message={"content": "x"})


# The streamed answer


def chunks_of(*lines, wants_usage=False):
    chunks = Chunks(answer_id="chatcmpl-1", created=1_700_000_000, wants_usage=wants_usage)
    events = [event for line in lines for event in chunks.of({"model": "qwen2.5:3b", **line})]
    assert events[-1] == b"[DONE]"
    assert chunks.is_done
    return [json.loads(event) for event in events[:-1]]


def said(**message):
    return {"message": {"role": "assistant", **message}, "done": False}


def test_a_streamed_answer():
    chunks = chunks_of(said(content="Hel"), said(content="lo"), {**DONE, "message": {"content": ""}})
    assert [c["choices"][0]["delta"] for c in chunks[:3]] == [
        {"role": "assistant", "content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [c["choices"][0]["finish_reason"] for c in chunks[:3]] == [None, None, "stop"]
    assert chunks[3]["choices"] == []
    assert chunks[3]["usage"] == {"prompt_tokens": 26, "completion_tokens": 5, "total_tokens": 31}
    assert {(c["id"], c["object"], c["created"], c["model"]) for c in chunks} == {
        ("chatcmpl-1", "chat.completion.chunk", 1_700_000_000, "qwen2.5:3b")
    }


def test_null_usage_stands_on_the_other_chunks_only_for_who_asked():
    lines = said(content="a"), {**DONE, "message": {"content": ""}}
    assert all(c["usage"] is None for c in chunks_of(*lines, wants_usage=True)[:-1])
    assert all("usage" not in c for c in chunks_of(*lines)[:-1])


def test_thinking_is_streamed_before_the_content():
    chunks = chunks_of(said(content="", thinking="hm"), said(content="4"), {**DONE, "message": {"content": ""}})
    assert [c["choices"][0]["delta"] for c in chunks[:2]] == [
        {"role": "assistant", "reasoning_content": "hm"},
        {"content": "4"},
    ]


def test_tool_calls_are_counted_over_the_whole_stream():
    call = {"function": {"index": 0, "name": "clock", "arguments": {"zone": "CET"}}}
    chunks = chunks_of(
        said(content="", tool_calls=[call]), said(content="", tool_calls=[call, call]), {**DONE, "message": {}}
    )
    calls = [call for c in chunks if c["choices"] for call in c["choices"][0]["delta"].get("tool_calls", ())]
    assert [call["index"] for call in calls] == [0, 1, 2]
    assert len({call["id"] for call in calls}) == 3
    assert {call["function"]["arguments"] for call in calls} == {'{"zone":"CET"}'}
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_the_last_line_may_still_say_something():
    chunks = chunks_of({**DONE, "message": {"content": "all of it"}})
    assert chunks[0]["choices"][0] == {
        "index": 0,
        "delta": {"role": "assistant", "content": "all of it"},
        "logprobs": None,
        "finish_reason": None,
    }
    assert chunks[1]["choices"][0]["finish_reason"] == "stop"


def test_an_answer_of_nothing_is_still_an_answer():
    chunks = chunks_of({**DONE, "message": {"content": ""}})
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[0]["choices"][0]["finish_reason"] == "stop"


def test_lines_that_say_nothing_are_no_events():
    chunks = Chunks(answer_id="chatcmpl-1", created=0, wants_usage=False)
    assert chunks.of(said(content="")) == []
    assert chunks.of({}) == []
    assert not chunks.is_done


def test_streamed_logprobs():
    token = {"token": "a", "logprob": -0.5, "bytes": [97]}
    chunks = chunks_of({**said(content="a"), "logprobs": [token]}, {**DONE, "message": {}})
    assert chunks[0]["choices"][0]["logprobs"]["content"] == [{**token, "top_logprobs": []}]
    assert chunks[1]["choices"][0]["logprobs"] is None
