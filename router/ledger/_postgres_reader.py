"""Reading a PostgreSQL ledger: whole tables from any thread, and the one look-up that a request waits for."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

import asyncpg

from weighbridge.ledger._postgres_schema import CONNECT_S, Connection, connect, place, schema_of
from weighbridge.ledger._record import RETRY_S
from weighbridge.ledger.base import CannotOpen

T = TypeVar("T")

READ_S = 120.0  # the longest that a sum over everything may take
RECALL_S = 0.5  # a session that is not found by then is weighed like a new one
_FETCH = 1000


class Reading:
    """One snapshot of the ledger, read from any thread: the driver needs an event loop, so it gets one of its own."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self._schema = schema
        self.version = 0  # of the tables
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ledger reader", daemon=True)

    def __enter__(self) -> "Reading":
        self._thread.start()
        try:
            self._connection = self._wait(self._opened())
        except BaseException as error:
            self._end()
            if isinstance(error, OSError | asyncpg.PostgresError | asyncpg.InterfaceError):
                raise self._unreadable(error) from error
            raise
        return self

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        try:
            self._wait(self._closed())
        finally:
            self._end()
        if isinstance(error, OSError | asyncpg.PostgresError | asyncpg.InterfaceError):
            raise self._unreadable(error) from error

    def pages(self, query: str, *arguments: object) -> Iterator[list[asyncpg.Record]]:
        """Rows by the thousand: the server keeps the rest until it is asked for."""
        cursor = self._wait(self._cursor(query, arguments))
        while page := self._wait(cursor.fetch(_FETCH)):
            yield page

    def rows(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        return self._wait(self._connection.fetch(query, *arguments))

    async def _opened(self) -> Connection:
        connection = await connect(self._url, self._schema, statement_s=READ_S)
        try:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self.version = await schema_of(connection, self._schema)
            if not self.version:
                raise CannotOpen(
                    f"there is no ledger at {place(self._url)} in schema {self._schema} yet: serve a request first,"
                    " or check [ledger]"
                )
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _cursor(self, query: str, arguments: tuple[object, ...]) -> Any:
        return await self._connection.cursor(query, *arguments)

    async def _closed(self) -> None:
        try:
            await self._connection.close(timeout=CONNECT_S)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._connection.terminate()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(READ_S + CONNECT_S)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _unreadable(self, error: BaseException) -> CannotOpen:
        return CannotOpen(f"the ledger at {place(self._url)} cannot be read: {error or type(error).__name__}")


class Recalls:
    """Looks up where a session goes on, while a request waits: soon, or not at all."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self._schema = schema
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._resting_until_s = float("-inf")

    async def find(self, key: str) -> str | None:
        async with self._lock:
            if monotonic() < self._resting_until_s:
                return None
            try:
                return await self._found(key)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, CannotOpen):
                self._resting_until_s = monotonic() + RETRY_S
                self.close()
                return None

    async def _found(self, key: str) -> str | None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url, self._schema)
        alarm = asyncio.get_running_loop().call_later(RECALL_S, self._connection.terminate)
        try:
            found: str | None = await self._connection.fetchval("SELECT upstream FROM pins WHERE key = $1", key)
        finally:
            alarm.cancel()
        return found

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            connection.terminate()
