"""What a request costs elsewhere: exact where it stays, an estimate where it moves, unknown where it is unknown."""

from decimal import Decimal
from pathlib import Path

from bookkeeping import entry

from weighbridge.learning.costing import Costing, prices_from
from weighbridge.units import Price

A_DOLLAR = Price(Decimal(1), Decimal(1))
BY_THE_SECOND = Price(Decimal(0), Decimal(0), usd_per_second=Decimal("0.001"))
ROW = {"input_tokens": 300, "output_tokens": 200, "cost_nano_usd": 7}


def test_what_stays_costs_what_it_cost() -> None:
    costing = Costing({"local": A_DOLLAR}, frozenset(), {})
    assert costing.cost(entry(**ROW), "local") == (7, False)
    assert costing.cost(entry(**ROW | {"cost_nano_usd": None}), "local") == (None, False)


def test_what_moves_is_priced_with_its_tokens() -> None:
    costing = Costing({"remote": A_DOLLAR}, frozenset(), {})
    assert costing.cost(entry(**ROW), "remote") == (500_000, True)
    assert costing.cost(entry(**ROW | {"output_tokens": None}), "remote") == (None, True)
    assert costing.cost(entry(**ROW), "unknown") == (None, True)


def test_other_prices_hold_for_what_stays_too() -> None:
    costing = Costing({"local": A_DOLLAR}, frozenset({"local"}), {})
    assert costing.cost(entry(**ROW), "local") == (500_000, False)
    assert costing.cost(entry(**ROW, attempts=2), "local") == (500_000, True)


def test_an_answer_from_the_cache_costs_nothing_at_any_price() -> None:
    costing = Costing({"local": A_DOLLAR}, frozenset({"local"}), {})
    assert costing.cost(entry(**ROW | {"cost_nano_usd": 0}, attempts=0), "local") == (0, False)


def test_what_is_denied_costs_nothing() -> None:
    assert Costing({}, frozenset(), {}).cost(entry(**ROW), None) == (0, False)


def test_seconds_are_those_that_the_upstream_takes_as_a_rule() -> None:
    assert Costing({"remote": BY_THE_SECOND}, frozenset(), {"remote": 3.0}).cost(entry(**ROW), "remote")[0] == 3_000_000
    assert Costing({"remote": BY_THE_SECOND}, frozenset(), {}).cost(entry(**ROW), "remote")[0] is None


def test_the_baseline_has_other_prices_too() -> None:
    row = entry(**ROW, baseline_cost_nano_usd=9)
    assert Costing({"remote": A_DOLLAR}, frozenset(), {}).baseline(row) == 9
    assert Costing({"remote": A_DOLLAR}, frozenset({"remote"}), {}).baseline(row) == 500_000


def test_a_price_list_names_its_file_as_the_version(tmp_path: Path) -> None:
    path = tmp_path / "next.toml"
    path.write_text('[upstreams.a]\ninput_usd_per_mtok = "0.1"\noutput_usd_per_mtok = "2"\n')
    found = prices_from(path, {"a": None})["a"]
    assert (found.input_usd_per_mtok, found.version) == (Decimal("0.1"), "next.toml")
