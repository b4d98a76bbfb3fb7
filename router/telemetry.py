"""What the gateway tells of itself: metrics for Prometheus, and a log without prompts or keys."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from weighbridge.discretion import for_the_log
from weighbridge.ledger.base import Closing
from weighbridge.planning import Plan
from weighbridge.policies.evidence import Verdict
from weighbridge.queues import Line
from weighbridge.reports.drift import Drift
from weighbridge.resident import resident_bytes
from weighbridge.tallies import Buckets, Family, Labels, summed
from weighbridge.upstreams.base import Upstream

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SCORES = tuple(i / 10 for i in range(1, 11))


class Metrics:
    """Every metric by name. Labels hold only names from the config file and words from our own lists.

    A request costs a few additions: what Prometheus calls a metric is made when it is read.
    """

    def __init__(self) -> None:
        self.in_flight = _InFlight()
        self._series: dict[tuple[str | None, ...], _Series] = {}
        self._seconds: dict[Labels, Buckets] = {}
        self._first: dict[Labels, Buckets] = {}
        self._overhead = Buckets(_SECONDS)
        self._scores = Buckets(_SCORES)
        self._baseline_nano_usd = 0
        self._turned_away: dict[Labels, int] = {}
        self._failures: dict[Labels, int] = {}
        self._drafts: dict[Labels, int] = {}
        self._ledger_failures = 0
        self._lookups: dict[Labels, int] = {}
        self._repeats: dict[Labels, int] = {}
        self._helped: dict[Labels, int] = {}
        self._reloads: dict[Labels, int] = {}
        self._lines: Mapping[str, Line] = {}
        self._upstreams: Mapping[str, Upstream] = {}
        self._shadows: dict[Labels, int] = {}
        self._shadow_nano_usd: dict[Labels, int] = {}
        self._signals: dict[Labels, int] = {}
        self._psi: dict[Labels, float] = {}
        self._busiest: dict[Labels, float] = {}
        self._drift_warnings: dict[Labels, float] = {}

    def request_ended(self, plan: Plan, closing: Closing) -> None:
        """Count a request that reached an upstream."""
        key = (plan.target.route, closing.upstream, closing.location, closing.reason, closing.end_reason)
        series = self._series.get(key) or self._begun(key)
        series.requests += 1
        if closing.input_tokens:
            series.input_tokens += closing.input_tokens
            series.output_tokens += closing.output_tokens or 0
        series.seconds.add(closing.latency_s)
        self._overhead.add(closing.overhead_s)
        if closing.ttft_s is not None:
            series.first.add(closing.ttft_s)
        series.cost_nano_usd += closing.cost_nano_usd or 0
        self._baseline_nano_usd += closing.baseline_cost_nano_usd or 0
        if plan.assessment:
            self._scores.add(plan.assessment.score)

    def attempt_failed(self, upstream: str, code: str) -> None:
        labels = (upstream, _bounded(code))
        self._failures[labels] = self._failures.get(labels, 0) + 1

    def turned_away(self, code: str) -> None:
        labels = (_bounded(code),)
        self._turned_away[labels] = self._turned_away.get(labels, 0) + 1

    def looked_up(self, verdict: str) -> None:
        """hit, miss or bypass."""
        self._lookups[(verdict,)] = self._lookups.get((verdict,), 0) + 1

    def repeated(self, outcome: str) -> None:
        """first, replayed, open, reused, or unknown: the state did not answer."""
        self._repeats[(outcome,)] = self._repeats.get((outcome,), 0) + 1

    def helped(self, step: str, outcome: str) -> None:
        """used, not needed or bypassed."""
        self._helped[step, outcome] = self._helped.get((step, outcome), 0) + 1

    def watch(self, lines: Mapping[str, Line], upstreams: Mapping[str, Upstream]) -> None:
        """From now on these are the upstreams, and the lines before them."""
        self._lines, self._upstreams = lines, upstreams

    def judged(self, verdict: Verdict) -> None:
        labels = ("accepted", "") if verdict.is_accepted else ("escalated", verdict.why)
        self._drafts[labels] = self._drafts.get(labels, 0) + 1

    def ledger_failed(self) -> None:
        self._ledger_failures += 1

    def shadowed(self, route: str, outcome: str) -> None:
        """judged, unjudged, failed, cancelled, over_budget, or busy: not begun."""
        self._shadows[route, outcome] = self._shadows.get((route, outcome), 0) + 1

    def shadow_paid(self, upstream: str, cost_nano_usd: int) -> None:
        self._shadow_nano_usd[(upstream,)] = self._shadow_nano_usd.get((upstream,), 0) + cost_nano_usd

    def signalled(self, kind: str, location: str) -> None:
        self._signals[kind, location] = self._signals.get((kind, location), 0) + 1

    def reloaded(self, *, is_good: bool) -> None:
        labels = ("ok" if is_good else "refused",)
        self._reloads[labels] = self._reloads.get(labels, 0) + 1

    def drifted(self, found: Drift, warnings: int) -> None:
        """What the last look for drift found."""
        shifts = {"scores": found.scores, "mix": found.mix}
        self._psi = {(of,): shift.index for of, shift in shifts.items() if shift}
        self._busiest = {(side.route, side.upstream): side.share for side in found.busiest}
        self._drift_warnings = {(): float(warnings)}

    def families(self) -> Iterator[Family]:
        """Every metric as it stands now."""
        yield self._requests()
        yield Family(
            "weighbridge_turned_away", "counter", "Requests that no upstream saw.", ("code",), self._turned_away
        )
        yield Family(
            "weighbridge_attempt_failures",
            "counter",
            "Attempts that failed before the first byte.",
            ("upstream", "code"),
            self._failures,
        )
        yield self._tokens()
        yield from self._money()
        yield from self._spread()
        yield _single("weighbridge_ledger_failures", "Rows that could not be settled.", self._ledger_failures)
        yield Family("weighbridge_drafts", "counter", "Verdicts on drafts.", ("outcome", "why"), self._drafts)
        help_ = "Steps of preprocessing that a local model was to do."
        yield Family("weighbridge_preprocess", "counter", help_, ("step", "outcome"), self._helped)
        yield Family("weighbridge_cache_lookups", "counter", "What the cache had.", ("outcome",), self._lookups)
        help_ = "Requests with an Idempotency-Key."
        yield Family("weighbridge_idempotent_requests", "counter", help_, ("outcome",), self._repeats)
        yield from self._aside()
        yield Family("weighbridge_reloads", "counter", "Configs read again.", ("outcome",), self._reloads)
        yield from self._of_upstreams()
        resident = resident_bytes()
        help_ = "Memory that the process has in use."
        yield Family("weighbridge_resident_bytes", "gauge", help_, (), {} if resident is None else {(): resident})
        yield Family("weighbridge_in_flight", "gauge", "Requests being answered.", (), {(): self.in_flight.count})

    def exposition(self) -> tuple[bytes, str]:
        """The text for Prometheus, and its content type."""
        # Its library takes a while to load, and many a gateway is never asked.
        from weighbridge.exposition import text_of  # noqa: PLC0415

        return text_of(self.families())

    def _begun(self, key: tuple[str | None, ...]) -> "_Series":
        labels = tuple(part or "" for part in key)
        place = (labels[2],)
        seconds = self._seconds.setdefault(place, Buckets(_SECONDS))
        first = self._first.setdefault(place, Buckets(_SECONDS))
        series = self._series[key] = _Series(labels, seconds, first)
        return series

    def _requests(self) -> Family:
        return Family(
            "weighbridge_requests",
            "counter",
            "Requests answered or failed, by where they went and why.",
            ("route", "upstream", "location", "reason", "end_reason"),
            {series.labels: series.requests for series in self._series.values()},
        )

    def _tokens(self) -> Family:
        found = self._series.values()
        return Family(
            "weighbridge_tokens",
            "counter",
            "Tokens, as the ledger counts them.",
            ("upstream", "type"),
            summed(((series.upstream, "input"), series.input_tokens) for series in found)
            | summed(((series.upstream, "output"), series.output_tokens) for series in found),
        )

    def _of_upstreams(self) -> Iterator[Family]:
        yield Family(
            "weighbridge_queue_length",
            "gauge",
            "Requests that wait for a place at an upstream.",
            ("upstream",),
            {(name,): line.length for name, line in self._lines.items()},
        )
        yield Family(
            "weighbridge_suspect_answers",
            "counter",
            "Answers in another model's name, or to less than was asked.",
            ("upstream", "kind"),
            {(name, kind): many for name, found in self._upstreams.items() for kind, many in found.noticed.items()},
        )

    def _money(self) -> Iterator[Family]:
        costs = summed(((series.upstream,), series.cost_nano_usd) for series in self._series.values())
        yield Family(
            "weighbridge_cost_usd",
            "counter",
            "What known costs add up to.",
            ("upstream",),
            {labels: cost / 1e9 for labels, cost in costs.items()},
        )
        baseline = self._baseline_nano_usd / 1e9
        yield _single("weighbridge_baseline_cost_usd", "The same requests on the baseline.", baseline)

    def _aside(self) -> Iterator[Family]:
        """What the gateway does of its own accord, and what it takes for a sign."""
        about = "Answers compared with the other side's, or meant to be."
        yield Family("weighbridge_shadows", "counter", about, ("route", "outcome"), self._shadows)
        costs = {labels: cost / 1e9 for labels, cost in self._shadow_nano_usd.items()}
        about = "What known costs of shadows and their judges add up to."
        yield Family("weighbridge_shadow_cost_usd", "counter", about, ("upstream",), costs)
        about = "Signs of what an answer was worth, by where it came from."
        yield Family("weighbridge_signals", "counter", about, ("kind", "location"), self._signals)
        about = "How far the last day lies from the four weeks before it."
        yield Family("weighbridge_drift_psi", "gauge", about, ("of",), self._psi)
        about = "The largest share that one upstream had of what a score decided in the last day."
        yield Family("weighbridge_busiest_share", "gauge", about, ("route", "upstream"), self._busiest)
        about = "What `weighbridge report --drift` warns of."
        yield Family("weighbridge_drift_warnings", "gauge", about, (), self._drift_warnings)

    def _spread(self) -> Iterator[Family]:
        """Times and scores: how often each came."""
        for name, text, rows in (
            ("weighbridge_request_seconds", "From the request to its last byte.", self._seconds),
            ("weighbridge_first_token_seconds", "To the first byte.", self._first),
        ):
            yield Family(name, "histogram", text, ("location",), rows)
        for name, text, buckets in (
            ("weighbridge_overhead_seconds", "Spent in the gateway itself.", self._overhead),
            ("weighbridge_score", "The classifier's scores.", self._scores),
        ):
            yield Family(name, "histogram", text, (), {(): buckets})


def _single(name: str, text: str, number: float) -> Family:
    return Family(name, "counter", text, (), {(): number})


@dataclass(slots=True)
class _Series:
    """The requests that have all labels in common. seconds and first: those of all at the same location."""

    labels: Labels
    seconds: Buckets
    first: Buckets
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0

    @property
    def upstream(self) -> str:
        return self.labels[1]


class _InFlight:
    """`with` it, a request counts as being answered."""

    def __init__(self) -> None:
        self.count = 0

    def track_inprogress(self) -> "_InFlight":
        return self

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1


_CODES = {
    "model_not_found",
    "policy_denied",
    "invalid_api_key",
    "context_length_exceeded",
    "local_unavailable",
    "budget_exceeded",
    "state_unavailable",
    "memory_full",
    "idempotency_key_in_use",
    "idempotency_key_reused",
    "ledger_unavailable",
    "rate_limit_exceeded",
    "upstream_unavailable",
    "upstream_loading",
    "upstream_other_model",
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
    handler.setFormatter(_JsonLines() if as_json else _PlainLines("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


class _PlainLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return for_the_log(super().format(record))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": for_the_log(record.getMessage()),
        }
        return orjson.dumps(line).decode()
