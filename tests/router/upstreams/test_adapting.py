"""What a server lacks: learnt from its own words, and left out of what it is sent."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import Refused
from weighbridge.upstreams.adapting import Lack, adapted, lack_of
from weighbridge.upstreams.http import refusal
from weighbridge.wire import parse

DEVELOPER = {"messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": "u"}]}
REQUESTS = {
    Lack.DEVELOPER_ROLE: DEVELOPER,
    Lack.MAX_COMPLETION_TOKENS: {"max_completion_tokens": 64},
    Lack.MAX_TOKENS: {"max_tokens": 64},
    Lack.STREAM_OPTIONS: {"stream": True, "stream_options": {"include_usage": True}},
    Lack.JSON_OBJECT: {"response_format": {"type": "json_object"}},
    Lack.JSON_SCHEMA: {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
}
# The kind of request that meets every refusal at once.
EVERYTHING = {
    **DEVELOPER,
    "max_completion_tokens": 64,
    "stream": True,
    "stream_options": {"include_usage": True},
    "response_format": {"type": "json_object"},
}


def openai(message, param=None, code=None):
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def refused(status, body):
    """A server's answer, on the way that it takes through the gateway."""
    error = refusal(status, {}, json.dumps(body).encode())
    assert isinstance(error, Refused)
    return error


FORBIDDEN = {
    "type": "extra_forbidden",
    "loc": ["body", "max_completion_tokens"],
    "msg": "Extra inputs are not permitted",
}
ROLE = {"type": "literal_error", "loc": ["body", "messages", 0, "role"], "input": "developer"}
INSTEAD = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
WORDS = [
    # OpenAI, and Azure with and without a param
    (Lack.MAX_TOKENS, 400, openai(INSTEAD, "max_tokens", "unsupported_parameter")),
    (Lack.MAX_TOKENS, 400, {"error": {"message": INSTEAD, "code": "invalid_request_body"}}),
    (
        Lack.DEVELOPER_ROLE,
        400,
        openai(
            "Unsupported value: 'messages[0].role' does not support 'developer' with this model.",
            "messages[0].role",
            "unsupported_value",
        ),
    ),
    (
        Lack.DEVELOPER_ROLE,
        400,
        openai(
            "Invalid value: 'developer'. Supported values are: 'system', 'assistant', 'user', 'function', and 'tool'.",
            "messages[0].role",
            "invalid_value",
        ),
    ),
    (Lack.MAX_COMPLETION_TOKENS, 400, openai("Unrecognized request argument supplied: max_completion_tokens")),
    (Lack.STREAM_OPTIONS, 400, openai("Unrecognized request argument supplied: stream_options")),
    (
        Lack.STREAM_OPTIONS,
        400,
        openai("Unknown parameter: 'stream_options'. (request id: 2024)", "stream_options", "unknown_parameter"),
    ),
    (
        Lack.STREAM_OPTIONS,
        400,
        {
            "detail": "Extra parameters ['stream_options'] are not allowed when extra-parameters is not set or set to "
            "be 'error'. Set extra-parameters to 'pass-through' to pass to the model."
        },
    ),
    # vLLM: a model's template, before 0.6.4, and as a text of pydantic's
    (
        Lack.DEVELOPER_ROLE,
        400,
        {"error": {"message": "Unexpected message role.", "type": "BadRequestError", "param": None, "code": 400}},
    ),
    # llama.cpp
    (
        Lack.DEVELOPER_ROLE,
        500,
        {
            "error": {
                "code": 500,
                "message": "\n------------\nWhile executing CallExpression at line 144, column 24 in source:\n"
                "...{%- else %}{{- raise_exception('Unexpected message role.') }}...\n"
                "Error: Jinja Exception: Unexpected message role.",
                "type": "server_error",
            }
        },
    ),
    (
        Lack.MAX_COMPLETION_TOKENS,
        400,
        {
            "object": "error",
            "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), "
            "'msg': 'Extra inputs are not permitted', 'input': 64}]",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    (
        Lack.MAX_COMPLETION_TOKENS,
        400,
        openai(
            "1 validation error for ChatCompletionRequest\nmax_completion_tokens\n  Extra inputs are not permitted "
            "[type=extra_forbidden, input_value=64, input_type=int]"
        ),
    ),
    # Mistral: as an object, as text within text, and plain FastAPI
    (Lack.MAX_COMPLETION_TOKENS, 422, {"object": "error", "message": {"detail": [FORBIDDEN]}, "code": None}),
    (Lack.MAX_COMPLETION_TOKENS, 422, {"object": "error", "message": json.dumps({"detail": [FORBIDDEN]})}),
    (
        Lack.MAX_COMPLETION_TOKENS,
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "store"], "msg": "Extra"}, FORBIDDEN]},
    ),
    (Lack.DEVELOPER_ROLE, 422, {"detail": [{**ROLE, "msg": "Input should be 'system', 'user' or 'assistant'"}]}),
    # LM Studio
    (
        Lack.DEVELOPER_ROLE,
        400,
        {
            "error": "'messages' array must only contain objects with a 'role' field that is in "
            "[user, assistant, system, tool]. Got 'developer'"
        },
    ),
    (Lack.JSON_OBJECT, 400, {"error": "'response_format.type' must be 'json_schema' or 'text'"}),
    (Lack.JSON_OBJECT, 400, {"error": "'response_format.type' must be 'json_schema'"}),
    # DeepSeek, Alibaba, Vercel, LiteLLM, Groq
    (
        Lack.DEVELOPER_ROLE,
        400,
        openai(
            "Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant `developer`, "
            "expected one of `system`, `user`, `assistant`, `tool` at line 1 column 60"
        ),
    ),
    (
        Lack.DEVELOPER_ROLE,
        400,
        openai("developer is not one of ['system', 'assistant', 'user', 'tool', 'function'] - 'messages.['0].role'"),
    ),
    (
        Lack.DEVELOPER_ROLE,
        400,
        openai(
            "Invalid enum value. Expected 'system' | 'user' | 'assistant' | 'tool', received 'developer'",
            "messages.0.role",
            "invalid_request_error",
        ),
    ),
    (
        Lack.DEVELOPER_ROLE,
        400,
        openai("invalid parameter 'messages[0].role': invalid role 'developer', must be one of: system, user", ""),
    ),
    (
        Lack.MAX_COMPLETION_TOKENS,
        400,
        openai(
            "litellm.UnsupportedParamsError: mistral does not support parameters: {'max_completion_tokens': 4096}, "
            "for model=mistral-small-latest.",
            "None",
            "400",
        ),
    ),
    (Lack.MAX_COMPLETION_TOKENS, 400, openai("property 'max_completion_tokens' is unsupported")),
]


@pytest.mark.parametrize(("lack", "status", "body"), WORDS)
def test_a_servers_own_words_tell_what_it_lacks(lack, status, body):
    assert lack_of(refused(status, body), REQUESTS[lack]) is lack


@pytest.mark.parametrize(("lack", "status", "body"), WORDS)
def test_a_request_that_has_nothing_of_it_was_refused_for_something_else(lack, status, body):
    assert lack_of(refused(status, body), {"messages": [{"role": "user", "content": "u"}]}) is None


OTHER_WORDS = [
    (400, openai("max_tokens is too large: 5000. This model supports at most 4096 completion tokens", "max_tokens")),
    (400, openai("Invalid value: 'max_tokens' must be at least 1", "max_tokens", "invalid_value")),
    (400, openai("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.", "max_tokens")),
    (400, openai("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")),
    (400, openai("Unknown parameter: 'stream_options.x'.", "stream_options.x", "unknown_parameter")),
    (400, openai("stream_options is not supported when n > 1")),
    (400, openai("Unknown parameter: 'messages[0].max_tokens'.", "messages[0].max_tokens", "unknown_parameter")),
    (400, openai("Unsupported parameter: 'temperature' is not supported with this model.", "temperature")),
    (400, openai("Invalid value: 'wizard'. Supported values are: 'system' and 'developer'.", "messages[1].role")),
    (400, openai("Invalid parameter: messages with role 'tool' must be a response to 'tool_calls'.", "messages")),
    (400, openai("Conversation roles must alternate user/assistant/user/assistant/...")),
    (400, openai("Developer instruction is not enabled for models/gemma-3-27b-it")),
    (400, openai("The developer of this model has disabled it.")),
    (400, openai("This model's maximum context length is 8192 tokens; max_tokens is not supported above it.")),
    (400, {"error": "'response_format.json_schema.schema' must be an object"}),
    (404, openai("Unrecognized request argument supplied: max_completion_tokens")),
    (409, openai(INSTEAD, "max_tokens", "unsupported_parameter")),
    (422, {"detail": [{**FORBIDDEN, "loc": ["body", "messages", 0, "max_completion_tokens"]}]}),
    (422, {"detail": [{**ROLE, "input": "wizard", "msg": "Input should be 'system' or 'developer'"}]}),
]


@pytest.mark.parametrize(("status", "body"), OTHER_WORDS)
def test_a_refusal_for_another_reason_teaches_nothing(status, body):
    for request in (EVERYTHING, REQUESTS[Lack.MAX_TOKENS], REQUESTS[Lack.JSON_SCHEMA]):
        assert lack_of(refused(status, body), request) is None


def test_a_schema_is_never_given_up_unasked():
    error = openai("This response_format type is unavailable now", "response_format")
    assert lack_of(refused(400, error), REQUESTS[Lack.JSON_SCHEMA]) is None


CHANGES = [
    (
        Lack.DEVELOPER_ROLE,
        '{ "messages":[{"role" : "developer","content":"developer", "x":1.50},{"role":"user"}], "t":0.10}',
        '{ "messages":[{"role" : "system","content":"developer", "x":1.50},{"role":"user"}], "t":0.10}',
    ),
    (Lack.MAX_COMPLETION_TOKENS, '{"max_completion_tokens":64 ,"t":0.10}', '{"t":0.10,"max_tokens":64}'),
    (
        Lack.MAX_COMPLETION_TOKENS,
        '{"max_tokens": null, "max_completion_tokens": 12345678901234567890}',
        '{"max_tokens": 12345678901234567890}',
    ),
    (Lack.MAX_TOKENS, '{"t":0.10, "max_tokens":64}', '{"t":0.10,"max_completion_tokens":64}'),
    (Lack.STREAM_OPTIONS, '{"stream":true,"stream_options":{"include_usage":true},"t":1}', '{"stream":true,"t":1}'),
    (
        Lack.JSON_OBJECT,
        '{"response_format":{"type":"json_object"}}',
        '{"response_format":{"type": "json_schema", "json_schema": {"name": "object", "schema": {"type": "object"}}}}',
    ),
    (
        Lack.JSON_SCHEMA,
        '{"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"maximum":1.50e3}}}}',
        '{"response_format":{"type":"json_object","schema":{"maximum":1.50e3}}}',
    ),
    (
        Lack.JSON_SCHEMA,
        '{"response_format":{"type":"json_schema"}}',
        '{"response_format":{"type":"json_object"}}',
    ),
]


@pytest.mark.parametrize(("lack", "text", "expected"), CHANGES)
def test_only_what_the_upstream_lacks_is_changed(lack, text, expected):
    body = adapted(parse(text.encode()), frozenset([lack]))
    assert body.text == expected
    assert body.fields == json.loads(expected)
    assert adapted(body, frozenset([lack])) is body


def test_all_that_is_lacking_is_changed_at_once():
    body = parse(json.dumps(EVERYTHING).encode())
    before = json.dumps(body.fields)
    lacks = frozenset(Lack) - {Lack.MAX_TOKENS, Lack.JSON_SCHEMA}
    assert adapted(body, lacks).fields == {
        "messages": [{"role": "system", "content": "d"}, {"role": "user", "content": "u"}],
        "max_tokens": 64,
        "stream": True,
        "response_format": {"type": "json_schema", "json_schema": {"name": "object", "schema": {"type": "object"}}},
    }
    assert json.dumps(body.fields) == before


@pytest.mark.parametrize(
    "text",
    [
        '{"max_tokens":1,"max_completion_tokens":2}',
        '{"messages":[{"role":"user"}]}',
        '{"messages":"developer"}',
        '{"messages":[7,null,{"role":["developer"]}]}',
        '{"response_format":"json_object"}',
        '{"response_format":{"type":["json_schema"]}}',
        "{}",
    ],
)
def test_a_request_that_has_nothing_of_it_stays_as_it_is(text):
    body = parse(text.encode())
    assert adapted(body, frozenset(Lack)) is body


def test_who_takes_neither_limit_is_sent_what_the_client_sent():
    body = parse(b'{"max_tokens":1}')
    assert adapted(body, frozenset([Lack.MAX_TOKENS, Lack.MAX_COMPLETION_TOKENS])) is body


_VALUES = st.none() | st.integers() | st.text(max_size=5) | st.sampled_from([*EVERYTHING.values(), *REQUESTS.values()])


@given(
    fields=st.dictionaries(st.sampled_from([*EVERYTHING, "max_tokens", "top_p"]), _VALUES),
    lacks=st.frozensets(st.sampled_from(Lack)),
)
def test_text_and_fields_stay_one(fields, lacks):
    body = adapted(parse(json.dumps(fields).encode()), lacks)
    assert json.loads(body.text) == body.fields


NO_LOGPROBS = [
    (400, openai("Unsupported parameter: 'logprobs' is not supported with this model.", "logprobs")),
    (400, openai("'logprobs' is not supported with this model", "logprobs", "unsupported_parameter")),
    (400, openai("`logprobs` is not supported with this model")),
    (403, openai("You are not allowed to request logprobs from this model.")),
    (422, {"detail": [{**FORBIDDEN, "loc": ["body", "logprobs"]}]}),
]


@pytest.mark.parametrize(("status", "body"), NO_LOGPROBS)
def test_logprobs_are_left_out_where_only_the_gateway_asks_for_them(status, body):
    said = refused(status, body)
    assert lack_of(said, {"logprobs": True}, frozenset({"logprobs"})) is Lack.LOGPROBS
    assert lack_of(said, {"logprobs": True}) is None  # a client that asks is told the server's own word


def test_what_a_client_asks_for_itself_is_not_left_out():
    body = parse(b'{"logprobs": true}')
    assert adapted(body, frozenset([Lack.LOGPROBS])) is body
    ours = adapted(replace(body, added=frozenset({"logprobs"})), frozenset([Lack.LOGPROBS]))
    assert (ours.text, ours.fields) == ("{}", {})
