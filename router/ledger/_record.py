"""What one call of a ledger brings, and how whoever waits for it is told. The same for every store."""

import logging
from asyncio import Future
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from weighbridge.errors import Unavailable
from weighbridge.ledger.base import Closing, Opening, Reservation, Settlement, microseconds
from weighbridge.ledger.notes import Note

log = logging.getLogger(__name__)

# How long a `sent` mark waits. Most attempts are settled by then, and need none.
MARK_S = 0.1
# How often rows that could not be written are tried again while nothing else is.
RETRY_S = 0.5
# Settlements kept in memory while the store is away: what was paid for is recorded when it is back.
KEPT = 100_000

Attempt = tuple[str, int]  # request_id, attempt_no


@dataclass(slots=True, eq=False)
class Record:
    """What one call brought: rows for up to four statements, and who waits for their commit."""

    opening: Opening | None = None
    reservation: Reservation | None = None
    settlement: Settlement | None = None
    closing: Closing | None = None
    feedback: tuple[str, float, str | None] | None = None
    is_probe: bool = False
    note: Note | None = None
    future: "Future[Any] | None" = None


def stored(note: Note, columns: int) -> tuple[object, ...]:
    """The first columns of a note, as the tables have them."""
    return tuple(microseconds(value) if isinstance(value, datetime) else value for value in note[:columns])


def unavailable() -> Unavailable:
    return Unavailable("The ledger cannot be written.", code="ledger_unavailable", retry_after_s=5)


def conflict(error: Exception) -> Unavailable:
    log.error("the ledger refuses a row: %s", error)
    return Unavailable("The ledger refuses a row of this request.", code="ledger_conflict")


def resolve(waiting: Iterable[tuple["Future[Any]", object]]) -> None:
    """On the event loop, once per commit."""
    for future, outcome in waiting:
        if future.done():  # whoever waited has gone
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
