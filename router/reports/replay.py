"""A replay: what a span of requests cost, took and was worth, beside what it would have been otherwise. Pure.

Expected quality is one less the score where the small model answers, which is what a calibrated score says, and one
where the baseline does. Its interval is Wilson's (1927) for the count of answers that fall short in as many requests
drawn from this traffic. It does not know whether the score is calibrated: what users said of answers stands beside it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import sqrt

from weighbridge.reports.latency import ENOUGH

POINTS = 101  # thresholds of the curve
_Z = 1.959964  # 95 %


@dataclass(frozen=True, slots=True)
class Served:
    """One request on one upstream. None is unknown; an upstream of None is nowhere.

    is_estimate: the cost is made of another model's tokens. shortfall: the chance that the answer falls short.
    """

    upstream: str | None
    location: str | None
    cost_nano_usd: int | None
    baseline_nano_usd: int | None
    shortfall: float | None
    is_estimate: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Both ways that a score chooses between, for the curve. Costs in nano-USD."""

    score: float
    small_nano_usd: int
    large_nano_usd: int
    was_large: bool
    is_large: bool


@dataclass(frozen=True, slots=True)
class Case:
    """One request as it was, and as it would have been; `new` is None where nothing tells, and `missing` says what.

    latency_s: as it was; None where it did not end well. feedback: what the user said.
    """

    old: Served
    new: Served | None
    missing: str | None = None
    choice: Choice | None = None
    latency_s: float | None = None
    feedback: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """A share of `of` requests with its 95 % interval; for quality one of answers that are as good."""

    value: float
    low: float
    high: float
    of: int


@dataclass(frozen=True, slots=True)
class Side:
    """One way of serving the requests. Costs over those whose cost is known both ways.

    shortfall: expected, over those whose quality is known both ways. untimed: without evidence of their latency.
    measured: what users said of the answers that are the same both ways, 0..1.
    """

    local: int
    remote: int
    nowhere: int
    cost_nano_usd: int
    baseline_nano_usd: int | None
    saved_nano_usd: int | None
    p50_s: float | None
    p95_s: float | None
    untimed: int
    shortfall: Share | None
    measured: Share | None


@dataclass(frozen=True, slots=True)
class Point:
    """An operating point of the curve: over the requests that a score decides. None: not one threshold's doing."""

    threshold: float | None
    large_share: float
    cost_nano_usd: int
    quality: float


@dataclass(frozen=True, slots=True)
class Replay:
    """requests: all of the span. The sides are of those whose way is known under both; `missing` counts the others.

    moved: change their upstream. estimated: of those with a cost, whose cost rests on another model's tokens.
    compared: cost known both ways. judged: quality known both ways. proven: all of it. choices: a score decides.
    was, is_now: where the requests that a score decides lay, and where they would.
    scorers: whose scores they are, and of how many requests.
    """

    since: datetime | None
    until: datetime | None
    requests: int
    missing: tuple[tuple[str, int], ...]
    moved: int
    compared: int
    estimated: int
    judged: int
    proven: int
    old: Side
    new: Side
    choices: int
    curve: tuple[Point, ...]
    was: Point | None
    is_now: Point | None
    scorers: tuple[tuple[str, int], ...]

    @property
    def known(self) -> int:
        return self.requests - sum(count for _, count in self.missing)

    @property
    def unknown_share(self) -> float | None:
        """Of all requests, those about which something is not known: their way, their cost or their quality."""
        return 1 - self.proven / self.requests if self.requests else None


@dataclass(slots=True)
class _Sums:
    """What one side comes to."""

    places: Counter[str] = field(default_factory=Counter)
    cost: int = 0
    baseline: int = 0
    paid_beside: int = 0  # where a baseline is known, too
    with_baseline: int = 0
    shortfall: float = 0.0
    seen_s: list[float] = field(default_factory=list)
    moved_to: Counter[str] = field(default_factory=Counter)

    def add(self, served: Served, *, is_compared: bool, is_judged: bool) -> None:
        self.places[served.location or "nowhere"] += 1
        if is_compared:
            self.cost += served.cost_nano_usd or 0
            if served.baseline_nano_usd is not None:
                self.baseline += served.baseline_nano_usd
                self.paid_beside += served.cost_nano_usd or 0
                self.with_baseline += 1
        if is_judged:
            self.shortfall += served.shortfall or 0.0

    def side(self, judged: int, times_s: Mapping[str, Sequence[float]], measured: Share | None) -> Side:
        spread = [(seconds, 1.0) for seconds in self.seen_s]
        untimed = 0
        for upstream, count in self.moved_to.items():
            known = times_s.get(upstream, ())
            if len(known) < ENOUGH:
                untimed += count
            else:
                spread += [(seconds, count / len(known)) for seconds in known]
        spread.sort()
        return Side(
            local=self.places["local"],
            remote=self.places["remote"],
            nowhere=self.places["nowhere"],
            cost_nano_usd=self.cost,
            baseline_nano_usd=self.baseline if self.with_baseline else None,
            saved_nano_usd=self.baseline - self.paid_beside if self.with_baseline else None,
            p50_s=weighted_quantile(spread, 0.5),
            p95_s=weighted_quantile(spread, 0.95),
            untimed=untimed,
            shortfall=wilson(self.shortfall, judged),
            measured=measured,
        )


def replay(
    cases: Iterable[Case],
    times_s: Mapping[str, Sequence[float]],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    scorers: Mapping[str, int] | None = None,
) -> Replay:
    """times_s: how long each upstream was seen to take in the same span, for the requests that move to it."""
    tally = _Tally()
    for case in cases:
        tally.add(case)
    return tally.replay(times_s, since, until, scorers or {})


@dataclass(slots=True)
class _Tally:
    old: _Sums = field(default_factory=_Sums)
    new: _Sums = field(default_factory=_Sums)
    missing: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    moved: int = 0
    compared: int = 0
    estimated: int = 0
    judged: int = 0
    proven: int = 0
    choices: list[Choice] = field(default_factory=list)
    said: list[float] = field(default_factory=list)
    said_of_the_same: list[float] = field(default_factory=list)

    def add(self, case: Case) -> None:
        self.requests += 1
        if case.feedback is not None:
            self.said.append(case.feedback)
        if case.new is None:
            self.missing[case.missing or "nothing"] += 1
            return
        is_compared = case.old.cost_nano_usd is not None and case.new.cost_nano_usd is not None
        is_judged = case.old.shortfall is not None and case.new.shortfall is not None
        self.old.add(case.old, is_compared=is_compared, is_judged=is_judged)
        self.new.add(case.new, is_compared=is_compared, is_judged=is_judged)
        self.compared += is_compared
        self.judged += is_judged
        self.proven += is_compared and is_judged
        self.estimated += is_compared and case.new.is_estimate
        if case.choice:
            self.choices.append(case.choice)
        self._time(case, case.new)

    def _time(self, case: Case, new: Served) -> None:
        is_moved = case.old.upstream != new.upstream
        self.moved += is_moved
        if case.latency_s is not None:
            self.old.seen_s.append(case.latency_s)
        if is_moved:
            if new.upstream is not None:
                self.new.moved_to[new.upstream] += 1
            return
        if case.latency_s is not None:
            self.new.seen_s.append(case.latency_s)
        if case.feedback is not None:
            self.said_of_the_same.append(case.feedback)

    def replay(
        self,
        times_s: Mapping[str, Sequence[float]],
        since: datetime | None,
        until: datetime | None,
        scorers: Mapping[str, int],
    ) -> Replay:
        choices = self.choices
        return Replay(
            since=since,
            until=until,
            requests=self.requests,
            missing=tuple(self.missing.most_common()),
            moved=self.moved,
            compared=self.compared,
            estimated=self.estimated,
            judged=self.judged,
            proven=self.proven,
            old=self.old.side(self.judged, {}, wilson(sum(self.said), len(self.said))),
            new=self.new.side(self.judged, times_s, wilson(sum(self.said_of_the_same), len(self.said_of_the_same))),
            choices=len(choices),
            curve=curve(choices),
            was=_point(choices, [choice.was_large for choice in choices]),
            is_now=_point(choices, [choice.is_large for choice in choices]),
            scorers=tuple(sorted(scorers.items())),
        )


def wilson(events: float, of: int) -> Share | None:
    """A share and Wilson's interval for it, which never leaves 0..1; None of nothing."""
    if not of:
        return None
    share = min(max(events / of, 0.0), 1.0)
    middle = (share + _Z * _Z / (2 * of)) / (1 + _Z * _Z / of)
    half = _Z / (1 + _Z * _Z / of) * sqrt(share * (1 - share) / of + _Z * _Z / (4 * of * of))
    return Share(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)), of)


def weighted_quantile(values: Sequence[tuple[float, float]], fraction: float) -> float | None:
    """The smallest value at or below which that part of the weight lies. The values must be in order."""
    whole = sum(weight for _, weight in values)
    reached = 0.0
    for value, weight in values:
        reached += weight
        if reached >= fraction * whole - 1e-9:
            return value
    return None


def curve(choices: Sequence[Choice]) -> tuple[Point, ...]:
    """Cost and expected quality at every threshold from 0, where all are large, to 1."""
    if not choices:
        return ()
    ordered = sorted(choices, key=lambda choice: choice.score)
    cost, short, points, small = sum(choice.large_nano_usd for choice in ordered), 0.0, [], 0
    for step in range(POINTS):
        threshold = step / (POINTS - 1)
        while small < len(ordered) and ordered[small].score < threshold:
            cost += ordered[small].small_nano_usd - ordered[small].large_nano_usd
            short += ordered[small].score
            small += 1
        points.append(Point(threshold, 1 - small / len(ordered), cost, 1 - short / len(ordered)))
    return tuple(points)


def _point(choices: Sequence[Choice], large: Sequence[bool]) -> Point | None:
    if not choices:
        return None
    pairs = list(zip(choices, large, strict=True))
    cost = sum(choice.large_nano_usd if is_large else choice.small_nano_usd for choice, is_large in pairs)
    short = sum(choice.score for choice, is_large in pairs if not is_large)
    return Point(None, sum(large) / len(large), cost, 1 - short / len(choices))
