"""What each upstream charges: config.toml first, then the public price map inside the installed litellm package.

The map is read as data; litellm is not imported. What is in neither is unknown, and stays so: it is never 0.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from weighbridge.units import Price, usd_per_mtok
from weighbridge.upstreams.base import Electricity, Upstream

_MAP = "model_prices_and_context_window_backup.json"
_SECONDS_PER_YEAR = 31_557_600

# Whose prices hold at a host. The end of the host's name counts: "eu.api.openai.com" is OpenAI too.
_PROVIDERS = {
    "ai-gateway.vercel.sh": "vercel_ai_gateway",
    "api.anthropic.com": "anthropic",
    "api.cerebras.ai": "cerebras",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepinfra.com": "deepinfra",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks_ai",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.moonshot.ai": "moonshot",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.sambanova.ai": "sambanova",
    "api.together.ai": "together_ai",
    "api.together.xyz": "together_ai",
    "api.x.ai": "xai",
    "api.z.ai": "zai",
    "dashscope.aliyuncs.com": "dashscope",
    "dashscope-intl.aliyuncs.com": "dashscope",
    "generativelanguage.googleapis.com": "gemini",
    "integrate.api.nvidia.com": "nvidia_nim",
    "openai.azure.com": "azure",
    "openrouter.ai": "openrouter",
}


@dataclass(frozen=True, slots=True)
class Quote:
    """A line of the price map: USD per million tokens, and whose price it is."""

    provider: str
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cached_usd_per_mtok: Decimal | None


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The public price map. version: which one, so that a cost in the ledger can be traced to its prices."""

    quotes: Mapping[str, Quote]
    version: str

    @classmethod
    def load(cls, path: Path | None = None) -> "PriceTable":
        """Read the map of the installed litellm, or another file of the same form. Without one the table is empty."""
        release = ""
        if path is None:
            spec = find_spec("litellm")
            if spec is None or not spec.submodule_search_locations:
                return cls({}, "none")
            path, release = Path(spec.submodule_search_locations[0]) / _MAP, f"litellm {version('litellm')} "
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return cls({}, "none")
        lines = json.loads(raw, parse_float=Decimal)
        quotes = {name: quote for name, line in lines.items() if (quote := _quote(line))}
        return cls(quotes, f"{release}sha256:{hashlib.sha256(raw).hexdigest()[:12]}")

    def find(self, model: str, host: str | None) -> Quote | None:
        """The one price that this model has at this host; None where there is none, or more than one could be meant."""
        provider = _provider_of(host)
        if provider is not None:
            return self._of_provider(provider, model)
        if exact := self.quotes.get(model):
            return exact
        prefix, slash, name = model.partition("/")
        return self._of_provider(prefix, name) if slash else None

    def _of_provider(self, provider: str, model: str) -> Quote | None:
        for name in (f"{provider}/{model}", model):
            quote = self.quotes.get(name)
            if quote and quote.provider.startswith(provider):
                return quote
        return None


def price_list(upstreams: Mapping[str, Upstream]) -> dict[str, Price | None]:
    """What each upstream charges; None is unknown. The map is read once, and only where some price is omitted."""
    table = cache(PriceTable.load)
    return {name: price_for(upstream, table) for name, upstream in upstreams.items()}


def price_for(upstream: Upstream, table: Callable[[], PriceTable]) -> Price | None:
    """What an upstream charges. What config.toml says goes first, number by number."""
    per_second = usd_per_second(upstream.electricity) if upstream.electricity else Decimal(0)
    paid, got = _amount(upstream.input_usd_per_mtok), _amount(upstream.output_usd_per_mtok)
    cached = _amount(upstream.cached_usd_per_mtok)
    if upstream.electricity:
        paid, got = paid or Decimal(0), got or Decimal(0)
    if paid is not None and got is not None:
        return Price(paid, got, cached, per_second)
    # Whoever runs a model at home knows what it costs, the public map does not.
    quote = table().find(upstream.model, _host(upstream)) if upstream.location == "remote" else None
    if quote is None:
        return None
    is_mixed = any(amount is not None for amount in (paid, got, cached))
    return Price(
        quote.input_usd_per_mtok if paid is None else paid,
        quote.output_usd_per_mtok if got is None else got,
        quote.cached_usd_per_mtok if cached is None else cached,
        version=f"config + {table().version}" if is_mixed else table().version,
    )


def usd_per_second(electricity: Electricity) -> Decimal:
    """What a second of work costs: the current, and the machine's price over the seconds in which it works."""
    current = Decimal(str(electricity.watts)) / 3_600_000 * usd_per_mtok(electricity.usd_per_kwh)
    working_s = Decimal(str(electricity.amortise_years)) * _SECONDS_PER_YEAR * Decimal(str(electricity.utilisation))
    return current + usd_per_mtok(electricity.hardware_usd) / working_s


def _quote(line: Mapping[str, Any]) -> Quote | None:
    """A line that has both prices. The map's numbers are per token, written as decimals: they stay exact."""
    amounts = [line.get(f"{kind}_cost_per_token") for kind in ("input", "output")]
    cached = line.get("cache_read_input_token_cost")
    if not all(isinstance(amount, int | Decimal) and amount >= 0 for amount in amounts):
        return None
    paid, got = (Decimal(amount) * 1_000_000 for amount in amounts if amount is not None)
    saved = Decimal(cached) * 1_000_000 if isinstance(cached, int | Decimal) else None
    return Quote(str(line.get("litellm_provider", "")), paid, got, saved)


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else usd_per_mtok(text)


def _host(upstream: Upstream) -> str | None:
    return urlsplit(str(getattr(upstream, "base_url", None) or "")).hostname


def _provider_of(host: str | None) -> str | None:
    for ending, provider in _PROVIDERS.items():
        if host == ending or (host or "").endswith(f".{ending}"):
            return provider
    return None
