"""The one task that writes a PostgreSQL ledger: what has come since the last commit goes into the next one."""

import asyncio
import logging
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from time import monotonic
from typing import Any

import asyncpg

from weighbridge.ledger._postgres_rows import PROBE, Batch, is_of_a_row, now_us, put, taken_back
from weighbridge.ledger._postgres_schema import (
    STATEMENT_S,
    Connection,
    absent,
    bury,
    connect,
    migrate,
    place,
    register,
)
from weighbridge.ledger._record import KEPT, MARK_S, RETRY_S, Attempt, Record, conflict, resolve, unavailable
from weighbridge.ledger.base import CannotOpen

log = logging.getLogger(__name__)

OPEN_S = 10.0  # how long a start waits for the database; afterwards it goes on without
MIGRATE_S = 600.0
UPKEEP_S = 30.0
LOOK_S = 5.0  # how often we look for dead processes. One that is gone in two looks is dead; a living one comes back


@dataclass(slots=True)
class Writer:
    """Owns the connection. While there is none, whoever wants to write is refused at once."""

    url: str
    schema: str
    store_prompts: bool
    loop: AbstractEventLoop
    look_s: float = LOOK_S
    connection: Connection | None = None
    process: int | None = None
    waiting: list[Record] = field(default_factory=list)
    marks: deque[Attempt] = field(default_factory=deque)
    on_wire: dict[Attempt, float] = field(default_factory=dict)  # since when; neither marked nor settled
    pins: dict[str, str] = field(default_factory=dict)
    kept: deque[Record] = field(default_factory=lambda: deque(maxlen=KEPT))
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    missed: set[int] = field(default_factory=set)  # processes that the last look found gone
    looked_s: float = field(default_factory=monotonic)
    is_in_doubt: bool = False  # a commit is under way: if it fails, nobody knows whether it came about
    has_news: bool = False
    is_stopping: bool = False
    is_failing: bool = False
    task: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        """Begin to write, once the database has answered or OPEN_S are over. CannotOpen where waiting is of no use."""
        tried: Future[None] = self.loop.create_future()
        self.task = self.loop.create_task(self._run(tried), name="ledger")
        await asyncio.wait({tried}, timeout=OPEN_S)
        if tried.done() and (error := tried.exception()):
            await self.stop()
            raise error

    async def stop(self) -> None:
        """Nothing more will come: commit what waits, and leave."""
        self.is_stopping = True
        self.wake.set()
        if self.task:
            await asyncio.wait({self.task}, timeout=OPEN_S)
            self.task.cancel()
            await asyncio.wait({self.task})
        self._answer(self.waiting, [unavailable() for _ in self.waiting])
        if self.kept:
            log.error("the ledger could not be written: %d settlements are lost", len(self.kept))

    def submit(self, record: Record) -> "Future[Any]":
        """The future is done when the record is committed."""
        record.future = future = self.loop.create_future()
        if self.connection is None:
            self._answer([record], self._refused([record]))
        else:
            self.waiting.append(record)
            self.wake.set()
        return future

    async def _run(self, tried: "Future[None]") -> None:
        while not self.is_stopping or (self.connection and (self.waiting or self.kept or self.pins)):
            if self.connection is None:
                await self._connect(tried)
                continue
            await self._rest(self._patience())
            if self.connection:
                await self._write()
            if self.connection and monotonic() - self.looked_s >= self.look_s:
                await self._look()
        await self._leave()

    def _patience(self) -> float:
        if self.kept or self.is_stopping:
            return 0.0
        return MARK_S if self.has_news or self.on_wire or self.marks else self.look_s

    async def _rest(self, seconds: float) -> None:
        """Until something comes, but no longer."""
        alarm = self.loop.call_later(seconds, self.wake.set)
        await self.wake.wait()
        alarm.cancel()
        self.wake.clear()

    async def _connect(self, tried: "Future[None]") -> None:
        """Try once to come to a database that can be written; rest where that fails."""
        connection: Connection | None = None
        try:
            connection = await connect(self.url, self.schema, on_end=self._lost)
            await self._move_in(connection, is_first=not tried.done())
        except Exception as error:  # whatever it is, the task lives on, and tries again
            if connection:
                connection.terminate()
            self._failed(error)
            _tell(tried, error if isinstance(error, CannotOpen) else None)
            await self._rest(RETRY_S)
        else:
            self.connection = connection
            self._recovered()
            _tell(tried, None)

    async def _move_in(self, connection: Connection, *, is_first: bool) -> None:
        with _within(connection, MIGRATE_S):
            await migrate(connection, self.schema)
        with _within(connection, UPKEEP_S):
            self.process = await register(connection, self.schema, self.process, now_us())
            self.missed = await absent(connection, self.schema, self.process)
            self.looked_s = monotonic()
            if is_first:
                # Later the others may be on their way back, as we were.
                await self._bury(connection, self.missed)
            # To be let in is not to be let write.
            await connection.execute(PROBE, str(now_us()))

    def _lost(self, connection: object) -> None:
        """The session has ended, by whoever's hand."""
        if self.connection is connection:
            self.connection = None
            self.wake.set()

    async def _look(self) -> None:
        """Find the dead. Where that fails, the next look will."""
        connection, self.looked_s = self.connection, monotonic()
        if connection is None or self.process is None:
            return
        try:
            with _within(connection, UPKEEP_S):
                gone = await absent(connection, self.schema, self.process)
                await self._bury(connection, gone & self.missed)
                self.missed = gone - self.missed
        except Exception as error:  # as in _connect
            self._drop(error)

    async def _bury(self, connection: Connection, dead: set[int]) -> None:
        for process in sorted(dead):
            await bury(connection, self.schema, process)

    async def _write(self) -> None:
        marks = self._due()
        records = [*self.kept, *self.waiting]
        if not records and not marks and not self.pins:
            return
        self.kept.clear()
        self.waiting = []
        try:
            outcomes = await self._commit(records, marks)
        except Exception as error:  # whatever it is, the task lives on, and whoever waits is told
            outcomes = await self._commit_one_by_one(records) if is_of_a_row(error) else self._gone(records, error)
        self._answer(records, outcomes)

    def _due(self) -> list[Attempt]:
        """The attempts that have been on the wire for long enough to be marked."""
        now = monotonic()
        while self.marks:
            self.on_wire[self.marks.popleft()] = now
        return list(takewhile(lambda attempt: self.on_wire[attempt] <= now - MARK_S, self.on_wire))

    async def _commit(self, records: Sequence[Record], marks: Sequence[Attempt]) -> list[object]:
        """All or nothing. One transaction, a statement per kind of row: each kind comes after those it builds on."""
        connection = self.connection
        if connection is None:
            raise ConnectionError("the session has ended")
        pins, self.pins = self.pins, {}
        batch = Batch(records, marks, pins, self.process or 0, keeps_prompts=self.store_prompts)
        try:
            with _within(connection, STATEMENT_S):
                await connection.execute("BEGIN")
                outcomes = await put(connection, self.schema, batch)
                self.is_in_doubt = True
                await connection.execute("COMMIT")
        except BaseException:
            self.pins = {**pins, **self.pins}
            await self._roll_back(connection)
            raise
        self.is_in_doubt = False
        for attempt in (*(s[:2] for r in records if (s := r.settlement)), *marks):
            self.on_wire.pop(attempt, None)
        self.has_news = any(r.reservation for r in records)
        return outcomes

    async def _roll_back(self, connection: Connection) -> None:
        if self.is_in_doubt or connection.is_closed():
            return
        try:
            with _within(connection, STATEMENT_S):
                await connection.execute("ROLLBACK")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()

    async def _commit_one_by_one(self, records: Sequence[Record]) -> list[object]:
        """A row that contradicts the ledger fails alone, not with its neighbours."""
        outcomes: list[object] = []
        for record in records:
            try:
                outcomes += await self._commit([record], ())
            except Exception as error:  # as in _write
                outcomes += [conflict(error)] if is_of_a_row(error) else self._gone([record], error)
        return outcomes

    def _gone(self, records: Sequence[Record], error: Exception) -> list[object]:
        """The session cannot be trusted any more. Whoever waits is told now."""
        if self.is_in_doubt:
            # A row that did come about after all belongs to nobody: the wire will not be touched for it.
            self.kept.extend(taken_back(r.opening, r.reservation) for r in records if r.reservation)
            self.is_in_doubt = False
        self._drop(error)
        return self._refused(records)

    def _drop(self, error: Exception) -> None:
        connection, self.connection = self.connection, None
        if connection:
            connection.terminate()
        self._failed(error)

    def _refused(self, records: Sequence[Record]) -> list[object]:
        """Settlements are kept until they can be written."""
        self.kept.extend(record for record in records if record.settlement)
        return [unavailable() for _ in records]

    def _failed(self, error: Exception) -> None:
        if not self.is_failing:
            self.is_failing = True
            log.error("the ledger at %s cannot be written: %s", place(self.url), error or type(error).__name__)

    def _recovered(self) -> None:
        if self.is_failing:
            self.is_failing = False
            log.warning("the ledger can be written again")

    def _answer(self, records: Sequence[Record], outcomes: Sequence[object]) -> None:
        resolve([(r.future, outcome) for r, outcome in zip(records, outcomes, strict=True) if r.future])
        for record in records:
            record.future = None

    async def _leave(self) -> None:
        """With nothing left open. Where that cannot be written, another process does it."""
        connection, self.connection = self.connection, None
        if connection is None or self.process is None:
            return
        try:
            with _within(connection, UPKEEP_S):
                await bury(connection, self.schema, self.process)
                await connection.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            log.warning("the ledger could not be closed in good order; another process will do it")
            connection.terminate()


@contextmanager
def _within(connection: Connection, seconds: float) -> Iterator[None]:
    """Cut the session off when it takes longer: a frozen server answers no cancel request either."""
    alarm = asyncio.get_running_loop().call_later(seconds, connection.terminate)
    try:
        yield
    finally:
        alarm.cancel()


def _tell(tried: "Future[None]", error: Exception | None) -> None:
    if tried.done():
        return
    if error:
        tried.set_exception(error)
    else:
        tried.set_result(None)
