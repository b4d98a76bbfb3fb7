"""`weighbridge models`: the names that a client may ask for, and what stands behind them."""

import os
from pathlib import Path
from typing import Any

from rich.table import Table

from weighbridge.cli.console import console, print_json
from weighbridge.config import Config, load
from weighbridge.planning import Planner
from weighbridge.prices import price_list
from weighbridge.units import Price


def run(path: Path, *, as_json: bool) -> None:
    """Print the catalogue."""
    config = load(path, os.environ)
    routes, upstreams = _routes(config), _upstreams(config)
    if as_json:
        print_json({"routes": routes, "upstreams": upstreams})
        return
    out = console()
    out.print(_table_of_routes(routes))
    out.print(_table_of_upstreams(upstreams))


def _routes(config: Config) -> list[dict[str, Any]]:
    names = Planner(config, None, None).names
    return [
        {
            "name": name,
            "variants": [n for n, target in names.items() if target.route == name and n.startswith(f"{name}:")],
            "small": route.small,
            "large": route.large,
            "small_by_task": route.small_by_task,
            "baseline": route.baseline,
        }
        for name, route in config.routes.items()
    ]


def _upstreams(config: Config) -> list[dict[str, Any]]:
    prices = price_list(config.upstreams)
    return [
        {
            "name": name,
            "model": upstream.model,
            "location": upstream.location,
            "context_window": upstream.context_window,
            "price": _price(prices[name]),
        }
        for name, upstream in config.upstreams.items()
    ]


def _price(price: Price | None) -> dict[str, str | None] | None:
    """USD as exact decimals; None is unknown."""
    if price is None:
        return None
    cached = price.cached_usd_per_mtok
    return {
        "input_usd_per_mtok": f"{price.input_usd_per_mtok.normalize():f}",
        "output_usd_per_mtok": f"{price.output_usd_per_mtok.normalize():f}",
        "cached_usd_per_mtok": None if cached is None else f"{cached.normalize():f}",
        "usd_per_second": f"{price.usd_per_second.normalize():f}",
        "version": price.version,
    }


def _table_of_routes(routes: list[dict[str, Any]]) -> Table:
    table = Table("Route", "Small", "Large", "Baseline", "Also as", title="Routes", title_justify="left")
    for route in routes:
        cells = (route["name"], route["small"], route["large"], route["baseline"], "\n".join(route["variants"]))
        table.add_row(*cells)
    return table


def _table_of_upstreams(upstreams: list[dict[str, Any]]) -> Table:
    table = Table("Upstream", "Model", "Location", title="Upstreams (by either name)", title_justify="left")
    table.add_column("Context", justify="right")
    table.add_column("USD per 1M tokens, in / out", justify="right")
    for upstream in upstreams:
        window = f"{upstream['context_window']:,}" if upstream["context_window"] else "not set"
        cells = (upstream["name"], upstream["model"], upstream["location"], window, _words(upstream["price"]))
        table.add_row(*cells)
    return table


def _words(price: dict[str, str | None] | None) -> str:
    if price is None:
        return "unknown"
    if price["usd_per_second"] != "0":
        return f"{price['usd_per_second']} a second"
    return f"{price['input_usd_per_mtok']} / {price['output_usd_per_mtok']}"
