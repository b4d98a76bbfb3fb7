"""The ratios that Weighbridge has to reach, and whether a run reached them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rig.results import STREAM_64, WHOLE_1, WHOLE_64, Reading, Results, Scenario

UNMARKED_LIMIT = 0.01  # of the answers that should bear a score


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio that must reach `least`, round by round; `aim` is where we want to be."""

    what: str
    ours: str
    theirs: str
    least: float
    aim: float | None
    ratio: Callable[[Results, str, str], list[float]]


def _throughput(scenario: Scenario) -> Callable[[Results, str, str], list[float]]:
    def ratio(results: Results, ours: str, theirs: str) -> list[float]:
        pair = results.series(ours, scenario, per_core), results.series(theirs, scenario, per_core)
        return [a / b for a, b in zip(*pair, strict=False)]

    return ratio


def _latency(results: Results, ours: str, theirs: str) -> list[float]:
    pair = results.added(theirs, WHOLE_1, _p50), results.added(ours, WHOLE_1, _p50)
    return [a / b for a, b in zip(*pair, strict=False)]


def per_core(reading: Reading) -> float:
    return reading.per_core


def _p50(reading: Reading) -> float:
    return reading.p50_ms


_W, _S, _L, _P = "weighbridge", "weighbridge scored", "litellm", "portkey"
GOALS = (
    Goal("pass-through, requests/s per core, over LiteLLM's", _W, _L, 30, 100, _throughput(WHOLE_64)),
    Goal("pass-through, requests/s per core, over Portkey's", _W, _P, 4, 10, _throughput(WHOLE_64)),
    Goal("streams/s per core, over LiteLLM's", _W, _L, 30, 100, _throughput(STREAM_64)),
    Goal("streams/s per core, over Portkey's", _W, _P, 2, 10, _throughput(STREAM_64)),
    Goal("LiteLLM's added p50 over ours, 1 client", _W, _L, 10, None, _latency),
    Goal("classifier on, requests/s per core, over LiteLLM's", _S, _L, 3, None, _throughput(WHOLE_64)),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    goal: Goal
    theirs: str
    ratios: Sequence[float]
    trouble: str = ""

    @property
    def word(self) -> str:
        if self.trouble:
            return "NOT MEASURED" if not self.ratios else "FAIL"
        return "PASS" if statistics.median(self.ratios) >= self.goal.least else "FAIL"


def judged(results: Results) -> list[Verdict]:
    return [_judge(results, goal) for goal in GOALS]


def _judge(results: Results, goal: Goal) -> Verdict:
    """Against the better of LiteLLM's two settings."""
    rivals = [n for n in (goal.theirs, f"{goal.theirs} tuned") if results.starts.get(n)]
    for name in (goal.ours, goal.theirs):
        if name in results.skipped or not results.starts.get(name):
            return Verdict(goal, goal.theirs, (), f"{name} was not measured")
    tried = [
        (statistics.median(ratios), name, ratios) for name in rivals if (ratios := goal.ratio(results, goal.ours, name))
    ]
    if not tried:
        return Verdict(goal, goal.theirs, (), "its scenario was not measured")
    _, name, ratios = min(tried)
    wrong = [f"{n} had errors" for n in (goal.ours, name) if results.errors(n)]
    if results.unmarked(goal.ours) > UNMARKED_LIMIT:
        wrong.append(f"up to {results.unmarked(goal.ours):.0%} of the answers were not scored")
    return Verdict(goal, name, ratios, "; ".join(wrong))
