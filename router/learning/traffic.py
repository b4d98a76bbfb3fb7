"""Operating points from the ledger's own traffic: a share of large calls, or an amount of money in a span of time."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation

from weighbridge.learning.refusals import Unusable
from weighbridge.ledger.base import Entry
from weighbridge.units import NanoUsd, Price, Usage, cost_of

LEAST = 50  # scored requests; fewer say nothing of next week
_SPANS = {"hour": 3600, "day": 86_400, "week": 604_800, "month": 2_629_800}
_BUDGET = re.compile(r"\$?([0-9.]+)\s*/\s*(hour|day|week|month)")


class NoTraffic(Unusable):
    """The ledger cannot say; the message tells what is missing."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One request that a score decided. Costs: what it would come to on either side; None is unknown."""

    score: float
    small_nano_usd: int | None
    large_nano_usd: int | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a route saw.

    other_nano_usd: spent on requests that no score decided. requests: all of them. seconds: from the first to the last.
    """

    scored: Sequence[Scored]
    other_nano_usd: int
    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Point:
    """A threshold and what it comes to on that traffic. daily_nano_usd: None where no cost was asked for."""

    threshold: float
    large_share: float
    daily_nano_usd: NanoUsd | None = None


def budget_of(text: str) -> NanoUsd:
    """`50/day` as nano-USD a day. ValueError says how it is written."""
    found = _BUDGET.fullmatch(text.strip().lower())
    try:
        amount = Decimal(found[1]) if found else None
    except InvalidOperation:
        amount = None
    if found is None or amount is None or amount <= 0:
        raise ValueError(f"{text!r} is not a budget: write USD and a span, as 50/day (or /hour, /week, /month)")
    return NanoUsd(int(amount * 1_000_000_000 * 86_400 / _SPANS[found[2]]))


def traffic_of(
    entries: Iterable[Entry],
    *,
    route: str,
    classifier: str,
    small: Price | None,
    large: Price | None,
) -> Traffic:
    """The requests of a route that this very classifier scored; scores of another cannot be compared with its own."""
    scored: list[Scored] = []
    other, requests, foreign = 0, 0, 0
    first = last = None
    for entry in entries:
        if entry.route != route:
            continue
        requests += 1
        first, last = first or entry.created_at, entry.created_at
        if entry.score is None or entry.threshold is None:
            other += entry.cost_nano_usd or 0
        elif entry.classifier != classifier:
            foreign += 1
        else:
            scored.append(Scored(entry.score, _cost(entry, small), _cost(entry, large)))
    if len(scored) < LEAST:
        more = f", and {foreign:,} that another classifier scored" if foreign else ""
        raise NoTraffic(
            f"the ledger holds {len(scored):,} requests of the route {route} that {classifier} scored{more};"
            f" {LEAST} are the least: let it serve for a while"
        )
    span = last - first if first and last else timedelta()
    return Traffic(scored, other, requests, span.total_seconds())


def by_share(traffic: Traffic, share: float) -> Point:
    """The threshold that sends about that share of the scored requests to the large model, rather less than more."""
    scores = sorted((request.score for request in traffic.scored), reverse=True)
    return _above(scores, int(share * len(scores)))


def by_budget(traffic: Traffic, daily: NanoUsd) -> Point:
    """The lowest threshold whose cost stays within the budget, the other requests of the route included.

    Raises NoTraffic where costs are unknown, or even the small model alone is over it.
    """
    known = [r for r in traffic.scored if r.small_nano_usd is not None and r.large_nano_usd is not None]
    if len(known) < LEAST:
        raise NoTraffic(
            f"what both models would have cost is known for {len(known):,} requests only: set the prices of both"
            " upstreams"
        )
    days = traffic.seconds / 86_400
    if days < 1 / 24:
        raise NoTraffic("the ledger covers less than an hour, which says nothing of a day: let it serve for a while")
    weight = len(traffic.scored) / len(known)  # those of unknown cost are taken to cost as the others do
    known.sort(key=lambda request: -request.score)
    spent = sum(r.small_nano_usd or 0 for r in known) * weight + traffic.other_nano_usd
    if spent / days > daily:
        raise NoTraffic(
            f"even with the small model alone this traffic comes to ${spent / days / 1e9:.2f} a day, which is over the"
            " budget: a threshold cannot help"
        )
    # The scores that requests share go together: a threshold cannot tell them apart.
    best, costs = 0, spent
    for i, request in enumerate(known, 1):
        spent += ((request.large_nano_usd or 0) - (request.small_nano_usd or 0)) * weight
        if spent / days > daily:
            break
        if i == len(known) or known[i].score < request.score:
            best, costs = i, spent
    point = _above([request.score for request in known], best)
    return Point(point.threshold, point.large_share, NanoUsd(round(costs / days)))


def _above(scores: Sequence[float], large: int) -> Point:
    """The threshold at or above which at most that many of the scores lie; they are given from the highest down."""
    while 0 < large < len(scores) and scores[large] == scores[large - 1]:
        large -= 1
    if large == 0:
        threshold = min(1.0, scores[0] + 1e-4)
    elif large == len(scores):
        threshold = 0.0
    else:
        threshold = (scores[large - 1] + scores[large]) / 2
    threshold = round(threshold, 4)
    return Point(threshold, sum(score >= threshold for score in scores) / len(scores))


def _cost(entry: Entry, price: Price | None) -> int | None:
    """What a request's tokens cost at a price; by the second nobody knows how long the other model would have taken."""
    if entry.input_tokens is None or entry.output_tokens is None or price is None:
        return None
    return cost_of(Usage(entry.input_tokens, entry.output_tokens, entry.cached_tokens or 0), price)
