"""Money, tokens and what a request costs. Pure."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import cached_property
from typing import Literal, NewType, Protocol

# One token at $1 per million tokens costs exactly 1,000 of these, so sums are exact integers.
NanoUsd = NewType("NanoUsd", int)

_ATTO_PER_NANO = 1_000_000_000

UsageSource = Literal["provider", "estimated", "none"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. cached_tokens are part of input_tokens."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    source: UsageSource = "provider"


class Metered(Protocol):
    """What knows how much it took; None is unknown."""

    @property
    def usage(self) -> Usage | None: ...


@dataclass(frozen=True)
class Price:
    """What an upstream charges: USD per million tokens, and where that was read.

    cached_usd_per_mtok: None means that cached input is charged as other input.
    usd_per_second: what a second of a local machine costs (electricity and amortisation); tokens are then free.
    """

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cached_usd_per_mtok: Decimal | None = None
    usd_per_second: Decimal = Decimal(0)
    version: str = "config"

    @cached_property
    def atto_per_token(self) -> tuple[int, int, int]:
        """Input, output and cached input: what one token costs in 1e-18 USD, so that the sums are of integers."""
        cached = self.input_usd_per_mtok if self.cached_usd_per_mtok is None else self.cached_usd_per_mtok
        each = (self.input_usd_per_mtok, self.output_usd_per_mtok, cached)
        whole = [int((price.scaleb(12)).to_integral_value(ROUND_HALF_EVEN)) for price in each]
        return whole[0], whole[1], whole[2]


def usd_per_mtok(text: str) -> Decimal:
    """A price as written in config.toml, exact. ValueError names the text."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f'{text!r} is not an amount in USD: write a decimal string such as "0.15"') from None
    if not value.is_finite() or value < 0:
        raise ValueError(f"{text!r} is not an amount in USD: it must be finite and not negative")
    return value


def cost_of(usage: Usage, price: Price | None, seconds: float = 0.0) -> NanoUsd | None:
    """What an answer cost; None when the price is unknown.

    seconds: how long the upstream was busy with it; it counts only where the price has a `usd_per_second`.
    """
    if price is None:
        return None
    per_input, per_output, per_cached = price.atto_per_token
    atto = (
        (usage.input_tokens - usage.cached_tokens) * per_input
        + usage.output_tokens * per_output
        + usage.cached_tokens * per_cached
    )
    if price.usd_per_second:
        atto += int((Decimal(seconds) * price.usd_per_second).scaleb(18).to_integral_value(ROUND_HALF_EVEN))
    # Round once, at the end, half to even.
    nano, rest = divmod(atto, _ATTO_PER_NANO)
    return NanoUsd(nano + (2 * rest > _ATTO_PER_NANO or (2 * rest == _ATTO_PER_NANO and nano % 2 == 1)))


def nano_usd(text: str) -> NanoUsd:
    """An amount as written in config.toml, exact. ValueError names the text."""
    return NanoUsd(int(usd_per_mtok(text).scaleb(9).to_integral_value(ROUND_HALF_EVEN)))


_SIXTHS_OF_A_TOKEN = (
    (b"abcdefghijklmnopqrstuvwxyz", 2),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 5),
    (b"0123456789", 6),
    (b" \t\r\n", 1),
    (b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", 4),
)


def as_usd(nano: int) -> str:
    """An amount as a decimal string of dollars, exact: 1500 -> "0.0000015"."""
    sign = "-" if nano < 0 else ""
    whole, rest = divmod(abs(nano), 1_000_000_000)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".") if rest else f"{sign}{whole}"


def most_tokens(text: str) -> int:
    """How many tokens a text hardly exceeds, whatever the tokenizer: for windows that must not overflow.

    By kinds of bytes: words of small letters make few tokens; digits, signs, capitals and other scripts make many.
    """
    raw = text.encode("utf-8", "surrogatepass")
    sixths, known = 0, 0
    for kind, weight in _SIXTHS_OF_A_TOKEN:
        count = len(raw) - len(raw.translate(None, kind))
        sixths += count * weight
        known += count
    return (sixths + 3 * (len(raw) - known)) // 6 + 1


def estimated_tokens(characters: int) -> int:
    """About how many tokens a text of that many characters has (four to a token in English), at least one."""
    return max(1, (characters + 3) // 4)
