"""The part of JSON Schema that answers are checked with. A keyword that is not here is refused, never overlooked."""

import re
from collections.abc import Callable, Mapping
from typing import Any

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v == int(v),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
}
_NOTES = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "format"}
_DEEPEST = 64


class UnknownKeyword(ValueError):
    """The schema says something that is not understood here."""


def check(schema: Any, depth: int = 0) -> None:
    """Raises UnknownKeyword where a schema cannot be used."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        raise UnknownKeyword("a schema must be an object, not too deep")
    for key, value in schema.items():
        if key not in _CHECKS and key not in _NOTES:
            raise UnknownKeyword(f"{key!r} is not supported; these are: {', '.join(sorted(_CHECKS))}")
        if key == "type" and not all(name in _TYPES for name in _listed(value)):
            raise UnknownKeyword(f"type {value!r} is not known")
        if key == "pattern":
            _compiled(value)
    for inner in _inner(schema):
        check(inner, depth + 1)


def fits(value: Any, schema: Any) -> bool:
    """Whether a schema, which `check` accepts, allows a value."""
    if isinstance(schema, bool):
        return schema
    return all(_CHECKS[key](value, wanted, schema) for key, wanted in schema.items() if key in _CHECKS)


def _inner(schema: Mapping[str, Any]) -> list[Any]:
    found = [schema[key] for key in ("items", "additionalProperties", "not") if key in schema]
    found += list(schema.get("properties", {}).values())
    return found + [inner for key in ("anyOf", "oneOf", "allOf") for inner in schema.get(key, [])]


def _compiled(pattern: Any) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise UnknownKeyword(f"pattern {pattern!r} is no regular expression ({error})") from None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _same(one: Any, other: Any) -> bool:
    """1 and 1.0 are the same number, 1 and true are not the same value."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _properties(value: Any, wanted: Mapping[str, Any], _: Any) -> bool:
    return not isinstance(value, dict) or all(fits(value[k], inner) for k, inner in wanted.items() if k in value)


def _others(value: Any, wanted: Any, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    return all(fits(item, wanted) for key, item in value.items() if key not in schema.get("properties", {}))


def _limit(of: type | tuple[type, ...], size: Callable[[Any], Any], holds: Callable[[Any, Any], bool]) -> Any:
    def check_limit(value: Any, wanted: Any, _: Any) -> bool:
        return not isinstance(value, of) or isinstance(value, bool) or holds(size(value), wanted)

    return check_limit


_Check = Callable[[Any, Any, Any], bool]
_NUMBERS = (int, float)
_CHECKS: dict[str, _Check] = {
    "type": lambda v, wanted, _: any(_TYPES[name](v) for name in _listed(wanted)),
    "enum": lambda v, wanted, _: any(_same(v, each) for each in wanted),
    "const": lambda v, wanted, _: _same(v, wanted),
    "properties": _properties,
    "additionalProperties": _others,
    "required": lambda v, wanted, _: not isinstance(v, dict) or all(key in v for key in wanted),
    "items": lambda v, wanted, _: not isinstance(v, list) or all(fits(item, wanted) for item in v),
    "minItems": _limit(list, len, lambda n, wanted: n >= wanted),
    "maxItems": _limit(list, len, lambda n, wanted: n <= wanted),
    "minLength": _limit(str, len, lambda n, wanted: n >= wanted),
    "maxLength": _limit(str, len, lambda n, wanted: n <= wanted),
    "pattern": _limit(str, str, lambda text, wanted: bool(re.search(wanted, text))),
    "minimum": _limit(_NUMBERS, lambda v: v, lambda n, wanted: n >= wanted),
    "maximum": _limit(_NUMBERS, lambda v: v, lambda n, wanted: n <= wanted),
    "exclusiveMinimum": _limit(_NUMBERS, lambda v: v, lambda n, wanted: n > wanted),
    "exclusiveMaximum": _limit(_NUMBERS, lambda v: v, lambda n, wanted: n < wanted),
    "anyOf": lambda v, wanted, _: any(fits(v, inner) for inner in wanted),
    "oneOf": lambda v, wanted, _: sum(fits(v, inner) for inner in wanted) == 1,
    "allOf": lambda v, wanted, _: all(fits(v, inner) for inner in wanted),
    "not": lambda v, wanted, _: not fits(v, wanted),
}
