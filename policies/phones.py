"""Telephone numbers: international ones by their calling code, national ones by how their country writes them.

Plain figures are not enough: a number is taken for a telephone by its plus sign, its grouping or the word before it.
"""

import re
from collections.abc import Iterator

from weighbridge.policies.normal import Span

# Calling codes of one, two and three digits (ITU E.164).
_CODES_TEXT = """
    1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84
    86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236
    237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265
    266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378
    379 380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595
    596 597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850
    852 853 855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976
    977 979 992 993 994 995 996 998
"""
_CODES = frozenset(_CODES_TEXT.split())

_NORTH_AMERICAN = re.compile(
    r"(?<![\w.+\-/])(?:\+?1[ .\-]{0,2})?(?:\([2-9]\d{2}\)[ .\-]{0,2}|[2-9]\d{2}[ .\-])"
    r"[2-9]\d{2}[ .\-]\d{4}(?![\w\-]|\.\d)"
)
_PLUS_ONE = re.compile(r"(?<![\w+])\+[ ]?1[ .\-]{0,2}\(?[2-9]\d{2}\)?[ .\-]{0,2}[2-9]\d{2}[ .\-]?\d{4}(?!\d)")
_INTERNATIONAL = re.compile(r"(?<![\w+.])\+[ ]?\(?([1-9](?:[ ().\-/]{0,3}\d){6,14})(?!\d)")
_DIALLED_ABROAD = re.compile(r"(?<![\w.+\-/] )(?<![\w.+\-/])00[ ]?([1-9]\d{1,2}(?:[ ().\-/]{1,2}\d{2,8}){1,5})(?!\d)")
# A trunk zero: the rest of the world's way of writing numbers at home.
_TRUNK = re.compile(
    r"(?<![\w.+\-/:,])\(?0[1-9]\d{0,3}\)?(?:[ ]?[.\-/][ ]?|[ ]|(?<=\)))\d{2,8}(?:[ .\-/]\d{2,8}){0,4}"
    r"(?![\w:]|[.,\-/]\d)"
)
_TRUNK_IN_ONE_PIECE = re.compile(r"(?<![\w.+\-/:,#])0[1-9]\d{8,9}(?![\w\-:]|[.,]\d)")
_OTHER = re.compile(
    r"(?<![\w.+\-/])(?:"
    r"8[ \-]?\(?9\d{2}\)?[ \-]\d{3}[ \-]?\d{2}[ \-]?\d{2}"  # Russia
    r"|\(\d{2}\)[ ]?9?\d{4}[ \-]\d{4}"  # Brazil
    r"|1[3-9]\d[ \-]\d{4}[ \-]\d{4}"  # China
    r")(?![\w\-]|\.\d)"
)
_CHINESE_MOBILE = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
_CHINESE = re.compile("[\u4e00-\u9fff]")
_CALLED_ONE = re.compile(
    r"(?:phone|mobile|mobil|cell|tel|telef[oó]no|telefon|t[eé]l[eé]phone|t[eé]l|whatsapp|sms|fax|handy|call|dial|celular"
    r"|телефон|тел|电话|手机|電話|전화)[^\w\n]{0,3}"
    r"(?:(?:number|no|nr|num|nummer|is|me|us|at|on|ist|es|est|номер|号码|是|は)[^\w\n]{0,3}){0,2}"
    r"(\+?\(?\d(?:[ ().\-/]{0,2}\d){6,14})(?!\d)",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[.\-/ ][01]?\d[.\-/ ][0-3]?\d|[0-3]?\d[.\-/][0-3]?\d[.\-/](?:19|20)\d\d)(?!\d)"
)


def has_phone(text: str) -> bool:
    return any(phones_in(text))


def phones_in(text: str) -> Iterator[Span]:
    for pattern in (_NORTH_AMERICAN, _PLUS_ONE, _OTHER):
        yield from (found.span() for found in pattern.finditer(text))
    for pattern in (_INTERNATIONAL, _DIALLED_ABROAD):
        yield from (found.span() for found in pattern.finditer(text) if _is_international(_digits_of(found[1])))
    for pattern in (_TRUNK, _TRUNK_IN_ONE_PIECE):
        yield from (found.span() for found in pattern.finditer(text) if _is_national(found[0]))
    yield from (found.span(1) for found in _CALLED_ONE.finditer(text) if not _DATE.search(found[1]))
    if _CHINESE.search(text):
        yield from (found.span() for found in _CHINESE_MOBILE.finditer(text))


def _is_international(digits: str) -> bool:
    if digits.startswith("1"):
        return False  # has its own pattern
    return 8 <= len(digits) <= 15 and any(digits[:n] in _CODES for n in (1, 2, 3))


def _is_national(found: str) -> bool:
    digits = _digits_of(found)
    return 9 <= len(digits) <= 12 and digits != "0123456789" and len(set(digits)) > 2 and not _DATE.search(found)


def _digits_of(text: str) -> str:
    return re.sub(r"\D", "", text)
