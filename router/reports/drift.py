"""Drift: is the last day's traffic still like that of the weeks before? Pure, but for reading the ledger.

The measure is the population stability index, the sum over slices of (a - e) ln(a / e), where e and a are the shares of
a slice before and now (Siddiqi, Credit Risk Scorecards, 2006, whose rule of thumb calls more than 0.2 a shift). Few
requests shift by chance alone: without drift the index is about (1/n + 1/m) times a chi-square variable of one degree
less than there are slices (Yurdakul and Naranjo, Journal of Risk Model Validation, 2020). So a warning needs both: more
than 0.2, and more than chance brings in 19 of 20 cases.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log, sqrt
from typing import TypeVar

from weighbridge.ledger.base import SCORE_SLOTS, Heap, Ledger
from weighbridge.ledger.notes import Sign, SignalKind

T = TypeVar("T")

SHIFTED = 0.2
ONE_SIDED = 0.95
LEAST = 100  # requests on each side; fewer tell nothing
RECENT = timedelta(days=1)
REFERENCE = timedelta(days=28)

_SLICES = 10
_Z = 1.644854  # one side, 95 %


@dataclass(frozen=True, slots=True)
class Shift:
    """How far two distributions lie apart. by_chance: what 95 % of indices stay below where nothing has changed."""

    index: float
    by_chance: float

    @property
    def is_shifted(self) -> bool:
        return self.index > max(SHIFTED, self.by_chance)


@dataclass(frozen=True, slots=True)
class Busiest:
    """The upstream that took most of a route's last day, and which share of it."""

    route: str
    upstream: str
    share: float
    requests: int

    @property
    def is_one_sided(self) -> bool:
        return self.requests >= LEAST and self.share > ONE_SIDED


@dataclass(frozen=True, slots=True)
class Signs:
    """What clients did after the last day's answers of one location. kinds: each sign, and how many it is about."""

    location: str
    answers: int
    kinds: tuple[tuple[SignalKind, int], ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """reference, recent: requests that a score decided, before and in the last day.

    scores, mix: of the scores, and of the upstreams that answered; None where there are too few to tell.
    signs: by location; empty where none was seen.
    """

    reference: int
    recent: int
    scores: Shift | None
    mix: Shift | None
    busiest: tuple[Busiest, ...]
    signs: tuple[Signs, ...] = ()

    @property
    def is_known(self) -> bool:
        """There are enough requests to say anything."""
        return self.recent >= LEAST


def drift_of(ledger: Ledger, now: datetime) -> Drift:
    """The last day beside the four weeks before it. Raises CannotOpen."""
    begin = now - RECENT
    reference, recent = ledger.heaps("route", begin - REFERENCE, begin), ledger.heaps("route", begin, now)
    return drift(reference, recent, ledger.signs(begin, now))


def drift(reference: Iterable[Heap], recent: Iterable[Heap], signs: Iterable[Sign] = ()) -> Drift:
    """Heaps by route. Only what a score decided counts: fences, pins and rules are no drift of the difficulty.

    signs: of the recent ones; they are counted whatever decided.
    """
    before, now = _counted(reference), _counted(recent)
    was, is_now = _summed(before.routes.values()), _summed(now.routes.values())
    return Drift(
        reference=before.scores.total(),
        recent=now.scores.total(),
        scores=shift(before.scores, now.scores, range(_SLICES)),
        mix=shift(was, is_now, was.keys() | is_now.keys()),
        busiest=tuple(_busiest(route, counts) for route, counts in sorted(now.routes.items())),
        signs=_signs(signs, now.answers),
    )


def shift(before: Mapping[T, int], now: Mapping[T, int], slices: Iterable[T]) -> Shift | None:
    """The index over these slices; None where either side has too few to tell."""
    names = list(slices)
    n, m = (sum(counts.get(name, 0) for name in names) for counts in (before, now))
    if min(n, m) < LEAST:
        return None
    # Half a request is added to each slice, so that an empty one is rare and not impossible.
    pairs = [_shares(before.get(name, 0), n, now.get(name, 0), m, len(names)) for name in names]
    index = sum((actual - expected) * log(actual / expected) for expected, actual in pairs)
    return Shift(index, _chi_square_95(len(names) - 1) * (1 / n + 1 / m))


def _shares(before: int, n: int, now: int, m: int, slices: int) -> tuple[float, float]:
    return (before + 0.5) / (n + slices / 2), (now + 0.5) / (m + slices / 2)


def _chi_square_95(freedom: int) -> float:
    """By Wilson and Hilferty (1931), within 3 %."""
    if freedom <= 0:
        return 0.0
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + _Z * sqrt(part)) ** 3)


@dataclass(frozen=True, slots=True)
class _Counts:
    scores: Counter[int]
    routes: dict[str, Counter[str]]  # by route, which upstream answered how many
    answers: Counter[str]  # by location, whatever decided


def _counted(heaps: Iterable[Heap]) -> _Counts:
    found = _Counts(Counter(), {}, Counter())
    for heap in heaps:
        if heap.end_reason == "ok" and heap.location is not None:
            found.answers[heap.location] += heap.requests
        if heap.slot is not None and heap.threshold is not None and heap.upstream is not None:
            found.scores[heap.slot * _SLICES // SCORE_SLOTS] += heap.requests
            found.routes.setdefault(heap.name or "", Counter())[heap.upstream] += heap.requests
    return found


def _signs(signs: Iterable[Sign], answers: Mapping[str, int]) -> tuple[Signs, ...]:
    seen: dict[str, Counter[SignalKind]] = {}
    for sign in signs:
        seen.setdefault(sign.location or "", Counter())[sign.kind] += 1
    return tuple(
        Signs(place, answers.get(place, 0), tuple(seen[place].most_common()) if place in seen else ())
        for place in sorted(answers.keys() | seen.keys())
        if seen
    )


def _summed(counts: Iterable[Counter[str]]) -> Counter[str]:
    return sum(counts, Counter[str]())


def _busiest(route: str, counts: Counter[str]) -> Busiest:
    [(upstream, most)] = counts.most_common(1)
    return Busiest(route, upstream, most / counts.total(), counts.total())


def warnings(found: Drift) -> list[str]:
    """What is to be done about, in sentences."""
    told = [
        f"{side.upstream} took {side.share:.1%} of the {side.requests:,} requests of {side.route} that a score decided"
        " in the last day: routing does next to nothing there; `weighbridge calibrate` sets the threshold anew"
        for side in found.busiest
        if side.is_one_sided
    ]
    if found.scores and found.scores.is_shifted:
        told.append(
            f"the scores have shifted against the four weeks before (PSI {found.scores.index:.2f}): requests or the"
            " classifier have changed; `weighbridge eval --from-ledger` tells whether the score still holds, and"
            " `weighbridge fit` proposes another, as a diff"
        )
    if found.mix and found.mix.is_shifted:
        told.append(
            f"the upstreams' shares have shifted against the four weeks before (PSI {found.mix.index:.2f});"
            " `weighbridge replay` shows what other thresholds would have meant"
        )
    return told


def told_of_signs(found: Drift) -> str | None:
    """How often each side's answers were followed by a sign, in one line; None where no sign was seen."""
    sides = []
    for side in found.signs:
        count = sum(number for _, number in side.kinds)
        which = ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in side.kinds)
        rate = f" ({count / side.answers:.1%})" if side.answers else ""
        sides.append(f"{side.location} {count:,} of {side.answers:,}{rate}{f': {which}' if which else ''}")
    return f"after the last day's answers, {'; '.join(sides)}" if sides else None


def told(found: Drift) -> str:
    """What was measured, in one line."""
    if not found.is_known:
        return f"{found.recent:,} requests in the last day were decided by a score: {LEAST} are the least to tell"
    shifts = [f"{name} {shift.index:.2f}" for name, shift in (("scores", found.scores), ("mix", found.mix)) if shift]
    beside = f"PSI of {', of the '.join(shifts)}" if shifts else "too few before it to compare with"
    return f"{found.recent:,} requests in the last day, {found.reference:,} in the four weeks before; {beside}"
