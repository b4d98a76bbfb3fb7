"""Whether the same upstream is tried again, and after how long."""

import random

from weighbridge.errors import Limited, Loading, UpstreamError
from weighbridge.trip import Trip

MOST = 4  # attempts for a request, whatever fails
MOST_WAIT_S = 2.0  # for an upstream that says when to come back; a longer wait is the client's
_PAUSE_S = 0.25  # the longest first pause where it does not say; it doubles


def pause(trip: Trip, error: UpstreamError, others: int, *, is_open: bool) -> float | None:
    """How long to wait before the same upstream is tried again; None for not at all. others: how many are left."""
    made, upstream = trip.made, trip.plan.reach[trip.attempt.upstream]
    if isinstance(error, Loading) and upstream.is_loading and made < MOST:
        return 0.0 if upstream.loading != "spill" or not others else None  # what becomes of it is seen then
    if trip.plan.target.pin or made >= MOST:
        return None
    tries = sum(attempt.upstream == trip.attempt.upstream for attempt in trip.attempts)
    if isinstance(error, Limited):
        if error.retry_after_s is not None:
            return error.retry_after_s if error.retry_after_s <= MOST_WAIT_S and tries < 2 else None
        return _jittered(tries) if not others and tries < 3 else None
    # Not at the price of an attempt that another one should have.
    is_worth_it = not others or (error.is_accident and not is_open and made + others < MOST)
    return _jittered(tries) if is_worth_it and error.may_retry and tries < 2 else None


def _jittered(tries: int) -> float:
    return random.uniform(0, _PAUSE_S * 2 ** (tries - 1))  # noqa: S311  # spreads callers, hides nothing
