"""The composition root: from a config to the parts that answer requests. Construction here, use elsewhere."""

import asyncio
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from weighbridge.access import Access
from weighbridge.attempts import Attempts
from weighbridge.budgets import Budgets
from weighbridge.cache import Cache
from weighbridge.classifiers.base import Classifier
from weighbridge.classifiers.batched import Batched
from weighbridge.config import Config, ConfigError
from weighbridge.discretion import keep
from weighbridge.drifting import DriftWatch
from weighbridge.errors import UpstreamError
from weighbridge.gateway import Gateway
from weighbridge.ledger.base import Ledger
from weighbridge.metering import Meter, counters, on_this_machine
from weighbridge.planning import Planner
from weighbridge.prices import price_list
from weighbridge.repeating import Repeating
from weighbridge.resident import Ceiling
from weighbridge.shadowing import Shadowing, shadow_budgets
from weighbridge.signals import Signals
from weighbridge.state.base import State
from weighbridge.telemetry import Metrics
from weighbridge.units import Price
from weighbridge.upstreams.base import Upstream

T = TypeVar("T", bound=BaseModel)

PROBE_S = 2.0  # how long a look at an upstream may take
PROBE_TTL_S = 5.0  # how long its finding holds
_KEYS = re.compile("key|token|secret|auth", re.IGNORECASE)  # headers that hold one


@dataclass
class Parts:
    """What a running gateway is made of. Open it on the event loop that will use it, and close it there."""

    config: Config
    access: Access
    classifier: Classifier | None
    metrics: Metrics
    started_at: int = field(default_factory=lambda: int(time.time()))
    is_draining: bool = False
    _probed_s: float = float("-inf")
    _readiness: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.config
        self.ledger: Ledger = config.ledger
        self.max_body_bytes = int(config.server.max_body_mb * (1 << 20))
        most = config.server.max_memory_mb
        self.ceiling = Ceiling(int(most * (1 << 20))) if most else None
        self._assessor = (
            Batched(self.classifier, workers=config.classifier_workers, time_limit_s=config.classifier_time_limit_s)
            if self.classifier
            else None
        )
        assess = self._assessor.assess if self._assessor else None
        budgets = (*config.budgets, *shadow_budgets(config.routes))
        self.budgets = Budgets(budgets, config.state, self.ledger.spent, self.ledger.under_way)
        pressure = self.budgets.pressure if config.budgets else None
        self.planner = Planner(config, self.classifier, assess, self.ledger.recall, pressure)
        prices = price_list(config.upstreams)
        _require_prices(config, prices)
        attempts = Attempts(self.ledger, self.metrics, self.budgets, config.upstreams)
        self.metrics.watch(attempts.lines, config.upstreams)
        cache = Cache(config.cache) if config.cache else None
        here = on_this_machine(config.upstreams)
        meter = Meter(counters() if config.energy.measure and here else (), here)
        self.shadowing = Shadowing.of(config.routes, self.ledger, prices, self.metrics, attempts, meter)
        self.drift_watch = DriftWatch(self.ledger, self.metrics)
        signals = Signals(config.signals, self.ledger, self.metrics) if config.signals else None
        self._repeating = Repeating(config.state, self.metrics) if config.state.answers_ttl_s else None
        rest = (cache, meter, self.shadowing, signals, config.preprocess, self._repeating)
        self.gateway = Gateway(self.planner, self.ledger, prices, self.metrics, attempts, *rest)

    async def aopen(self, before: "Parts | None" = None) -> None:
        """Open what was not open before."""
        for thing in self._things(before):
            await thing.aopen()

    async def aclose(self, after: "Parts | None" = None) -> None:
        """Close what does not live on after us."""
        await self.drift_watch.settled()
        if self.shadowing:
            await self.shadowing.aclose()
        if self._repeating:
            await self._repeating.aclose()
        if self._assessor:
            await self._assessor.aclose()
        for thing in reversed(self._things(after)):
            await thing.aclose()

    def _things(self, but: "Parts | None") -> list[Ledger | State | Upstream]:
        """What has to be opened and closed, but for what others have too."""
        theirs = [id(thing) for thing in but._things(None)] if but else []
        ours: tuple[Ledger | State | Upstream, ...]
        ours = (self.ledger, self.config.state, *self.config.upstreams.values())
        return [thing for thing in ours if id(thing) not in theirs]

    async def readiness(self) -> dict[str, Any]:
        """Which upstreams answer, and whether the ledger can be written; looked at afresh every few seconds."""
        if self.is_draining:
            return {"status": "draining", "upstreams": {}}
        if self.ceiling and self.ceiling.is_reached:
            return {"status": "memory full", "upstreams": {}}
        now = time.monotonic()
        if now - self._probed_s > PROBE_TTL_S:
            self._probed_s = now
            upstreams = self.config.upstreams
            found = await asyncio.gather(*(_is_usable(upstream) for upstream in upstreams.values()))
            usable = dict(zip(upstreams, found, strict=True))
            is_ready = any(usable.values()) and await self.ledger.is_writable()
            self._readiness = {"status": "ready" if is_ready else "not ready", "upstreams": usable}
        return self._readiness


def compose(config: Config, environ: Mapping[str, str], before: Parts | None = None) -> Parts:
    """Put the real parts together. The classifier is loaded only where something asks for a score.

    before: the parts that are at work. What the config describes as it did lives on: pools, counters, what was learnt.
    """
    for secret in _secrets(config, environ):
        keep(secret)
    if before:
        config = _with_kept(config, before.config)
    return Parts(
        config=config,
        access=Access.of(config, environ),
        classifier=_classifier(config, before),
        metrics=before.metrics if before else Metrics(),
    )


def _secrets(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """The keys that upstreams and callers have of this process's environment."""
    for upstream in config.upstreams.values():
        yield os.environ.get(getattr(upstream, "api_key_env", ""), "")
        yield from (value for name, value in getattr(upstream, "headers", {}).items() if _KEYS.search(name))
    yield from environ.get(config.server.api_keys_env, "").split(",")


def _classifier(config: Config, before: Parts | None) -> Classifier | None:
    if not config.needs_classifier:
        return None
    if before and before.classifier and before.config.classifier == config.classifier:
        return before.classifier
    return config.make_classifier()


def _with_kept(config: Config, before: Config) -> Config:
    upstreams = {name: _kept(new, before.upstreams.get(name)) for name, new in config.upstreams.items()}
    kept = {"upstreams": upstreams, "ledger": _kept(config.ledger, before.ledger)}
    return config.model_copy(update={**kept, "state": _kept(config.state, before.state)})


def _kept(new: T, old: T | None) -> T:
    return old if old is not None and type(old) is type(new) and old.model_dump() == new.model_dump() else new


def _require_prices(config: Config, prices: Mapping[str, Price | None]) -> None:
    """A budget in money cannot count what has no price. Raises ConfigError."""
    budgets = (*config.budgets, *shadow_budgets(config.routes))
    if not any(budget.kind == "usd" for budget in budgets):
        return
    unknown = [name for name, price in prices.items() if price is None and config.upstreams[name].location == "remote"]
    if unknown:
        remedy = "set input_usd_per_mtok and output_usd_per_mtok there, or budget tokens instead"
        raise ConfigError(
            [f"{config.path}: a budget in usd needs prices: upstreams.{n} has none: {remedy}" for n in unknown]
        )


async def _is_usable(upstream: Upstream) -> bool:
    try:
        async with asyncio.timeout(PROBE_S):
            await upstream.check()
    except (UpstreamError, TimeoutError):
        return False
    return True
