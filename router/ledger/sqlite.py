"""The ledger in one SQLite file: no server, many readers, and several worker processes may share it.

Rows are committed in groups by a thread of their own, so the event loop never waits for a disk. SIGKILL loses nothing
that was acknowledged; `synchronous = "full"` makes that hold for a power cut too.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr

from weighbridge.ledger import _sqlite_chain
from weighbridge.ledger._sql import SqlLedger
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
from weighbridge.ledger.base import SCORE_SLOTS, CannotOpen
from weighbridge.ledger.chain import Link, Row

_FETCH = 1000


class SQLite(SqlLedger):
    """Keep the ledger at `path`.

    synchronous: with "normal" a power cut may lose the last commits (a crash or SIGKILL loses none); with "full" not.
    """

    slot: ClassVar[str] = f"min(cast(score * {SCORE_SLOTS} AS INTEGER), {SCORE_SLOTS - 1})"
    every: ClassVar[str] = "group_concat(coalesce({}, -1))"

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

    def _read(
        self, columns: str, source: str, span: tuple[int, int], order: str, *, are_notes: bool = False
    ) -> Iterator[Row]:
        connection = self._connect_to_read()
        try:
            found = schema_of(connection, self.path)
            if are_notes and found < NOTES_SINCE:
                return
            if found < WITH_ENERGY:
                columns = columns.replace("a.energy_mj", "NULL")
            query = f"SELECT {columns} FROM {source} WHERE r.created_at >= ? AND r.created_at < ? {order}"  # noqa: S608  # our own names
            cursor = connection.execute(query, span)
            while rows := cursor.fetchmany(_FETCH):
                yield from rows
        except sqlite3.Error as error:
            raise CannotOpen(f"the ledger {self.path} cannot be read: {error}") from error
        finally:
            connection.close()

    @staticmethod
    def _numbers(found: str | None) -> list[int]:
        return [int(number) for number in found.split(",")] if found else []

    def _connect_to_read(self) -> sqlite3.Connection:
        if not Path(self.path).is_file():
            raise CannotOpen(f"there is no ledger at {self.path} yet: serve a request first, or check [ledger] path")
        return sqlite3.connect(uri(self.path, "ro"), uri=True, timeout=BUSY_S, check_same_thread=False)
