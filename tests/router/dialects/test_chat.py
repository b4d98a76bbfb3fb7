"""Chat completions: what is refused before anybody is asked, and what is read of the rest."""

import pytest

from weighbridge.dialects.chat import CHAT, usage_asked
from weighbridge.errors import BadRequest
from weighbridge.units import Usage

GOOD = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": " "}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"n": True}, "n"),
        ({"tools": {}}, "tools"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_what_no_upstream_could_answer_is_refused_by_the_field(changes, param):
    with pytest.raises(BadRequest) as refused:
        CHAT.check({**GOOD, **changes})
    assert refused.value.param == param


@pytest.mark.parametrize("name", ["stream", "max_tokens", "n", "tools", "stream_options", "top_k", "thinking"])
def test_null_stands_for_absent_and_unknown_fields_are_not_ours_to_judge(name):
    CHAT.check({**GOOD, name: None})
    CHAT.check({**GOOD, "never_heard_of": {"a": [1]}})


def test_limits_and_choices_are_read():
    assert (CHAT.output_limit({"max_tokens": 5}), CHAT.choices({"n": 3})) == (5, 3)
    assert (CHAT.output_limit({"max_tokens": 5, "max_completion_tokens": 7}), CHAT.choices({})) == (7, 1)


def test_a_stream_is_asked_for_its_usage_unless_the_client_did():
    assert usage_asked({}) == {"stream_options": {"include_usage": True}}
    kept = {"stream_options": {"include_usage": False, "include_obfuscation": False}}
    assert usage_asked(kept)["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert usage_asked({"stream_options": {"include_usage": True}}) == {}


def test_a_schema_is_seen():
    assert CHAT.wants_json_schema({"response_format": {"type": "json_schema"}})
    assert not CHAT.wants_json_schema({"response_format": {"type": "json_object"}})
    assert not CHAT.wants_json_schema({"response_format": None})


def test_an_answer_has_choices_and_says_what_it_used():
    assert CHAT.is_answer({"choices": []})
    assert not CHAT.is_answer({"error": {}})
    assert CHAT.usage_of({"usage": {"prompt_tokens": 3, "completion_tokens": 0}}) == Usage(3, 0)
