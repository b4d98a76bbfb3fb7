"""What of a text is read."""

from hypothesis import given
from hypothesis import strategies as st

from weighbridge.classifiers.window import END_CHARS, ends_of, ends_of_tokens


def test_a_short_text_is_read_whole():
    assert ends_of("  What is 2+2?\n") == "What is 2+2?"


def test_of_a_long_text_both_ends_are_read():
    ends = ends_of("BEGIN " + "x" * 1_000_000 + " END")
    assert ends.startswith("BEGIN")
    assert ends.endswith("END")
    assert len(ends) == 2 * END_CHARS + 1


def test_blanks_at_the_ends_do_not_push_the_words_out():
    assert ends_of(" \n" * 100_000 + "Prove it." + "\t" * 100_000) == "Prove it."


def test_what_cannot_be_written_as_utf8_becomes_a_question_mark():
    assert ends_of("a\ud800b") == "a?b"


def test_of_many_tokens_the_first_and_the_last_are_kept():
    assert ends_of_tokens(range(10), 4) == [0, 1, 8, 9]
    assert ends_of_tokens(range(10), 5) == [0, 1, 2, 8, 9]


@given(tokens=st.lists(st.integers()), size=st.integers(2, 20))
def test_a_window_is_never_larger_than_its_size(tokens, size):
    kept = ends_of_tokens(tokens, size)
    assert len(kept) == min(len(tokens), size)
    if tokens:
        assert (kept[0], kept[-1]) == (tokens[0], tokens[-1])


@given(text=st.text())
def test_any_text_can_be_written_as_utf8(text):
    ends_of(text).encode()
