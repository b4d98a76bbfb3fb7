"""The one thread that writes an SQLite ledger: what has come since the last commit goes into the next one."""

import logging
import sqlite3
import threading
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from weighbridge.ledger import _sqlite_chain as chain
from weighbridge.ledger._record import KEPT, MARK_S, RETRY_S, Attempt, Record, conflict, resolve, stored, unavailable
from weighbridge.ledger._sqlite_schema import Owner, now_us
from weighbridge.ledger.base import Closing, Opening, Reservation, Settlement, microseconds
from weighbridge.ledger.notes import SHADOW_COLUMNS, Note, Shadowed, Signal

log = logging.getLogger(__name__)

# Python asks three places how to bind a None, of which most rows have several, unless it finds the answer in this one.
sqlite3.register_adapter(type(None), lambda none: none)


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608  # ours


def _update(table: str, columns: Sequence[str], key: int) -> str:
    """Set all columns but the first few, which are the key and are bound last."""
    changes = ", ".join(f"{column} = ?" for column in columns[key:])
    # No row leaves `settled`, `released` or `unknown`: the first word about it is the last.
    where = " AND ".join([*(f"{column} = ?" for column in columns[:key]), "status IN ('reserved', 'sent')"])
    return f"UPDATE {table} SET {changes} WHERE {where}"  # noqa: S608  # our own names


_OPEN = _insert("requests", (*Opening._fields, "process"))
_RESERVE = _insert("attempts", Reservation._fields)
_SENT = "UPDATE attempts SET status = 'sent' WHERE request_id = ? AND attempt_no = ? AND status = 'reserved'"
_SETTLE = _update("attempts", Settlement._fields, 2)
_CLOSE = _update("requests", Closing._fields, 1)
_CLOSE_UNSEEN = f"{_CLOSE} {chain.RETURNING}"
_FEEDBACK = """INSERT INTO feedback (request_id, given_at, score, comment)
    SELECT request_id, ?, ?, ? FROM requests WHERE request_id = ?
    ON CONFLICT DO UPDATE SET given_at = excluded.given_at, score = excluded.score, comment = excluded.comment"""
_PIN = "INSERT OR REPLACE INTO pins VALUES (?, ?, ?)"
_SHADOWED = _insert("shadows", SHADOW_COLUMNS).replace("INSERT", "INSERT OR REPLACE")
_SIGNAL = _insert("signals", Signal._fields).replace("INSERT", "INSERT OR IGNORE")
_PROBE = "INSERT OR REPLACE INTO meta VALUES ('probed_at', ?)"


@dataclass(slots=True)
class Writer:
    """Owns the connection once started. The event loop only ever puts records into the queue."""

    connection: sqlite3.Connection
    owner: Owner
    loop: AbstractEventLoop
    store_prompts: bool
    tick: list[Record] = field(default_factory=list)
    queue: "SimpleQueue[list[Record] | None]" = field(default_factory=SimpleQueue)
    marks: deque[Attempt] = field(default_factory=deque)
    pins: deque[tuple[str, str]] = field(default_factory=deque)
    on_wire: dict[Attempt, float] = field(default_factory=dict)  # since when; neither marked nor settled
    kept: deque[Record] = field(default_factory=lambda: deque(maxlen=KEPT))
    drafts: chain.Drafts = field(default_factory=chain.Drafts)
    has_news: bool = False
    is_failing: bool = False
    thread: threading.Thread | None = None

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Nothing more will come. Called on the event loop; `join` then waits for what is left to be committed."""
        self._hand_over()
        self.queue.put(None)

    def join(self) -> None:
        if self.thread is not None:
            self.thread.join()

    def submit(self, record: Record) -> "Future[Any]":
        """Called on the event loop: the future is done when the record is committed."""
        record.future = future = self.loop.create_future()
        if not self.tick:
            # Waking a thread costs more than a row: what one turn of the loop brings goes over together.
            self.loop.call_soon(self._hand_over)
        self.tick.append(record)
        return future

    def _hand_over(self) -> None:
        records, self.tick = self.tick, []
        if records:
            self.queue.put(records)

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch, is_open = self._next_batch()
            self._write(batch)
        if self.kept:
            log.error("the ledger could not be written: %d settlements are lost", len(self.kept))
        self.owner.release(self.connection)
        self.connection.close()

    def _next_batch(self) -> tuple[list[Record], bool]:
        """What has come since the last commit, and whether more may come."""
        timeout = RETRY_S if self.kept else MARK_S if self.has_news or self.on_wire else None
        self.has_news = False
        batch: list[Record] = []
        try:
            records = self.queue.get(timeout=timeout)
            while records is not None:
                batch += records
                records = self.queue.get_nowait()
        except Empty:
            return batch, True
        return batch, False

    def _write(self, batch: list[Record]) -> None:
        marks = self._due()
        records = [*self.kept, *batch]
        if not records and not marks and not self.pins:
            return
        self.kept.clear()
        try:
            outcomes = self._commit(records, marks)
        except Exception as error:  # whatever it is, the thread lives on and whoever waits is told
            outcomes = self._refuse(records, error) if _is_outside(error) else self._commit_one_by_one(records)
        self._answer(records, outcomes)

    def _due(self) -> list[Attempt]:
        """The attempts that have been on the wire for long enough to be marked."""
        now = monotonic()
        for _ in range(len(self.marks)):
            self.on_wire[self.marks.popleft()] = now
        return list(takewhile(lambda attempt: self.on_wire[attempt] <= now - MARK_S, self.on_wire))

    def _commit(self, records: Sequence[Record], marks: Sequence[Attempt]) -> list[object]:
        """All or nothing. One transaction, a statement per kind of row: each kind comes after those it builds on."""
        execute, many = self.connection.execute, self.connection.executemany
        execute("BEGIN IMMEDIATE")
        try:
            self._open([self._opened(r.opening) for r in records if r.opening])
            self._reserve([_reserved(r.reservation) for r in records if r.reservation])
            if marks:
                many(_SENT, marks)
            settled = [r.settlement for r in records if r.settlement]
            many(_SETTLE, [(*s[2:], *s[:2]) for s in settled])
            self.drafts.settle(settled)
            self._close([r.closing for r in records if r.closing])
            for note in [r.note for r in records if r.note]:
                self._note(note)
            if pins := list(self.pins):
                now = now_us()
                many(_PIN, [(*pin, now) for pin in pins])
            outcomes: list[object] = [self._said(r) if r.feedback or r.is_probe else None for r in records]
            execute("COMMIT")
        except BaseException:
            # SQLite itself rolls back when the disk is full.
            if self.connection.in_transaction:
                execute("ROLLBACK")
            self.drafts.by_id.clear()
            raise
        for _ in pins:
            self.pins.popleft()
        for attempt in (*(s[:2] for s in settled), *marks):
            self.on_wire.pop(attempt, None)
        self.has_news = any(r.reservation for r in records)
        if self.is_failing:
            self.is_failing = False
            log.warning("the ledger can be written again")
        return outcomes

    def _open(self, rows: Sequence[tuple[object, ...]]) -> None:
        self.connection.executemany(_OPEN, rows)
        self.drafts.open(rows)

    def _reserve(self, rows: Sequence[tuple[object, ...]]) -> None:
        self.connection.executemany(_RESERVE, rows)
        self.drafts.reserve(rows)

    def _close(self, closings: Sequence[Closing]) -> None:
        """Close requests, and add them to the chain as they now stand."""
        if not closings:
            return
        known, closed = [], []
        for closing in closings:
            if draft := self.drafts.close(closing):
                known.append((*closing[1:], closing[0]))
                closed.append(draft)
            else:
                closed += self._close_unseen(closing)
        if known and self.connection.executemany(_CLOSE, known).rowcount != len(known):
            raise ValueError("a request was closed by another process")
        chain.extend(self.connection, closed)

    def _close_unseen(self, closing: Closing) -> list[chain.Closed]:
        """A request of which there is no draft: it may be closed already, or not be there at all."""
        rows = self.connection.execute(_CLOSE_UNSEEN, (*closing[1:], closing[0])).fetchall()
        return [(row, chain.attempts_of(self.connection, row[0])) for row in rows]

    def _commit_one_by_one(self, records: Sequence[Record]) -> list[object]:
        """A row that contradicts the ledger fails alone, not with its neighbours."""
        outcomes: list[object] = []
        for record in records:
            try:
                outcomes += self._commit([record], ())
            except Exception as error:  # as in _write
                outcomes += self._refuse([record], error) if _is_outside(error) else [conflict(error)]
        return outcomes

    def _refuse(self, records: Sequence[Record], error: Exception) -> list[object]:
        """Nothing of it was written. Whoever waits is told now; settlements are kept until there is room again."""
        if not self.is_failing:
            self.is_failing = True
            log.error("the ledger cannot be written: %s", error)
        self.kept.extend(record for record in records if record.settlement)
        return [unavailable() for _ in records]

    def _opened(self, opening: Opening) -> tuple[object, ...]:
        request_id, created_at, *rest, score, threshold, task, classifier, is_stream, tags, prompt = opening
        reals = (None if score is None else float(score), None if threshold is None else float(threshold))
        kept = prompt if self.store_prompts else None
        # Python binds a bool ten times more slowly than an int.
        ends = (task, classifier, int(is_stream), tags, kept, self.owner.process)
        return (request_id, microseconds(created_at), *rest, *reals, *ends)

    def _said(self, record: Record) -> bool:
        if record.feedback is None:
            self.connection.execute(_PROBE, (str(now_us()),))
            return True
        request_id, score, comment = record.feedback
        return self.connection.execute(_FEEDBACK, (now_us(), score, comment, request_id)).rowcount > 0

    def _note(self, note: Note) -> None:
        is_shadow = isinstance(note, Shadowed)
        row = stored(note, len(SHADOW_COLUMNS if is_shadow else Signal._fields))
        self.connection.execute(_SHADOWED if is_shadow else _SIGNAL, row)

    def _answer(self, records: Sequence[Record], outcomes: Iterable[object]) -> None:
        waiting = [(r.future, outcome) for r, outcome in zip(records, outcomes, strict=True) if r.future]
        for record in records:
            record.future = None
        if waiting:
            try:
                self.loop.call_soon_threadsafe(resolve, waiting)
            except RuntimeError:
                log.warning("the event loop ended before the ledger answered")


def _reserved(reservation: Reservation) -> tuple[object, ...]:
    request_id, attempt_no, started_at, *rest = reservation
    return (request_id, attempt_no, microseconds(started_at), *rest)


def _is_outside(error: Exception) -> bool:
    """The disk, a lock, the file: not the fault of any row."""
    return type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError)
