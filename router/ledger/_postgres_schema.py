"""The ledger's tables in PostgreSQL, how a replica enters itself there, and what becomes of those that died."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg

from weighbridge.ledger.base import CannotOpen
from weighbridge.ledger.chain import ATTEMPT_COLUMNS, GENESIS, REQUEST_COLUMNS, digest
from weighbridge.ledger.notes import SHADOW

CONNECT_S = 2.0
STATEMENT_S = 2.0  # nothing that a request waits for may take longer
LOCK_S = 1.5
PINS_KEPT_US = 30 * 86_400_000_000  # 30 days: no session goes on for longer

_REQUESTS = """CREATE TABLE requests (
    request_id text PRIMARY KEY,
    created_at bigint NOT NULL,
    route text,
    model_asked text NOT NULL,
    caller text NOT NULL,
    reason text NOT NULL,
    reason_detail text NOT NULL,
    rule text,
    fence text,
    score double precision,
    threshold double precision,
    task text,
    classifier text,
    is_stream smallint NOT NULL,
    tags text,
    prompt text,
    process bigint NOT NULL,
    status text NOT NULL DEFAULT 'reserved',
    end_reason text,
    http_status integer,
    error_code text,
    upstream text,
    model text,
    location text,
    attempts integer NOT NULL DEFAULT 0,
    input_tokens bigint,
    output_tokens bigint,
    cached_tokens bigint,
    usage_source text NOT NULL DEFAULT 'none',
    cost_nano_usd bigint,
    baseline_upstream text,
    baseline_cost_nano_usd bigint,
    price_version text,
    ttft_s double precision,
    latency_s double precision,
    overhead_s double precision
)"""

_ATTEMPTS = """CREATE TABLE attempts (
    request_id text NOT NULL,
    attempt_no integer NOT NULL,
    started_at bigint NOT NULL,
    upstream text NOT NULL,
    model text NOT NULL,
    location text NOT NULL,
    reserved_nano_usd bigint,
    status text NOT NULL DEFAULT 'reserved',
    end_reason text,
    error_code text,
    input_tokens bigint,
    output_tokens bigint,
    cached_tokens bigint,
    usage_source text NOT NULL DEFAULT 'none',
    cost_nano_usd bigint,
    price_version text,
    ttft_s double precision,
    latency_s double precision,
    PRIMARY KEY (request_id, attempt_no)
)"""

_OTHERS = (
    "CREATE TABLE feedback (request_id text PRIMARY KEY, given_at bigint NOT NULL, score double precision NOT NULL,"
    " comment text)",
    "CREATE TABLE processes (process bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, host text NOT NULL,"
    " pid integer NOT NULL, opened_at bigint NOT NULL)",
    "CREATE TABLE pins (key text PRIMARY KEY, upstream text NOT NULL, set_at bigint NOT NULL)",
    "CREATE TABLE chain (no bigint PRIMARY KEY, request_id text NOT NULL, digest bytea NOT NULL)",
    "CREATE TABLE meta (key text PRIMARY KEY, value text NOT NULL)",
    "CREATE INDEX requests_created ON requests (created_at)",
    # As small as what is under way, so that nobody reads the whole table to find what a dead process left.
    "CREATE INDEX requests_open ON requests (process) WHERE status IN ('reserved', 'sent')",
)

_NOTES = (
    # As small as what the gateway asked itself, so that reports find it, or nothing, without reading the whole table.
    f"CREATE INDEX requests_shadow ON requests (created_at) WHERE caller = '{SHADOW}'",
    "CREATE TABLE shadows (request_id text PRIMARY KEY, judged_at bigint NOT NULL, route text NOT NULL,"
    " served text NOT NULL, small text NOT NULL, large text NOT NULL, small_worth double precision,"
    " large_worth double precision, source text, prompt text, small_answer text, large_answer text)",
    "CREATE TABLE signals (request_id text NOT NULL, kind text NOT NULL, seen_at bigint NOT NULL,"
    " later_id text NOT NULL, PRIMARY KEY (request_id, kind))",
)

# The n-th takes the tables from schema n to n + 1; all that are due go into one transaction.
_MIGRATIONS: tuple[Sequence[str], ...] = (
    (_REQUESTS, _ATTEMPTS, *_OTHERS),
    ("ALTER TABLE attempts ADD COLUMN energy_mj bigint",),
    _NOTES,
)
SCHEMA = len(_MIGRATIONS)

Connection: TypeAlias = asyncpg.Connection

# What no later try will change, unlike a server that is away, starting, full or frozen.
_FOR_GOOD = (
    asyncpg.InvalidAuthorizationSpecificationError,  # and a wrong password
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)


async def connect(
    url: str, schema: str, *, statement_s: float = STATEMENT_S, on_end: Callable[..., None] | None = None
) -> Connection:
    """A session that a dead machine, a frozen transaction or a held lock cannot keep for long. OSError, PostgresError.

    CannotOpen where waiting will not help.
    """
    settings = {
        "application_name": "weighbridge",
        "search_path": f'"{schema}"',
        "jit": "off",
        "statement_timeout": f"{statement_s * 1000:.0f}",
        "lock_timeout": f"{LOCK_S * 1000:.0f}",
        # A replica that freezes in the middle of a transaction must not hold up the others.
        "idle_in_transaction_session_timeout": f"{STATEMENT_S * 1000:.0f}",
        # One whose machine is gone must be found out: its lock says that it lives.
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_S, server_settings=settings)
    except _FOR_GOOD as error:
        raise CannotOpen(f"the ledger at {place(url)} refuses us: {error}") from error
    except (ValueError, asyncpg.ClientConfigurationError) as error:
        raise CannotOpen(f"the ledger's URL cannot be used: {_without_secret(str(error), url)}") from error
    if on_end:
        connection.add_termination_listener(on_end)
    return connection


def place(url: str) -> str:
    """Host and database, without user and password."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the URL given"
    return f"{parts.hostname or 'localhost'}{port}{parts.path}"


def _without_secret(text: str, url: str) -> str:
    return "it is no postgresql:// URL" if url in text or "@" in text else text


async def migrate(connection: Connection, schema: str) -> None:
    """Make the tables, or bring them up to date. CannotOpen where a newer Weighbridge made them."""
    if await schema_of(connection, schema) == SCHEMA:
        return
    try:
        async with connection.transaction():
            await _migrate(connection, schema)
    except asyncpg.InsufficientPrivilegeError as error:
        raise CannotOpen(f"the ledger's schema {schema} cannot be made: {error}; let the role create it") from error


async def _migrate(connection: Connection, schema: str) -> None:
    # One at a time, and what takes long may.
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1), 0)", _lock_name(schema))
    await connection.execute("SET LOCAL statement_timeout = 0")
    if not await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema):
        await connection.execute(f'CREATE SCHEMA "{schema}"')
    found = await schema_of(connection, schema)
    for statement in (statement for step in _MIGRATIONS[found:] for statement in step):
        await connection.execute(statement)
    keep = "INSERT INTO meta VALUES ('schema', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    await connection.execute(keep, str(SCHEMA))


async def schema_of(connection: Connection, schema: str) -> int:
    """The version of the tables, 0 where there are none."""
    query = "SELECT tablename FROM pg_tables WHERE schemaname = $1"
    tables = {row[0] for row in await connection.fetch(query, schema)}
    if not tables:
        return 0
    if not {"meta", "requests", "attempts"} <= tables:
        raise CannotOpen(f"the schema {schema} holds tables that are no ledger: name another one in [ledger]")
    found = int(await connection.fetchval("SELECT value FROM meta WHERE key = 'schema'"))
    if found > SCHEMA:
        raise CannotOpen(
            f"the ledger in schema {schema} was made by a newer Weighbridge (schema {found}, this one knows {SCHEMA}):"
            " install that version, or name another schema in [ledger]"
        )
    return found


def _lock_name(schema: str) -> str:
    return f"weighbridge {schema}"


async def register(connection: Connection, schema: str, former: int | None, now_us: int) -> int:
    """Enter this session under a new number, and take over what it had open as `former`.

    The lock that is taken here ends with the session, however that ends: it says who is alive.
    """
    async with connection.transaction():
        query = "INSERT INTO processes (host, pid, opened_at) VALUES ($1, $2, $3) RETURNING process"
        process = int(await connection.fetchval(query, os.uname().nodename, os.getpid(), now_us))
        await connection.execute("SELECT pg_advisory_lock(hashtext($1), $2)", _lock_name(schema), _lock_number(process))
        if former is not None:
            take_over = "UPDATE requests SET process = $1 WHERE process = $2 AND status IN ('reserved', 'sent')"
            await connection.execute(take_over, process, former)
            await connection.execute("DELETE FROM processes WHERE process = $1", former)
        await connection.execute("DELETE FROM pins WHERE set_at < $1", now_us - PINS_KEPT_US)
    return process


def _lock_number(process: int) -> int:
    """0 is that of migrations, and -1 that of the chain."""
    return process % (2**31 - 1) + 1


_ABSENT = """SELECT process FROM (
        SELECT process FROM processes UNION SELECT process FROM requests WHERE status IN ('reserved', 'sent')
    ) known
    WHERE process <> $1 AND NOT EXISTS (
        SELECT 1 FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid = hashtext($2)::oid AND objid = (process % 2147483647 + 1)::oid
    )"""


async def absent(connection: Connection, schema: str, process: int) -> set[int]:
    """Those processes whose sessions are gone: dead, or about to come back."""
    return {row[0] for row in await connection.fetch(_ABSENT, process, _lock_name(schema))}


_BURY_ATTEMPTS = """UPDATE attempts SET status = 'unknown', end_reason = 'error', error_code = 'process_died'
    WHERE status IN ('reserved', 'sent')
    AND request_id IN (SELECT request_id FROM requests WHERE process = $1 AND status IN ('reserved', 'sent'))"""

_BURY_REQUESTS = f"""UPDATE requests r SET status = 'unknown', end_reason = 'error', error_code = 'process_died',
    (upstream, model, location, attempts) = (
        SELECT max(a.upstream), max(a.model), max(a.location), coalesce(max(a.attempt_no), 0) FROM (
            SELECT * FROM attempts WHERE attempts.request_id = r.request_id ORDER BY attempt_no DESC LIMIT 1) a)
    WHERE process = $1 AND status IN ('reserved', 'sent')
    RETURNING {", ".join(REQUEST_COLUMNS)}"""  # noqa: S608  # our own names


async def bury(connection: Connection, schema: str, process: int) -> None:
    """Close what a process left open: it may have been served and billed, so what was reserved stays held."""
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 30000")
        await connection.execute(_BURY_ATTEMPTS, process)
        closed = await connection.fetch(_BURY_REQUESTS, process)
        await connection.execute("DELETE FROM processes WHERE process = $1", process)
        await extend_chain(connection, schema, closed)


ATTEMPTS_OF = f"""SELECT {", ".join(ATTEMPT_COLUMNS)} FROM attempts
    WHERE request_id = ANY($1) ORDER BY request_id, attempt_no"""  # noqa: S608  # our own names


async def extend_chain(connection: Connection, schema: str, closed: Iterable[Sequence[Any]]) -> None:
    """Add closed requests to the chain, as the last thing in a transaction: from here on the replicas take turns."""
    requests = {row[0]: tuple(row) for row in closed}
    if not requests:
        return
    attempts: dict[str, list[tuple[Any, ...]]] = {request_id: [] for request_id in requests}
    for row in await connection.fetch(ATTEMPTS_OF, list(requests)):
        attempts[row[0]].append(tuple(row))
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1), -1)", _lock_name(schema))
    # A statement of its own: it sees what was committed while this one waited for the lock.
    last = await connection.fetchrow("SELECT no, digest FROM chain ORDER BY no DESC LIMIT 1")
    no, head = (last[0], last[1]) if last else (0, GENESIS)
    links = []
    for request_id, request in requests.items():
        no, head = no + 1, digest(head, request, attempts[request_id])
        links.append((no, request_id, head))
    await connection.executemany("INSERT INTO chain VALUES ($1, $2, $3)", links)
