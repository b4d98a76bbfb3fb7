"""What can be counted in a text without understanding it: length, shape, symbols, and a few telling words.

The names and the order are part of an artefact's format: a head is fitted on exactly these.
"""

import math
import re
import zlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "log_characters",
    "log_words",
    "word_length",
    "longest_word",
    "digit_share",
    "upper_share",
    "symbol_share",
    "non_ascii_share",
    "log_lines",
    "log_sentences",
    "distinct_words",
    "log_questions",
    "log_numbers",
    "log_code_marks",
    "log_formula_marks",
    "log_options",
    "log_blanks",
    "log_expert_words",
    "log_constraint_words",
    "log_everyday_words",
    "opens_with_question_word",
    "opens_with_order",
    "log_ask_characters",
    "log_option_characters",
    "option_spread",
    "number_options",
    "log_negations",
    "log_statements",
    "log_hedges",
    "log_names",
    "log_years",
    "log_commas",
    "log_quotes",
    "log_brackets",
    "little_word_share",
    "log_personal",
)

# Words are known by a number below WORDS, pairs of words by one from there to WORD_BUCKETS.
WORDS = 1 << 17
WORD_BUCKETS = 2 * WORDS
_MOST_WORDS = 400

_NUMBER = re.compile(r"[0-9]+")
# What may cling to a word. Escaped where a reader could take one mark for another.
_EDGES = (
    ".,;:!?()[]{}<>*#_-/|+=~$%&@^0123456789\"'`\\"
    "\u00b4\u2019\u201c\u201d\u201e\u00ab\u00bb\u2013\u2014\u2026\u00bf\u00a1"
)
_UPPER = re.compile(r"[A-ZÀ-ÖØ-ÞА-Я]")  # Latin and Cyrillic
_OPTION = re.compile(r"^\(?[A-J][.):] ", re.MULTILINE)
_YEAR = re.compile(r"\b(?:1[0-9]|20)[0-9]{2}\b")
_NAME = re.compile(r"[a-z,] [A-Z][a-z]")  # a capital inside a sentence
_CODE_MARKS = ("{", "}", ";", "```", "()", "=>", "def ", "==", "</")
_FORMULA_MARKS = ("\\", "$", "^", "=", "∫", "∑", "≤", "√")
_QUESTION_WORDS = frozenset(
    """
        what who when where which how why is are do does can was wer wann wo qui que quand où quién cuándo
    """.split()  # noqa: SIM905  # a list of words reads better as words
)
_ORDER_WORDS = frozenset(
    """
        find compute calculate determine evaluate solve prove show derive simplify write explain describe list give
        translate summarize summarise fix correct make create design implement compare identify choose name let suppose
    """.split()  # noqa: SIM905  # a list of words reads better as words
)
_NEGATIONS = frozenset(
    "not except never no none neither nor least false incorrect cannot without unlikely".split()  # noqa: SIM905
)
_STATEMENTS = frozenset(
    "following statement statements true false correct both only all above these i ii iii iv".split()  # noqa: SIM905
)
_HEDGES = frozenset(
    "would should could may might most likely best probably generally usually often if".split()  # noqa: SIM905
)
_LITTLE = frozenset(
    "the a an of to in is are was were and or that this with for on as at by it be from his her".split()  # noqa: SIM905
)
_PERSONAL = frozenset("i me my you your we our us please thanks he she his her they".split())  # noqa: SIM905
_EXPERT_WORDS = frozenset(
    """
        prove proof derive rigorous rigorously theorem lemma asymptotic optimal optimize optimise architecture
        distributed consensus concurrency concurrent critique evaluate tradeoffs trade-offs analyze analyse analysis
        design formal complexity bound bounds convergence strategy comprehensive vulnerability threat exploit
        jurisdiction liability differential diagnosis hypothesis estimator bayesian stochastic beweise analysiere
        démontre démontrer demuestra entwirf conception diseña
    """.split()  # noqa: SIM905  # a list of words reads better as words
)
_CONSTRAINT_WORDS = frozenset(
    """
        must without every each all exactly only least most given assuming subject constraint constraints ensure
        guarantee while including justify explain compare under ohne genau sans exactement sin
    """.split()  # noqa: SIM905  # a list of words reads better as words
)
_EVERYDAY_WORDS = frozenset(
    """
        hi hello hey thanks thank please translate typo spelling capital synonym list shorter rephrase rewrite
        summarize summarise uppercase lowercase convert name email text word sentence hallo danke bitte übersetze
        bonjour merci traduis hola gracias traduce
    """.split()  # noqa: SIM905  # a list of words reads better as words
)


_KINDS = (
    _EXPERT_WORDS, _CONSTRAINT_WORDS, _EVERYDAY_WORDS, _NEGATIONS, _STATEMENTS, _HEDGES, _LITTLE, _PERSONAL,
)  # fmt: skip
_KINDS_OF = {
    word: tuple(i for i, kind in enumerate(_KINDS) if word in kind) for word in frozenset[str]().union(*_KINDS)
}


def count(text: str, characters: int) -> NDArray[np.float32]:
    """The features of a text that was cut to its ends; `characters` is the length that it had."""
    return _count(text, characters, _split(text))


def words(text: str) -> NDArray[np.int64]:
    """The words of a text and their pairs, as ascending numbers below WORD_BUCKETS. Some share a number."""
    return _numbers(_split(text))


def both(text: str, characters: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The counts and the words of a text that is split once for both."""
    found = _split(text)
    return _count(text, characters, found), _numbers(found)


def _count(text: str, characters: int, words: list[str]) -> NDArray[np.float32]:
    numbers = _NUMBER.findall(text)
    size, known = max(1, len(text)), max(1, len(words))
    lengths = list(map(len, words)) or [0]
    of_kind = _of_kinds(words)
    values = (
        math.log1p(characters),
        math.log1p(len(words)),
        sum(lengths) / known,
        min(40, max(lengths)),
        sum(map(len, numbers)) / size,
        len(_UPPER.findall(text)) / size,
        (size - sum(lengths) - text.count(" ")) / size,
        (len(text.encode("utf-8", "replace")) - len(text)) / size,
        math.log1p(text.count("\n")),
        math.log1p(text.count(". ") + text.count("! ")),
        len(set(words)) / known,
        math.log1p(text.count("?")),
        math.log1p(len(numbers)),
        math.log1p(sum(map(text.count, _CODE_MARKS))),
        math.log1p(sum(map(text.count, _FORMULA_MARKS))),
        math.log1p(len(_OPTION.findall(text))),
        math.log1p(text.count("___")),
        *(math.log1p(n) for n in of_kind[:3]),
        float(bool(words) and words[0] in _QUESTION_WORDS),
        float(bool(words) and words[0] in _ORDER_WORDS),
        *_of_options(text),
        *(math.log1p(n) for n in of_kind[3:6]),
        math.log1p(len(_NAME.findall(text))),
        math.log1p(len(_YEAR.findall(text))),
        math.log1p(text.count(",")),
        math.log1p(text.count('"') + text.count("\u201c")),
        math.log1p(text.count("(")),
        of_kind[6] / known,
        math.log1p(of_kind[7]),
    )
    return np.array(values, dtype=np.float32)


def _of_kinds(words: list[str]) -> list[int]:
    found = [0] * len(_KINDS)
    for kinds in filter(None, map(_KINDS_OF.get, words)):
        for kind in kinds:
            found[kind] += 1
    return found


def _of_options(text: str) -> tuple[float, float, float, float]:
    """Of the ask and its options: how long, how unlike in length, and how many of them begin with a number."""
    ask, *options = _OPTION.split(text)
    if not options:
        return math.log1p(len(ask)), 0.0, 0.0, 0.0
    sizes = [len(option.strip()) for option in options]
    mean = sum(sizes) / len(sizes)
    spread = (max(sizes) - min(sizes)) / (mean + 1)
    numbers = sum(option.lstrip(" $-(")[:1].isdigit() for option in options)
    return math.log1p(len(ask)), math.log1p(mean), spread, numbers / len(options)


def _numbers(words: list[str]) -> NDArray[np.int64]:
    found = words[:_MOST_WORDS]
    numbers = {zlib.crc32(word.encode()) % WORDS for word in found}
    numbers |= {WORDS + zlib.crc32(f"{one} {other}".encode()) % WORDS for one, other in pairwise(found)}
    return np.array(sorted(numbers), dtype=np.int64)


def _split(text: str) -> list[str]:
    # Splitting and stripping takes a tenth of the time that a regular expression for words would.
    return [word for word in [piece.strip(_EDGES) for piece in text.lower().split()] if word]
