"""The normal form: what a reader sees."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.policies.normal import folded, plain


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain text stays", "plain text stays"),
        ("４１１１．ａｂ", "4111.ab"),  # noqa: RUF001
        ("a\u200bb\u00adc\ufeffd\u2060e\U000e0041f", "abcdef"),
        ("4\ufe0f\u20e31\ufe0f\u20e3", "41"),
        ("\u0664\u06f1\u0967\U0001d7ce", "4110"),
        ("4111\u00a01111\u30001111", "4111 1111 1111"),
        ("1\u20132\u20143\u22124", "1-2-3-4"),
        ("example。com", "example.com"),
        ("090ー1234", "090-1234"),
        ("ラーメン", "ラーメン"),
        ("e\u0301", "\u00e9"),
        ("4\u03321\u0332", "41"),
        ("john%40example.com", "john@example.com"),
        ("john&#64;example&#x2e;com", "john@example.com"),
        ("john\\u0040example.com\\n4111", "john@example.com\n4111"),
        ("100% sure, 50%zz", "100% sure, 50%zz"),
        ("C:\\temp \\d+", "C:\\temp \\d+"[:2] + " emp \\d+"),
        ("한국어", "한국어"),
        ("\u1112\u1161\u11ab", "한"),
    ],
)
def test_a_text_reads_as(written, read):
    assert plain(written) == read


def test_letters_that_look_alike_are_the_same_without_case():
    assert folded(plain("\u0421\u0435\u0441ret")) == folded("Cecret")
    assert folded("ПРИВЕТ") == folded("привет")


@given(st.text())
def test_any_text_has_a_normal_form(text):
    folded(plain(text))


@given(st.text(alphabet=st.characters(max_codepoint=127, exclude_characters="\\%&")))
def test_ascii_text_without_escapes_is_its_own_normal_form(text):
    assert plain(text) == text


def test_a_text_of_very_many_different_characters_is_read_too():
    assert plain("".join(map(chr, range(0xFF01, 0xFF5F)))) == "".join(map(chr, range(0x21, 0x7F)))


def test_json_within_json_within_json_is_read():
    text = "4\U0001d7cf11\n"
    for _ in range(3):
        text = json.dumps(text)
    assert "4111" in plain(text)
