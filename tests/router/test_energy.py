"""From watts, seconds and tokens to joules and grams."""

from pathlib import Path

import pytest
from running import toml_of, two_upstreams

from weighbridge.config import ConfigError, load
from weighbridge.energy import MJ_PER_KWH, Energy, Footprint, Range

WATTS = {"watts": 360, "usd_per_kwh": "0.3"}


def footprint(tmp_path: Path, *, local: object = None, remote: object = None, **energy: object) -> Footprint:
    config = two_upstreams("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", energy=energy)
    config["upstreams"]["local"] |= {"electricity": local} if local else {}
    config["upstreams"]["remote"] |= {"wh_per_1k_output_tokens": remote} if remote else {}
    path = tmp_path / "config.toml"
    path.write_text("schema_version = 1\n" + toml_of(config))
    loaded = load(path, {})
    return Footprint.of(loaded.energy, loaded.upstreams)


def test_watts_and_seconds_make_joules(tmp_path: Path) -> None:
    known = footprint(tmp_path, local=WATTS)
    assert known.worked("local", 10_000_000) == 3_600_000  # 360 W for 10 s are 1 Wh
    assert known.worked("gone", 10_000_000) is None
    assert footprint(tmp_path).worked("local", 10_000_000) is None


def test_tokens_make_a_range(tmp_path: Path) -> None:
    assert footprint(tmp_path).answered("remote", 1000) == Range(1_080_000, 14_400_000)  # 0.3 and 4 Wh
    assert footprint(tmp_path, remote_wh_per_1k_output_tokens=[1, 2]).answered("gone", 500).high == 3_600_000
    assert footprint(tmp_path, remote=[0.5, 0.5]).answered("remote", 2000) == Range(3_600_000, 3_600_000)


def test_grams_need_a_factor(tmp_path: Path) -> None:
    assert footprint(tmp_path).grams(MJ_PER_KWH, is_local=True) is None
    both = footprint(tmp_path, grid_gco2e_per_kwh=300)
    assert (both.grams(MJ_PER_KWH, is_local=True), both.grams(MJ_PER_KWH, is_local=False)) == (300, 300)
    apart = footprint(tmp_path, remote_grid_gco2e_per_kwh=0)
    assert (apart.grams(MJ_PER_KWH, is_local=True), apart.grams(MJ_PER_KWH, is_local=False)) == (None, 0)


@pytest.mark.parametrize("key", ["remote_wh_per_1k_output_tokens", "upstream"])
def test_a_range_that_runs_backwards_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="write the lower number first"):
        footprint(tmp_path, **({"remote": [4, 1]} if key == "upstream" else {key: [4, 1]}))


def test_the_defaults_are_those_of_the_documents() -> None:
    assert "0.3 to 4 Wh" in (Path(__file__).parents[2] / "docs/energy.md").read_text()
    assert Energy().remote_wh_per_1k_output_tokens == (0.3, 4.0)
