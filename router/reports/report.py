"""The report: what the ledger's requests cost and how long they took, against the baseline."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import get_args

from weighbridge.energy import Footprint
from weighbridge.ledger.base import EPOCH, SCORE_SLOTS, Dimension, Ledger, Work
from weighbridge.reports.drift import Drift, drift_of
from weighbridge.reports.energy import EnergyUse, energy_use
from weighbridge.reports.latency import Latency, latency
from weighbridge.reports.savings import Savings, savings
from weighbridge.reports.shadows import Shadows, shadows
from weighbridge.reports.tally import Tally

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

_SPAN = re.compile(r"(\d{1,6})\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Figures:
    """What is said of a heap of requests. ends: how many ended in which way (`open`: not yet).

    energy: None where nobody asked for it.
    """

    savings: Savings
    latency: Latency
    errors: int
    ends: tuple[tuple[str, int], ...]
    energy: EnergyUse | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The requests that share a value of the dimension; None where they have none."""

    name: str | None
    figures: Figures


@dataclass(frozen=True, slots=True)
class Day:
    """A day (UTC) of the chart. Money in nano-USD, over the requests whose cost and baseline are both known."""

    day: date
    requests: int
    cost_nano_usd: int
    baseline_cost_nano_usd: int


@dataclass(frozen=True, slots=True)
class Scores:
    """How the scores lie: requests per equal slice of 0..1, and the threshold most often applied."""

    counts: tuple[int, ...]
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """since, until: as asked for; None is open."""

    since: datetime | None
    until: datetime | None
    total: Figures
    by: Dimension | None
    groups: tuple[Group, ...]
    days: tuple[Day, ...]
    scores: Scores | None
    drift: Drift | None = None
    shadows: Shadows | None = None


def report(  # noqa: PLR0913  # what a report can be asked for, by name
    ledger: Ledger,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    by: Dimension | None = None,
    *,
    now: datetime | None = None,
    with_drift: bool = False,
    footprint: Footprint | None = None,
) -> Report:
    """Read the ledger once, and say what it holds. Sums are exact: they are the ledger's, to the nano-dollar.

    with_drift: look at the last day beside the weeks before it, too, whatever the span.
    footprint: what is known of the upstreams' energy, to say what was used.
    """
    now = now or datetime.now(UTC)
    begin, end = (parse_since(moment, now) if isinstance(moment, str) else moment for moment in (since, until))
    days, groups, whole = defaultdict[int, Tally](Tally), defaultdict[str | None, Tally](Tally), Tally()
    for heap in ledger.heaps(by, begin, end):
        whole.add(heap)
        days[heap.day].add_sums(heap)
        if by:
            groups[_date(heap.day).isoformat() if by == "day" else heap.name].add(heap)
    used = _energy(ledger.work(by, begin, end), by, footprint) if footprint else _NO_ENERGY
    return Report(
        since=begin,
        until=end,
        total=_figures(whole, whole, used.total),
        by=by,
        groups=tuple(
            Group(name, _figures(tally, whole, used.groups.get(name))) for name, tally in _in_order(by, groups)
        ),
        days=tuple(_day(day, days[day]) for day in sorted(days)),
        scores=_scores(whole),
        drift=drift_of(ledger, now) if with_drift else None,
        shadows=shadows(ledger, begin, end),
    )


def parse_since(text: str, now: datetime) -> datetime:
    """`7d`, `24h`, `90m` or `2w` before now, or a date or time as ISO 8601 (UTC where it names no zone)."""
    if span := _SPAN.fullmatch(text.strip().lower()):
        try:
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        except OverflowError:
            return EPOCH
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a time: write 7d, 24h, 90m, 2w, or 2026-01-31") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _date(day: int) -> date:
    return (EPOCH + timedelta(days=day)).date()


def _day(day: int, tally: Tally) -> Day:
    return Day(_date(day), tally.requests, tally.compared_cost, tally.compared_baseline)


def _in_order(by: Dimension | None, groups: Mapping[str | None, Tally]) -> list[tuple[str | None, Tally]]:
    """Days as they came, everything else the largest first."""
    if by == "day":
        return sorted(groups.items(), key=lambda pair: pair[0] or "")
    return sorted(groups.items(), key=lambda pair: (-pair[1].requests, pair[0] or ""))


@dataclass(frozen=True, slots=True)
class _Used:
    total: EnergyUse | None
    groups: Mapping[str | None, EnergyUse]


_NO_ENERGY = _Used(None, {})


def _energy(works: Iterable[Work], by: Dimension | None, footprint: Footprint) -> _Used:
    groups = defaultdict[str | None, list[Work]](list)
    for work in works:
        groups[_date(work.day).isoformat() if by == "day" else work.name].append(work)
    each = {name: energy_use(group, footprint) for name, group in groups.items()}
    return _Used(energy_use(chain.from_iterable(groups.values()), footprint), each)


def _figures(tally: Tally, whole: Tally, energy: EnergyUse | None) -> Figures:
    ends = tuple(sorted(tally.ends.items(), key=lambda pair: (-pair[1], pair[0])))
    return Figures(savings(tally), latency(tally, whole), tally.errors, ends, energy)


def _scores(tally: Tally) -> Scores | None:
    if not tally.slots:
        return None
    most = tally.thresholds.most_common(1)
    return Scores(tuple(tally.slots[slot] for slot in range(SCORE_SLOTS)), most[0][0] if most else None)
