"""The normal form of a text: what it reads like, whatever characters, escapes or invisible marks it is written with.

For looking things up in, never for sending on: several texts share one normal form.
"""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import category, decimal, normalize
from urllib.parse import unquote_to_bytes

# Fillers and tags, which Unicode does not count as formatting; a reader sees none of them either.
_INVISIBLE_BESIDES_FORMAT = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u20dd-\u20e4\u2065\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e01ef]"
)
_MARKS = re.compile("[\u0300-\u036f]+")
_ASCII = bytes(range(128))
_JOINING = frozenset(
    map(chr, [*range(0x300, 0x370), *range(0x1100, 0x1200)])
)  # accents, and the parts of Korean letters

# JSON within JSON doubles its backslashes each time.
_JSON_ESCAPE = re.compile(r'(?<!\\)\\{1,16}(?:u([0-9a-fA-F]{4})|([nrt"/]))')
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_PLAIN_OF_ESCAPE = {"n": "\n", "r": "\n", "t": " ", '"': '"', "/": "/"}

_SIGNS = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u2e3a\u2e3b\u058a\u05be", "-"),
    **dict.fromkeys("\u3002\u06d4\u0701\u0702", "."),
    **dict.fromkeys("\u2028\u2029\u1680", " "),
}
_ENTITY = re.compile(r"&(?:#[0-9]{1,8};?|#[xX][0-9a-fA-F]{1,8};?|[A-Za-z][A-Za-z0-9]{1,31};?)")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]")
_LETTER_WITH_MARKS = re.compile("[^\u0300-\u036f\u1100-\u11ff]?[\u0300-\u036f\u1100-\u11ff]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_LONG_VOWEL_DASH = re.compile("(?<=[0-9])\u30fc(?=[0-9])")  # how Japanese keyboards write a dash between digits

# Small letters of other scripts that look like Latin ones.
_LOOKALIKES = dict(zip("аеорсухіјѕһԁԛԝӏοαινρκтмкнɡı", "aeopcyxijshdqwloaivpktmkhgi", strict=True))
_SCRIPTS_THAT_LOOK_ALIKE = re.compile("[\u0131\u0261\u0370-\u03ff\u0400-\u052f]")


Span = tuple[int, int]  # from, to
Found = re.Match[str]


@dataclass(frozen=True, slots=True)
class Aligned:
    """A normal form that knows where in the text as it came each of its characters stands.

    starts, ends: of each character; None where the normal form is the text itself.
    """

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None

    def span(self, start: int, end: int) -> Span:
        """Where a stretch of the normal form stands in the text as it came."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]

    def replaced(self, pattern: re.Pattern[str], by: Callable[[Found], str]) -> "Aligned":
        """As `re.sub` does it. What a match turns into stands where the whole match stood."""
        texts: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        at = 0
        for found in pattern.finditer(self.text):
            new = by(found)
            whole = self.span(*found.span())
            starts += [*self._starts(at, found.start()), *[whole[0]] * len(new)]
            ends += [*self._ends(at, found.start()), *[whole[1]] * len(new)]
            texts += [self.text[at : found.start()], new]
            at = found.end()
        size = len(self.text)
        text = "".join([*texts, self.text[at:]])
        return Aligned(text, [*starts, *self._starts(at, size)], [*ends, *self._ends(at, size)])

    def _starts(self, start: int, end: int) -> "list[int] | range":
        return range(start, end) if self.starts is None else self.starts[start:end]

    def _ends(self, start: int, end: int) -> "list[int] | range":
        return range(start + 1, end + 1) if self.ends is None else self.ends[start:end]


def aligned(text: str) -> Aligned | None:
    """The normal form with its places in the text; None where they cannot be told."""
    normal = plain(text)
    if normal == text:
        return Aligned(text)
    form = _aligned_without_escapes(Aligned(text))
    form = form.replaced(_NOT_ASCII, lambda found: _reads_as(found[0]))
    form = form.replaced(_LETTER_WITH_MARKS, lambda found: _MARKS.sub("", normalize("NFC", found[0])))
    if "\u30fc" in form.text:
        form = form.replaced(_LONG_VOWEL_DASH, lambda _: "-")
    return form if form.text == normal else None


def _aligned_without_escapes(form: Aligned) -> Aligned:
    if "\\" in form.text:
        form = form.replaced(_JSON_ESCAPE, _of_json_escape)
        form = form.replaced(
            _PAIR, lambda found: found[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        )
    if "%" in form.text:
        form = form.replaced(_PERCENT, _of_percent)
    if "&#" in form.text or "&commat;" in form.text:
        form = form.replaced(_ENTITY, lambda found: html.unescape(found[0]))
    return form


def plain(text: str) -> str:
    """The text without escapes and invisible marks, in NFKC, with ASCII digits, dashes and dots. Case is kept."""
    text = _unescaped(text)
    if text.isascii():
        return text
    # What is not ASCII is rare in most texts and repeats itself in the others, so each character is looked at once.
    characters = set(text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass"))
    changes = {old: new for old in characters if (new := _reads_as(old)) != old}
    text = _replaced(text, changes)
    if not characters.isdisjoint(_JOINING):
        text = _MARKS.sub("", normalize("NFC", text))  # marks that could not be joined with the letter before them
    return _LONG_VOWEL_DASH.sub("-", text) if "\u30fc" in characters else text


@lru_cache(maxsize=4096)
def _reads_as(character: str) -> str:
    if category(character) == "Cf" or _INVISIBLE_BESIDES_FORMAT.match(character):
        return ""
    if category(character) == "Nd":
        return str(decimal(character))
    # NFKC of one character may hold signs of its own (a small full stop is a full stop).
    return "".join(_SIGNS.get(c, c) for c in normalize("NFKC", character))


def _replaced(text: str, changes: Mapping[str, str]) -> str:
    # Quick passes in C while they are few; str.translate looks up every character, which takes twenty times as long.
    if len(changes) > 50:
        return text.translate({ord(old): new for old, new in changes.items()})
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def folded(text: str) -> str:
    """A normal form without case, in which letters that look alike are the same letter."""
    if text.isascii():
        return text.lower()
    text = text.casefold()
    if _SCRIPTS_THAT_LOOK_ALIKE.search(text):
        return _replaced(text, _LOOKALIKES)
    return text


def _unescaped(text: str) -> str:
    """JSON within JSON (the arguments of tool calls), URLs and HTML write characters by their numbers."""
    if "\\" in text:
        has_pairs = "\\ud" in text or "\\uD" in text
        text = _JSON_ESCAPE.sub(_of_json_escape, text)
        if has_pairs:  # what lies beyond the first 65,536 characters is escaped in two halves
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if "%" in text:
        text = _PERCENT.sub(_of_percent, text)
    if "&#" in text or "&commat;" in text:
        text = html.unescape(text)
    return text


def _of_percent(found: Found) -> str:
    return unquote_to_bytes(found[0]).decode("utf-8", "replace")


def _of_json_escape(found: Found) -> str:
    code, short = found.groups()
    return chr(int(code, 16)) if code else _PLAIN_OF_ESCAPE[short]
