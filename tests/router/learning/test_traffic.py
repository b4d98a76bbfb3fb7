"""Operating points read off the ledger: shares and budgets, and what it takes to know them."""

from datetime import timedelta
from decimal import Decimal

import pytest
from bookkeeping import NOON, entry

from weighbridge.learning.traffic import NoTraffic, Traffic, budget_of, by_budget, by_share, traffic_of
from weighbridge.ledger.base import Entry
from weighbridge.units import NanoUsd, Price

FREE = Price(Decimal(0), Decimal(0))
DEAR = Price(Decimal(1), Decimal(1))  # a thousand nano-USD a token


def served(number: int = 100, **changes: object) -> list[Entry]:
    """One request an hour, the score rising from 0 to 1; each of a million tokens, so a dollar on the large model."""
    return [
        entry(
            request_id=str(i),
            created_at=NOON + timedelta(hours=i),
            score=i / number,
            input_tokens=500_000,
            output_tokens=500_000,
            **changes,
        )
        for i in range(number)
    ]


def traffic(entries: list[Entry]) -> Traffic:
    return traffic_of(entries, route="auto", classifier="minilm-1", small=FREE, large=DEAR)


def test_a_share_of_the_traffic_goes_to_the_large_model() -> None:
    point = by_share(traffic(served()), 0.3)
    assert point.large_share == pytest.approx(0.3)
    assert point.threshold == pytest.approx(0.695)
    assert by_share(traffic(served()), 0).large_share == 0
    assert by_share(traffic(served()), 1).large_share == 1


def test_equal_scores_go_together_and_rather_to_the_small_model() -> None:
    same = [entry(request_id=str(i), score=0.5 if i < 80 else 0.9) for i in range(100)]
    point = by_share(traffic(same), 0.5)
    assert point.large_share == pytest.approx(0.2)
    assert by_share(traffic(same[:80]), 0.5).large_share == 0


def test_a_budget_buys_the_hardest_requests() -> None:
    # 99 hours for 100 requests: about 24.2 a day, each a dollar on the large model.
    point = by_budget(traffic(served()), budget_of("6/day"))
    assert point.daily_nano_usd is not None
    assert point.daily_nano_usd <= 6_000_000_000
    assert point.large_share == pytest.approx(0.24)
    assert by_budget(traffic(served()), budget_of("1000/day")).large_share == 1
    assert by_budget(traffic(served()), NanoUsd(1)).large_share == 0


def test_other_requests_of_the_route_are_paid_first() -> None:
    pinned = [entry(request_id="p", score=None, threshold=None, cost_nano_usd=400_000_000_000)]
    with pytest.raises(NoTraffic, match="even with the small model alone"):
        by_budget(traffic(pinned + served()), budget_of("6/day"))


def test_only_the_scores_of_this_classifier_on_this_route_count() -> None:
    others = [*served(classifier="minilm-0"), *served(route="other")]
    with pytest.raises(NoTraffic, match=r"holds 0 requests .* minilm-1 scored, and 100 that another classifier"):
        traffic(others)
    assert len(traffic(others + served()).scored) == 100


def test_unknown_costs_and_short_spans_are_told() -> None:
    unpriced = traffic_of(served(), route="auto", classifier="minilm-1", small=FREE, large=None)
    with pytest.raises(NoTraffic, match="set the prices"):
        by_budget(unpriced, budget_of("6/day"))
    at_once = [entry(request_id=str(i), score=i / 100) for i in range(100)]
    with pytest.raises(NoTraffic, match="less than an hour"):
        by_budget(traffic(at_once), budget_of("6/day"))


@pytest.mark.parametrize(
    ("text", "daily_usd"), [("50/day", 50), ("$7/week", 1), (" 0.5 / hour ", 12), ("30.4375/month", 1)]
)
def test_a_budget_is_read(text: str, daily_usd: float) -> None:
    assert budget_of(text) == pytest.approx(daily_usd * 1e9)


@pytest.mark.parametrize("text", ["", "50", "50/year", "-1/day", "0/day", "1.2.3/day", "x/day"])
def test_a_budget_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="write USD and a span"):
        budget_of(text)
