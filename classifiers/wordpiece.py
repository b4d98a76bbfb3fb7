"""Tokens of plain text, word by word: a word that was seen before costs a look into a table.

A tokenizer spends six microseconds on a token, mostly to know where in the text it came from. Only ASCII is split here;
for the rest, and for words that are new, the tokenizer itself is asked, so that the tokens are always its own. One that
does not split as BERT's does, which a probe finds out, is asked for everything.
"""

import re
from collections.abc import Callable, Sequence
from itertools import chain

Encode = Callable[[list[str]], list[list[int]]]

_MARK = re.compile(r"\[(?:CLS|SEP|UNK|PAD|MASK)\]")  # known to the tokenizer within a text, too
_DROPPED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # what stands around these becomes one word
_WORD = re.compile(r"[a-z0-9]+|[^a-z0-9\s]")  # every other character stands for itself
_PROBE = "Ab'C-9z_(d) \tE.\r\n\n ff,GG"
_MAX_WORDS = 20_000
_MAX_CHARACTERS = 40


class WordPiece:
    """encode: the tokens of each of several texts, without marks around them. Thread-safe if it is."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._known: dict[str, list[int]] = {}
        self._is_like_bert = self._plain(_PROBE) == encode([_PROBE])[0]

    def tokens_of(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._plain(text) if self._is_plain(text) else self._encode([text])[0] for text in texts]

    def _is_plain(self, text: str) -> bool:
        is_marked = "[" in text and _MARK.search(text)
        return self._is_like_bert and text.isascii() and not is_marked and not _DROPPED.search(text)

    def _plain(self, text: str) -> list[int]:
        words = _WORD.findall(text.lower())
        known = self._known  # a full table is replaced, never emptied: this one stays whole
        try:
            return list(chain.from_iterable([known[word] for word in words]))
        except KeyError:
            found = self._learned({word for word in words if word not in known})
            return list(chain.from_iterable([found[word] if word in found else known[word] for word in words]))

    def _learned(self, words: set[str]) -> dict[str, list[int]]:
        new = sorted(words)
        found = dict(zip(new, self._encode(new), strict=True))
        if len(self._known) + len(found) > _MAX_WORDS:
            self._known = {}
        self._known.update((word, tokens) for word, tokens in found.items() if len(word) <= _MAX_CHARACTERS)
        return found
