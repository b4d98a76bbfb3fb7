"""Location: where in a text personal data and secrets stand, to be replaced. It finds what `detect` finds."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from weighbridge.policies import credentials, numbers, phones
from weighbridge.policies.detect import KINDS, Findings, decoded, emails_in, figures_in
from weighbridge.policies.normal import Span, aligned

ENCODED = "encoded"  # base64 or hexadecimal that holds one of the kinds
_SHORTEST = 6  # characters; nothing shorter is any of the kinds
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_\-.~]{16,}")


@dataclass(frozen=True, slots=True)
class Place:
    """From where to where, and what is there."""

    start: int
    end: int
    kind: str


def places(text: str) -> list[Place]:
    """In order, none within another. What cannot be placed is left out: ask `Findings` about the rest."""
    if len(text) < _SHORTEST or (form := aligned(text)) is None:
        return []
    found = [(*span, kind) for kind, find in _FINDERS for span in find(form.text)]
    return [Place(*form.span(start, end), kind) for start, end, kind in _joined(found)]


def _joined(found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Those that overlap are one, of the kind of the longest."""
    joined: list[tuple[int, int, str]] = []
    longest = 0
    for start, end, kind in sorted(found):
        if joined and start < joined[-1][1]:
            first, last, known = joined[-1]
            joined[-1] = (first, max(last, end), kind if end - start > longest else known)
            longest = max(longest, end - start)
        else:
            joined.append((start, end, kind))
            longest = end - start
    return joined


def _among_figures(find: Callable[[str], Iterator[Span]]) -> Callable[[str], Iterator[Span]]:
    """Look only at the stretches of digits, all at once, as detection does."""

    def found(text: str) -> Iterator[Span]:
        stretches = list(figures_in(text, text.encode("utf-8", "surrogatepass")))
        if not stretches:
            return
        begins, at = [], 0
        for start, end in stretches:
            begins.append(at)
            at += len(text[start:end]) + 1
        for start, end in find("\n".join(text[slice(*stretch)] for stretch in stretches)):
            which = bisect_right(begins, start) - 1
            offset = stretches[which][0] - begins[which]
            yield start + offset, end + offset

    return found


def _key_shapes(text: str) -> Iterator[Span]:
    for word in _LONG_WORD.finditer(text):
        yield from ((word.start() + start, word.start() + end) for start, end in credentials.key_shapes_in(word[0]))


def _assigned(text: str) -> Iterator[Span]:
    raw = text.encode("utf-8", "surrogatepass")
    for start, end in credentials.assigned_in(raw):
        if len(raw) == len(text):
            yield start, end
        else:
            first = len(raw[:start].decode("utf-8", "surrogatepass"))
            yield first, first + len(raw[start:end].decode("utf-8", "replace"))


def _encoded(text: str) -> Iterator[Span]:
    for word in _LONG_WORD.finditer(text):
        inner = decoded(word[0])
        if inner:
            findings = Findings(inner)
            if any(kind in findings for kind in KINDS):
                yield word.span()


_FINDERS: tuple[tuple[str, Callable[[str], Iterator[Span]]], ...] = (
    ("email", emails_in),
    ("phone", _among_figures(phones.phones_in)),
    ("credit_card", _among_figures(numbers.cards_in)),
    ("iban", numbers.ibans_in),
    ("secret", _key_shapes),
    ("secret", credentials.private_keys_in),
    ("secret", credentials.passwords_in_urls_in),
    ("secret", _assigned),
    ("us_ssn", _among_figures(numbers.ssns_in)),
    ("ip_address", numbers.ip_addresses_in),
    (ENCODED, _encoded),
)
