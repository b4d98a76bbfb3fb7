"""Declining: what a client is told whose request nobody answers."""

from weighbridge.errors import Unavailable, UpstreamError, WeighbridgeError
from weighbridge.trip import Trip

_AGAIN_S = 5.0  # when to come back where nobody knows


def nobody_answers(trip: Trip, wait_s: float) -> Unavailable:
    """Every upstream in reach has an open breaker: none is asked."""
    where = ("The request must stay on a local upstream, and none answers.", "local_unavailable")
    message, code = where if trip.plan.fence else ("No upstream answers at present.", "upstream_unavailable")
    return Unavailable(message, code=code, retry_after_s=wait_s or 1.0)


def still_loading(trip: Trip) -> Unavailable:
    """It would have to wait for a model that loads."""
    if trip.plan.fence:
        message = "The request must stay on a local upstream, which loads its model."
        return Unavailable(message, code="local_unavailable", retry_after_s=_AGAIN_S)
    return Unavailable("The upstream loads its model.", code="upstream_loading", retry_after_s=_AGAIN_S)


def for_client(error: UpstreamError, trip: Trip) -> WeighbridgeError:
    """What the client is told when nothing is left to try."""
    retry_after_s = error.retry_after_s or _AGAIN_S
    if trip.plan.fence and error.status in {502, 503, 504}:
        message = "The request must stay on a local upstream, and none answers."
        return Unavailable(message, code="local_unavailable", retry_after_s=retry_after_s)
    if error.status in {429, 503}:
        error.retry_after_s = retry_after_s
    return error
