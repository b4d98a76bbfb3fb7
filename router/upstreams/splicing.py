"""Changes a few values deep inside a JSON text; the rest stays to the letter, numbers and white space included."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from json.decoder import scanstring  # type: ignore[attr-defined]  # the C scanner behind json.loads
from typing import Any, Final

Path = tuple[str | int, ...]
Edit = tuple[int, int, str]

# What is only passed over is not converted: no number is too long, and none loses digits.
_decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_SPACE = re.compile(r"[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,?[ \t\n\r]*")


class _Mark(Enum):
    REMOVED = 0
    AS_STRING = 1


REMOVED: Final = _Mark.REMOVED
AS_STRING: Final = _Mark.AS_STRING  # the value that stands there, its text put into a JSON string


@dataclass(frozen=True, slots=True)
class Literally:
    """A value that is JSON text already."""

    text: str


@dataclass(frozen=True, slots=True)
class _Member:
    """One entry of an object or array: where it stands, its name included, and where its value begins."""

    name: str | int
    start: int
    value: int
    end: int


def spliced(text: str, changes: Mapping[Path, object]) -> str:
    """The text with the values at these paths replaced, added to their object, or REMOVED from it.

    KeyError where a path leads through something that is not there.
    """
    parts, at = [], 0
    for start, end, new in sorted(_edits(text, _skip(text, 0), changes)):
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])


def text_at(text: str, path: Path) -> str:
    """The value at a path, as it is written."""
    start, end = _skip(text, 0), len(text)
    for name in path:
        member = next((m for m in _members(text, start) if m.name == name), None)
        if member is None:
            raise KeyError(path)
        start, end = member.value, member.end
    return text[start:end]


def _edits(text: str, at: int, changes: Mapping[Path, object]) -> list[Edit]:
    """What to do to the object or array that opens at this place."""
    wanted: dict[str | int, dict[Path, object]] = {}
    for path, value in changes.items():
        wanted.setdefault(path[0], {})[path[1:]] = value
    edits: list[Edit] = []
    members = list(_members(text, at))
    is_first = True  # no member before this one stays
    for i, member in enumerate(members):
        deeper = wanted.pop(member.name, {})
        if () not in deeper:
            edits += _edits(text, member.value, deeper) if deeper else []
        elif deeper[()] is REMOVED:
            edits.append(_cut(members, i, is_first=is_first))
            continue
        else:
            new = text[member.value : member.end] if deeper[()] is AS_STRING else deeper[()]
            edits.append((member.value, member.end, _written(new)))
        is_first = False
    added = [f"{json.dumps(name)}:{_written(new)}" for name, new in _additions(text, at, wanted)]
    if added:
        end = members[-1].end if members else at + 1
        edits.append((end, end, ("" if is_first else ",") + ",".join(added)))
    return edits


def _cut(members: list[_Member], i: int, *, is_first: bool) -> Edit:
    """Take a member out, with the comma before it, or with the one after it where nothing stands before."""
    if not is_first:
        return members[i - 1].end, members[i].end, ""
    return members[i].start, members[i + 1].start if i + 1 < len(members) else members[i].end, ""


def _additions(text: str, at: int, missing: Mapping[str | int, Mapping[Path, object]]) -> Iterator[tuple[str, object]]:
    for name, deeper in missing.items():
        if deeper.get(()) is REMOVED:
            continue
        if text[at] != "{" or not isinstance(name, str) or () not in deeper:
            raise KeyError(name)
        yield name, deeper[()]


def _members(text: str, at: int) -> Iterator[_Member]:
    """The entries of the object or array that opens at this place; a value of another kind has none."""
    if text[at] not in "{[":
        return
    is_object = text[at] == "{"
    start, count = _skip(text, at + 1), 0
    while text[start] not in "}]":
        name: str | int = count
        value = start
        if is_object:
            name, value = scanstring(text, start + 1, True)
            value = _COLON.match(text, value).end()  # type: ignore[union-attr]  # the text is valid
        end = _decoder.raw_decode(text, value)[1]
        yield _Member(name, start, value, end)
        start, count = _COMMA.match(text, end).end(), count + 1  # type: ignore[union-attr]  # matches everywhere


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # matches everywhere


def _written(value: Any) -> str:
    return value.text if isinstance(value, Literally) else json.dumps(value)
