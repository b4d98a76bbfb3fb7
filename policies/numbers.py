"""Numbers that name a person or an account: cards, IBANs, telephones, US social security numbers, IP addresses.

Each has a checksum, a numbering plan or a fixed layout, so that dates, versions and plain figures do not pass for one.
Every pattern is bounded, so that the time to search a text grows with its length and no faster.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from weighbridge.policies.normal import Span

# The countries' lengths, from the IBAN registry.
_LENGTHS = """
    AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27
    DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28
    IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22
    MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24
    SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30
"""
IBAN_LENGTHS = {pair[:2]: int(pair[3:]) for pair in _LENGTHS.split()}

# Issuers: first digits from, to, and the lengths of their numbers.
_ISSUERS = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),  # Mastercard
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),  # American Express
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "659", (16, 17, 18, 19)),  # Discover, RuPay
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("81", "82", (16,)),  # UnionPay, RuPay
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("300", "305", (14, 16)),  # Diners Club
    ("36", "36", (14, 16)),  # Diners Club
    ("38", "39", (14, 16)),  # Diners Club
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
    ("50", "50", (16, 17, 18, 19)),  # Maestro, RuPay
    ("56", "58", (16, 17, 18, 19)),  # Maestro
    ("6304", "6304", (16, 17, 18, 19)),  # Maestro
    ("6759", "6763", (16, 17, 18, 19)),  # Maestro
)
_ISSUERS_BY_DIGIT = {d: [issuer for issuer in _ISSUERS if issuer[0][0] <= d <= issuer[1][0]] for d in "234568"}
_JOINED = str.maketrans("", "", " ._/-")
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")

# In one piece, in the groups that cards print, or digit by digit. Overlapping, because a card may follow other figures.
_CARD = re.compile(
    r"(?<!\d)(?<!\d\.)(?=[2-68])(?=("
    r"\d{13,19}"
    r"|\d{4}([ ._/\-])\d{4}\2\d{4}\2\d{1,4}(?:\2\d{1,3})?"
    r"|\d{4}([ ._/\-])\d{6}\3\d{4,5}"
    r"|\d{6}([ ._/\-])\d{10,13}"
    r"|\d{8}[ ._/\-]\d{8}"
    r"|(?<!\d[ ._/\-])\d(?:[ ._/\-]\d){12,18}(?![ ._/\-]\d)"
    r")(?!\d))"
)
_LAST_GROUP = re.compile(r"\D\d+\Z")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ .\-]?[A-Za-z0-9]){11,30}")
_SSN = re.compile(r"(?<![\w\-])(?!000|666|9)\d{3}([ \-])(?!00)\d{2}\1(?!0000)\d{4}(?![\w\-])")
_IPV4 = re.compile(r"[0-9](?<![\w.][0-9])\d{0,2}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6_COLONS = re.compile(r":(?<=[0-9A-Fa-f:]:)(?:[0-9A-Fa-f]{0,4}:){1,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_IPV6_START = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}\Z")
_VERSION_BEFORE = re.compile(r"\b(?:version|release|ver|build|v)[ .:=]*\Z", re.IGNORECASE)


def has_card(text: str) -> bool:
    return any(cards_in(text))


def cards_in(text: str) -> Iterator[Span]:
    for found in _CARD.finditer(text):
        # The last group may be what stands behind the card: its expiry, its code.
        for figures in (found[1], _LAST_GROUP.sub("", found[1])):
            if is_card(figures.translate(_JOINED)):
                yield found.start(), found.start() + len(figures)
                break


def is_card(digits: str) -> bool:
    """An issuer's prefix, a length that it uses, and Luhn's checksum."""
    size = len(digits)
    for low, high, sizes in _ISSUERS_BY_DIGIT.get(digits[:1], ()):
        if size in sizes and low <= digits[: len(low)] <= high:
            return _luhn(digits)
    return False


def _luhn(digits: str) -> bool:
    raw = digits.encode()
    ours, doubled = raw[-1::-2], raw[-2::-2].translate(_DOUBLED)
    return (sum(ours) + sum(doubled) - 48 * len(raw)) % 10 == 0


def has_iban(text: str) -> bool:
    return any(ibans_in(text))


def ibans_in(text: str) -> Iterator[Span]:
    for found in _IBAN.finditer(text):
        # The words after an IBAN look like more of it; its country says where it ends.
        places = [at for at, character in enumerate(found[0]) if character not in " .-"]
        places = places[: IBAN_LENGTHS.get(found[0][:2].upper(), 0)]
        if is_iban("".join(found[0][at] for at in places).upper()):
            yield found.start(), found.start() + places[-1] + 1


def is_iban(compact: str) -> bool:
    """A country's length, and the checksum: 1 modulo 97 once the first four characters stand last and A is 10."""
    if len(compact) != IBAN_LENGTHS.get(compact[:2]):
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def has_ssn(text: str) -> bool:
    return any(ssns_in(text))


def ssns_in(text: str) -> Iterator[Span]:
    return (found.span() for found in _SSN.finditer(text))


def has_ip_address(text: str) -> bool:
    """A public address. Private ones name nobody, and four small numbers after "version" are none."""
    return any(ip_addresses_in(text))


def ip_addresses_in(text: str) -> Iterator[Span]:
    return (span for find in (_ipv4_in, _ipv6_in) for span in find(text) if _is_public(text[slice(*span)]))


def _ipv4_in(text: str) -> Iterator[Span]:
    for found in _IPV4.finditer(text):
        if not _VERSION_BEFORE.search(text, max(0, found.start() - 12), found.start()):
            yield found.span()


def _ipv6_in(text: str) -> Iterator[Span]:
    for found in _IPV6_COLONS.finditer(text):
        start = _IPV6_START.search(text, max(0, found.start() - 5), found.start())
        if start:
            yield start.start(), found.end()


def _is_public(address: str) -> bool:
    if len(address) < 7 or not any(c.isdigit() for c in address):
        return False  # C++ and Rust write `a::b`
    try:
        return ip_address(address).is_global
    except ValueError:
        return False
