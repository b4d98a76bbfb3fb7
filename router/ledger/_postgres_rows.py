"""How a batch of a PostgreSQL ledger's records becomes rows, and what a row of its own fault looks like."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from weighbridge.ledger._postgres_schema import Connection, extend_chain
from weighbridge.ledger._record import Attempt, Record, stored
from weighbridge.ledger.base import Closing, Opening, Reservation, Settlement, microseconds
from weighbridge.ledger.chain import REQUEST_COLUMNS
from weighbridge.ledger.notes import SHADOW_COLUMNS, Note, Shadowed, Signal


def _insert(table: str, columns: Sequence[str]) -> str:
    places = ", ".join(f"${i}" for i in range(1, len(columns) + 1))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608  # our own names


def _update(table: str, columns: Sequence[str], key: int) -> str:
    """Set all columns but the first few, which are the key."""
    places = [f"{column} = ${i}" for i, column in enumerate(columns, 1)]
    # No row leaves `settled`, `released` or `unknown`: the first word about it is the last.
    where = " AND ".join([*places[:key], "status IN ('reserved', 'sent')"])
    return f"UPDATE {table} SET {', '.join(places[key:])} WHERE {where}"  # noqa: S608  # our own names


_OPEN = _insert("requests", (*Opening._fields, "process"))
_RESERVE = _insert("attempts", Reservation._fields)
_SENT = "UPDATE attempts SET status = 'sent' WHERE request_id = $1 AND attempt_no = $2 AND status = 'reserved'"
_SETTLE = _update("attempts", Settlement._fields, 2)
_CLOSE = f"{_update('requests', Closing._fields, 1)} RETURNING {', '.join(REQUEST_COLUMNS)}"
_FEEDBACK = """INSERT INTO feedback (request_id, given_at, score, comment)
    SELECT request_id, $2::bigint, $3::double precision, $4::text FROM requests WHERE request_id = $1
    ON CONFLICT (request_id) DO UPDATE
    SET given_at = excluded.given_at, score = excluded.score, comment = excluded.comment RETURNING 1"""
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in SHADOW_COLUMNS[1:])
_SHADOWED = f"{_insert('shadows', SHADOW_COLUMNS)} ON CONFLICT (request_id) DO UPDATE SET {_CHANGED}"
_SIGNAL = f"{_insert('signals', Signal._fields)} ON CONFLICT DO NOTHING"
_PIN = """INSERT INTO pins VALUES ($1, $2, $3)
    ON CONFLICT (key) DO UPDATE SET upstream = excluded.upstream, set_at = excluded.set_at"""
PROBE = """INSERT INTO meta VALUES ('probed_at', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value"""


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes into one transaction."""

    records: Sequence[Record]
    marks: Sequence[Attempt]
    pins: Mapping[str, str]
    process: int
    keeps_prompts: bool

    def opened(self, opening: Opening) -> tuple[object, ...]:
        request_id, created_at, *rest, is_stream, tags, prompt = opening
        kept = prompt if self.keeps_prompts else None
        return (request_id, microseconds(created_at), *rest, int(is_stream), tags, kept, self.process)


def now_us() -> int:
    return time.time_ns() // 1000


async def put(connection: Connection, schema: str, batch: Batch) -> list[object]:
    """Write a batch within a transaction. Each kind of row comes after those it builds on. What each record is told."""
    many, records = connection.executemany, batch.records
    if opened := [batch.opened(r.opening) for r in records if r.opening]:
        await many(_OPEN, opened)
    if reserved := [_reserved(r.reservation) for r in records if r.reservation]:
        await many(_RESERVE, reserved)
    if batch.marks:
        await many(_SENT, batch.marks)
    if settled := [r.settlement for r in records if r.settlement]:
        await many(_SETTLE, settled)
    if batch.pins:
        # In one order everywhere: two replicas must not wait for each other.
        now = now_us()
        await many(_PIN, [(key, upstream, now) for key, upstream in sorted(batch.pins.items())])
    closings = [r.closing for r in records if r.closing]
    closed = await connection.fetchmany(_CLOSE, closings) if closings else []
    for note in [r.note for r in records if r.note]:
        await _note(connection, note)
    outcomes = [await _said(connection, record) for record in records]
    await extend_chain(connection, schema, closed)
    return outcomes


async def _said(connection: Connection, record: Record) -> object:
    if record.is_probe:
        await connection.execute(PROBE, str(now_us()))
        return True
    if record.feedback is None:
        return None
    request_id, score, comment = record.feedback
    return bool(await connection.fetchval(_FEEDBACK, request_id, now_us(), score, _storable(comment)))


async def _note(connection: Connection, note: Note) -> None:
    is_shadow = isinstance(note, Shadowed)
    row = stored(note, len(SHADOW_COLUMNS if is_shadow else Signal._fields))
    await connection.execute(_SHADOWED if is_shadow else _SIGNAL, *map(_storable, row))


def _storable(value: object) -> object:
    """A text without the one character that PostgreSQL cannot store."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _reserved(reservation: Reservation) -> tuple[object, ...]:
    request_id, attempt_no, started_at, *rest = reservation
    return (request_id, attempt_no, microseconds(started_at), *rest)


def is_of_a_row(error: Exception) -> bool:
    """It is the fault of a row, or of two that meet; not of the server or the way to it."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] in {"21", "22", "23", "40"}
    return isinstance(error, ValueError | TypeError | ArithmeticError)


def taken_back(opening: Opening | None, reservation: Reservation) -> Record:
    """What closes an attempt that was refused, if it was recorded in spite of that."""
    request_id, attempt_no, _, upstream, model, location, _ = reservation
    code = "ledger_unavailable"
    free = (None, None, None, "none", 0)
    settlement = Settlement(request_id, attempt_no, "released", "error", code, *free, None, None, None)  # type: ignore[arg-type]
    if opening is None:
        return Record(settlement=settlement)
    closing = Closing(
        request_id=request_id,
        status="released",
        end_reason="error",
        http_status=503,
        error_code=code,
        upstream=upstream,
        model=model,
        location=location,
        reason=opening.reason,
        attempts=1,
        input_tokens=None,
        output_tokens=None,
        cached_tokens=None,
        usage_source="none",
        cost_nano_usd=0,
        baseline_upstream=None,
        baseline_cost_nano_usd=None,
        price_version=None,
        ttft_s=None,
        latency_s=0.0,
        overhead_s=0.0,
    )
    return Record(settlement=settlement, closing=closing)
