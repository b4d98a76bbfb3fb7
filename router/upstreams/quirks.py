"""What local servers get wrong about tool calls and chunks, put right. Only for upstreams with `location = "local"`.

A chunk or an answer without a fault comes back as the object it was, unparsed. What is mended is changed in its text,
so that everything else stays to the letter. Nothing here raises: what makes no sense is passed on for others to judge.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from os import urandom
from typing import Any

from weighbridge.upstreams.splicing import AS_STRING, REMOVED, Path, spliced

Changes = dict[Path, object]
Shape = tuple[bytes, bytes]  # a chunk before and after the one string in it that is another in each

_TOKEN = re.compile(rb'"delta"\s*:\s*\{\s*"\w+"\s*:\s*"')
_NO_SHAPE: Shape = (b"\0", b"\0")


def tidied(raw: bytes) -> bytes:
    """A whole `chat.completion`, mended."""
    if b'"tool_calls"' not in raw and b'"content"' in raw and not _has_no_reason(raw):
        return raw
    fields = _completion(raw)
    if fields is None:
        return raw
    changes: Changes = {}
    for at, choice in enumerate(fields["choices"]):
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict):
            changes |= _choice_changes(("choices", at), choice, message)
    return _changed(raw, changes)


class Tidy:
    """One stream's chunks, mended. `[DONE]` and error events pass.

    The tool calls of parallel choices are told apart by the choice's index.
    """

    def __init__(self, model: str, *, now: Callable[[], float] = time.time) -> None:
        self._model = model
        self._now = now
        self._head: dict[str, object] = {}
        self._marks: tuple[bytes, ...] = ()  # how the upstream writes the head: in every chunk that needs no mending
        self._shape = _NO_SHAPE
        self._choices: dict[int, _Choice] = {}
        self._has_calls = False

    def chunk(self, event: bytes) -> bytes:
        """The event's data, with what is wrong about it put right."""
        before, after = self._shape
        if event.startswith(before) and event.endswith(after) and b'"' not in event[len(before) : -len(after)]:
            return event  # another token in a chunk that had no fault: the common case
        if self._is_faultless(event):
            self._shape = _shape(event)
            return event
        fields = _completion(event)
        if fields is None:
            return event
        if not self._head:
            self._head = _head(fields, self._model, self._now)
            self._marks = tuple(_mark(event, name, value) for name, value in self._head.items())
        changes = _head_changes(fields, self._head)
        for at, choice in enumerate(fields["choices"]):
            if isinstance(choice, dict):
                state = self._choices.setdefault(_index(choice, at), _Choice())
                changes |= state.changes(("choices", at), choice)
                self._has_calls = self._has_calls or bool(state.calls)
        return _changed(event, changes)

    def _is_faultless(self, event: bytes) -> bool:
        """Nothing here can be wrong, as far as can be seen without parsing. A quote inside a string is escaped."""
        if not self._marks or b'"tool_calls"' in event or b'"role"' in event or _has_no_reason(event):
            return False
        return all(mark in event for mark in self._marks) and not (self._has_calls and b'"stop"' in event)


class _Call:
    """A tool call as far as it has come. theirs: the id and index that the upstream gives it; index: ours."""

    def __init__(self, index: int, their_id: str | None, their_index: int, name: str | None) -> None:
        self.index = index
        self.their_id = their_id
        self.their_index = their_index
        self.name = name
        self._arguments: list[str] = []

    def add(self, arguments: object) -> None:
        if arguments is not None:
            self._arguments.append(arguments if isinstance(arguments, str) else json.dumps(arguments))

    @property
    def is_whole(self) -> bool:
        """Its arguments are complete, so whatever names a function now begins another call."""
        try:
            json.loads("".join(self._arguments))
        except ValueError:
            return False
        return True


class _Choice:
    """One choice of a stream: its tool calls so far, in the order in which they began."""

    def __init__(self) -> None:
        self.calls: list[_Call] = []
        self._has_role = False

    def changes(self, path: Path, choice: Mapping[str, Any]) -> Changes:
        changes: Changes = {}
        delta = choice.get("delta")
        if isinstance(delta, dict):
            if delta.get("role") and self._has_role:  # said again, it is added to itself: "assistantassistant"
                changes[*path, "delta", "role"] = REMOVED
            self._has_role = self._has_role or bool(delta.get("role"))
            for position, fragment in enumerate(_list(delta.get("tool_calls"))):
                if isinstance(fragment, dict):
                    changes |= self._fragment((*path, "delta", "tool_calls", position), fragment, position)
        reason = choice.get("finish_reason")
        if reason == "":
            changes[*path, "finish_reason"] = None
        elif reason == "stop" and self.calls:
            changes[*path, "finish_reason"] = "tool_calls"
        return changes

    def _fragment(self, path: Path, fragment: Mapping[str, Any], position: int) -> Changes:
        """What to change in one entry of `tool_calls`."""
        function = fragment.get("function")
        function = function if isinstance(function, dict) else {}
        their_id, name = _text(fragment.get("id")), _text(function.get("name"))
        their_index = _index(fragment, position)
        call = self._known(their_id, name, their_index)
        is_new = call is None
        if call is None:
            call = _Call(len(self.calls), their_id, their_index, name)
            self.calls.append(call)
        changes = _opening_changes(path, fragment) if is_new else _later_changes(path, fragment, function)
        if fragment.get("index") != call.index:
            changes[*path, "index"] = call.index
        arguments = function.get("arguments")
        call.add(arguments)
        if function and not isinstance(arguments, str) and (is_new or "arguments" in function):
            changes[*path, "function", "arguments"] = "" if arguments is None else AS_STRING
        return changes

    def _known(self, their_id: str | None, name: str | None, their_index: int) -> _Call | None:
        """The call that a fragment goes on with; None where it begins one.

        The id tells, where there is one; then the name, which only the first fragment of a call should have; then the
        index, which servers leave out, keep at 0, or count on with every fragment.
        """
        if not self.calls:
            return None
        latest_first = self.calls[::-1]
        if their_id is not None:
            for call in latest_first:
                if call.their_id == their_id:
                    return call
            if name is not None:
                return None
        current = next((call for call in latest_first if call.their_index == their_index), None)
        if name is None:
            return current or latest_first[0]
        # The same name again, while its arguments are still coming, is only said again.
        return current if current and current.name == name and not current.is_whole else None


def _opening_changes(path: Path, fragment: Mapping[str, Any]) -> Changes:
    changes: Changes = {}
    if not _text(fragment.get("id")):
        changes[*path, "id"] = _new_id("call_")
    if not fragment.get("type"):
        changes[*path, "type"] = "function"
    return changes


def _later_changes(path: Path, fragment: Mapping[str, Any], function: Mapping[str, Any]) -> Changes:
    """Only the first fragment of a call carries its id and its name: clients join what they get."""
    changes: Changes = {}
    if fragment.get("id") is not None:
        changes[*path, "id"] = REMOVED
    if function.get("name"):
        changes[*path, "function", "name"] = REMOVED
    return changes


def _choice_changes(path: Path, choice: Mapping[str, Any], message: Mapping[str, Any]) -> Changes:
    """What to change in one choice of a whole answer."""
    changes: Changes = {}
    calls = _list(message.get("tool_calls"))
    if "tool_calls" in message and not message["tool_calls"]:
        changes[*path, "message", "tool_calls"] = REMOVED
    if "content" not in message:
        changes[*path, "message", "content"] = None
    for position, call in enumerate(calls):
        if isinstance(call, dict):
            changes |= _call_changes((*path, "message", "tool_calls", position), call)
    reason = choice.get("finish_reason")
    if calls and reason in {"stop", "", None}:
        changes[*path, "finish_reason"] = "tool_calls"
    elif reason == "":
        changes[*path, "finish_reason"] = None
    return changes


def _call_changes(path: Path, call: Mapping[str, Any]) -> Changes:
    changes = _opening_changes(path, call)
    function = call.get("function")
    if isinstance(function, dict) and not isinstance(arguments := function.get("arguments"), str):
        # Here the call is whole, and clients read what they get as JSON.
        changes[*path, "function", "arguments"] = "{}" if arguments is None else AS_STRING
    return changes


def _head(fields: Mapping[str, Any], model: str, now: Callable[[], float]) -> dict[str, object]:
    """What every chunk of a stream says alike: the upstream's own words where it has them."""
    return {
        "id": fields.get("id") or _new_id("chatcmpl-"),
        "object": fields.get("object") or "chat.completion.chunk",
        "created": fields.get("created") or int(now()),
        "model": fields.get("model") or model,
    }


def _head_changes(fields: Mapping[str, Any], head: Mapping[str, object]) -> Changes:
    return {(name,): value for name, value in head.items() if fields.get(name) != value}


def _mark(event: bytes, name: str, value: object) -> bytes:
    """How this upstream writes a field of the head."""
    written = json.dumps(value, ensure_ascii=False).encode()
    compact, spaced = f'"{name}":'.encode() + written, f'"{name}": '.encode() + written
    return spaced if spaced in event else compact


def _shape(event: bytes) -> Shape:
    opening = _TOKEN.search(event)
    end = event.find(b'"', opening.end()) if opening else -1
    return (event[: opening.end()], event[end:]) if opening and end > 0 else _NO_SHAPE


def _has_no_reason(raw: bytes) -> bool:
    return b'"finish_reason":""' in raw or b'"finish_reason": ""' in raw


def _completion(raw: bytes) -> dict[str, Any] | None:
    """The fields of an answer or a chunk; None for an error, for `[DONE]`, and for what is neither."""
    try:
        fields = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and isinstance(fields.get("choices"), list) else None


def _changed(raw: bytes, changes: Changes) -> bytes:
    if not changes:
        return raw
    try:
        return spliced(raw.decode(), changes).encode()
    except (KeyError, RecursionError):  # a name that stands twice in one object, or nesting without end
        return raw


def _index(entry: Mapping[str, Any], position: int) -> int:
    index = entry.get("index")
    return index if type(index) is int else position


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _new_id(prefix: str) -> str:
    return prefix + urandom(12).hex()
