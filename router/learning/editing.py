"""One key of config.toml set anew, with every comment and blank kept, as a diff that a person can read."""

import json
import tomllib
from collections.abc import Mapping
from difflib import unified_diff
from typing import Any

from weighbridge.learning.refusals import Unusable
from weighbridge.toml_lines import Key, line_of, value_of

Value = str | float | Mapping[str, float]


class CannotEdit(Unusable):
    """The file is written in a way that is not edited here; the message says what to write by hand."""


def with_value(text: str, key: Key, value: Value) -> str:
    """The text with a key set. Raises CannotEdit rather than write something else than meant."""
    shown = _shown(value)
    wanted = _set(tomllib.loads(text), key, tomllib.loads(f"x = {shown}")["x"])
    for edited in _ways(text, key, shown):
        try:
            if tomllib.loads(edited) == wanted:
                return edited
        except tomllib.TOMLDecodeError:
            continue
    raise CannotEdit(f"write it by hand: {'.'.join(map(str, key))} = {shown}")


def diff(before: str, after: str, name: str) -> str:
    """What changes, as `diff -u` shows it; empty where nothing does."""
    lines = unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="")
    return "\n".join(lines)


def _shown(value: Value) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {_shown(inner)}' for name, inner in value.items())} }}"
    return json.dumps(value) if isinstance(value, str) else f"{value:g}"


def _ways(text: str, key: Key, shown: str) -> list[str]:
    """How the key could be set, the plainest first."""
    ways = []
    if span := value_of(text, key):
        ways.append(text[: span[0]] + shown + text[span[1] :])
    *table, name = key
    if (span := value_of(text, tuple(table))) and text[span[0]] == "{":
        inside = text[span[0] + 1 : span[1] - 1].strip()
        comma = ", " if inside else ""
        ways.append(f"{text[: span[0]]}{{ {inside}{comma}{name} = {shown} }}{text[span[1] :]}")
    line = line_of(text, tuple(table))
    lines = text.split("\n")
    if line is not None:
        ways.append("\n".join([*lines[:line], f"{name} = {shown}", *lines[line:]]))
        if len(table) > 1:
            # A table in a table that is not there yet, as a route's policy.
            *outer, inner = table
            if (around := line_of(text, tuple(outer))) is not None:
                added = f"{inner} = {{ {name} = {shown} }}"
                ways.append("\n".join([*lines[:around], added, *lines[around:]]))
    heading = ".".join(
        json.dumps(p) if not str(p).replace("_", "").replace("-", "").isalnum() else str(p) for p in table
    )
    ways.append(f"{text.rstrip()}\n\n[{heading}]\n{name} = {shown}\n")
    return ways


def _set(data: dict[str, Any], key: Key, value: Any) -> dict[str, Any]:
    *table, name = key
    at: Any = data
    for part in table:
        at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
        if not isinstance(at, dict):
            raise CannotEdit(f"{part} is no table")
    at[str(name)] = value
    return data
