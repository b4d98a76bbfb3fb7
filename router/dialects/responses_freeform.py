"""The free text of a custom tool, carried through a function's JSON arguments: put in, and read out as it streams."""

import json
import re

_INPUT = "input"
_OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
# One step through the inside of a JSON string; an escape that is not whole yet matches nothing.
_STEP = re.compile(
    r'(?P<plain>[^"\\]+)'
    r"|\\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u(?P<code>[0-9a-fA-F]{4})"
    r"|\\(?P<mark>[^u])",
    re.DOTALL,
)
_PAIR_LENGTH = 12  # of `\ud83d\ude00`
_MARKS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}

PARAMETERS = {
    "type": "object",
    "properties": {_INPUT: {"type": "string", "description": "The whole input of the tool, as plain text."}},
    "required": [_INPUT],
    "additionalProperties": False,
}


def wrapped(text: str) -> str:
    """Free text as the arguments of a function."""
    return json.dumps({_INPUT: text}, ensure_ascii=False)


class FreeformReader:
    """Reads the text back while the arguments arrive. However they are cut, the pieces add up to the same."""

    def __init__(self) -> None:
        self._rest = ""  # what has come and is not read yet
        self._is_inside = False
        self._is_over = False

    def read(self, fragment: str) -> str:
        """The text that this fragment completes."""
        if self._is_over:
            return ""
        self._rest += fragment
        if not self._is_inside:
            opening = _OPENING.match(self._rest)
            if not opening:
                return ""  # not yet, or another shape: then all of it is read at the end
            self._is_inside = True
            self._rest = self._rest[opening.end() :]
        return self._decoded(is_last=False)

    def end(self) -> str:
        """The text that is left once no more arguments come."""
        if self._is_over:
            return ""
        if self._is_inside:
            return self._decoded(is_last=True)
        return _other_shape(self._rest)

    def _decoded(self, *, is_last: bool) -> str:
        found, at = [], 0
        while at < len(self._rest):
            if self._rest[at] == '"':
                self._is_over = True
                break
            step = _STEP.match(self._rest, at)
            if not is_last and (not step or self._may_be_half_a_pair(step)):
                break
            if not step:
                found.append(self._rest[at:])  # the arguments were cut within an escape
                at = len(self._rest)
                break
            found.append(_meaning(step))
            at = step.end()
        self._rest = self._rest[at:]
        return "".join(found)

    def _may_be_half_a_pair(self, step: re.Match[str]) -> bool:
        code = step["code"]
        return bool(code) and "D8" <= code[:2].upper() <= "DB" and len(self._rest) - step.start() < _PAIR_LENGTH


def _meaning(step: re.Match[str]) -> str:
    if step["plain"]:
        return step["plain"]
    if step["high"]:
        return chr(0x10000 + ((int(step["high"], 16) - 0xD800) << 10) + int(step["low"], 16) - 0xDC00)
    if step["code"]:
        character = chr(int(step["code"], 16))
        return "\ufffd" if "\ud800" <= character <= "\udfff" else character
    return _MARKS.get(step["mark"], step["mark"])


def _other_shape(arguments: str) -> str:
    """Models that were taught the tool call its only argument `patch`, or forget the JSON around it."""
    try:
        value = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        return arguments
    if isinstance(value, dict):
        texts = [text for text in value.values() if isinstance(text, str)]
        value = value.get(_INPUT) if isinstance(value.get(_INPUT), str) else texts[0] if len(texts) == 1 else None
    if not isinstance(value, str):
        return "" if arguments.strip() == "{}" else arguments
    return value.encode(errors="replace").decode()
