"""Where each key stands in a TOML text. The standard parser forgets lines; an error message needs them.

It scans a text that the standard parser has already read, so it checks nothing.
"""

import json
import re
from bisect import bisect_left
from contextlib import suppress
from functools import lru_cache

Key = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PART = re.compile(r"""[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL
)
_BARE = re.compile(r"[^,\]}#\n]*")


def line_of(text: str, key: Key) -> int | None:
    """The line, from 1, of the key or of the nearest table around it; None where not even that is in the text."""
    lines = _lines(text)
    return next((lines[key[:size]] for size in range(len(key), 0, -1) if key[:size] in lines), None)


def value_of(text: str, key: Key) -> tuple[int, int] | None:
    """Where in the text the value of a key stands; None where it has none of its own, as a [table] has not."""
    return _scanned(text).values.get(key)


def _lines(text: str) -> dict[Key, int]:
    return _scanned(text).lines


@lru_cache(maxsize=1)
def _scanned(text: str) -> "_Scanner":
    scanner = _Scanner(text)
    with suppress(IndexError, RecursionError):  # what was found up to there is better than nothing
        scanner.scan()
    return scanner


class _Scanner:
    """Walks a text once and notes each key's line; of a key that is opened twice, the first."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Key, int] = {}
        self.values: dict[Key, tuple[int, int]] = {}  # from, to
        self._ends = [i for i, character in enumerate(text) if character == "\n"]
        self._counts: dict[Key, int] = {}  # how many [[tables]] of that name there are so far

    def scan(self) -> None:
        table: Key = ()
        self._skip()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()

    def _header(self) -> Key:
        """`[table]`, or one more `[[table]]` of an array."""
        line = self._line()
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        *parents, last = self._key()
        table: Key = ()
        for part in parents:
            table = self._within((*table, part))
        table = (*table, last)
        self._note(table, line)
        if is_array:
            self._counts[table] = self._counts.get(table, -1) + 1
        table = self._within(table)
        self._note(table, line)
        self.at += 2 if is_array else 1
        return table

    def _within(self, table: Key) -> Key:
        """The table itself, or the latest of its array."""
        return (*table, self._counts[table]) if table in self._counts else table

    def _pair(self, table: Key) -> None:
        line = self._line()
        key = (*table, *self._key())
        self._note(key, line)
        self.at += 1  # the "="
        self._skip()
        start = self.at
        self._value(key)
        self.values[key] = (start, start + len(self.text[start : self.at].rstrip()))

    def _key(self) -> Key:
        parts: list[str] = []
        while found := _PART.match(self.text, self.at):
            parts.append(_plain(found[1]))
            self.at = found.end()
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1
        raise IndexError(self.at)

    def _value(self, key: Key) -> None:
        self._skip()
        if self.text[self.at] == "[":
            self._items(key, "]")
        elif self.text[self.at] == "{":
            self._items(key, "}")
        else:
            found = _STRING.match(self.text, self.at) or _BARE.match(self.text, self.at)
            if not found or found.end() == self.at:
                raise IndexError(self.at)
            self.at = found.end()

    def _items(self, key: Key, end: str) -> None:
        """What an array or an inline table holds."""
        self.at += 1
        count = 0
        self._skip()
        while self.text[self.at] != end:
            if end == "]":
                self._note((*key, count), self._line())
                self._value((*key, count))
                count += 1
            else:
                self._pair(key)
            self._skip()
            if self.text[self.at] == ",":
                self.at += 1
                self._skip()
        self.at += 1

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _line(self) -> int:
        return bisect_left(self._ends, self.at) + 1

    def _note(self, key: Key, line: int) -> None:
        for size in range(1, len(key) + 1):
            self.lines.setdefault(key[:size], line)


def _plain(part: str) -> str:
    """A key as the parser gives it: without quotes and escapes."""
    if part[0] == '"':
        try:
            return str(json.loads(part))
        except ValueError:
            return part[1:-1]  # an escape that JSON does not know
    return part.strip("'")
