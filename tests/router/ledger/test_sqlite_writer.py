"""The thread that writes: what it commits, what it keeps for later, and whom it tells. Real files and real locks."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bookkeeping import NOON, closing, opening, record, reservation, settlement

from weighbridge.errors import Unavailable
from weighbridge.ledger import _sqlite_schema, _sqlite_writer
from weighbridge.ledger.base import microseconds
from weighbridge.ledger.chain import audit
from weighbridge.ledger.notes import Shadowed, Signal
from weighbridge.ledger.sqlite import SQLite

Rows = list[tuple[Any, ...]]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is not waited for, so that tests need not either."""
    monkeypatch.setattr(_sqlite_schema, "BUSY_S", 0.0)


@pytest.fixture
async def ledger(path: Path, impatient: None) -> AsyncIterator[SQLite]:
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    yield ledger
    await ledger.aclose()
    assert audit(ledger.links()).findings == []


@pytest.fixture
def other(path: Path, ledger: SQLite) -> Iterator[sqlite3.Connection]:
    """Somebody else with the same file."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def rows(connection: sqlite3.Connection, query: str) -> Rows:
    return connection.execute(query).fetchall()


async def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def levels(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [one.levelno for one in caplog.records if one.name == _sqlite_writer.__name__]


async def test_every_column_is_written_as_it_came(ledger: SQLite, other: sqlite3.Connection) -> None:
    whole = {
        "rule": "private",
        "fence": "local",
        "score": 1,
        "threshold": 0,
        "is_stream": True,
        "tags": "a,b",
        "prompt": "kept by nobody",
        "energy_mj": 5,
        "error_code": "late",
    }
    await record(ledger, **whole)
    started = microseconds(NOON) + 2000
    assert rows(other, "SELECT * FROM requests") == [
        ("request-1", microseconds(NOON), "auto", "auto", "team-a", "below_threshold", "score 0.31 < 0.52", "private",
         "local", 1.0, 0.0, "code", "minilm-1", 1, "a,b", None, 1, "settled", "ok", 200, "late", "local", "small-1",
         "local", 1, 312, 220, 0, "provider", 0, "remote", 518_000, "config", 0.31, 2.25, 0.003),
    ]  # fmt: skip
    assert rows(other, "SELECT * FROM attempts") == [
        ("request-1", 1, started, "local", "small-1", "local", 900_000, "settled", "ok", "late", 312, 220, 0,
         "provider", 0, "config", 0.31, 2.25, 5),
    ]  # fmt: skip


async def test_what_the_user_said_is_kept_with_its_time(ledger: SQLite, other: sqlite3.Connection) -> None:
    before = microseconds(datetime.now(UTC))
    await record(ledger)
    assert await ledger.feedback("request-1", 0.0, "bad") is True
    assert await ledger.feedback("request-1", 0.25, "meh") is True
    assert await ledger.feedback("nobody", 1.0, "fine") is False
    ((given_at, *said),) = rows(other, "SELECT given_at, request_id, score, comment FROM feedback")
    assert said == ["request-1", 0.25, "meh"]
    assert before <= given_at <= microseconds(datetime.now(UTC))


async def test_what_comes_in_one_turn_of_the_loop_is_answered_each_by_its_own(ledger: SQLite) -> None:
    await record(ledger)
    calls = [
        ledger.feedback("request-1", 1.0, None),
        ledger.reserve(opening(request_id="new"), reservation(request_id="new")),
        ledger.feedback("nobody", 1.0, None),
        ledger.reserve(None, reservation()),
        ledger.note(Signal("request-1", "repeated", NOON, "new")),
        ledger.feedback("new", 0.5, None),
    ]
    *well, refused, noted, said = await asyncio.gather(*calls, return_exceptions=True)
    assert well == [True, None, False]
    assert isinstance(refused, Unavailable)
    assert refused.code == "ledger_conflict"
    assert (noted, said) == (None, True)
    assert {e.request_id: e.feedback for e in ledger.entries()} == {"request-1": 1.0, "new": 0.5}
    assert len(list(ledger.signs())) == 1


async def test_notes_go_where_their_kind_belongs(ledger: SQLite) -> None:
    await record(ledger)
    shadow = Shadowed("request-1", NOON, "auto", "large", "local", "remote", None, 1.0, "judge", "why?", "a", "b")
    await asyncio.gather(ledger.note(shadow), ledger.note(Signal("request-1", "regenerated", NOON, "r2")))
    assert list(ledger.shadows()) == [shadow._replace(task="code")]
    assert [sign[:2] for sign in ledger.signs()] == [("request-1", "regenerated")]


async def test_while_the_file_is_locked_everyone_is_told_and_only_settlements_are_kept(
    ledger: SQLite, other: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("r1", "r2", "r3"):
        await ledger.reserve(opening(request_id=name), reservation(request_id=name))
    other.execute("BEGIN IMMEDIATE")
    ends = [{"request_id": name, "cost_nano_usd": no} for no, name in enumerate(("r1", "r2"), 1)]
    calls = [ledger.settle(settlement(**end), closing(**end)) for end in ends]
    calls.append(ledger.feedback("r3", 1.0, None))
    calls.append(ledger.reserve(opening(request_id="late"), reservation(request_id="late")))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(outcome, "code", outcome) for outcome in outcomes] == ["ledger_unavailable"] * 4
    assert not await ledger.is_writable()
    assert levels(caplog) == [logging.ERROR]  # said once, however often it is tried
    assert "database is locked" in caplog.text
    other.execute("ROLLBACK")
    await ledger.settle(settlement(request_id="r3"), closing(request_id="r3"))
    assert await ledger.is_writable()
    assert levels(caplog) == [logging.ERROR, logging.WARNING]
    assert {(e.request_id, e.status, e.cost_nano_usd, e.feedback) for e in ledger.entries()} == {
        ("r1", "settled", 1, None),
        ("r2", "settled", 2, None),
        ("r3", "settled", 0, None),
    }
    assert audit(ledger.links()).no == 3
    other.execute("BEGIN IMMEDIATE")
    assert not await ledger.is_writable()
    other.execute("ROLLBACK")
    assert levels(caplog) == [logging.ERROR, logging.WARNING, logging.ERROR]


async def test_what_was_kept_is_written_without_anything_else_to_write(
    ledger: SQLite, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_writer, "RETRY_S", 0.01)
    await ledger.reserve(opening(), reservation())
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await ledger.settle(settlement(), closing())
    other.execute("ROLLBACK")
    await until(lambda: rows(other, "SELECT status FROM requests") == [("settled",)])


async def test_what_could_not_be_written_until_the_end_is_told(
    path: Path, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    await ledger.reserve(opening(), reservation())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await ledger.settle(settlement(), closing())
    await ledger.aclose()
    other.close()
    assert "1 settlements are lost" in caplog.text
    await ledger.aopen()
    await ledger.aclose()
    assert [(e.status, e.error_code) for e in ledger.entries()] == [("unknown", "process_died")]


async def test_a_session_is_remembered_once_the_file_can_be_written_again(
    ledger: SQLite, other: sqlite3.Connection
) -> None:
    other.execute("BEGIN IMMEDIATE")
    ledger.remember(["a", "b"], "local")
    assert not await ledger.is_writable()
    other.execute("ROLLBACK")
    assert await ledger.is_writable()
    assert [await ledger.recall(key) for key in ("a", "b")] == ["local", "local"]
    other.execute("UPDATE pins SET upstream = 'by hand' WHERE key = 'b'")
    ledger.remember(["a"], "remote")
    assert await ledger.is_writable()
    # What was written once is not written again.
    assert [await ledger.recall(key) for key in ("a", "b")] == ["remote", "by hand"]


async def test_a_mark_is_written_when_its_time_has_come_and_only_then(
    ledger: SQLite, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = "SELECT request_id, status FROM attempts ORDER BY request_id"
    monkeypatch.setattr(_sqlite_writer, "MARK_S", 3600.0)
    for name in ("r1", "r2", "r3"):
        await ledger.reserve(opening(request_id=name), reservation(request_id=name))
    ledger.sent("r1", 1)
    ledger.sent("r3", 1)
    assert await ledger.is_writable()
    assert rows(other, statuses) == [("r1", "reserved"), ("r2", "reserved"), ("r3", "reserved")]
    await ledger.settle(settlement(request_id="r1", status="released"), None)
    # What is settled waits for no mark any more, and what was marked once is not marked again.
    other.execute("UPDATE attempts SET status = 'reserved' WHERE request_id = 'r1'")
    monkeypatch.setattr(_sqlite_writer, "MARK_S", 0.0)
    assert await ledger.is_writable()
    assert rows(other, statuses) == [("r1", "reserved"), ("r2", "reserved"), ("r3", "sent")]
    other.execute("UPDATE attempts SET status = 'reserved'")
    assert await ledger.is_writable()
    assert rows(other, statuses) == [("r1", "reserved"), ("r2", "reserved"), ("r3", "reserved")]


async def test_marks_are_not_lost_by_a_lock(
    ledger: SQLite, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_writer, "MARK_S", 0.0)
    await ledger.reserve(opening(), reservation())
    other.execute("BEGIN IMMEDIATE")
    ledger.sent("request-1", 1)
    assert not await ledger.is_writable()
    other.execute("ROLLBACK")
    assert await ledger.is_writable()
    assert rows(other, "SELECT status FROM attempts") == [("sent",)]


async def test_the_first_process_to_close_a_request_is_believed(path: Path, ledger: SQLite) -> None:
    second = SQLite(path=str(path))
    await second.aopen()
    await ledger.reserve(opening(), reservation())
    names = {"request_id": "too"}, {"request_id": "beside"}
    for name in names:
        await ledger.reserve(opening(**name), reservation(**name))
    seven = {"cost_nano_usd": 7}
    await asyncio.gather(
        second.settle(settlement(**seven), closing(**seven)),
        second.settle(settlement(**names[0], **seven), closing(**names[0], **seven)),
    )
    beside = {"request_id": "beside", "cost_nano_usd": 3}
    await asyncio.gather(
        ledger.settle(settlement(cost_nano_usd=9), closing(cost_nano_usd=9)),
        ledger.settle(settlement(**beside), closing(**beside)),
    )
    await second.aclose()
    assert {e.request_id: e.cost_nano_usd for e in ledger.entries()} == {"request-1": 7, "too": 7, "beside": 3}
    found = audit(ledger.links())
    assert (found.findings, found.no) == ([], 3)


async def test_a_refused_row_takes_nothing_of_an_open_request_along(ledger: SQLite) -> None:
    """The commit that failed may have held another request's end: it is read from the file, and chained as it is."""
    await ledger.reserve(opening(), reservation())
    again = ledger.reserve(opening(), reservation())
    ended = ledger.settle(settlement(cost_nano_usd=4), closing(cost_nano_usd=4))
    outcomes = await asyncio.gather(again, ended, return_exceptions=True)
    assert [getattr(outcome, "code", outcome) for outcome in outcomes] == ["ledger_conflict", None]
    assert [(e.status, e.cost_nano_usd) for e in ledger.entries()] == [("settled", 4)]
    assert audit(ledger.links()).no == 1


async def test_each_row_hears_of_its_own_trouble_and_a_settlement_outlives_it(
    ledger: SQLite, other: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await ledger.reserve(opening(), reservation())
    other.execute("ALTER TABLE chain RENAME TO elsewhere")
    calls = ledger.reserve(None, reservation()), ledger.settle(settlement(), closing())
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(outcome, "code", outcome) for outcome in outcomes] == ["ledger_conflict", "ledger_unavailable"]
    assert "UNIQUE" in caplog.text
    assert "no such table" in caplog.text
    other.execute("ALTER TABLE elsewhere RENAME TO chain")
    assert await ledger.is_writable()
    assert [e.status for e in ledger.entries()] == ["settled"]


async def test_a_request_that_was_turned_away_is_chained(ledger: SQLite) -> None:
    await ledger.turned_away(opening(), closing(status="released", end_reason="refused", attempts=0))
    await record(ledger, request_id="r2")
    found = audit(ledger.links())
    assert (found.findings, found.requests, found.attempts, found.no) == ([], 2, 1, 2)


def test_a_loop_that_ends_takes_nothing_with_it_that_was_handed_over(path: Path, impatient: None) -> None:
    ledger = SQLite(path=str(path))

    async def leave() -> None:
        await ledger.aopen()
        await ledger.reserve(opening(), reservation())
        ledger.settle(settlement(), closing())
        await asyncio.sleep(0)  # hands the rows over

    asyncio.run(leave())
    asyncio.run(ledger.aclose())
    assert [e.status for e in ledger.entries()] == ["settled"]
    assert audit(ledger.links()).findings == []


async def test_prompts_are_kept_where_they_are_asked_for(path: Path) -> None:
    ledger = SQLite(path=str(path), store_prompts=True)
    await ledger.aopen()
    await record(ledger, prompt="What is the capital of France?")
    await ledger.aclose()
    assert [e.prompt for e in ledger.entries()] == ["What is the capital of France?"]


def test_a_row_is_committed_though_the_event_loop_ended_before_it_could_be_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = SQLite(path=str(path))
    locker = sqlite3.connect(path, isolation_level=None)

    async def leave() -> _sqlite_writer.Writer:
        await ledger.aopen()
        locker.execute("BEGIN IMMEDIATE")
        ledger.reserve(opening(), reservation())
        await asyncio.sleep(0)  # the row is with the thread, which meets the lock
        assert ledger._writer
        return ledger._writer

    writer = asyncio.run(leave())
    locker.close()
    writer.queue.put(None)
    writer.join()
    assert [entry.request_id for entry in ledger.entries()] == ["request-1"]
    assert levels(caplog) == [logging.WARNING]
