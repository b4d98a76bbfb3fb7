"""Bodies read strictly, and changed without touching the rest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import BadRequest
from weighbridge.units import Usage
from weighbridge.wire import MAX_DEPTH, error_fields, estimated_output_tokens, parse, usage_of

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_OBJECTS = st.dictionaries(st.text(), _VALUES, max_size=6)
_PLAIN = _OBJECTS.map(lambda fields: json.loads(json.dumps(fields).encode("utf-8", "replace")))


@given(fields=_PLAIN, indent=st.sampled_from([None, 0, 3]), ascii_only=st.booleans())
def test_what_json_can_say_is_read_as_json_reads_it(fields, indent, ascii_only):
    raw = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    try:
        expected = json.loads(raw)
        json.dumps(expected, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        with pytest.raises(BadRequest):
            parse(raw)
        return
    body = parse(raw)
    assert body.fields == expected
    for key in expected:
        assert json.loads(body.spliced({key: "changed"})) == {**expected, key: "changed"}


@given(fields=_PLAIN, model=st.text(st.characters(exclude_categories=["Cs"])), indent=st.sampled_from([None, 2]))
def test_a_splice_changes_one_value_and_nothing_else(fields, model, indent):
    raw = json.dumps({"a": 1, **fields, "model": "old"}, indent=indent, ensure_ascii=True).encode()
    try:
        body = parse(raw)
    except BadRequest:
        return  # a lone surrogate
    spliced = body.spliced({"model": model, "added by us": {"x": True}})
    assert json.loads(spliced) == {**json.loads(raw), "model": model, "added by us": {"x": True}}
    if indent is None:
        untouched = body.text[:-6]  # all but `"old"}`
        assert spliced.decode() == untouched + json.dumps(model) + ',"added by us":{"x": true}}'


def test_numbers_and_spaces_that_we_do_not_touch_arrive_to_the_letter():
    raw = b'{ "seed":123456789012345678901234567890 ,"t": 1.50e+2, "model" : "auto" }\n'
    assert parse(raw).spliced({"model": "m"}) == raw.replace(b'"auto"', b'"m"')


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"\\"{":', "}]")])
def test_there_is_an_end_to_nesting(opening, closing):
    levels = (MAX_DEPTH - 1) // len(closing)
    raw = f'{{"x": {opening * levels}"}}]\\\\"{closing * levels}, "y": [{"[]," * MAX_DEPTH}1]}}'
    assert parse(raw.encode()).fields["y"][-1] == 1
    levels += 1
    raw = f'{{"x": {opening * levels}"}}]\\\\"{closing * levels}}}'
    with pytest.raises(BadRequest, match="too deeply"):
        parse(raw.encode())


def test_brackets_in_texts_are_no_nesting():
    text = '[{"' * 5000 + "\\"
    assert parse(json.dumps({"text": text, "more": [text]}).encode()).fields == {"text": text, "more": [text]}


def test_an_empty_object_takes_additions():
    assert json.loads(parse(b" { } ").spliced({"a": 1, "b": None})) == {"a": 1, "b": None}


def test_a_string_full_of_brackets_and_commas_is_one_value():
    assert parse(json.dumps({"a": "[{," * 300_000}).encode()).fields["a"].startswith("[{,")


@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace")))
def test_no_bytes_at_all_raise_anything_else(raw):
    try:
        fields = parse(raw).fields
    except BadRequest:
        return
    assert isinstance(fields, dict)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}, Usage(3, 4, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": None}, Usage(3, 4)),
        ({"prompt_tokens": 3}, Usage(3, 0)),
        ({"prompt_tokens": -1, "completion_tokens": 4}, None),
        ({"prompt_tokens": True, "completion_tokens": 4}, None),
        ({"prompt_tokens": "3", "completion_tokens": 4}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage_is_what_the_provider_said_or_unknown(usage, expected):
    assert usage_of(usage) == expected


def test_an_answer_without_usage_is_estimated_from_its_text():
    answer = {"choices": [{"message": {"role": "assistant", "content": "word " * 100}}]}
    assert 120 <= estimated_output_tokens(json.dumps(answer).encode()) <= 130


_REFUSED = "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"error": {"message": "m", "type": _REFUSED, "param": "max_tokens", "code": "unsupported_parameter"}},
            ("m", _REFUSED, "max_tokens", "unsupported_parameter"),
        ),
        # Azure
        ({"error": {"code": "DeploymentNotFound", "message": "m"}}, ("m", None, None, "DeploymentNotFound")),
        (
            {"error": {"message": "m", "type": None, "param": "prompt", "code": "content_filter", "status": 400}},
            ("m", None, "prompt", "content_filter"),
        ),
        # vLLM, before and since 0.10
        (
            {"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400},
            ("m", "BadRequestError", None, None),
        ),
        (
            {"error": {"message": "m", "type": "BadRequestError", "param": "temperature", "code": 400}},
            ("m", "BadRequestError", "temperature", None),
        ),
        # llama.cpp
        (
            {"error": {"code": 400, "message": "m", "type": "exceed_context_size_error", "n_ctx": 4096}},
            ("m", "exceed_context_size_error", None, None),
        ),
        # Ollama's two, LM Studio, TGI
        ({"error": "m"}, ("m", None, None, None)),
        ({"error": {"message": "m", "type": _REFUSED, "param": None, "code": None}}, ("m", _REFUSED, None, None)),
        ({"error": "m", "error_type": "validation"}, ("m", "validation", None, None)),
        # Anthropic
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}, "request_id": "req_1"},
            ("m", "overloaded_error", None, None),
        ),
        # Gemini
        (
            [{"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT", "details": []}}],
            ("m", None, None, None),
        ),
        # Mistral
        (
            {"object": "error", "message": "m", "type": _REFUSED, "param": None, "code": "1000"},
            ("m", _REFUSED, None, "1000"),
        ),
        (
            {"object": "error", "message": {"detail": [{"loc": ["body"], "msg": "m"}]}, "type": _REFUSED},
            ('{"detail": [{"loc": ["body"], "msg": "m"}]}', _REFUSED, None, None),
        ),
        # FastAPI
        ({"detail": "Not Found"}, ("Not Found", None, None, None)),
        ({"detail": [{"loc": ["body"], "msg": "m"}]}, ('[{"loc": ["body"], "msg": "m"}]', None, None, None)),
        # LiteLLM, OpenRouter
        ({"error": {"message": "m", "type": "None", "param": "None", "code": "400"}}, ("m", None, None, "400")),
        ({"error": {"message": "m", "code": 429, "metadata": {"raw": "r"}}, "user_id": "u"}, ("m", None, None, None)),
        ({"error": None, "message": "m"}, ("m", None, None, None)),
        (
            {"error": {"message": "at https://10.0.0.1/v1 with sk-abcdefgh12"}},
            ("at [removed] with [removed]",) + (None,) * 3,
        ),
        ({"error": {}}, (None,) * 4),
        ([], (None,) * 4),
        (["m"], (None,) * 4),
        ("m", (None,) * 4),
    ],
)
def test_the_error_bodies_of_real_servers_are_read(body, expected):
    assert error_fields(json.dumps(body).encode()) == expected


@pytest.mark.parametrize("raw", [b"", b"<html>502 Bad Gateway</html>", b"\xff", b"[" * 100_000])
def test_an_error_body_that_is_no_json_says_nothing(raw):
    assert error_fields(raw) == (None,) * 4
