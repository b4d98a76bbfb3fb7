"""What is counted in a text."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.classifiers.features import NAMES, count


def named(text: str) -> dict[str, float]:
    return dict(zip(NAMES, count(text, len(text)).tolist(), strict=True))


def test_code_and_formulas_are_told_by_their_marks():
    assert named("def f(): return {1: 2};")["log_code_marks"] > named("a function that returns")["log_code_marks"]
    assert named(r"Evaluate $\int x^2 = 3$")["log_formula_marks"] > named("Evaluate it")["log_formula_marks"]


def test_options_of_a_multiple_choice_question_are_counted():
    assert np.isclose(named("Which?\nA. one\nB. two\nC. three")["log_options"], np.log1p(3))


def test_words_are_known_whatever_stands_around_them():
    assert named('"Prove!"')["log_expert_words"] > 0
    assert named("improved")["log_expert_words"] == 0


def test_a_question_word_counts_only_in_front():
    assert named("What is it?")["opens_with_question_word"] == 1
    assert named("I know what it is")["opens_with_question_word"] == 0


@given(text=st.text(max_size=300), more=st.integers(0, 10**9))
def test_every_text_has_finite_counts(text, more):
    counts = count(text, len(text) + more)
    assert counts.shape == (len(NAMES),)
    assert counts.dtype == np.float32
    assert np.isfinite(counts).all()
