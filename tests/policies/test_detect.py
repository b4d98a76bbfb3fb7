"""Detection: every kind, in every form, anywhere; and a time that grows with the text and no faster."""

# ruff: noqa: RUF001 - other scripts are meant
import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.asks import whole_text
from weighbridge.policies.detect import KINDS, Findings

SEEDS = {
    "email": "john.doe@example.com",
    "phone": "+49 30 901820",
    "credit_card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "secret": "gh" + "p_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789",
    "us_ssn": "123-45-6789",
    "ip_address": "93.184.216.34",
}


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def in_arabic_digits(text: str) -> str:
    return "".join(chr(0x0660 + int(c)) if c.isdigit() else c for c in text)


FORMS = {
    "as it is": str,
    "full width": full_width,
    "zero-width characters between": "\u200b".join,
    "soft hyphens between": "\u00ad".join,
    "arabic digits": in_arabic_digits,
    "mathematical digits": lambda text: "".join(chr(0x1D7CE + int(c)) if c.isdigit() else c for c in text),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "other dashes": lambda text: text.replace("-", "\u2011"),
    "percent-encoded": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(f"here it is: {text} and so on".encode()).decode(),
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(f"here it is: {text} ???>>>".encode()).decode(),
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(f"here it is: {text}, yes".encode())).decode(),
    "hexadecimal": lambda text: f"here it is: {text}".encode().hex(),
    "html": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "json escapes": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "json within json": lambda text: json.dumps(json.dumps({"key": f"\n{text}\n"})),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_in_every_form(kind, form):
    written = FORMS[form](SEEDS[kind])
    assert kind in Findings(f"Please use {written} for it.")
    assert kind in Findings(written)


@given(
    kind=st.sampled_from(sorted(SEEDS)),
    form=st.sampled_from(sorted(FORMS)),
    before=st.lists(
        st.sampled_from(["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]), max_size=300
    ),
    depth=st.integers(0, 30),
)
def test_what_is_seeded_anywhere_in_a_request_is_found(kind, form, before, depth):
    value: object = f"{' '.join(before)} {FORMS[form](SEEDS[kind])} {' '.join(before)}"
    for level in range(depth):
        value = {
            "arguments": json.dumps({"deep": value}) if isinstance(value, str) and level < 1 else value,
            "n": [level],
        }
    assert kind in Findings(whole_text({"messages": [{"role": "tool", "content": "ok"}], "metadata": [value]}))


def test_it_is_found_at_the_end_of_a_long_prompt():
    assert "credit_card" in Findings("All is well today. " * 11_000 + "4111-1111-1111-1111")


@given(st.text())
def test_no_text_makes_it_fail(text):
    findings = Findings(text)
    for kind in KINDS:
        assert (kind in findings) in {True, False}


@given(st.text(alphabet="0123456789 .-/+()@:=abkeyDE\\u%&#;\u200b٤４", max_size=200))
def test_no_text_of_telling_characters_makes_it_fail(text):
    assert all((kind in Findings(text)) in {True, False} for kind in KINDS)


ORDINARY = [
    "In 2024-01-02 03:04:05.123456 version 10.0.19045.1 of 192.168.100.200 came out; 1,234,567,890 people saw it.",
    "@property\ndef area(self): return self.w @ self.h  # numpy@1.26, actions/checkout@v4.1",
    "git clone git@github.com:org/repo.git && open icon@2x.png",
    "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, 550e8400-e29b-41d4-a716-446655440000",
    "usr/local/lib/python3.11/site-packages/numpy/core ThisIsAVeryLongCamelCaseIdentifierWithoutDigits",
    "std::vector<int>::iterator it; chapters 01 02 03 and 04; 12 34 56 78 90 12 34 56 78 90",
    '{"type": "object", "properties": {"token": {"type": "string", "description": "The page token, if any."}}}',
    "Prove that 12345678901234567890 is not prime, with 0.4532015112830366 and 3.14159265358979.",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_holds_nothing(text):
    assert [kind for kind in KINDS if kind in Findings(text)] == []


def test_an_unknown_kind_is_never_in_a_text():
    assert "shoe_size" not in Findings("john@example.com")
    assert 3 not in Findings("john@example.com")


HOSTILE = {
    "at signs": "a@",
    "dotted addresses": "a@a.a.",
    "digits": "4",
    "spaced digits": "4 1 ",
    "grouped digits": "4111 ",
    "brackets": "+(1",
    "plus signs": "+1 ",
    "zeros": "01 23 ",
    "calls": "call me ",
    "ibans": "DE89 ",
    "iban letters": "DE89A",
    "keys": "key=",
    "secrets": "secret_",
    "passwords": "password is ",
    "schemes": "x://:",
    "users": "://a:b",
    "prefixes": "sk-",
    "tokens": "eyJaaaaaaaaaa.",
    "pem": "-----BEGIN RSA ",
    "base64": "QUFB",
    "percent": "%25",
    "entities": "&#",
    "escapes": "\\u00",
    "colons": "a::",
    "dots": "1.1.",
    "zero width": "\u200b1",
    "full width": "４",
    "marks": "e\u0301",
    "spaces": "1   ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_is_searched_in_seconds(name):
    unit = HOSTILE[name]
    text = (unit * (1_000_000 // len(unit)))[:1_000_000] + "!"
    began = time.process_time()
    findings = Findings(text)
    for kind in KINDS:
        assert (kind in findings) in {True, False}
    # A generous bound: a pattern that backtracks over a megabyte takes hours, not seconds.
    assert time.process_time() - began < 30


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="0123456789-. ()+/", min_size=1, max_size=12))
def test_repeating_any_figures_stays_cheap(unit):
    began = time.process_time()
    findings = Findings(unit * (100_000 // len(unit)))
    for kind in ("phone", "credit_card", "us_ssn", "iban", "ip_address"):
        assert (kind in findings) in {True, False}
    assert time.process_time() - began < 10
