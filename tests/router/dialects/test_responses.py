"""The Responses dialect: what it refuses, what it reads, and what OpenAI's own SDK makes of what it sends."""

import json
from contextlib import suppress

import openai
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from responding import called, counted, kinds, said, translation
from scripted import ScriptedUpstream, raw_stream, respond

from weighbridge.dialects.responses import RESPONSES, ResponsesTranslation
from weighbridge.errors import BadRequest, Cut, Failed, Refused
from weighbridge.units import Usage

USAGE = {"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4}, "total_tokens": 15}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"input": {}}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{"type": 3}]}, "input[0].type"),
        ({"input": [{"type": ["message"], "role": "user", "content": "x"}]}, "input[0].type"),
        ({"input": [{"content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "message", "role": 3, "id": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 3}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
        ({"instructions": ["x"]}, "instructions"),
        ({"stream": "yes"}, "stream"),
        ({"background": 1}, "background"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools[0]"),
        ({"tool_choice": 3}, "tool_choice"),
        ({"text": "x"}, "text"),
        ({"text": {"format": "x"}}, "text.format"),
        ({"reasoning": "high"}, "reasoning"),
        ({"include": "x"}, "include"),
        ({"metadata": []}, "metadata"),
        ({"previous_response_id": 3}, "previous_response_id"),
        ({"conversation": 3}, "conversation"),
        ({"prompt": "x"}, "prompt"),
    ],
)
def test_what_no_upstream_could_answer_is_refused_by_name(fields, param):
    with pytest.raises(BadRequest) as refused:
        RESPONSES.check({"model": "auto", "input": "Hi", **fields})
    assert refused.value.param == param
    assert f"`{param}`" in refused.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "Hi"},
        {"input": [{"role": "user", "content": None}]},
        {"input": [{"type": "of_tomorrow", "x": 1}, {"id": "msg_1"}]},
        {"input": "Hi", "stream": None, "tools": None, "text": None, "max_output_tokens": None, "of_tomorrow": {}},
        {"prompt": {"id": "pmpt_1"}},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1", "input": []},
    ],
)
def test_what_an_upstream_may_answer_passes(fields):
    RESPONSES.check({"model": "auto", **fields})
    RESPONSES.messages(fields)


def test_limits_and_schemas_are_seen():
    assert RESPONSES.output_limit({"max_output_tokens": 7}) == 7
    assert RESPONSES.output_limit({}) == 0
    assert RESPONSES.wants_json_schema({"text": {"format": {"type": "json_schema"}}})
    for text in (None, {}, {"format": None}, {"format": {"type": "json_object"}}):
        assert not RESPONSES.wants_json_schema({"text": text})


def test_an_answer_is_known_by_its_object_or_its_output():
    assert RESPONSES.is_answer({"object": "response"})
    assert RESPONSES.is_answer({"output": []})
    assert not RESPONSES.is_answer({"choices": []})


def test_usage_is_read_and_nonsense_is_none():
    assert RESPONSES.usage_of({"usage": USAGE}) == Usage(10, 5, 4)
    assert RESPONSES.usage_of({"usage": {"input_tokens": 0, "output_tokens": 0}}) == Usage(0, 0)
    for usage in (
        None,
        [],
        {},
        {"input_tokens": -1},
        {"input_tokens": True},
        {"input_tokens": 1, "output_tokens": "2"},
    ):
        assert RESPONSES.usage_of({"usage": usage}) is None


def test_responses_go_on_from_those_that_are_kept():
    assert RESPONSES.keeps_answers
    assert RESPONSES.goes_on_from({"previous_response_id": "resp_1"}) == "resp_1"
    assert RESPONSES.goes_on_from({"previous_response_id": None}) is None
    assert RESPONSES.kept_id({"id": "resp_1", "store": True}) == RESPONSES.kept_id({"id": "resp_1"}) == "resp_1"
    assert RESPONSES.kept_id({"id": "resp_1", "store": False}) is None
    assert RESPONSES.kept_id({"id": None}) is None


@pytest.mark.parametrize("last", ["response.completed", "response.incomplete", "response.failed"])
def test_a_stream_is_whole_with_its_last_event(last):
    relay = RESPONSES.relay({})
    begun = b'{"type":"response.created","response":{"id":"resp_1","usage":null}}'
    assert relay.take([begun]) == b"event: response.created\ndata: " + begun + b"\n\n"
    with pytest.raises(Cut):
        relay.end()
    relay.take([b'{"type":"response.output_text.delta","delta":"x"}'])
    relay.take([json.dumps({"type": last, "response": {"usage": USAGE}}).encode()])
    assert (relay.usage, relay.chunks, relay.is_done, relay.end()) == (Usage(10, 5, 4), 1, True, b"")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "message": "boom"},
        {"type": "error", "error": {"message": "boom"}},
        {"error": {"message": "boom"}},
    ],
)
def test_an_error_event_of_an_upstream_raises(event):
    with pytest.raises(Failed, match="boom"):
        RESPONSES.relay({}).take([json.dumps(event).encode()])


def test_each_translation_has_ids_of_its_own():
    request = {"model": "auto", "input": "Hi"}
    first, second = (RESPONSES.translation(request).events(said({"content": "x"})) for _ in range(2))
    assert first[0]["response"]["id"] != second[0]["response"]["id"]


WORDS = st.sampled_from((
    "message", "user", "assistant", "function_call", "function_call_output", "custom_tool_call", "tool_search_call",
    "tool_search_output", "shell_call", "shell_call_output", "item_reference", "reasoning", "input_text", "input_image",
    "input_file", "output_text", "refusal", "function", "custom", "namespace", "allowed_tools", "required",
    "json_schema",
))  # fmt: skip
NAMES = st.sampled_from((
    "type", "role", "content", "text", "name", "namespace", "call_id", "id", "arguments", "input", "output", "tools",
    "format", "effort", "mode", "execution", "image_url", "file_data", "schema", "description",
))  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(allow_nan=False), st.text(max_size=3), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=6)),
    max_leaves=5,
)
FIELDS = st.sampled_from((
    "input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "top_logprobs", "metadata",
    "previous_response_id", "conversation", "background", "stream", "max_output_tokens", "parallel_tool_calls",
    "prompt",
))  # fmt: skip


@settings(deadline=None)  # the machine may be busy
@given(fields=st.dictionaries(FIELDS, VALUES), items=st.lists(st.dictionaries(NAMES, VALUES, max_size=6), max_size=5))
def test_whatever_comes_is_answered_or_refused(fields, items):
    fields = {"model": "auto", "input": items, **fields}
    with suppress(BadRequest):
        RESPONSES.check(fields)
        RESPONSES.messages(fields)
        turned = RESPONSES.translation(fields)
        json.dumps(turned.chat)
        chunks = [said({"content": "x"}), said(called(0, "{}", call_id="a", name="f"), "stop")]
        json.dumps([turned.events(chunk) for chunk in chunks] + turned.end())


# Through OpenAI's own SDK.


def framed(turned: ResponsesTranslation, *chunks: dict) -> bytes:
    """What a client gets of these chunks."""
    events = [event for chunk in chunks for event in turned.events(chunk)] + turned.end()
    return RESPONSES.relay({}).take([json.dumps(event).encode() for event in events])


@pytest.fixture
def server():
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as sdk:
        yield sdk


class City(pydantic.BaseModel):
    name: str


def test_the_sdks_stream_helper_gathers_the_answer(server, client):
    pieces = [said({"reasoning_content": "hm"}), said({"content": '{"name":'}), said({"content": ' "Paris"}'})]
    usage = counted(prompt_tokens=3, completion_tokens=4)
    server.then(raw_stream(framed(translation(), *pieces, said({}, "stop"), usage)))
    with client.responses.stream(model="auto", input="Which?", text_format=City) as stream:
        seen = list(stream)
        response = stream.get_final_response()
    assert [event.snapshot for event in seen if event.type == "response.output_text.delta"][-1] == '{"name": "Paris"}'
    assert response.output_parsed == City(name="Paris")
    assert response.usage.total_tokens == 7


def test_the_sdks_stream_helper_gathers_calls(server, client):
    tools = [WEATHER, {"type": "custom", "name": "apply_patch"}]
    chunks = [
        said(called(0, '{"city"', call_id="a", name="weather")),
        said(called(1, '{"input": "x', call_id="b", name="apply_patch")),
        said(called(0, ': "Paris"}')),
        said(called(1, '"}')),
        said({}, "tool_calls"),
    ]
    server.then(raw_stream(framed(translation(tools=tools), *chunks)))
    with client.responses.stream(model="auto", input="Go", tools=tools) as stream:
        seen = list(stream)
        weather, patch = stream.get_final_response().output
    snapshots = [event.snapshot for event in seen if event.type == "response.function_call_arguments.delta"]
    assert snapshots == ['{"city"', '{"city": "Paris"}']
    assert (weather.arguments, patch.input) == ('{"city": "Paris"}', "x")


def test_the_sdk_reads_a_whole_answer(server, client):
    completion = {"choices": [{"message": {"content": "Paris."}, "finish_reason": "stop"}], "model": "small-1"}
    server.then(respond(200, translation().answer(completion)))
    assert client.responses.create(model="auto", input="Which?").output_text == "Paris."


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Cut("The upstream's answer ended in the middle."), "upstream_cut"),
        (Refused("No.", status=400, type="invalid_request_error", param="input", code=None), "invalid_request_error"),
    ],
)
def test_an_error_in_a_stream_raises_in_the_sdk__openai_python_2487(server, client, error, code):
    begun = framed(translation(), said({"content": "Par"}, "stop")).partition(b"event: response.output_text.done")[0]
    server.then(raw_stream(begun, RESPONSES.error_event(error)))
    seen = []
    with pytest.raises(openai.APIError, match=error.message):
        seen.extend(client.responses.create(model="auto", input="Which?", stream=True))
    event = json.loads(RESPONSES.error_event(error).split(b"data: ")[1])
    assert event.keys() == {"type", "sequence_number", "code", "message", "param", "error"}
    assert (event["type"], event["code"], event["error"]["message"]) == ("error", code, error.message)


def test_codex_gets_what_it_asks_for__codex_12798():
    fields = {
        "model": "auto",
        "instructions": "You are Codex.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandboxed."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files."}]},
        ],
        "tools": [
            {"type": "function", "name": "exec_command", "strict": False, "parameters": {"type": "object"}},
            {"type": "namespace", "name": "multi_agent", "description": "Agents.", "tools": [WEATHER]},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k",
        "text": {"verbosity": "low"},
        "client_metadata": {"x": "y"},
    }
    RESPONSES.check(fields)
    turned = RESPONSES.translation(fields)
    assert turned.chat.keys() == {
        "model", "messages", "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort", "prompt_cache_key",
        "verbosity", "stream", "stream_options",
    }  # fmt: skip
    assert [m["role"] for m in turned.chat["messages"]] == ["system", "user"]
    chunks = [said({"content": "I look."}), said(called(0, '{"cmd":"ls"}', call_id="c", name="exec_command"))]
    events = [event for chunk in (*chunks, said({}, "tool_calls")) for event in turned.events(chunk)] + turned.end()
    # What Codex acts on: items when they are done, text only within an item, and an id in the last event.
    assert kinds(events).index("output_item.added") < kinds(events).index("output_text.delta")
    done = [event["item"]["type"] for event in events if event["type"] == "response.output_item.done"]
    assert done == ["message", "function_call"]
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["id"]
