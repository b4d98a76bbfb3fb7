"""Detection: which kinds of personal data and secrets a text holds, in whatever form it is written.

Every detector stands behind a cheap necessary condition (an @, seven digits, a long word), because the usual request
holds nothing and is large. A new kind is one line in KINDS.
"""

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from functools import cached_property

from weighbridge.policies import credentials, numbers, phones
from weighbridge.policies.normal import Span, plain

# Texts within texts are looked into this many times: base64 within base64, and no deeper.
_MAX_LAYERS = 2
_LONG = 16  # a shorter word is neither a key nor worth decoding

_FILE_ENDINGS = frozenset(
    ["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "py", "json", "md", "txt", "html"]
)
_EMAIL = re.compile(r"@(?<=[\w+\-]@)((?:[\w\-]{1,63}\.){1,8})([^\W\d_]{2,24})(?![\w])")
_NAME_BEFORE = re.compile(r"[\w+\-](?:[\w.+\-&%*~]|(?<=\w)'(?=\w))*\Z")
_STRETCH_OF_DIGITS = re.compile(r"[0-9](?:[ ().\-/_]{0,3}[0-9]){6,}")
_WORDS_BEFORE = 24  # characters before a number that may say what it is

_EVERY_BYTE = bytes(range(256))
_DIGITS = bytes.maketrans(_EVERY_BYTE, bytes(48 if 48 <= b < 58 else 120 for b in range(256)))
_WORDS = bytes.maketrans(
    _EVERY_BYTE, bytes(97 if chr(b).isascii() and (chr(b).isalnum() or chr(b) in "+/=_-.~") else 32 for b in range(256))
)
_LETTERS_AND_DIGITS = bytes.maketrans(
    _EVERY_BYTE,
    bytes(48 if 48 <= b < 58 else 65 if chr(b).isascii() and chr(b).isalpha() else 32 for b in range(256)),
)
_URL_SAFE = str.maketrans("-_", "+/")
_BASE64_ENDS = re.compile(r"[.=~]+")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){12,}")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Findings:
    """What a text holds: `"email" in findings`. Each kind is looked for once, when first asked about."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[str, bool] = {}

    def __contains__(self, kind: object) -> bool:
        if not isinstance(kind, str) or kind not in KINDS:
            return False
        if kind not in self._known:
            self._known[kind] = KINDS[kind](self)
        return self._known[kind]

    @cached_property
    def text(self) -> str:
        """The normal form, and after it the text of what was encoded in it."""
        layers = [plain(self._text)]
        for _ in range(_MAX_LAYERS):
            inner = "\n".join(filter(None, map(decoded, _long_words(_bytes_of(layers[-1])))))
            if not inner:
                break
            layers.append(plain(inner))
        return "\n".join(layers)

    @cached_property
    def long_words(self) -> str:
        return "\n".join(_long_words(self.raw))

    @cached_property
    def figures(self) -> str:
        """The stretches that hold seven digits and more, each with the words before it."""
        return "\n".join(self.text[slice(*stretch)] for stretch in figures_in(self.text, self.raw))

    @cached_property
    def raw(self) -> bytes:
        """The text in UTF-8: Python searches and maps bytes several times faster than text."""
        return _bytes_of(self.text)


def figures_in(text: str, raw: bytes) -> Iterator[Span]:
    """The stretches that hold seven digits and more, each with what stands around it."""
    if b"0000000" not in raw.translate(_DIGITS, b" ().-/_"):
        return
    last = 0
    for stretch in _STRETCH_OF_DIGITS.finditer(text):
        yield max(last, stretch.start() - _WORDS_BEFORE), stretch.end() + 2
        last = stretch.end()


def _has_email(findings: Findings) -> bool:
    return any(emails_in(findings.text))


def emails_in(text: str) -> Iterator[Span]:
    """The name before the sign with it."""
    if "@" in text:
        for found in _EMAIL.finditer(text):
            if _is_address(text, found):
                name = _NAME_BEFORE.search(text, max(0, found.start() - 64), found.start())
                yield name.start() if name else found.start(), found.end()


def _is_address(text: str, found: re.Match[str]) -> bool:
    # `git@github.com:` is how repositories are named, `icon@2x.png` how images are.
    is_repository = (
        text[max(0, found.start() - 3) : found.start()] == "git" and text[found.end() : found.end() + 1] == ":"
    )
    return not is_repository and found[2].lower() not in _FILE_ENDINGS


def _has_iban(findings: Findings) -> bool:
    return b"AA00" in findings.raw.translate(_LETTERS_AND_DIGITS) and numbers.has_iban(findings.text)


def _has_secret(findings: Findings) -> bool:
    text = findings.text
    if findings.long_words and credentials.has_key_shape(findings.long_words):
        return True
    if "PRIVATE KEY" in text and credentials.has_private_key(text):
        return True
    if "://" in text and "@" in text and credentials.has_password_in_url(text):
        return True
    return credentials.has_assignment(findings.raw)


def _has_ip_address(findings: Findings) -> bool:
    text = findings.text
    return (text.count(".") > 2 or text.count(":") > 1) and numbers.has_ip_address(text)


KINDS: dict[str, Callable[[Findings], bool]] = {
    "email": _has_email,
    "phone": lambda findings: bool(findings.figures) and phones.has_phone(findings.figures),
    "credit_card": lambda findings: bool(findings.figures) and numbers.has_card(findings.figures),
    "iban": _has_iban,
    "secret": _has_secret,
    "us_ssn": lambda findings: bool(findings.figures) and numbers.has_ssn(findings.figures),
    "ip_address": _has_ip_address,
}


def _long_words(raw: bytes) -> list[str]:
    """The runs of 16 and more characters that keys and encoded data are made of, each once: paths repeat themselves."""
    skeleton = raw.translate(_WORDS)
    words, at = [], 0
    while (found := skeleton.find(b"a" * _LONG, at)) >= 0:
        at = skeleton.find(b" ", found)
        if at < 0:
            at = len(raw)
        words.append(raw[found:at].decode())
    return list(dict.fromkeys(words))


def decoded(word: str) -> str | None:
    """The texts that a word encodes in base64 or hex, if any."""
    found = [text for part in _BASE64_ENDS.split(word) if len(part) >= _LONG and (text := _text_in(part))]
    return "\n".join(found) or None


def _text_in(part: str) -> str | None:
    if _HEX.fullmatch(part) and (text := _as_text(bytes.fromhex(part))):
        return text
    part = part.translate(_URL_SAFE)
    try:
        return _as_text(a2b_base64(part[: len(part) - (len(part) % 4 == 1)] + "=" * (-len(part) % 4)))
    except NotBase64:
        return None


def _as_text(raw: bytes) -> str | None:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROLS.search(text) else text


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
