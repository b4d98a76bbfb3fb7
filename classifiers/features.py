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

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+")
_OPTION = re.compile(r"^\(?[A-J][.):] ", re.MULTILINE)
_CODE_MARKS = ("{", "}", ";", "```", "()", "=>", "def ", "==", "</")
_FORMULA_MARKS = ("\\", "$", "^", "=", "∫", "∑", "≤", "√")
_QUESTION_WORDS = frozenset("what who when where which how why is are do does can was wer was wann wo qui que quand où quién cuándo".split())
_EXPERT_WORDS = frozenset(
    "prove proof derive rigorous rigorously theorem lemma asymptotic optimal optimize optimise architecture distributed"
    " consensus concurrency concurrent critique evaluate tradeoffs trade-offs analyze analyse analysis design formal"
    " complexity bound bounds convergence strategy comprehensive vulnerability threat exploit jurisdiction liability"
    " differential diagnosis hypothesis estimator bayesian stochastic beweise analysiere démontre démontrer demuestra"
    " entwirf conception diseña".split()
)
_CONSTRAINT_WORDS = frozenset(
    "must without every each all exactly only least most given assuming subject constraint constraints ensure guarantee"
    " while including justify explain compare under ohne genau sans exactement sin".split()
)
_EVERYDAY_WORDS = frozenset(
    "hi hello hey thanks thank please translate typo spelling capital synonym list shorter rephrase rewrite summarize"
    " summarise uppercase lowercase convert name email text word sentence hallo danke bitte übersetze bonjour merci"
    " traduis hola gracias traduce".split()
)


def count(text: str, characters: int) -> NDArray[np.float32]:
    """The features of a text that was cut to its ends; `characters` is the length that it had."""
    words = _WORD.findall(text.lower())
    size = max(1, len(text))
    known = max(1, len(words))
    lengths = [len(word) for word in words] or [0]
    values = (
        math.log1p(characters),
        math.log1p(len(words)),
        sum(lengths) / known,
        min(40, max(lengths)),
        sum(map(len, _NUMBER.findall(text))) / size,
        sum(map(str.isupper, text)) / size,
        (size - sum(lengths) - text.count(" ")) / size,
        (len(text.encode("utf-8", "replace")) - len(text)) / size,
        math.log1p(text.count("\n")),
        math.log1p(text.count(". ") + text.count("! ")),
        len(set(words)) / known,
        math.log1p(text.count("?")),
        math.log1p(len(_NUMBER.findall(text))),
        math.log1p(sum(map(text.count, _CODE_MARKS))),
        math.log1p(sum(map(text.count, _FORMULA_MARKS))),
        math.log1p(len(_OPTION.findall(text))),
        math.log1p(text.count("___")),
        math.log1p(sum(word in _EXPERT_WORDS for word in words)),
        math.log1p(sum(word in _CONSTRAINT_WORDS for word in words)),
        math.log1p(sum(word in _EVERYDAY_WORDS for word in words)),
        float(bool(words) and words[0] in _QUESTION_WORDS),
    )
    return np.array(values, dtype=np.float32)
