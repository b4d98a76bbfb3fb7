"""What one call of a ledger brings is stored as it is, and whoever waits for it hears how it went."""

import asyncio
import sqlite3
from typing import Any

import pytest
from bookkeeping import NOON

from weighbridge.errors import Unavailable
from weighbridge.ledger._record import conflict, resolve, stored, unavailable
from weighbridge.ledger.base import microseconds
from weighbridge.ledger.notes import SHADOW_COLUMNS, Shadowed, Signal


def test_a_note_is_stored_without_what_its_request_says() -> None:
    texts = ("r1", NOON, "auto", "small", "local", "remote", 0.5, None, "judge", "why?", "a", "b")
    assert stored(Shadowed(*texts, task="code", body="{}"), len(SHADOW_COLUMNS)) == (
        *("r1", microseconds(NOON), "auto", "small", "local", "remote", 0.5, None, "judge", "why?", "a", "b"),
    )
    assert stored(Signal("r1", "repeated", NOON, "r2"), 4) == ("r1", "repeated", microseconds(NOON), "r2")


def test_only_what_passes_by_itself_is_worth_trying_again(caplog: pytest.LogCaptureFixture) -> None:
    away, refused = unavailable(), conflict(sqlite3.IntegrityError("UNIQUE constraint failed"))
    assert (away.status, away.code, away.retry_after_s) == (503, "ledger_unavailable", 5)
    assert (refused.status, refused.code, refused.retry_after_s) == (503, "ledger_conflict", None)
    assert "UNIQUE constraint failed" in caplog.text  # for whoever reads the log; a caller is not told
    assert "UNIQUE" not in str(refused)


async def test_each_outcome_reaches_whoever_still_waits() -> None:
    loop = asyncio.get_running_loop()
    first, gone, failed, last = futures = [loop.create_future() for _ in range(4)]
    gone.cancel()
    outcomes: list[Any] = [None, True, unavailable(), False]
    resolve(zip(futures, outcomes, strict=True))
    assert (first.result(), gone.cancelled(), last.result()) == (None, True, False)
    with pytest.raises(Unavailable):
        failed.result()
