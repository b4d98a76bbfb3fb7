"""Placeholders: short names that stand in a request for what must not leave, and are put right in the answer. Pure.

One is written `<EMAIL_1>`. A name that the request itself holds is never given, so that whoever writes `<EMAIL_1>` gets
it back as it was.
"""

import html
import json
import re
from bisect import bisect_right
from collections.abc import Iterable

from weighbridge.policies.locate import ENCODED, Place, places
from weighbridge.policies.normal import Span, plain

LABELS = {
    "email": "EMAIL",
    "phone": "PHONE",
    "credit_card": "CARD",
    "iban": "IBAN",
    "secret": "SECRET",
    "us_ssn": "SSN",
    "ip_address": "IP",
    ENCODED: "ENCODED",
}
_PASSES = 4  # what stood beside a place may be one, once that is gone
_NAME = rf"(?:{'|'.join(LABELS.values())})_[0-9]{{1,9}}"
_LIKE_OURS = re.compile(_NAME)
# As models and serialisers write them: as they are, within JSON (within JSON), and within HTML.
_WRITTEN = re.compile(rf"<({_NAME})>|(\\{{1,2}})u003[cC]({_NAME})\2u003[eE]|&lt;({_NAME})&gt;")
_FORMS = ("<{}>", "\\u003c{}\\u003e", "\\u003C{}\\u003E", "\\\\u003c{}\\\\u003e", "&lt;{}&gt;")
_OPENING = re.compile(r"[<\\&]")
_JSON_STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)


class Placeholders:
    """Those of one request. The same value has the same name, and names are given in order."""

    def __init__(self, texts: Iterable[str]) -> None:
        """texts: all that the request holds, whose own names are left alone."""
        self._own = {name for text in texts for name in _names_in(text)}
        self._names: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._last: dict[str, int] = {}
        self._forms: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many values of each kind have a name."""
        kinds = [kind for kind, _ in self._names]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}

    def hidden(self, text: str) -> str:
        """The text with a name for each value."""
        for _ in range(_PASSES):
            found = places(text)
            if not found:
                break
            for place, name in self._named([(place, text[place.start : place.end]) for place in found]):
                text = f"{text[: place.start]}{name}{text[place.end :]}"
        return text

    def hidden_in_json(self, text: str) -> str:
        """The same for a text that is JSON: only within its strings, so that it stays JSON."""
        for _ in range(_PASSES):
            strings = [string.span(1) for string in _JSON_STRING.finditer(text)]
            found = [inside for place in places(text) if (inside := _within_string(place, text, strings))]
            if not found:
                break
            for place, name in self._named(found):
                text = f"{text[: place.start]}{name}{text[place.end :]}"
        return text

    def shown(self, text: str, *, is_json: bool) -> str:
        """The text with each name's value. is_json: it stands in a text that is JSON, and is escaped for it."""

        def value(found: re.Match[str]) -> str:
            plainly, slashes, escaped, in_html = found.groups()
            known = self._values.get(plainly or escaped or in_html)
            if known is None:
                return found[0]
            known = html.escape(known, quote=False) if in_html else known
            for _ in range(len(slashes) if slashes else int(is_json)):
                known = json.dumps(known, ensure_ascii=False)[1:-1]
            return known

        return _WRITTEN.sub(value, text)

    def parted(self, text: str) -> tuple[str, str]:
        """A text that goes on: what of it can be told apart now, and an end that may be the beginning of a name."""
        if not self._forms:
            self._forms = tuple(form.format(name) for name in self._values for form in _FORMS)
        longest = max(map(len, self._forms), default=0)
        for opening in _OPENING.finditer(text, max(0, len(text) - longest)):
            rest = text[opening.start() :]
            if any(form.startswith(rest) and form != rest for form in self._forms):
                return text[: opening.start()], rest
        return text, ""

    def _named(self, found: list[tuple[Place, str]]) -> list[tuple[Place, str]]:
        """Named from the first to the last, and returned the other way round, which is how they are put in."""
        return [(place, self._name(place.kind, value)) for place, value in found][::-1]

    def _name(self, kind: str, value: str) -> str:
        known = self._names.get((kind, value))
        if known is None:
            label = LABELS[kind]
            number = self._last.get(label, 0) + 1
            while f"{label}_{number}" in self._own:
                number += 1
            self._last[label] = number
            known = self._names[kind, value] = f"{label}_{number}"
            self._values[known] = value
            self._forms = ()
        return f"<{known}>"


def _names_in(text: str) -> Iterable[str]:
    if "_" not in text:
        return ()
    normal = plain(text) if "\\" in text or "%" in text or "&" in text else text
    return (name for each in {text, normal} for name in _LIKE_OURS.findall(each))


def _within_string(place: Place, text: str, strings: list[Span]) -> tuple[Place, str] | None:
    """The part of a place that lies in the string in which it begins, and what stands there; None outside of any."""
    which = bisect_right(strings, (place.start, len(text))) - 1
    if which < 0 or place.start >= strings[which][1]:
        return None
    start = place.start + _slashes_before(place.start, text) % 2  # the letter of an escape is not the value's own
    inside = Place(start, min(place.end, strings[which][1]), place.kind)
    try:
        return inside, json.loads(f'"{text[inside.start : inside.end]}"', strict=False)
    except ValueError:  # it ends within an escape
        return None


def _slashes_before(end: int, text: str) -> int:
    start = end
    while text[start - 1] == "\\":
        start -= 1
    return end - start
