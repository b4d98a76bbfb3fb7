"""Embeddings: what is checked and what is read."""

import pytest

from weighbridge.dialects.embeddings import EMBEDDINGS
from weighbridge.errors import BadRequest
from weighbridge.units import Usage


def body(text="hi", **fields):
    return {"model": "nomic-embed-text", "input": text, **fields}


@pytest.mark.parametrize("text", ["hi", ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_every_kind_of_input_is_let_through(text):
    for encoding_format in (None, "float", "base64"):
        EMBEDDINGS.check(body(text, encoding_format=encoding_format, dimensions=256, user="u", input_type="query"))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": {}}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [[1], "a"]}, "input"),
        ({"encoding_format": 1}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "256"}, "dimensions"),
        ({"stream": True}, "stream"),
    ],
)
def test_a_bad_field_is_named(fields, param):
    with pytest.raises(BadRequest) as caught:
        EMBEDDINGS.check(body(**fields))
    assert caught.value.param == param


@pytest.mark.parametrize(("text", "seen"), [("a", "a"), (["a", "b"], "a\nb"), ([1, 2], ""), ([[1], [2]], "")])
def test_rules_and_fences_see_all_texts(text, seen):
    assert EMBEDDINGS.messages(body(text)) == [{"role": "user", "content": seen}]


def test_nothing_is_generated_and_nothing_weighed():
    assert not EMBEDDINGS.is_scored
    assert EMBEDDINGS.choices(body()) == EMBEDDINGS.output_limit(body()) == 0
    assert not EMBEDDINGS.wants_json_schema(body())


def test_only_input_is_counted():
    answer = {"object": "list", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8, "completion_tokens": None}}
    assert EMBEDDINGS.is_answer(answer)
    assert not EMBEDDINGS.is_answer({"choices": []})
    assert EMBEDDINGS.usage_of(answer) == Usage(8, 0)
    assert EMBEDDINGS.usage_of({"data": []}) is None


def test_an_answer_passes_as_it_is():
    relay = EMBEDDINGS.relay(body())
    assert relay.take([b"\x00\x01"]) == b"\x00\x01"
    assert relay.end() == b""


def test_a_chat_server_has_none():
    with pytest.raises(BadRequest) as caught:
        EMBEDDINGS.translation(body())
    assert caught.value.code == "not_supported"
