"""Credentials: keys of a known shape, private keys, passwords in addresses, and what is assigned to a secret's name.

What stands in for a secret in documentation (`<your-key>`, `${TOKEN}`, `sk-xxxx`) is none.
Every pattern is bounded, so that the time to search a text grows with its length and no faster.
"""

import re
from collections.abc import Iterator
from math import log2

from weighbridge.policies.normal import Span

# Shapes that issuers publish so that leaked keys can be found. Each needs its issuer's prefix and length.
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-ant-[\w\-]{20,200}"  # Anthropic
    r"|sk-(?:proj-|svcacct-|admin-|or-v1-|lf-)?[A-Za-z0-9_\-]{20,200}"  # OpenAI and those who copied it
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255}"
    r"|glpat-[\w\-]{20,60}"
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])"  # AWS
    r"|AIza[\w\-]{35}|ya29\.[\w\-]{20,400}|GOCSPX-[\w\-]{28}"  # Google
    r"|xox[abeoprs]-[A-Za-z0-9\-]{10,250}|xapp-[A-Za-z0-9\-]{20,250}"  # Slack
    r"|hf_[A-Za-z0-9]{30,60}|gsk_[A-Za-z0-9]{40,60}|xai-[A-Za-z0-9]{60,100}|r8_[A-Za-z0-9]{35,45}|pplx-[A-Za-z0-9]{40,60}"
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,250}|whsec_[A-Za-z0-9+/]{24,80}"  # Stripe
    r"|npm_[A-Za-z0-9]{36}|pypi-AgE[\w\-]{50,400}|dckr_pat_[\w\-]{20,60}|dop_v1_[a-f0-9]{64}"
    r"|SG\.[\w\-]{16,32}\.[\w\-]{32,64}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}|lin_api_[A-Za-z0-9]{32,60}"
    r"|eyJ[\w\-]{10,2000}\.eyJ[\w\-]{10,8000}\.[\w\-]{10,2000}"  # a signed JSON web token
    r")"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY")
_PRIVATE_KEY_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PASSWORD_IN_URL = re.compile(r"://(?<=\w://)[^\s:/@\"'<>]{0,100}:([^\s/@\"'<>]{3,200})@(?=[\w\[])")

_NAMES = (b"passw", b"passphrase", b"pwd", b"secret", b"token", b"key", b"credential", b"authorization", b"bearer")
_KEY_TO = re.compile(
    rb"(?:api|access|account|private|secret|auth|master|encryption|signing|service|shared|client)[_\- ]?\Z"
)
_VALUE = re.compile(
    rb"[\w\-]{0,30}[\"'\]]{0,2}\s{0,4}(?::=|=>|==?|:|\bis\b|(?<=bearer)\b)\s{0,4}"
    rb"(?:(?:bearer|basic)\s{1,4})?[\"'`]{0,3}([^\s\"'`,;<>(){}\[\]|]{8,200})"
)

_STANDS_IN = re.compile(
    r"your|example|placeholder|changeme|change_me|xxxx|\*\*\*|\.\.\.|redacted|dummy|insert|\$\{|\{\{|<|%\(|process\.env|os\.environ",
    re.IGNORECASE,
)
_STAND_INS_IN_URLS = frozenset({"password", "passwd", "pass", "pwd", "secret", "user", "token"})
# A name in a programme, a path or an address, not a value.
_NAMES_SOMETHING = re.compile(
    r"(?:[A-Za-z_$][\w$]*(?:\.|::|->))+[A-Za-z_$][\w$]*|https?://.*|[./~].*|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"
)


def has_key_shape(long_words: str) -> bool:
    """A key of a known shape in words of 16 and more characters."""
    return any(key_shapes_in(long_words))


def key_shapes_in(text: str) -> Iterator[Span]:
    return (found.span() for found in _SHAPES.finditer(text) if _is_filled_in(found[0]))


def has_private_key(text: str) -> bool:
    return _PRIVATE_KEY.search(text) is not None


def private_keys_in(text: str) -> Iterator[Span]:
    """Each with its end, and without one to the end of the text."""
    at = 0
    while begin := _PRIVATE_KEY.search(text, at):
        end = _PRIVATE_KEY_END.search(text, begin.end())
        at = end.end() if end else len(text)
        yield begin.start(), at


def has_password_in_url(text: str) -> bool:
    return any(passwords_in_urls_in(text))


def passwords_in_urls_in(text: str) -> Iterator[Span]:
    for found in _PASSWORD_IN_URL.finditer(text):
        password = found[1]
        is_stand_in = password.lower() in _STAND_INS_IN_URLS or password.startswith("$")
        if not is_stand_in and not _STANDS_IN.search(password):
            yield found.span(1)


def has_assignment(raw: bytes) -> bool:
    """`password = "..."`, `api_key: ...`, `Authorization: Bearer ...` with a value that looks drawn by lot."""
    return any(assigned_in(raw))


def assigned_in(raw: bytes) -> Iterator[Span]:
    """Where those values stand, in bytes."""
    lower = raw.lower()
    for name in _NAMES:
        for start, end in _values_of(name, lower, raw):
            if looks_random(raw[start:end].decode("utf-8", "replace")):
                yield start, end


def _values_of(name: bytes, lower: bytes, raw: bytes) -> Iterator[Span]:
    # Found by searching bytes: a pattern that ignores case takes a hundred times as long.
    at = lower.find(name)
    while at >= 0:
        end = at + len(name)
        if (name != b"key" or _KEY_TO.search(lower, max(0, at - 12), at)) and (
            found := _VALUE.match(lower, end - len(name))
        ):
            yield found.span(1)
        at = lower.find(name, end)


def looks_random(value: str) -> bool:
    """Letters and digits mixed, few repeats, and not a name or a stand-in."""
    value = value.rstrip(".:!?")
    if len(value) < 8 or _STANDS_IN.search(value) or _NAMES_SOMETHING.fullmatch(value):
        return False
    has_letter = any(c.isalpha() for c in value)
    has_other = any(c.isdigit() or not (c.isalnum() or c in "_-.") for c in value)
    return has_letter and has_other and _bits_per_character(value) >= 2.5


def _is_filled_in(key: str) -> bool:
    return len(set(key)) >= 10 and any(c.isdigit() for c in key) and not _STANDS_IN.search(key)


def _bits_per_character(value: str) -> float:
    shares = [value.count(c) / len(value) for c in set(value)]
    return -sum(share * log2(share) for share in shares)
