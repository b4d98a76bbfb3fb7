"""What is counted of the ledger's heaps: sums that add, so that groups, days and the whole come from one reading."""

from collections import Counter
from dataclasses import dataclass, field

from weighbridge.ledger.base import Heap

ERRORS = frozenset({"upstream_cut", "timeout", "refused", "error"})


@dataclass(slots=True)
class Times:
    """Observed microseconds: to the first token, and for the whole answer."""

    ttft_us: list[int] = field(default_factory=list)
    latency_us: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Pace:
    """How an upstream was seen to answer: streams tell the start and the speed, whole answers only both together."""

    starts_s: list[float] = field(default_factory=list)
    per_token_s: list[float] = field(default_factory=list)
    whole_per_token_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Kept:
    """Answers that the baseline would have given otherwise, told apart only by their baseline upstream.

    Local ones, and those for which another upstream was asked before in vain: a draft was discarded, or it failed.
    """

    answers: int = 0
    output_tokens: int = 0
    latency_us: int = 0


@dataclass(slots=True)
class Tally:
    """Requests, counted. Money is nano-USD."""

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
    slots: Counter[int] = field(default_factory=Counter)
    thresholds: Counter[float] = field(default_factory=Counter)
    times: dict[str, Times] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)

    def add(self, heap: Heap) -> None:
        self.add_sums(heap)
        if heap.location is not None:
            self._time(heap, heap.location)

    def add_sums(self, heap: Heap) -> None:
        """All but the times."""
        self.requests += heap.requests
        self.local += heap.requests if heap.location == "local" else 0
        self.remote += heap.requests if heap.location == "remote" else 0
        self.known_costs += heap.known_costs
        self.cost += heap.cost
        self.baseline += heap.baseline
        self.compared += heap.compared
        self.compared_cost += heap.compared_cost
        self.compared_baseline += heap.compared_baseline
        self.released += heap.requests if heap.status == "released" else 0
        self.ends[heap.end_reason or "open"] += heap.requests
        if heap.slot is not None:
            self.slots[heap.slot] += heap.requests
            if heap.threshold is not None:
                self.thresholds[heap.threshold] += heap.requests

    def _time(self, heap: Heap, location: str) -> None:
        times = self.times.setdefault(location, Times())
        times.ttft_us += [us for us in heap.ttft_us if us >= 0]
        times.latency_us += [us for us in heap.latency_us if us >= 0]
        each = zip(heap.ttft_us, heap.latency_us, heap.output_tokens, strict=True)
        told = [(ttft_us, us, tokens) for ttft_us, us, tokens in each if us >= 0 and tokens > 0]
        if location == "local" or not heap.is_first:
            kept = self.kept.setdefault(heap.baseline_upstream or "", Kept())
            kept.answers += len(told)
            kept.output_tokens += sum(tokens for _, _, tokens in told)
            kept.latency_us += sum(us for _, us, _ in told)
        elif heap.upstream is not None:
            pace = self.paces.setdefault(heap.upstream, Pace())
            streams = [part for part in told if heap.is_stream and part[0] >= 0]
            pace.starts_s += [ttft_us / 1e6 for ttft_us, _, _ in streams]
            pace.per_token_s += [(us - ttft_us) / tokens / 1e6 for ttft_us, us, tokens in streams]
            if not heap.is_stream:
                pace.whole_per_token_s += [us / tokens / 1e6 for _, us, tokens in told]

    @property
    def errors(self) -> int:
        return sum(count for end, count in self.ends.items() if end in ERRORS)
