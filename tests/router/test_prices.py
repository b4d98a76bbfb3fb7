"""Prices: config first, then the public map, and never a guess."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from weighbridge.prices import PriceTable, price_for, price_list, usd_per_second
from weighbridge.units import Price, Usage, cost_of
from weighbridge.upstreams.base import Completion, Electricity, Stream, Upstream
from weighbridge.wire import Body


class Somewhere(Upstream):
    base_url: str = "https://api.openai.com/v1"

    async def complete(self, body: Body) -> Completion:
        raise NotImplementedError

    async def stream(self, body: Body) -> Stream:
        raise NotImplementedError


def upstream(**options: Any) -> Somewhere:
    return Somewhere(**{"model": "gpt-x", "location": "remote", **options})


@pytest.fixture
def table(tmp_path: Path) -> PriceTable:
    lines = {
        "gpt-x": {
            "litellm_provider": "openai",
            "input_cost_per_token": 2.5e-07,
            "output_cost_per_token": 2e-06,
            "cache_read_input_token_cost": 2.5e-08,
        },
        "groq/open-7b": {"litellm_provider": "groq", "input_cost_per_token": 1e-07, "output_cost_per_token": 1e-07},
        "sonnet-x": {"litellm_provider": "anthropic", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05},
        "embed-x": {"litellm_provider": "openai", "input_cost_per_token": 1e-08},
        "odd": {"litellm_provider": "openai", "input_cost_per_token": "much", "output_cost_per_token": 1e-06},
        "free-x": {"litellm_provider": "openai", "input_cost_per_token": 0, "output_cost_per_token": 0},
    }
    (tmp_path / "map.json").write_text(json.dumps(lines))
    return PriceTable.load(tmp_path / "map.json")


def unneeded() -> PriceTable:
    raise AssertionError("the map was read without need")


def test_a_price_in_the_config_goes_before_the_map() -> None:
    price = price_for(upstream(input_usd_per_mtok="0.15", output_usd_per_mtok="0.6"), unneeded)
    assert price == Price(Decimal("0.15"), Decimal("0.6"), None, Decimal(0), "config")


def test_an_omitted_price_is_looked_up_exactly(table: PriceTable) -> None:
    price = price_for(upstream(), lambda: table)
    assert price is not None
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (Decimal("0.25"), Decimal(2))
    assert price.cached_usd_per_mtok == Decimal("0.025")
    assert price.version.startswith("sha256:")
    # $0.25 and $2 per million: whole nano-dollars, no dust from binary fractions.
    assert cost_of(Usage(1, 1), price) == 2250


def test_what_the_config_leaves_out_comes_from_the_map(table: PriceTable) -> None:
    price = price_for(upstream(output_usd_per_mtok="9"), lambda: table)
    assert price is not None
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (Decimal("0.25"), Decimal(9))
    assert price.version.startswith("config + sha256:")


@pytest.mark.parametrize(
    ("model", "base_url"),
    [
        ("nobody-knows", "https://api.openai.com/v1"),
        ("embed-x", "https://api.openai.com/v1"),  # no output price
        ("odd", "https://api.openai.com/v1"),
        ("sonnet-x", "https://api.openai.com/v1"),  # a name of another provider
        ("open-7b", "https://models.example.com/v1"),  # the price depends on who serves it
    ],
)
def test_what_is_not_found_is_unknown(table: PriceTable, model: str, base_url: str) -> None:
    assert price_for(upstream(model=model, base_url=base_url), lambda: table) is None


@pytest.mark.parametrize(
    ("model", "base_url"),
    [
        ("open-7b", "https://api.groq.com/openai/v1"),
        ("groq/open-7b", ""),
        ("anthropic/sonnet-x", ""),
        ("gpt-x", "https://gateway.example.com/v1"),
        ("gpt-x", "https://eu.api.openai.com/v1"),
    ],
)
def test_the_host_or_a_prefix_says_whose_price_it_is(table: PriceTable, model: str, base_url: str) -> None:
    assert price_for(upstream(model=model, base_url=base_url), lambda: table) is not None


def test_a_price_of_nothing_in_the_map_is_a_price(table: PriceTable) -> None:
    price = price_for(upstream(model="free-x"), lambda: table)
    assert price is not None
    assert cost_of(Usage(10, 10), price) == 0


def test_a_local_model_has_the_price_that_the_config_says_or_none() -> None:
    assert price_for(upstream(location="local"), unneeded) is None
    assert price_for(upstream(location="local", input_usd_per_mtok="0", output_usd_per_mtok="0"), unneeded) is not None


def test_a_local_model_can_be_priced_by_the_second() -> None:
    power = Electricity(watts=360, usd_per_kwh="0.30", hardware_usd="3155.76", amortise_years=1, utilisation=0.5)
    # 0.1 Wh a second at $0.30 a kilowatt-hour, and the machine's price over the half of a year in which it works.
    assert usd_per_second(power) == Decimal("0.00003") + Decimal("0.0002")
    price = price_for(upstream(location="local", electricity=power), unneeded)
    assert price is not None
    assert cost_of(Usage(1000, 1000), price, seconds=2) == 460_000


def test_the_installed_map_knows_a_well_known_model() -> None:
    table = PriceTable.load()
    assert table.version.startswith("litellm ")
    price = price_for(upstream(model="gpt-5-mini"), lambda: table)
    assert price is not None
    assert price.input_usd_per_mtok > 0


def test_a_missing_map_makes_prices_unknown_not_zero(tmp_path: Path) -> None:
    table = PriceTable.load(tmp_path / "none.json")
    assert price_for(upstream(), lambda: table) is None


def test_the_list_names_every_upstream_and_leaves_unknown_ones_unknown() -> None:
    priced = upstream(input_usd_per_mtok="1", output_usd_per_mtok="1")
    assert price_list({"a": priced, "b": upstream(model="nobody-knows")}) == {
        "a": Price(Decimal(1), Decimal(1)),
        "b": None,
    }


def test_prices_are_read_without_importing_litellm() -> None:
    code = (
        "import sys; from weighbridge.prices import PriceTable; t = PriceTable.load();"
        "assert t.quotes; assert 'litellm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
