"""What can be counted in a text without understanding it: length, shape, symbols, and a few telling words.

The names and the order are part of an artefact's format: a head is fitted on exactly these.
"""

import math
import re

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
)

_NUMBER = re.compile(r"[0-9]+")
# What may cling to a word. Escaped where a reader could take one mark for another.
_EDGES = (
    ".,;:!?()[]{}<>*#_-/|+=~$%&@^0123456789\"'`\\"
    "\u00b4\u2019\u201c\u201d\u201e\u00ab\u00bb\u2013\u2014\u2026\u00bf\u00a1"
)
_UPPER = re.compile(r"[A-ZÀ-ÖØ-ÞА-Я]")  # Latin and Cyrillic
_OPTION = re.compile(r"^\(?[A-J][.):] ", re.MULTILINE)
_CODE_MARKS = ("{", "}", ";", "```", "()", "=>", "def ", "==", "</")
_FORMULA_MARKS = ("\\", "$", "^", "=", "∫", "∑", "≤", "√")
_QUESTION_WORDS = frozenset(
    """
        what who when where which how why is are do does can was wer wann wo qui que quand où quién cuándo
    """.split()  # noqa: SIM905  # a list of words reads better as words
)
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


def count(text: str, characters: int) -> NDArray[np.float32]:
    """The features of a text that was cut to its ends; `characters` is the length that it had."""
    # Splitting and stripping takes a tenth of the time that a regular expression for words would.
    words = [word for word in [piece.strip(_EDGES) for piece in text.lower().split()] if word]
    numbers = _NUMBER.findall(text)
    size, known = max(1, len(text)), max(1, len(words))
    lengths = list(map(len, words)) or [0]
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
        math.log1p(_known(words, _EXPERT_WORDS)),
        math.log1p(_known(words, _CONSTRAINT_WORDS)),
        math.log1p(_known(words, _EVERYDAY_WORDS)),
        float(bool(words) and words[0] in _QUESTION_WORDS),
    )
    return np.array(values, dtype=np.float32)


def _known(words: list[str], list_of: frozenset[str]) -> int:
    return sum(map(list_of.__contains__, words))
