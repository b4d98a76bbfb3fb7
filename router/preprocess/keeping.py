"""What must not get lost when a text is written anew: found before, and looked for afterwards. Pure."""

# ruff: noqa: RUF001 - the quotation marks of other languages are meant
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator

_NUMBER = re.compile(r"\d+(?:[.,:/\-]\d+)*")
_THOUSANDS = re.compile(r"\b\d{1,3}(?:,\d{3})+\b")
_LINK = re.compile(r"https?://[^\s<>\"')\]]+|(?<![\w.+\-])[\w.+\-]++@[\w\-]++(?:\.[\w\-]++)++|<[A-Z]+_\d+>")
# In backticks, or with a shape that only names in programs have.
_CODE = re.compile(
    r"`[^`\n]+`|(?<![\w\-])(?:[a-z]++[A-Z]\w*+|[^\W_]++(?:_++[^\W_]++)++|[\w\-]++(?:/[\w.\-]++)++|\w{2,}+\.[a-z]{1,4}\b)"
)
_QUOTE = re.compile(r"\"[^\"\n]{1,300}\"|“[^”\n]{1,300}”|„[^“\n]{1,300}“|«[^»\n]{1,300}»|(?<!\w)'[^'\n]{2,100}'(?!\w)")
_WORD = re.compile(r"[^\W\d_][\w'’\-]{0,99}")
_BEFORE_A_SENTENCE = frozenset('.!?:;\n"“„«(')
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?!\s|$)[^.!?\n]*)*(?:[.!?]+|$)?")
# Without an apostrophe too: who writes in haste leaves it out.
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|nobody|nor|neither|without|except|cannot|"
    r"(?:do|does|did|is|are|was|were|has|have|had|ca|could|wo|would|should|must|need|ai)n['’]?t|"
    r"nicht|nichts|nie|niemals|kein\w{0,2}|ohne|außer|pas|jamais|sans|rien|nunca|sin|nada|ningun\w?|non|mai|senza)\b",
    re.IGNORECASE,
)
_SOLID = ("numbers", "links", "code")  # what cannot be in a text that is only said otherwise


def found_in(text: str, kinds: Collection[str]) -> Counter[str]:
    """What of these kinds a text holds, as it must be found again."""
    return Counter(thing for kind in kinds for thing in _FINDERS[kind](text))


def missing(before: str, after: str, kinds: Collection[str]) -> set[str]:
    """What the second text has not got at all. Names may be spelt in small letters there."""
    there = set(found_in(after, kinds)) | (set(_words(after)) if "names" in kinds else set())
    return set(found_in(before, kinds)) - there


def changed(before: str, after: str, kinds: Collection[str]) -> str | None:
    """The first kind of which the second text has lost something, or has something of its own; None where all is well.

    However often a thing is said, it must be said as often.
    """
    for kind in kinds:
        if kind == "names":
            is_same = not (set(_names(before)) - set(_words(after)) or set(_names(after)) - set(_words(before)))
        else:
            is_same = found_in(before, [kind]) == found_in(after, [kind])
        if not is_same:
            return kind
    return None


def mended(before: str, after: str, kinds: Collection[str]) -> str:
    """The second text, and each sentence of the first that holds what the second has lost."""
    gone = missing(before, after, kinds)
    if not gone:
        return after
    kept = [part for sentence in _SENTENCE.findall(before) if gone & set(found_in(part := sentence.strip(), kinds))]
    return "\n".join([after, *dict.fromkeys(kept)])


def invented(before: str, after: str) -> bool:
    """Whether the second text holds a number, a link or code that is not in the first."""
    return bool(set(found_in(after, _SOLID)) - set(found_in(before, _SOLID)))


def _numbers(text: str) -> Iterator[str]:
    plain = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)
    return (found[0] for found in _NUMBER.finditer(plain))


def _all_of(pattern: re.Pattern[str]) -> "Finder":
    return lambda text: (found[0].rstrip(".,;:") for found in pattern.finditer(text))


def _quotes(text: str) -> Iterator[str]:
    return (found[0][1:-1] for found in _QUOTE.finditer(text))


def _words(text: str) -> Iterator[str]:
    return (found[0].casefold() for found in _WORD.finditer(text))


def _names(text: str) -> Iterator[str]:
    """Words that begin with a capital where no sentence does, and those that are all of capitals."""
    for found in _WORD.finditer(text):
        word, before = found[0], text[max(0, found.start() - 8) : found.start()].rstrip(" \t*_#>-")
        begins = not before or before[-1] in _BEFORE_A_SENTENCE
        if (len(word) > 1 and word.isupper()) or (word[0].isupper() and not begins and word.partition("'")[0] != "I"):
            yield word.casefold()


def _negations(text: str) -> Iterator[str]:
    return ("not" for _ in _NEGATION.finditer(text))


Finder = Callable[[str], Iterator[str]]
_FINDERS: dict[str, Finder] = {
    "numbers": _numbers,
    "code": _all_of(_CODE),
    "links": _all_of(_LINK),
    "quotes": _quotes,
    "names": _names,
    "negations": _negations,
}
