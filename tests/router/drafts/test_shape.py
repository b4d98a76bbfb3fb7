"""The shape that was asked for: what breaks it, and what is nobody's fault."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.drafts.reading import Call, Draft
from weighbridge.drafts.shape import faults_of

CITY = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
TOOLS = {"tools": [{"type": "function", "function": {"name": "f", "parameters": CITY}}]}


def said(text: str, finish: str | None = "stop") -> Draft:
    return Draft(text, finish_reason=finish)


def wanting(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}


def calling(name: str, arguments: str, finish: str | None = "tool_calls") -> Draft:
    return Draft(calls={0: Call(name, arguments)}, finish_reason=finish)


def test_nothing_at_all_is_empty_once_it_is_whole():
    assert faults_of(said(" \n"), {}) == ("empty",)
    assert faults_of(said("", None), {}) == ()


@pytest.mark.parametrize("text", ["Sure! {}", "[1]", "NaN", "{", '{"a": Infinity}', "```json\n{}\n```"])
def test_what_is_no_json_object_where_one_was_asked_for(text):
    assert faults_of(said(text), {"response_format": {"type": "json_object"}}) == ("invalid_json",)


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ('{"town": 1}', CITY),
        ('{"city": 1}', CITY),
        ('{"a": {"city": 1}}', {"properties": {"a": {"$ref": "#/$defs/c"}}, "$defs": {"c": CITY}}),
        ("[1, 2]", {"items": {"type": "string"}}),
    ],
)
def test_json_against_its_schema(text, schema):
    assert faults_of(said(text), wanting(schema)) == ("against_schema",)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        "nonsense",
        {"type": "no such type"},
        {"properties": [1]},
        {"patternProperties": {".*": {"type": "string"}}},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"properties": {"a": {"pattern": "(a+)+$"}}},
        {"not": {"properties": {"a": {"pattern": "^a"}}}},
    ],
)
def test_a_schema_that_is_not_understood_forbids_nothing(schema):
    assert faults_of(said('{"a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}'), wanting(schema)) == ()


def test_a_schema_may_lead_back_into_itself():
    tree = {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "required": ["value"],
                "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}},
            }
        },
    }
    assert faults_of(said('{"value": 1, "next": {"value": 2}}'), wanting(tree)) == ()
    assert faults_of(said('{"next": {"value": 2}}'), wanting(tree)) == ("against_schema",)


def test_a_schema_that_grows_without_end_is_given_up_at_once():
    bomb = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)} | {"d40": {"type": "string"}}
    began_s = time.monotonic()
    assert faults_of(said('{"a": 1}'), wanting({"$ref": "#/$defs/d0", "$defs": bomb})) == ()
    assert time.monotonic() - began_s < 5  # it would take years


def test_of_json_under_way_only_the_beginning_is_judged():
    assert faults_of(said("Sure! Here it is", None), wanting(CITY)) == ("invalid_json",)
    assert faults_of(said(' {"ci', None), wanting(CITY)) == ()


def test_what_would_take_too_long_is_not_held_against_a_schema():
    names = [f"name {i}" for i in range(1900)]
    text = json.dumps(["no such name"] * 10_000)
    assert faults_of(said(text), wanting({"items": {"enum": names}})) == ()
    assert faults_of(said('["no such name"]'), wanting({"items": {"enum": names}})) == ("against_schema",)


@pytest.mark.parametrize(
    ("draft", "fault"),
    [
        (calling("f", '{"city": "Paris"}'), ()),
        (calling("f", '{"city": '), ("invalid_arguments",)),
        (calling("f", "[]"), ("invalid_arguments",)),
        (calling("f", ""), ("invalid_arguments",)),
        (calling("g", "{}"), ("unknown_tool",)),
        (calling("f", '{"ci', None), ()),
        (said("Paris."), ()),
    ],
)
def test_a_call_must_be_one_that_can_be_made(draft, fault):
    assert faults_of(draft, TOOLS) == fault


def test_a_call_that_was_demanded_must_come():
    assert faults_of(said("Paris."), {**TOOLS, "tool_choice": "required"}) == ("no_tool_call",)
    assert faults_of(said("Paris."), {**TOOLS, "tool_choice": "auto"}) == ()


KEYS = st.sampled_from(["type", "$ref", "properties", "items", "anyOf", "not", "required", "x"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(KEYS, v),
    max_leaves=8,
)


@settings(deadline=None)
@given(value=values, schema=values)
def test_no_schema_of_a_clients_is_our_fault(value, schema):
    assert set(faults_of(said(json.dumps(value)), wanting(schema))) <= {"against_schema", "empty"}
    faults_of(calling("f", json.dumps(value)), {"tools": [{"function": {"name": "f", "parameters": schema}}, schema]})
