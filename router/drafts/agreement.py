"""Whether further drafts of the same ask say what the first one says: self-consistency, without asking any model. Pure.

Where drafts come to a point, the points count: the vote of Wang et al. (arXiv 2203.11171). Where they do not, what they
have in common does: ROUGE-L (Lin 2004, aclanthology.org/W04-1013), which Kuhn et al. (arXiv 2302.09664) measure among
samples as "lexical similarity".
"""

import re
from collections.abc import Sequence
from typing import Any

from weighbridge.drafts.reading import Draft
from weighbridge.drafts.shape import read
from weighbridge.learning.judging import exact_match, named_in

_POINT = 4  # words; an answer that has no more is one
_WORDS = 2_000  # of a draft that are compared
_WORD = re.compile(r"\w+")


def likenesses(first: Draft, others: Sequence[Draft]) -> list[float]:
    """How far each of the others says what the first says, 0..1."""
    return [_likeness(first, other) for other in others]


def agreement(likenesses: Sequence[float]) -> float | None:
    """The mean of them; None where there are none."""
    return sum(likenesses) / len(likenesses) if likenesses else None


def bounds(likenesses: Sequence[float], left: int) -> tuple[float, float]:
    """Between what the agreement can still come to, whatever so many further drafts say, and if they say nothing."""
    total = len(likenesses) + left
    return sum(likenesses) / total, (sum(likenesses) + left) / total


def _likeness(one: Draft, other: Draft) -> float:
    if one.calls or other.calls:
        return float(_calls(one) == _calls(other))
    if not (one.is_whole and other.is_whole):
        return _overlap_of_beginnings(one.text, other.text)
    mine, theirs = _point(one.text), _point(other.text)
    if mine is None and theirs is None:
        return rouge_l(_words(one.text), _words(other.text))
    if mine is None or theirs is None:
        return float(_says(other.text, mine) if theirs is None else _says(one.text, theirs))
    return float(mine == theirs or _says(theirs, mine) or _says(mine, theirs))


def _calls(draft: Draft) -> list[tuple[str, Any]]:
    """What is called, with the arguments as values: their order and spaces do not count."""
    return [(call.name, _json(call.arguments) or call.arguments) for call in draft.calls.values()]


def _point(text: str) -> object | None:
    """What an answer comes to: the JSON that it is, what it names as its answer, or itself where it is that short."""
    value: object = _json(text)
    if value is not None:
        return value
    named = named_in(text)
    if named and len(_WORD.findall(named[-1])) <= _POINT:
        return named[-1]
    return text if len(_WORD.findall(text)) <= _POINT else None


def _says(text: object, point: object) -> bool:
    """Whether a text holds what another one comes to: as its own end, or among its words."""
    if not isinstance(text, str) or not isinstance(point, str) or not (wanted := _WORD.findall(point.casefold())):
        return False
    words = _WORD.findall(text.casefold())
    held = any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))
    return held or bool(exact_match(text, point))


def _json(text: str) -> Any:
    """The value that a text is; None where it is none, or nothing but a word."""
    try:
        value = read(text)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())[:_WORDS]


def _overlap_of_beginnings(one: str, other: str) -> float:
    """Of drafts that are still on their way, as far as both have come."""
    mine, theirs = _words(one), _words(other)
    length = min(len(mine), len(theirs))
    return rouge_l(mine[:length], theirs[:length])


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """The F-measure of ROUGE-L: the longest common subsequence beside the lengths of both. Two of nothing are alike."""
    if not one or not other:
        return float(not one and not other)
    return 2 * _common(one, other) / (len(one) + len(other))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, a row of the table in one number (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    full = row = (1 << len(one)) - 1
    for word in other:
        met = row & places.get(word, 0)
        row = ((row + met) | (row - met)) & full
    return len(one) - row.bit_count()
