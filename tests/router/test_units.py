"""Money and tokens: exact to the nano-dollar, and unknown is not nothing."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.units import Price, Usage, as_usd, cost_of, estimated_tokens, most_tokens, usd_per_mtok

tokens = st.integers(0, 10_000_000)
prices = st.decimals(0, 1000, places=6)


def test_a_token_at_a_dollar_per_million_costs_a_thousand_nano_dollars() -> None:
    assert cost_of(Usage(1, 0), Price(Decimal(1), Decimal(0))) == 1000
    assert cost_of(Usage(1000, 500), Price(Decimal("0.25"), Decimal(2))) == 1_250_000


def test_an_unknown_price_makes_an_unknown_cost() -> None:
    assert cost_of(Usage(1, 1), None) is None


def test_cached_tokens_are_part_of_the_input() -> None:
    assert cost_of(Usage(100, 0, cached_tokens=40), Price(Decimal(1), Decimal(1), Decimal("0.1"))) == 64_000
    assert cost_of(Usage(100, 0, cached_tokens=40), Price(Decimal(1), Decimal(1))) == 100_000


def test_a_second_of_a_local_machine_costs_too() -> None:
    assert cost_of(Usage(0, 0), Price(Decimal(0), Decimal(0), None, Decimal("0.0001")), seconds=2.5) == 250_000


def test_rounding_is_done_once_and_half_to_even() -> None:
    assert cost_of(Usage(1, 0), Price(Decimal("0.0005"), Decimal(0))) == 0
    assert cost_of(Usage(3, 0), Price(Decimal("0.0005"), Decimal(0))) == 2


@given(st.lists(st.tuples(tokens, tokens), max_size=20), prices, prices)
def test_the_sum_of_costs_is_the_cost_of_the_sum_to_a_nano_dollar_each(
    answers: list[tuple[int, int]], paid: Decimal, got: Decimal
) -> None:
    price = Price(paid, got)
    apart = sum(cost_of(Usage(i, o), price) or 0 for i, o in answers)
    together = cost_of(Usage(sum(i for i, _ in answers), sum(o for _, o in answers)), price)
    assert together is not None
    assert abs(apart - together) <= len(answers)


@given(st.integers(-(10**18), 10**18))
def test_an_amount_in_dollars_is_exact(nano: int) -> None:
    assert Decimal(as_usd(nano)) * 1_000_000_000 == nano


@pytest.mark.parametrize("text", ["a lot", "", "NaN", "Infinity", "-1", "1,5"])
def test_what_is_no_amount_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount in USD"):
        usd_per_mtok(text)


@pytest.mark.parametrize("text", ["0", "0.15", "75", "1e-3"])
def test_an_amount_is_read_exactly(text: str) -> None:
    assert usd_per_mtok(text) == Decimal(text)


def test_an_estimate_is_never_nothing() -> None:
    assert [estimated_tokens(n) for n in (0, 1, 4, 5, 400)] == [1, 1, 1, 2, 100]


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 1),
        ("the quick brown fox jumps over the lazy dog", 9, 20),
        ("1234567890", 10, 11),
        ("\u4e2d\u6587" * 100, 200, 400),
        ("\u0433\u043e\u0440\u043e\u0434 " * 100, 200, 700),
    ],
)
def test_a_text_hardly_has_more_tokens_than_is_reckoned(text, least, most):
    assert least <= most_tokens(text) <= most


@given(st.text())
def test_no_text_has_more_tokens_than_bytes(text):
    assert 1 <= most_tokens(text) <= len(text.encode("utf-8", "surrogatepass")) + 1
