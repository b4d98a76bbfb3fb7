"""Location: what detection finds is placed, to the character, in whatever form it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.policies.detect import KINDS, Findings
from weighbridge.policies.locate import Place, places

KEY = "gh" + "p_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789"


def without(text: str) -> str:
    """The text with each place taken out, until none is left."""
    while found := places(text):
        for place in reversed(found):
            text = f"{text[: place.start]}<X>{text[place.end :]}"
    return text


@pytest.mark.parametrize(
    ("text", "kind", "there"),
    [
        ("Mail Jane.Doe+x@mail.example.com, please", "email", "Jane.Doe+x@mail.example.com"),
        ("'o'brien@example.com'", "email", "o'brien@example.com"),
        ("müller@exämple.de schreibt", "email", "müller@exämple.de"),
        ("call +49 (30) 90 18-20 now", "phone", "+49 (30) 90 18-20"),
        ("Tel.: 030 901820.", "phone", "030 901820"),
        ("card 4111 1111 1111 1111 12/27", "credit_card", "4111 1111 1111 1111"),
        ("IBAN DE89 3704 0044 0532 0130 00 of Jane", "iban", "DE89 3704 0044 0532 0130 00"),
        (f"use {KEY}.", "secret", KEY + "."),
        ('{"password": "tr0ub4dor&3x"}', "secret", "tr0ub4dor&3x"),
        ("postgres://jane:s3cr3tpw@db/x", "secret", "s3cr3tpw"),
        ("ssn 123-45-6789.", "us_ssn", "123-45-6789"),
        ("from 93.184.216.34:80", "ip_address", "93.184.216.34"),
        ("from 2606:2800:220:1:248:1893:25c8:1946 today", "ip_address", "2606:2800:220:1:248:1893:25c8:1946"),
        ("see amFuZS5kb2VAZXhhbXBsZS5jb20= there", "encoded", "amFuZS5kb2VAZXhhbXBsZS5jb20="),
    ],
)
def test_each_kind_is_placed_to_the_character(text, kind, there):
    found = places(text)
    assert [(place.kind, text[place.start : place.end].rstrip(".")) for place in found][:1] == [
        (kind, there.rstrip("."))
    ]
    assert [kind for kind in KINDS if kind in Findings(without(text))] == []


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("at jane\u200b.doe@exa\u200bmple.com!", "jane\u200b.doe@exa\u200bmple.com"),
        ("at jane%40example.com!", "jane%40example.com"),
        ("at jane&#64;example.com!", "jane&#64;example.com"),
        (r"line\njane@example.com\nline", "jane@example.com"),
        (r"\u0041 \u006aane\u0040example.com \u0042", r"\u006aane\u0040example.com"),
        ("\uff4aane\uff20example.com", "\uff4aane\uff20example.com"),
    ],
)
def test_what_is_written_otherwise_is_placed_where_it_is_written(text, there):
    assert [text[place.start : place.end] for place in places(text)] == [there]


def test_a_private_key_is_placed_to_its_end():
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"
    text = f"before {key} after"
    assert [text[place.start : place.end] for place in places(text)] == [key]
    assert places(text[:50]) == [Place(7, 50, "secret")]


def test_what_overlaps_is_one_place():
    text = "api_key=sk-proj-aB3dE5gH7jK9mN1pQ3sT5vX7"
    assert [text[place.start : place.end] for place in places(text)] == ["sk-proj-aB3dE5gH7jK9mN1pQ3sT5vX7"]


@given(st.text(alphabet="0123456789 .-/+()@:=abkeyDE\\u%&#;\u200b\u0664\uff14<>_\"'", max_size=200))
def test_places_are_in_order_within_the_text_and_apart(text):
    found = places(text)
    edges = [edge for place in found for edge in (place.start, place.end)]
    assert edges == sorted(edges)
    assert all(0 <= place.start < place.end <= len(text) for place in found)


@given(
    st.lists(
        st.sampled_from(["jane@example.com", "+49 30 901820", KEY, "4111 1111 1111 1111", " and ", "\n", "é", "<"])
    )
)
def test_what_is_left_holds_nothing(parts):
    left = Findings(without(" ".join(parts)))
    assert [kind for kind in KINDS if kind in left] == []
