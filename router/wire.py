"""Request bodies: read strictly, changed by splicing, so that what we do not touch arrives to the letter.

A body is parsed once. To name another model we cut its value out of the text and put ours in; the rest, big integers,
unknown fields and white space included, is never written anew.
"""

import json
import re
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # the C scanner behind json.loads
from math import isfinite
from typing import Any, NoReturn

from weighbridge.errors import BadRequest

MAX_DEPTH = 64
MAX_NODES = 200_000

_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = {c: None for c in range(0x110000) if chr(c) not in "[]{}"} if False else None
_LONE = re.compile("[\ud800-\udfff]")
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object as it came: its text, its fields, and where in the text each top-level value stands."""

    text: str
    fields: dict[str, Any]
    spans: dict[str, tuple[int, int]]

    def spliced(self, changes: dict[str, Any]) -> bytes:
        """The body with some top-level values changed or added, and everything else to the letter.

        A value of None takes the field out.
        """
        edits = [(self.spans[k], None if v is None else json.dumps(v)) for k, v in changes.items() if k in self.spans]
        added = [f"{json.dumps(k)}:{json.dumps(v)}" for k, v in changes.items() if k not in self.spans and v is not None]
        text = self.text
        for (start, end), value in sorted(edits, reverse=True):
            text = text[:start] + (value if value is not None else "null") + text[end:]
        if added:
            close = text.rindex("}")
            comma = "," if self.fields else ""
            text = text[:close] + comma + ",".join(added) + text[close:]
        return text.encode()


def parse(raw: bytes) -> Body:
    """Read a body. BadRequest says what is wrong with it and where."""
    text = _decoded(raw)
    _guard_size(text)
    try:
        fields, spans = _read_object(text)
    except RecursionError:
        raise BadRequest(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    except json.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error.msg} at character {error.pos}.") from None
    except ValueError as error:  # an integer of more digits than Python reads
        raise BadRequest(f"The body holds a number that cannot be read: {str(error)[:80]}.") from None
    return Body(text, fields, spans)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not valid UTF-8 at byte {error.start}.") from None


def _guard_size(text: str) -> None:
    """Refuse what is too deep or too scattered before it is parsed; a common body costs three counts."""
    opening = text.count("{") + text.count("[")
    if opening <= MAX_DEPTH and opening + text.count(",") <= MAX_NODES:
        return
    bare = _STRING.sub("", text)
    if bare.count("{") + bare.count("[") + bare.count(",") > MAX_NODES:
        raise BadRequest(f"The body has more than {MAX_NODES:,} values.")
    brackets = re.sub(r"[^\[\]{}]+", "", bare)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        shorter = brackets.replace("[]", "").replace("{}", "")
        if len(shorter) == len(brackets):
            return  # unbalanced: the parser will say where
        brackets = shorter
    if brackets:
        raise BadRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")
