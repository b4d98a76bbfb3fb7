"""What a request of the past would have cost on an upstream, at prices of today or of another list."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from weighbridge.config import Config
from weighbridge.learning.refusals import Unusable
from weighbridge.ledger.base import Entry
from weighbridge.prices import price_list
from weighbridge.units import NanoUsd, Price, Usage, cost_of, usd_per_mtok
from weighbridge.upstreams.base import Upstream


class _Listed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    input_usd_per_mtok: str
    output_usd_per_mtok: str
    cached_usd_per_mtok: str | None = None


class _List(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    upstreams: dict[str, _Listed]


class Costing:
    """prices: by the upstream's name. changed: those whose prices are not what served.

    median_s: how long an upstream takes as a rule, for one that costs by the second.
    """

    def __init__(
        self, prices: Mapping[str, Price | None], changed: frozenset[str], median_s: Mapping[str, float]
    ) -> None:
        self._prices = prices
        self._changed = changed
        self._median_s = median_s

    def cost(self, entry: Entry, upstream: str | None, *, is_at_once: bool = False) -> tuple[NanoUsd | None, bool]:
        """The cost, and whether it is an estimate: another model would have written more or less.

        is_at_once: only the last of its attempts is made.
        """
        if upstream is None:
            return NanoUsd(0), False  # denied
        is_same = upstream == entry.upstream
        is_known = is_same and upstream not in self._changed and not (is_at_once and entry.attempts > 1)
        if not entry.attempts or is_known:
            return None if entry.cost_nano_usd is None else NanoUsd(entry.cost_nano_usd), False
        seconds = entry.latency_s if is_same else self._median_s.get(upstream)
        return self._priced(entry, upstream, seconds), not is_same or (entry.attempts > 1 and not is_at_once)

    def baseline(self, entry: Entry) -> NanoUsd | None:
        name = entry.baseline_upstream
        if name is not None and name in self._changed:
            return self._priced(entry, name, self._median_s.get(name))
        return None if entry.baseline_cost_nano_usd is None else NanoUsd(entry.baseline_cost_nano_usd)

    def _priced(self, entry: Entry, upstream: str, seconds: float | None) -> NanoUsd | None:
        price = self._prices.get(upstream)
        if price is None or entry.input_tokens is None or entry.output_tokens is None:
            return None
        if price.usd_per_second and seconds is None:
            return None
        return cost_of(Usage(entry.input_tokens, entry.output_tokens, entry.cached_tokens or 0), price, seconds or 0.0)


def costing(before: Config, after: Config, listed: Path | None, median_s: Mapping[str, float]) -> Costing:
    """Prices of the config that is tried, with those of a list over them. Raises Unusable."""
    old, new = price_list(before.upstreams), price_list(after.upstreams)
    changed = {name for name, price in new.items() if name in old and old[name] != price}
    if listed:
        found = prices_from(listed, after.upstreams)
        new |= found
        changed |= found.keys()
    return Costing(new, frozenset(changed), median_s)


def prices_from(path: Path, upstreams: Mapping[str, Upstream]) -> dict[str, Price]:
    """A price list: `[upstreams.NAME]` with its prices. Raises Unusable, which names what is wrong."""
    try:
        found = _List.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        prices = {name: _price(listed, path) for name, listed in found.upstreams.items()}
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        form = 'write [upstreams.NAME] with input_usd_per_mtok = "..." and output_usd_per_mtok = "..."'
        raise Unusable(f"{path}: {place}: {first['msg']}; {form}") from error
    except ValueError as error:  # no TOML, no UTF-8, or no amount
        raise Unusable(f"{path}: {error}") from error
    if unknown := sorted(prices.keys() - upstreams.keys()):
        raise Unusable(f"{path}: {unknown[0]} is not an upstream; known are {', '.join(upstreams)}")
    return prices


def _price(listed: _Listed, path: Path) -> Price:
    cached = listed.cached_usd_per_mtok
    return Price(
        usd_per_mtok(listed.input_usd_per_mtok),
        usd_per_mtok(listed.output_usd_per_mtok),
        None if cached is None else usd_per_mtok(cached),
        version=path.name,
    )
