"""The ledger in one SQLite file: no server, many readers, and several worker processes may share it.

Rows are committed in groups by a thread of their own, so the event loop never waits for a disk. SIGKILL loses nothing
that was acknowledged; `synchronous = "full"` makes that hold for a power cut too.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from weighbridge.errors import Unavailable
from weighbridge.ledger import _sqlite_chain
from weighbridge.ledger._record import Record
from weighbridge.ledger._sqlite_schema import (
    BUSY_S,
    CHAIN_SINCE,
    NOTES_SINCE,
    WITH_ENERGY,
    connect,
    register,
    schema_of,
    uri,
)
from weighbridge.ledger._sqlite_writer import Writer
from weighbridge.ledger.base import (
    EPOCH,
    SCORE_SLOTS,
    CannotOpen,
    Closing,
    Dimension,
    Entry,
    Heap,
    Ledger,
    Opening,
    Reservation,
    Settlement,
    Spent,
    UnderWay,
    Work,
    microseconds,
)
from weighbridge.ledger.chain import Link
from weighbridge.ledger.notes import SHADOW, SHADOW_COLUMNS, Note, Shadowed, ShadowSpend, Sign

_FETCH = 1000


class SQLite(Ledger):
    """Keep the ledger at `path`.

    synchronous: with "normal" a power cut may lose the last commits (a crash or SIGKILL loses none); with "full" not.
    """

    path: str = Field(default="weighbridge.db", min_length=1)
    synchronous: Literal["normal", "full"] = "normal"

    _writer: Writer | None = PrivateAttr(default=None)

    async def aopen(self) -> None:
        loop = asyncio.get_running_loop()
        self._writer = await asyncio.to_thread(self._open, loop)
        self._writer.start()
        # Pydantic looks a private attribute up in microseconds; in the instance's own dict it takes none.
        vars(self).update(_submit=self._writer.submit, _mark=self._writer.marks.append)

    def _open(self, loop: asyncio.AbstractEventLoop) -> Writer:
        connection = connect(self.path, self.synchronous)
        try:
            owner = register(connection, self.path)
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.Error):
                raise CannotOpen(f"the ledger {self.path} cannot be opened: {error}") from error
            raise
        return Writer(connection, owner, loop, self.store_prompts)

    async def aclose(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            del vars(self)["_submit"], vars(self)["_mark"]
            writer.stop()
            await asyncio.to_thread(writer.join)

    def reserve(self, opening: Opening | None, reservation: Reservation) -> Awaitable[None]:
        return self._submit(Record(opening, reservation))

    def sent(self, request_id: str, attempt_no: int) -> None:
        self._mark((request_id, attempt_no))

    def settle(self, settlement: Settlement, closing: Closing | None) -> Awaitable[None]:
        return self._submit(Record(None, None, settlement, closing))

    def turned_away(self, opening: Opening, closing: Closing) -> Awaitable[None]:
        return self._submit(Record(opening, None, None, closing))

    def feedback(self, request_id: str, score: float, comment: str | None) -> Awaitable[bool]:
        return self._submit(Record(feedback=(request_id, score, comment)))

    def note(self, note: Note) -> "asyncio.Future[None]":
        return self._submit(Record(note=note))

    def remember(self, keys: Sequence[str], upstream: str) -> None:
        if self._writer is not None:
            self._writer.pins.extend((key, upstream) for key in keys)

    async def recall(self, key: str) -> str | None:
        return await asyncio.to_thread(self._recalled, key)

    def _recalled(self, key: str) -> str | None:
        try:
            with closing(self._connect_to_read()) as connection:
                found = connection.execute("SELECT upstream FROM pins WHERE key = ?", (key,)).fetchone()
        except (sqlite3.Error, CannotOpen):
            return None  # a session that cannot be found is weighed like a new one
        return found[0] if found else None

    async def is_writable(self) -> bool:
        try:
            return bool(await self._submit(Record(is_probe=True)))
        except Unavailable:
            return False

    def _submit(self, record: Record) -> "asyncio.Future[Any]":
        raise Unavailable("The ledger is closed.", code="ledger_unavailable")

    def _mark(self, attempt: tuple[str, int]) -> None:
        """A closed ledger has no use for a mark."""

    def entries(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Entry]:
        columns = ", ".join(_ENTRY.get(name, f"r.{name}") for name in Entry.__slots__)
        source = "requests r LEFT JOIN feedback f USING (request_id)"
        for row in self._read(columns, source, since, until, f"{_NO_SHADOW} ORDER BY r.created_at"):
            values = list(row)
            values[_CREATED_AT] = EPOCH + timedelta(microseconds=values[_CREATED_AT])
            values[_IS_STREAM] = bool(values[_IS_STREAM])
            yield Entry(*values)

    def heaps(
        self, by: Dimension | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Heap]:
        name = by if by and by != "day" else "NULL"
        for row in self._read(f"{name}, {_HEAP}", "requests r", since, until, f"{_NO_SHADOW} {_ALIKE}"):
            *found, ttft_us, latency_us, output_tokens = row
            yield Heap._make((*found, _numbers(ttft_us), _numbers(latency_us), _numbers(output_tokens)))

    def work(
        self, by: Dimension | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Work]:
        name = f"r.{by}" if by and by != "day" else "NULL"
        for row in self._read(f"{name}, {_WORK}", _WORKING, since, until, f"{_NO_SHADOW} GROUP BY 1, 2, 3, 4, 5"):
            yield Work._make(row)

    def spent(self, since: datetime) -> list[Spent]:
        source = "requests r JOIN attempts a USING (request_id)"
        return [Spent._make(row) for row in self._read(_SPENT, source, since, None, "GROUP BY 1, 2, 3")]

    def under_way(self, since: datetime) -> list[UnderWay]:
        source = "requests r JOIN attempts a USING (request_id)"
        return [UnderWay._make(row) for row in self._read(_UNDER_WAY, source, since, None, _IS_OPEN)]

    def shadows(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Shadowed]:
        source = "shadows s JOIN requests r USING (request_id)"
        for row in self._read(_SHADOW_ROW, source, since, until, "ORDER BY r.created_at", schema=NOTES_SINCE):
            request_id, judged_at, *rest = row
            yield Shadowed(request_id, EPOCH + timedelta(microseconds=judged_at), *rest)

    def shadow_spend(self, since: datetime | None = None, until: datetime | None = None) -> list[ShadowSpend]:
        order = f"AND r.caller = '{SHADOW}' AND attempts > 0 GROUP BY 1 ORDER BY 1"
        return [ShadowSpend._make(row) for row in self._read(_SHADOW_SPEND, "requests r", since, until, order)]

    def signs(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Sign]:
        source = "signals s JOIN requests r USING (request_id)"
        for row in self._read(_SIGN, source, since, until, "ORDER BY r.created_at", schema=NOTES_SINCE):
            yield Sign._make(row)

    def links(self) -> Iterator[Link]:
        connection = self._connect_to_read()
        try:
            if schema_of(connection, self.path) < CHAIN_SINCE:
                raise CannotOpen(f"the ledger {self.path} has no hash chain yet: start the gateway once")
            connection.execute("BEGIN")
            yield from _sqlite_chain.links(connection)
        except sqlite3.Error as error:
            raise CannotOpen(f"the ledger {self.path} cannot be read: {error}") from error
        finally:
            connection.close()

    def _read(  # noqa: PLR0913  # the parts of a query
        self, columns: str, source: str, since: datetime | None, until: datetime | None, order: str, *, schema: int = 0
    ) -> Iterator[tuple[Any, ...]]:
        """Rows on a read-only connection of their own: one snapshot, whatever is written meanwhile.

        schema: where a file is older than this, it has none of them.
        """
        connection = self._connect_to_read()
        try:
            found = schema_of(connection, self.path)
            if found < schema:
                return
            if found < WITH_ENERGY:
                columns = columns.replace("a.energy_mj", "NULL")
            cursor = connection.execute(
                f"SELECT {columns} FROM {source} WHERE r.created_at >= ? AND r.created_at < ? {order}",  # noqa: S608  # our own names
                (_BEGINNING if since is None else microseconds(since), _END if until is None else microseconds(until)),
            )
            while rows := cursor.fetchmany(_FETCH):
                yield from rows
        except sqlite3.Error as error:
            raise CannotOpen(f"the ledger {self.path} cannot be read: {error}") from error
        finally:
            connection.close()

    def _connect_to_read(self) -> sqlite3.Connection:
        if not Path(self.path).is_file():
            raise CannotOpen(f"there is no ledger at {self.path} yet: serve a request first, or check [ledger] path")
        return sqlite3.connect(uri(self.path, "ro"), uri=True, timeout=BUSY_S, check_same_thread=False)


_ENTRY = {"feedback": "f.score", "request_id": "r.request_id"}
_CREATED_AT = Entry.__slots__.index("created_at")
_IS_STREAM = Entry.__slots__.index("is_stream")
_BEGINNING, _END = -(2**63), 2**63 - 1

# What the gateway asked of its own accord is no traffic: its money is told apart.
_NO_SHADOW = f"AND r.caller <> '{SHADOW}'"
_SHADOW_ROW = ", ".join(["s.request_id", *(f"s.{name}" for name in SHADOW_COLUMNS[1:]), "r.task", "r.prompt"])
_SHADOW_SPEND = "upstream, count(*), ifnull(sum(cost_nano_usd), 0), count(*) - count(cost_nano_usd)"
_SIGN = "s.request_id, s.kind, r.route, r.upstream, r.location"

_KEYS = (
    "r.created_at / 86400000000",
    "location",
    "upstream",
    "baseline_upstream",
    "is_stream",
    "attempts <= 1",
    "status",
    "end_reason",
    f"min(cast(score * {SCORE_SLOTS} AS INTEGER), {SCORE_SLOTS - 1})",
    "threshold",
)
_SUMS = (
    "count(*)",
    "count(cost_nano_usd)",
    "ifnull(sum(cost_nano_usd), 0)",
    "ifnull(sum(baseline_cost_nano_usd), 0)",
    "count(cost_nano_usd + baseline_cost_nano_usd)",
    "ifnull(sum(cost_nano_usd) FILTER (WHERE baseline_cost_nano_usd IS NOT NULL), 0)",
    "ifnull(sum(baseline_cost_nano_usd) FILTER (WHERE cost_nano_usd IS NOT NULL), 0)",
)
# Quantiles need each value: one text per heap is read many times faster than a row per request.
_EACH = (
    "cast(round(ttft_s * 1e6) AS INTEGER)",
    "cast(round(latency_s * 1e6) AS INTEGER)",
    "output_tokens",
)
_HEAP = ", ".join(
    [*_KEYS, *_SUMS, *(f"group_concat(ifnull({each}, -1)) FILTER (WHERE end_reason = 'ok')" for each in _EACH)]
)
_ALIKE = f"GROUP BY {', '.join(str(place) for place in range(1, len(_KEYS) + 2))}"


_WORKING = "requests r LEFT JOIN attempts a ON a.request_id = r.request_id AND a.status <> 'released'"
_WORK = """r.created_at / 86400000000, a.upstream, a.location, r.baseline_upstream,
    count(a.energy_mj), ifnull(sum(a.energy_mj), 0),
    count(a.latency_s) FILTER (WHERE a.energy_mj IS NULL),
    ifnull(sum(cast(round(a.latency_s * 1e6) AS INTEGER)) FILTER (WHERE a.energy_mj IS NULL), 0),
    count(a.latency_s) FILTER (WHERE a.output_tokens IS NULL),
    ifnull(sum(a.output_tokens), 0),
    ifnull(sum(r.output_tokens) FILTER (WHERE a.attempt_no IS NULL OR a.attempt_no = r.attempts), 0)"""

_UNDER_WAY = "r.caller, r.route, a.location, a.request_id || '/' || a.attempt_no"
_IS_OPEN = "AND a.status IN ('reserved', 'sent')"

_SPENT = """r.caller, r.route, a.location,
    sum(CASE a.status WHEN 'released' THEN 0 ELSE coalesce(a.cost_nano_usd, a.reserved_nano_usd, 0) END),
    sum(a.attempt_no = 1 OR NOT EXISTS (SELECT 1 FROM attempts b WHERE b.request_id = a.request_id
        AND b.location = a.location AND b.attempt_no < a.attempt_no)),
    sum(coalesce(a.input_tokens, 0) + coalesce(a.output_tokens, 0)),
    sum(a.attempt_no = 1)"""


def _numbers(text: str | None) -> list[int]:
    return [int(number) for number in text.split(",")] if text else []
