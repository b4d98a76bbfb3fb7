"""The shape that was asked for: JSON, a schema of it, tool calls. What a draft breaks of it makes it useless. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from weighbridge.drafts.reading import Draft
from weighbridge.learning.schema import UnknownKeyword, check, fits

EMPTY, BAD_JSON, BAD_SCHEMA = "empty", "invalid_json", "against_schema"
BAD_CALL, BAD_ARGUMENTS, NO_CALL = "unknown_tool", "invalid_arguments", "no_tool_call"
FAULTS = (EMPTY, BAD_JSON, BAD_SCHEMA, BAD_CALL, BAD_ARGUMENTS, NO_CALL)

_MOST_NODES = 2_000  # of a schema, its references written out
_MOST_WORK = 20_000_000  # nodes times characters; beyond that an answer is not held against its schema
_LOOSE = {"pattern"}  # left out: a client's pattern could keep us busy for ever
_NOTHING: Mapping[str, Any] = {}
_OPENS = {"json_object": "{", "json_schema": '{["-0123456789tfn'}


def faults_of(draft: Draft, asked: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes a draft useless, none where nothing does. asked: the fields of the chat request."""
    return tuple(dict.fromkeys(_faults(draft, asked)))


def _faults(draft: Draft, asked: Mapping[str, Any]) -> Iterator[str]:
    if draft.is_whole and not (draft.text.strip() or draft.calls or draft.has_media):
        yield EMPTY
        return
    if draft.calls or _must_call(asked):
        yield from _in_calls(draft, asked)
    if draft.calls or draft.refusal:
        return
    wanted = _mapping(asked, "response_format")
    kind = wanted.get("type")
    if not isinstance(kind, str) or kind not in _OPENS:
        return
    if not draft.is_whole:
        if draft.text.lstrip()[:1] not in _OPENS[kind]:
            yield BAD_JSON
        return
    yield from _in_json(draft.text, kind, wanted)


def _in_json(text: str, kind: str, wanted: Mapping[str, Any]) -> Iterator[str]:
    try:
        value = read(text)
    except ValueError:
        yield BAD_JSON
        return
    if kind == "json_object":
        if not isinstance(value, dict):
            yield BAD_JSON
    elif not _fits(value, _mapping(wanted, "json_schema").get("schema"), len(text)):
        yield BAD_SCHEMA


def _must_call(asked: Mapping[str, Any]) -> bool:
    choice = asked.get("tool_choice")
    return choice == "required" or (isinstance(choice, Mapping) and choice.get("type") == "function")


def _in_calls(draft: Draft, asked: Mapping[str, Any]) -> Iterator[str]:
    if not draft.is_whole:
        return  # the arguments are still coming
    if not draft.calls:
        yield NO_CALL
    tools = dict(_tools(asked))
    for call in draft.calls.values():
        if call.name not in tools:
            yield BAD_CALL
            continue
        try:
            arguments = read(call.arguments or "{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict) or not _fits(
            arguments, tools[call.name].get("parameters"), len(call.arguments)
        ):
            yield BAD_ARGUMENTS


def _tools(asked: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The functions that were offered, in the present words or the older ones."""
    tools, functions = asked.get("tools"), asked.get("functions")
    for tool in tools if isinstance(tools, list) else []:
        if isinstance(tool, Mapping):
            described = _mapping(tool, str(tool.get("type") or "function"))
            yield str(described.get("name")), described
    for function in functions if isinstance(functions, list) else []:
        if isinstance(function, Mapping):
            yield str(function.get("name")), function


def read(text: str) -> Any:
    """JSON as a client would read it. Raises ValueError."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _fits(value: Any, schema: Any, size: int) -> bool:
    """Whether a client's schema allows a value. One that makes no sense, or is not understood, forbids nothing.

    size: characters of the value as it was written.
    """
    try:
        writer = _Writer(schema)
        plain = writer.of(schema, ())
        if writer.nodes * size > _MOST_WORK:
            return True
        check(plain)
        return fits(value, plain)
    except (UnknownKeyword, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
        return True


class _Writer:
    """Writes one schema out, with its own references in place, and so of a known size."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self.nodes = 0

    def of(self, value: Any, within: tuple[str, ...]) -> Any:
        """within: the references that led here. One that leads back into itself is taken for anything.

        Raises UnknownKeyword where there is no end of it.
        """
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise UnknownKeyword("the schema is too large")
        if isinstance(value, list):
            return [self.of(item, within) for item in value]
        if not isinstance(value, Mapping):
            return value
        reference = value.get("$ref")
        if isinstance(reference, str):
            return True if reference in within else self.of(self._at(reference), (*within, reference))
        if {"not", "oneOf"} & value.keys() and _LOOSE & _keys(value):
            raise UnknownKeyword("what is left out cannot be turned round")
        return {k: self._member(k, v, within) for k, v in value.items() if k not in {*_LOOSE, "$defs", "definitions"}}

    def _member(self, key: str, value: Any, within: tuple[str, ...]) -> Any:
        if key == "properties" and isinstance(value, Mapping):  # names of the client's own, which no keyword is
            return {name: self.of(inner, within) for name, inner in value.items()}
        if key in {"enum", "const", "default", "examples"}:
            self.nodes += len(value) if isinstance(value, list) else 1
            return value
        return self.of(value, within)

    def _at(self, reference: str) -> Any:
        found = self._root
        if not reference.startswith("#"):
            raise UnknownKeyword("a reference to elsewhere is not followed")
        for step in reference[1:].split("/")[1:]:
            found = found[step.replace("~1", "/").replace("~0", "~")]
        return found


def _keys(value: Any) -> set[str]:
    """Every key within a value."""
    if isinstance(value, list):
        return {key for item in value for key in _keys(item)}
    if isinstance(value, Mapping):
        return {*value, *(key for item in value.values() for key in _keys(item))}
    return set()


def _mapping(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = holder.get(name)
    return found if isinstance(found, Mapping) else _NOTHING
