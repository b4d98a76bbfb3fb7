"""What the gateway tells of itself: metrics for Prometheus, and a log without prompts or keys."""

import logging
from datetime import UTC, datetime
from functools import cache

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from weighbridge.ledger.base import Closing
from weighbridge.planning import Plan

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SCORES = tuple(i / 10 for i in range(1, 11))


class Metrics:
    """Every metric by name. Labels hold only names from the config file and words from our own lists."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._requests = Counter(
            "weighbridge_requests",
            "Requests answered or failed, by where they went and why.",
            ["route", "upstream", "location", "reason", "end_reason"],
            registry=registry,
        )
        self._turned_away = Counter(
            "weighbridge_turned_away", "Requests that no upstream saw.", ["code"], registry=registry
        )
        self._failures = Counter(
            "weighbridge_attempt_failures",
            "Attempts that failed before the first byte.",
            ["upstream", "code"],
            registry=registry,
        )
        self._tokens = Counter(
            "weighbridge_tokens", "Tokens, as the ledger counts them.", ["upstream", "type"], registry=registry
        )
        self._cost = Counter("weighbridge_cost_usd", "What known costs add up to.", ["upstream"], registry=registry)
        self._baseline = Counter(
            "weighbridge_baseline_cost_usd", "The same requests on the baseline.", registry=registry
        )
        self._seconds = Histogram(
            "weighbridge_request_seconds",
            "From the request to its last byte.",
            ["location"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._first = Histogram(
            "weighbridge_first_token_seconds", "To the first byte.", ["location"], buckets=_SECONDS, registry=registry
        )
        self._overhead = Histogram(
            "weighbridge_overhead_seconds", "Spent in the gateway itself.", buckets=_SECONDS, registry=registry
        )
        self._scores = Histogram("weighbridge_score", "The classifier's scores.", buckets=_SCORES, registry=registry)
        self._ledger_failures = Counter(
            "weighbridge_ledger_failures", "Rows that could not be settled.", registry=registry
        )
        self.in_flight = Gauge("weighbridge_in_flight", "Requests being answered.", registry=registry)
        self._for = cache(self._children)

    def _children(
        self, route: str, upstream: str, location: str, reason: str, end_reason: str
    ) -> tuple[Counter, Counter, Counter, Counter, Histogram, Histogram]:
        """labels() costs more than inc(): keep what it returns."""
        return (
            self._requests.labels(route, upstream, location, reason, end_reason),
            self._tokens.labels(upstream, "input"),
            self._tokens.labels(upstream, "output"),
            self._cost.labels(upstream),
            self._seconds.labels(location),
            self._first.labels(location),
        )

    def request_ended(self, plan: Plan, closing: Closing) -> None:
        """Count a request that reached an upstream."""
        requests, inputs, outputs, cost, seconds, first = self._for(
            plan.target.route, closing.upstream or "", closing.location or "", closing.reason, closing.end_reason
        )
        requests.inc()
        if closing.input_tokens:
            inputs.inc(closing.input_tokens)
            outputs.inc(closing.output_tokens or 0)
        seconds.observe(closing.latency_s)
        self._overhead.observe(closing.overhead_s)
        if closing.ttft_s is not None:
            first.observe(closing.ttft_s)
        if closing.cost_nano_usd:
            cost.inc(closing.cost_nano_usd / 1e9)
        if closing.baseline_cost_nano_usd:
            self._baseline.inc(closing.baseline_cost_nano_usd / 1e9)
        if plan.assessment:
            self._scores.observe(plan.assessment.score)

    def attempt_failed(self, upstream: str, code: str) -> None:
        self._failures.labels(upstream, _bounded(code)).inc()

    def turned_away(self, code: str) -> None:
        self._turned_away.labels(_bounded(code)).inc()

    def ledger_failed(self) -> None:
        self._ledger_failures.inc()

    def exposition(self) -> tuple[bytes, str]:
        """The text for Prometheus, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


_CODES = {
    "model_not_found",
    "policy_denied",
    "invalid_api_key",
    "context_length_exceeded",
    "local_unavailable",
    "ledger_unavailable",
    "rate_limit_exceeded",
    "upstream_unavailable",
    "upstream_timeout",
    "upstream_error",
    "upstream_cut",
    "upstream_auth",
    "upstream_malformed",
    "upstream_too_large",
    "upstream_tls",
    "upstream_redirect",
}


def _bounded(code: str) -> str:
    # An upstream's own codes are without number; a label must not be.
    return code if code in _CODES else "other"


def configure_logging(*, as_json: bool) -> None:
    """One line an event on stderr: JSON for machines, plain text on a terminal. Prompts and keys never get there."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}
        return orjson.dumps(line).decode()
