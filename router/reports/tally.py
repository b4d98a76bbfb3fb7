"""What is counted of the ledger's lines: sums that add, so that groups, days and the whole come from one reading."""

from collections import Counter
from dataclasses import dataclass, field

from weighbridge.ledger.base import Line

BINS = 20  # of the score, 0..1
ERRORS = frozenset({"upstream_cut", "timeout", "refused", "error"})


@dataclass(slots=True)
class Times:
    """Observed seconds: to the first token, and for the whole answer."""

    ttft_s: list[float] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Pace:
    """How an upstream was seen to answer: streams tell the start and the speed, whole answers only both together."""

    starts_s: list[float] = field(default_factory=list)
    per_token_s: list[float] = field(default_factory=list)
    whole_per_token_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """A heap of requests, counted. Money is nano-USD."""

    requests: int = 0
    local: int = 0
    remote: int = 0
    known_costs: int = 0
    cost: int = 0
    baseline: int = 0
    compared: int = 0  # both prices known
    compared_cost: int = 0
    compared_baseline: int = 0
    released: int = 0  # no upstream did anything: nothing to pay, nothing to compare
    ends: Counter[str] = field(default_factory=Counter)
    scores: Counter[int] = field(default_factory=Counter)
    thresholds: Counter[float] = field(default_factory=Counter)
    times: dict[str, Times] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)
    kept_home: list[tuple[str, int, float]] = field(default_factory=list)  # baseline upstream, tokens, seconds taken

    def add(self, line: Line) -> None:
        self.requests += 1
        location, cost, baseline = line.location, line.cost_nano_usd, line.baseline_cost_nano_usd
        if location == "local":
            self.local += 1
        elif location == "remote":
            self.remote += 1
        if cost is not None:
            self.known_costs += 1
            self.cost += cost
        if baseline is not None:
            self.baseline += baseline
            if cost is not None:
                self.compared += 1
                self.compared_cost += cost
                self.compared_baseline += baseline
        self.released += line.status == "released"
        self.ends[line.end_reason or "open"] += 1
        if line.score is not None:
            self.scores[min(int(line.score * BINS), BINS - 1)] += 1
            if line.threshold is not None:
                self.thresholds[line.threshold] += 1
        if line.end_reason == "ok" and location is not None and line.latency_s is not None:
            self._time(line, location, line.latency_s)

    def _time(self, line: Line, location: str, latency_s: float) -> None:
        times = self.times.get(location) or self.times.setdefault(location, Times())
        times.latency_s.append(latency_s)
        if line.ttft_s is not None:
            times.ttft_s.append(line.ttft_s)
        if not line.output_tokens or line.upstream is None:
            return
        if location == "local":
            self.kept_home.append((line.baseline_upstream or "", line.output_tokens, latency_s))
            return
        pace = self.paces.get(line.upstream) or self.paces.setdefault(line.upstream, Pace())
        if line.is_stream and line.ttft_s is not None:
            pace.starts_s.append(line.ttft_s)
            pace.per_token_s.append((latency_s - line.ttft_s) / line.output_tokens)
        else:
            pace.whole_per_token_s.append(latency_s / line.output_tokens)

    def merge(self, other: "Tally") -> None:
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.ends.update(other.ends)
        self.scores.update(other.scores)
        self.thresholds.update(other.thresholds)
        for location, times in other.times.items():
            mine = self.times.setdefault(location, Times())
            mine.ttft_s += times.ttft_s
            mine.latency_s += times.latency_s
        for upstream, pace in other.paces.items():
            known = self.paces.setdefault(upstream, Pace())
            known.starts_s += pace.starts_s
            known.per_token_s += pace.per_token_s
            known.whole_per_token_s += pace.whole_per_token_s
        self.kept_home += other.kept_home

    @property
    def errors(self) -> int:
        return sum(count for end, count in self.ends.items() if end in ERRORS)


_SUMS = (
    "requests",
    "local",
    "remote",
    "known_costs",
    "cost",
    "baseline",
    "compared",
    "compared_cost",
    "compared_baseline",
    "released",
)
