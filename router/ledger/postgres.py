"""The ledger in a PostgreSQL database: several replicas, also on several machines, write to one.

Rows are committed in groups by a task of their own. Without the database the gateway runs, tells that it is not ready,
and refuses what it cannot record; it goes on by itself when the database is back.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PrivateAttr, model_validator

from weighbridge.ledger._sql import SqlLedger
from weighbridge.ledger.base import SCORE_SLOTS, CannotOpen
from weighbridge.ledger.chain import ATTEMPT_COLUMNS, REQUEST_COLUMNS, Link, Row

if TYPE_CHECKING:
    from weighbridge.ledger._postgres_reader import Reading, Recalls
    from weighbridge.ledger._postgres_writer import Writer


class Postgres(SqlLedger):
    """Keep the ledger in the database whose URL is in the environment, in a schema of its own.

    url_env: the variable that holds postgresql://user:password@host:port/database.
    """

    # `least` alone would take an unknown score for the highest.
    slot: ClassVar[str] = (
        f"CASE WHEN score IS NOT NULL THEN least(floor(score * {SCORE_SLOTS})::integer, {SCORE_SLOTS - 1}) END"
    )
    every: ClassVar[str] = "array_agg(coalesce({}, -1))"

    url_env: str = Field(default="WEIGHBRIDGE_LEDGER_URL", min_length=1)
    schema_name: str = Field(default="weighbridge", alias="schema", pattern="^[a-z_][a-z0-9_]{0,62}$")

    _writer: "Writer | None" = PrivateAttr(default=None)
    _recalls: "Recalls | None" = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _has_driver(self) -> "Postgres":
        try:
            import asyncpg  # noqa: F401, PLC0415  # only who asks for this ledger needs it
        except ImportError:
            raise ValueError("needs the driver asyncpg: pip install 'weighbridge[postgres]'") from None
        return self

    async def aopen(self) -> None:
        from weighbridge.ledger._postgres_reader import Recalls  # noqa: PLC0415
        from weighbridge.ledger._postgres_writer import Writer  # noqa: PLC0415

        writer = Writer(self._url(), self.schema_name, self.store_prompts, asyncio.get_running_loop())
        await writer.start()
        self._writer, self._recalls = writer, Recalls(writer.url, writer.schema)
        # Pydantic looks a private attribute up in microseconds; in the instance's own dict it takes none.
        vars(self).update(_submit=writer.submit, _mark=writer.marks.append)

    async def aclose(self) -> None:
        writer, self._writer = self._writer, None
        recalls, self._recalls = self._recalls, None
        if recalls:
            recalls.close()
        if writer:
            del vars(self)["_submit"], vars(self)["_mark"]
            await writer.stop()

    def _url(self) -> str:
        if url := os.environ.get(self.url_env):
            return url
        remedy = "it holds the ledger's URL, as postgresql://user:password@host:5432/database"
        raise CannotOpen(f"the environment variable {self.url_env} is not set: {remedy}")

    def remember(self, keys: Sequence[str], upstream: str) -> None:
        if self._writer is not None:
            self._writer.pins.update(dict.fromkeys(keys, upstream))

    async def recall(self, key: str) -> str | None:
        return await self._recalls.find(key) if self._recalls else None

    def links(self) -> Iterator[Link]:
        with self._reading() as reading:
            for page in reading.pages(_CHAINED):
                attempts = _attempts(reading, [row[2] for row in page])
                for no, digest, request_id, *request in page:
                    row = tuple(request) if request[0] is not None else None
                    yield Link(no, digest, request_id, row, attempts.get(request_id, ()))
            for page in reading.pages(_OUTSIDE):
                attempts = _attempts(reading, [row[0] for row in page])
                for row in page:
                    yield Link(None, None, row[0], tuple(row), attempts.get(row[0], ()))
            for page in reading.pages(_ORPHANS):
                for row in page:
                    yield Link(None, None, row[0], None, (tuple(row),))

    def _read(
        self, columns: str, source: str, span: tuple[int, int], order: str, *, are_notes: bool = False
    ) -> Iterator[Row]:
        query = f"SELECT {columns} FROM {source} WHERE r.created_at >= $1 AND r.created_at < $2 {order}"  # noqa: S608  # our own names
        with self._reading() as reading:
            if are_notes and reading.version < _NOTES_SINCE:
                return
            for page in reading.pages(query, *span):
                yield from page

    @staticmethod
    def _numbers(found: list[int] | None) -> Sequence[int]:
        return found or ()

    def _reading(self) -> "Reading":
        from weighbridge.ledger._postgres_reader import Reading  # noqa: PLC0415

        return Reading(self._url(), self.schema_name)


def _attempts(reading: "Reading", request_ids: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in reading.rows(_OF_THESE, request_ids):
        found.setdefault(row[0], []).append(tuple(row))
    return found


_NOTES_SINCE = 3  # as in _postgres_schema, which needs the driver

_ROW = ", ".join(f"r.{name}" for name in REQUEST_COLUMNS)
_ATTEMPT = ", ".join(ATTEMPT_COLUMNS)
_CHAINED = f"""SELECT c.no, c.digest, c.request_id, {_ROW}
    FROM chain c LEFT JOIN requests r ON r.request_id = c.request_id ORDER BY c.no"""  # noqa: S608  # our own names
_OUTSIDE = f"""SELECT {_ROW} FROM requests r
    WHERE NOT EXISTS (SELECT 1 FROM chain c WHERE c.request_id = r.request_id)"""  # noqa: S608  # our own names
_ORPHANS = f"""SELECT {_ATTEMPT} FROM attempts a
    WHERE NOT EXISTS (SELECT 1 FROM requests r WHERE r.request_id = a.request_id)
    AND NOT EXISTS (SELECT 1 FROM chain c WHERE c.request_id = a.request_id)"""  # noqa: S608  # our own names
_OF_THESE = f"""SELECT {_ATTEMPT} FROM attempts
    WHERE request_id = ANY($1) ORDER BY request_id, attempt_no"""  # noqa: S608  # our own names
