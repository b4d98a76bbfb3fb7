"""The ledger in a PostgreSQL database: several replicas, also on several machines, write to one.

Rows are committed in groups by a task of their own. Without the database the gateway runs, tells that it is not ready,
and refuses what it cannot record; it goes on by itself when the database is back.
"""

import asyncio
import os
from collections.abc import Awaitable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field, PrivateAttr, model_validator

from weighbridge.errors import Unavailable
from weighbridge.ledger._record import Record
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
from weighbridge.ledger.chain import ATTEMPT_COLUMNS, REQUEST_COLUMNS, Link
from weighbridge.ledger.notes import SHADOW, SHADOW_COLUMNS, Note, Shadowed, ShadowSpend, Sign

if TYPE_CHECKING:
    from weighbridge.ledger._postgres_reader import Reading, Recalls
    from weighbridge.ledger._postgres_writer import Writer


class Postgres(Ledger):
    """Keep the ledger in the database whose URL is in the environment, in a schema of its own.

    url_env: the variable that holds postgresql://user:password@host:port/database.
    """

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
            self._writer.pins.update(dict.fromkeys(keys, upstream))

    async def recall(self, key: str) -> str | None:
        return await self._recalls.find(key) if self._recalls else None

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
        columns = ", ".join("f.score" if name == "feedback" else f"r.{name}" for name in Entry.__slots__)
        source = "requests r LEFT JOIN feedback f USING (request_id)"
        for row in self._rows(columns, source, since, until, f"{_NO_SHADOW} ORDER BY r.created_at"):
            values = list(row)
            values[_CREATED_AT] = EPOCH + timedelta(microseconds=values[_CREATED_AT])
            values[_IS_STREAM] = bool(values[_IS_STREAM])
            yield Entry(*values)

    def heaps(
        self, by: Dimension | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Heap]:
        name = by if by and by != "day" else "NULL::text"
        for row in self._rows(f"{name}, {_HEAP}", "requests r", since, until, f"{_NO_SHADOW} {_ALIKE}"):
            *found, ttft_us, latency_us, output_tokens = row
            yield Heap._make((*found, ttft_us or (), latency_us or (), output_tokens or ()))

    def work(
        self, by: Dimension | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Work]:
        name = f"r.{by}" if by and by != "day" else "NULL::text"
        for row in self._rows(f"{name}, {_WORK}", _WORKING, since, until, f"{_NO_SHADOW} GROUP BY 1, 2, 3, 4, 5"):
            yield Work._make(row)

    def spent(self, since: datetime) -> list[Spent]:
        source = "requests r JOIN attempts a USING (request_id)"
        return [Spent._make(row) for row in self._rows(_SPENT, source, since, None, "GROUP BY 1, 2, 3")]

    def under_way(self, since: datetime) -> list[UnderWay]:
        source = "requests r JOIN attempts a USING (request_id)"
        return [UnderWay._make(row) for row in self._rows(_UNDER_WAY, source, since, None, _IS_OPEN)]

    def shadows(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Shadowed]:
        source = "shadows s JOIN requests r USING (request_id)"
        for row in self._rows(_SHADOW_ROW, source, since, until, "ORDER BY r.created_at", schema=_NOTES_SINCE):
            request_id, judged_at, *rest = row
            yield Shadowed(request_id, EPOCH + timedelta(microseconds=judged_at), *rest)

    def shadow_spend(self, since: datetime | None = None, until: datetime | None = None) -> list[ShadowSpend]:
        order = f"AND r.caller = '{SHADOW}' AND attempts > 0 GROUP BY 1 ORDER BY 1"
        return [ShadowSpend._make(row) for row in self._rows(_SHADOW_SPEND, "requests r", since, until, order)]

    def signs(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Sign]:
        source = "signals s JOIN requests r USING (request_id)"
        for row in self._rows(_SIGN, source, since, until, "ORDER BY r.created_at", schema=_NOTES_SINCE):
            yield Sign._make(row)

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

    def _rows(  # noqa: PLR0913  # the parts of a query
        self, columns: str, source: str, since: datetime | None, until: datetime | None, order: str, *, schema: int = 1
    ) -> Iterator[Any]:
        """schema: where the tables are older than this, there are none of them."""
        query = f"SELECT {columns} FROM {source} WHERE r.created_at >= $1 AND r.created_at < $2 {order}"  # noqa: S608  # our own names
        begin = _BEGINNING if since is None else microseconds(since)
        end = _END if until is None else microseconds(until)
        with self._reading() as reading:
            if reading.version < schema:
                return
            for page in reading.pages(query, begin, end):
                yield from page

    def _reading(self) -> "Reading":
        from weighbridge.ledger._postgres_reader import Reading  # noqa: PLC0415

        return Reading(self._url(), self.schema_name)


def _attempts(reading: "Reading", request_ids: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in reading.rows(_OF_THESE, request_ids):
        found.setdefault(row[0], []).append(tuple(row))
    return found


_CREATED_AT = Entry.__slots__.index("created_at")
_IS_STREAM = Entry.__slots__.index("is_stream")
_BEGINNING, _END = -(2**63), 2**63 - 1

_NOTES_SINCE = 3  # as in _postgres_schema, which needs the driver

# What the gateway asked of its own accord is no traffic: its money is told apart.
_NO_SHADOW = f"AND r.caller <> '{SHADOW}'"
_SHADOW_ROW = ", ".join(["s.request_id", *(f"s.{name}" for name in SHADOW_COLUMNS[1:]), "r.task", "r.prompt"])
_SHADOW_SPEND = """upstream, count(*), coalesce(sum(cost_nano_usd), 0)::bigint, count(*) - count(cost_nano_usd)"""
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
    # `least` alone would take an unknown score for the highest.
    f"CASE WHEN score IS NOT NULL THEN least(floor(score * {SCORE_SLOTS})::integer, {SCORE_SLOTS - 1}) END",
    "threshold",
)
_SUMS = (
    "count(*)",
    "count(cost_nano_usd)",
    "coalesce(sum(cost_nano_usd), 0)::bigint",
    "coalesce(sum(baseline_cost_nano_usd), 0)::bigint",
    "count(cost_nano_usd + baseline_cost_nano_usd)",
    "coalesce(sum(cost_nano_usd) FILTER (WHERE baseline_cost_nano_usd IS NOT NULL), 0)::bigint",
    "coalesce(sum(baseline_cost_nano_usd) FILTER (WHERE cost_nano_usd IS NOT NULL), 0)::bigint",
)
# Quantiles need each value: one array per heap is read many times faster than a row per request.
_EACH = (
    "round(ttft_s * 1e6)::bigint",
    "round(latency_s * 1e6)::bigint",
    "output_tokens",
)
_HEAP = ", ".join(
    [*_KEYS, *_SUMS, *(f"array_agg(coalesce({each}, -1)) FILTER (WHERE end_reason = 'ok')" for each in _EACH)]
)
_ALIKE = f"GROUP BY {', '.join(str(place) for place in range(1, len(_KEYS) + 2))}"

_WORKING = "requests r LEFT JOIN attempts a ON a.request_id = r.request_id AND a.status <> 'released'"
_WORK = """r.created_at / 86400000000, a.upstream, a.location, r.baseline_upstream,
    count(a.energy_mj), coalesce(sum(a.energy_mj), 0)::bigint,
    count(a.latency_s) FILTER (WHERE a.energy_mj IS NULL),
    coalesce(sum(round(a.latency_s * 1e6)::bigint) FILTER (WHERE a.energy_mj IS NULL), 0)::bigint,
    count(a.latency_s) FILTER (WHERE a.output_tokens IS NULL),
    coalesce(sum(a.output_tokens), 0)::bigint,
    coalesce(sum(r.output_tokens) FILTER (WHERE a.attempt_no IS NULL OR a.attempt_no = r.attempts), 0)::bigint"""

_UNDER_WAY = "r.caller, r.route, a.location, a.request_id || '/' || a.attempt_no"
_IS_OPEN = "AND a.status IN ('reserved', 'sent')"

_SPENT = """r.caller, r.route, a.location,
    sum(CASE a.status WHEN 'released' THEN 0 ELSE coalesce(a.cost_nano_usd, a.reserved_nano_usd, 0) END)::bigint,
    count(*) FILTER (WHERE a.attempt_no = 1 OR NOT EXISTS (SELECT 1 FROM attempts b WHERE b.request_id = a.request_id
        AND b.location = a.location AND b.attempt_no < a.attempt_no)),
    sum(coalesce(a.input_tokens, 0) + coalesce(a.output_tokens, 0))::bigint,
    count(*) FILTER (WHERE a.attempt_no = 1)"""

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
