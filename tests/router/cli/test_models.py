"""`weighbridge models`: the names that a client may ask for."""

import json

from commanding import ConfigFile


async def test_routes_come_with_their_variants_and_upstreams_with_their_prices(config: ConfigFile, weighbridge) -> None:
    found = json.loads((await weighbridge("models", "--json")).out)
    [route] = found["routes"]
    assert route["variants"] == [f"auto:{v}" for v in ("cost", "balanced", "quality", "local", "remote")]
    small, large = found["upstreams"]
    assert (small["model"], small["location"], small["context_window"]) == ("sim-small", "local", 8192)
    assert large["price"]["output_usd_per_mtok"] == "4.5"


async def test_the_table_says_what_is_not_known(config: ConfigFile, weighbridge) -> None:
    config.change('input_usd_per_mtok = "1"\noutput_usd_per_mtok = "4.50"\n', "")
    ended = await weighbridge("models")
    assert ended.code == 0
    assert "unknown" in ended.out
    assert "auto:quality" in ended.out


async def test_a_price_by_the_second_is_told(config: ConfigFile, weighbridge) -> None:
    config.change(
        'input_usd_per_mtok = "0"\noutput_usd_per_mtok = "0"', 'electricity = { watts = 36, usd_per_kwh = "1" }'
    )
    ended = await weighbridge("models")
    assert "0.00001 a second" in ended.out
