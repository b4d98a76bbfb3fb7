"""What must not get lost is found, also where it is written a little otherwise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.preprocess.keeping import changed, found_in, invented, mended, missing

ALL = ("numbers", "code", "links", "quotes", "names", "negations")


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("numbers", "1,000 apples, 3.5 pears; on 2024-05-01.", ["1000", "3.5", "2024-05-01"]),
        ("links", "see https://a.example/x?y=1, or ann@b.example <EMAIL_1>", [
            "https://a.example/x?y=1", "ann@b.example", "<EMAIL_1>"]),
        ("code", "call `f(x)` or load_file in src/main.py, notLoud", ["`f(x)`", "load_file", "src/main.py", "notLoud"]),
        ("quotes", "say \"hello there\" and 'good day' but don't", ["hello there", "good day"]),
        ("names", "Yesterday Ann met Bob. They like NASA, and I do.", ["ann", "bob", "nasa"]),
        ("negations", "dont use it, it is not good, without me", ["not", "not", "not"]),
    ],
)  # fmt: skip
def test_each_kind_is_found(kind: str, text: str, found: list[str]) -> None:
    assert sorted(found_in(text, [kind]).elements()) == sorted(found)


def test_what_is_lost_or_new_is_named() -> None:
    assert changed("whats 2 plus 3, ann?", "What is 2 plus 3, Ann?", ALL) is None
    assert changed("add 2 and 3", "Add 2 and 4", ALL) == "numbers"
    assert changed("dont do it", "Do it", ALL) == "negations"
    assert changed("tell Ann", "Tell me", ALL) == "names"
    assert changed("tell me of iran", "Tell me of Iraq", ALL) == "names"
    assert changed('say "hi"', "Say hello", ALL) == "quotes"
    assert changed("mail a@b.example", "Send a mail", ALL) == "links"
    assert changed("run x_y", "Run it", ALL) == "code"
    assert changed("add 2 and 3", "Add 2 and 4", ()) is None


def test_a_sentence_that_holds_what_is_lost_comes_back_word_for_word() -> None:
    before = "It rained. The bill was 3.50 euros! Nobody minded. Call https://a.example now."
    assert mended(before, "It rained.", ["numbers"]) == "It rained.\nThe bill was 3.50 euros!"
    assert mended(before, "3.50", ["numbers"]) == "3.50"
    assert invented(before, "4 euros")
    assert not invented(before, "euros")


@settings(max_examples=200)
@given(st.text(alphabet="aB c1.,5!?\n'\"_/@-`é", max_size=200), st.text(alphabet="aB1. ", max_size=20))
def test_whatever_is_lost_is_there_after_mending(before: str, after: str) -> None:
    assert not missing(before, mended(before, after, ["numbers", "links"]), ["numbers", "links"])
