"""What an overhead run measures, and what it has measured so far."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load. delay_ms: before the upstream answers; gap_ms: between the events of its streams."""

    name: str
    clients: int
    is_stream: bool
    delay_ms: int = 0
    gap_ms: int = 0


WHOLE_1, WHOLE_8, WHOLE_64 = (Scenario(f"whole, {n} clients", n, is_stream=False) for n in (1, 8, 64))
STREAM_1, STREAM_8, STREAM_64 = (Scenario(f"stream, {n} clients", n, is_stream=True) for n in (1, 8, 64))
SLOW_64 = Scenario("whole, 64 clients, upstream takes 100 ms", 64, is_stream=False, delay_ms=100)
PACED_8 = Scenario("stream, 8 clients, 4 ms between events", 8, is_stream=True, gap_ms=4)
SCENARIOS = (WHOLE_1, WHOLE_8, WHOLE_64, STREAM_1, STREAM_8, STREAM_64, SLOW_64, PACED_8)


@dataclass(frozen=True, slots=True)
class Reading:
    """One scenario on one gateway in one round. Times in ms; added: over calling the upstream directly."""

    per_second: float
    per_core: float
    cpu_ms: float
    cores_used: float
    p50_ms: float
    p99_ms: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    answers: int
    unmarked_share: float
    errors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Start:
    """One start of one gateway. resident_mb: after all measurements of the round."""

    ready_s: float
    resident_mb: float


@dataclass(slots=True)
class Results:
    """All that was measured: readings by gateway, scenario and round."""

    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    readings: dict[tuple[str, str], list[Reading]] = field(default_factory=dict)
    starts: dict[str, list[Start]] = field(default_factory=dict)
    ledgers: dict[str, str] = field(default_factory=dict)

    def series(self, name: str, scenario: Scenario, value: Callable[[Reading], float]) -> list[float]:
        return [value(reading) for reading in self.readings.get((name, scenario.name), [])]

    def added(self, name: str, scenario: Scenario, value: Callable[[Reading], float]) -> list[float]:
        """What a gateway adds to the direct call of the same round."""
        ours, direct = self.series(name, scenario, value), self.series(DIRECT, scenario, value)
        return [a - b for a, b in zip(ours, direct, strict=True)]

    def unmarked(self, name: str) -> float:
        """The largest share of answers that lacked the target's mark, over all its readings."""
        every = (
            r.unmarked_share for (target, _), readings in self.readings.items() if target == name for r in readings
        )
        return max(every, default=0.0)

    def errors(self, name: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for (target, _), readings in self.readings.items():
            for reading in readings if target == name else ():
                for what, count in reading.errors.items():
                    found[what] = found.get(what, 0) + count
        return found
