"""The part of JSON Schema that answers are checked with."""

import pytest

from weighbridge.learning.schema import UnknownKeyword, check, fits

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
        "kind": {"anyOf": [{"const": 1}, {"type": "null"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "is_fine"),
    [
        ({"name": "Ada"}, True),
        ({"name": "Ada", "age": 36, "tags": ["a"], "kind": None}, True),
        ({"name": "Ada", "age": 36.0}, True),
        ({}, False),
        ([], False),
        ({"name": ""}, False),
        ({"name": "ada"}, False),
        ({"name": "Ada", "age": 150}, False),
        ({"name": "Ada", "age": True}, False),
        ({"name": "Ada", "age": 36.5}, False),
        ({"name": "Ada", "tags": ["c"]}, False),
        ({"name": "Ada", "tags": ["a", "b", "a"]}, False),
        ({"name": "Ada", "kind": True}, False),
        ({"name": "Ada", "more": 1}, False),
    ],
)
def test_a_value_fits_or_not(value: object, is_fine: bool) -> None:
    check(PERSON)
    assert fits(value, PERSON) is is_fine


def test_combinations() -> None:
    one = {"oneOf": [{"minimum": 0}, {"maximum": 10}]}
    assert fits(20, one)
    assert not fits(5, one)
    assert fits("x", {"not": {"type": "number"}})
    assert fits(3, {"allOf": [{"type": "integer"}, {"exclusiveMinimum": 2}]})
    assert fits(1, True)
    assert not fits(1, False)
    assert fits(1, {"type": ["string", "number"]})


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "#/definitions/a"}, {"type": "text"}, {"pattern": "("}, [], {"properties": {"a": {"minProperties": 1}}}],
)
def test_what_is_not_understood_is_refused(schema: object) -> None:
    with pytest.raises(UnknownKeyword):
        check(schema)


def test_a_schema_without_a_bottom_is_refused() -> None:
    schema: dict[str, object] = {"type": "array"}
    for _ in range(100):
        schema = {"items": schema}
    with pytest.raises(UnknownKeyword):
        check(schema)
