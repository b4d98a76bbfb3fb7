"""The ledger's tables in SQLite, who owns the open rows in them, and how an older file becomes a newer one."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from weighbridge.ledger import _sqlite_chain as chain
from weighbridge.ledger.base import CannotOpen
from weighbridge.ledger.notes import SHADOW

log = logging.getLogger(__name__)

BUSY_S = 2.0
PINS_KEPT_US = 30 * 86_400_000_000  # 30 days: no session goes on for longer
CHECK_S = 1.0  # a large file is checked for that long at most, so that a restart stays quick

_REQUESTS = """CREATE TABLE requests (
    request_id TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL,
    route TEXT,
    model_asked TEXT NOT NULL,
    caller TEXT NOT NULL,
    reason TEXT NOT NULL,
    reason_detail TEXT NOT NULL,
    rule TEXT,
    fence TEXT,
    score REAL,
    threshold REAL,
    task TEXT,
    classifier TEXT,
    is_stream INTEGER NOT NULL,
    tags TEXT,
    prompt TEXT,
    process INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'reserved',
    end_reason TEXT,
    http_status INTEGER,
    error_code TEXT,
    upstream TEXT,
    model TEXT,
    location TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cached_tokens INTEGER,
    usage_source TEXT NOT NULL DEFAULT 'none',
    cost_nano_usd INTEGER,
    baseline_upstream TEXT,
    baseline_cost_nano_usd INTEGER,
    price_version TEXT,
    ttft_s REAL,
    latency_s REAL,
    overhead_s REAL
)"""

_ATTEMPTS = """CREATE TABLE attempts (
    request_id TEXT NOT NULL,
    attempt_no INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    upstream TEXT NOT NULL,
    model TEXT NOT NULL,
    location TEXT NOT NULL,
    reserved_nano_usd INTEGER,
    status TEXT NOT NULL DEFAULT 'reserved',
    end_reason TEXT,
    error_code TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cached_tokens INTEGER,
    usage_source TEXT NOT NULL DEFAULT 'none',
    cost_nano_usd INTEGER,
    price_version TEXT,
    ttft_s REAL,
    latency_s REAL,
    PRIMARY KEY (request_id, attempt_no)
) WITHOUT ROWID"""

_OTHERS = (
    "CREATE TABLE feedback (request_id TEXT NOT NULL PRIMARY KEY, given_at INTEGER NOT NULL, score REAL NOT NULL,"
    " comment TEXT) WITHOUT ROWID",
    # AUTOINCREMENT: a number is never given twice, so a dead process's lock file is never a living one's.
    "CREATE TABLE processes (process INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER NOT NULL,"
    " opened_at INTEGER NOT NULL)",
    "CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX requests_created ON requests (created_at)",
    # As small as what is under way, so that a start finds what a dead process left without reading the whole table.
    "CREATE INDEX requests_open ON requests (process) WHERE status IN ('reserved', 'sent')",
)


def _create(connection: sqlite3.Connection) -> None:
    for statement in (_REQUESTS, _ATTEMPTS, *_OTHERS):
        connection.execute(statement)


def _add_pins(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE pins (key TEXT NOT NULL PRIMARY KEY, upstream TEXT NOT NULL,"
        " set_at INTEGER NOT NULL) WITHOUT ROWID"
    )


def _begin_chain(connection: sqlite3.Connection) -> None:
    _add_energy(connection)  # what is hashed has that column
    chain.begin(connection)


def _add_energy(connection: sqlite3.Connection) -> None:
    if "energy_mj" not in {row[1] for row in connection.execute("PRAGMA table_info(attempts)")}:
        connection.execute("ALTER TABLE attempts ADD COLUMN energy_mj INTEGER")


def _add_notes(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE shadows (request_id TEXT NOT NULL PRIMARY KEY, judged_at INTEGER NOT NULL, route TEXT NOT NULL,"
        " served TEXT NOT NULL, small TEXT NOT NULL, large TEXT NOT NULL, small_worth REAL, large_worth REAL,"
        " source TEXT, prompt TEXT, small_answer TEXT, large_answer TEXT)"
    )
    # As small as what the gateway asked itself, so that reports find it, or nothing, without reading the whole table.
    connection.execute(f"CREATE INDEX requests_shadow ON requests (created_at) WHERE caller = '{SHADOW}'")
    connection.execute(
        "CREATE TABLE signals (request_id TEXT NOT NULL, kind TEXT NOT NULL, seen_at INTEGER NOT NULL,"
        " later_id TEXT NOT NULL, PRIMARY KEY (request_id, kind)) WITHOUT ROWID"
    )


# The n-th takes a file from schema n to n + 1, within one transaction.
_MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _create,
    _add_pins,
    _begin_chain,
    _add_energy,
    _add_notes,
)
SCHEMA = len(_MIGRATIONS)
CHAIN_SINCE, WITH_ENERGY, NOTES_SINCE = 3, 4, 5  # the first schemas that have these


def now_us() -> int:
    return time.time_ns() // 1000


def uri(path: str, mode: str) -> str:
    return f"file:{quote(str(Path(path).absolute()))}?mode={mode}"


def schema_of(connection: sqlite3.Connection, path: str) -> int:
    """The schema of a file, 0 for an empty one. CannotOpen where a newer Weighbridge wrote it, or somebody else."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        return 0
    if not {"meta", "requests", "attempts"} <= tables:
        raise CannotOpen(f"{path} is an SQLite file, but not a ledger: name another path in [ledger]")
    found = int(connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()[0])
    if found > SCHEMA:
        raise CannotOpen(
            f"{path} was written by a newer Weighbridge (schema {found}, this one knows {SCHEMA}):"
            " install that version, or name another path in [ledger]"
        )
    return found


def connect(path: str, synchronous: str) -> sqlite3.Connection:
    """Open a ledger for writing: made if missing, checked, brought up to date. CannotOpen says what is wrong."""
    try:
        _make(path)
        connection = sqlite3.connect(
            uri(path, "rw"), uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise CannotOpen(f"the ledger {path} cannot be opened: {error}") from error
    try:
        _use_wal(connection)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        _check(connection, path)
        _migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise CannotOpen(f"the ledger {path} cannot be opened: {error}") from error
    except CannotOpen:
        connection.close()
        raise
    return connection


def _make(path: str) -> None:
    """Make a file that only its owner may read; the ones that SQLite lays beside it take over its mode.

    One that exists is not even opened: to close it would free the locks that this process holds on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _use_wal(connection: sqlite3.Connection) -> None:
    """Two processes that meet at a new file: here SQLite does not wait by itself."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _check(connection: sqlite3.Connection, path: str) -> None:
    deadline = time.monotonic() + CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        found = "ok"
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        raise CannotOpen(f"the ledger {path} is damaged ({found}): move it aside, or restore it from a backup")


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = schema_of(connection, path)
        for step in _MIGRATIONS[found:]:
            step(connection)
        if found != SCHEMA:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


@dataclass(slots=True)
class Owner:
    """The number of a process in the ledger, held for as long as it lives.

    Each one keeps a file of its own locked through SQLite, whose locks hold on every platform, also between two
    ledgers of one process, and end with the process however it ends.
    """

    process: int
    path: str
    lock: sqlite3.Connection

    def release(self, connection: sqlite3.Connection) -> None:
        """Leave, with nothing left open. Where that cannot be written, the next start does it."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            _bury(connection, self.process)
            connection.execute("COMMIT")
        except sqlite3.Error:
            log.warning("the ledger could not be closed in good order; the next start will do it")
        self.lock.close()
        with suppress(OSError):
            Path(self.path).unlink()


def register(connection: sqlite3.Connection, path: str) -> Owner:
    """Enter this process, and close what dead ones left open: their attempts may have been served and billed."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("DELETE FROM pins WHERE set_at < ?", (now_us() - PINS_KEPT_US,))
        for (process,) in connection.execute("SELECT process FROM processes").fetchall():
            _bury_if_dead(connection, path, process)
        cursor = connection.execute("INSERT INTO processes (pid, opened_at) VALUES (?, ?)", (os.getpid(), now_us()))
        process = cursor.lastrowid or 0
        lock = _lock(_lock_path(path, process))
        if lock is None:
            raise CannotOpen(f"{_lock_path(path, process)} is locked: remove it if no gateway uses {path}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return Owner(process, _lock_path(path, process), lock)


def _bury_if_dead(connection: sqlite3.Connection, path: str, process: int) -> None:
    lock = _lock(_lock_path(path, process))
    if lock is None:
        return
    _bury(connection, process)
    lock.close()
    with suppress(OSError):
        Path(_lock_path(path, process)).unlink()


def _lock_path(path: str, process: int) -> str:
    return f"{path}-process-{process}"


def _lock(lock_path: str) -> sqlite3.Connection | None:
    """Take a process's lock; None while that process lives."""
    _make(lock_path)
    lock = sqlite3.connect(uri(lock_path, "rw"), uri=True, isolation_level=None, timeout=0, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        lock.close()
        return None
    return lock


_BURY_ATTEMPTS = """UPDATE attempts SET status = 'unknown', end_reason = 'error', error_code = 'process_died'
    WHERE status IN ('reserved', 'sent')
    AND request_id IN (SELECT request_id FROM requests WHERE process = ? AND status IN ('reserved', 'sent'))"""

_BURY_REQUESTS = f"""UPDATE requests SET status = 'unknown', end_reason = 'error', error_code = 'process_died',
    (upstream, model, location, attempts) = (
        SELECT upstream, model, location, ifnull(max(attempt_no), 0) FROM attempts
        WHERE attempts.request_id = requests.request_id)
    WHERE process = ? AND status IN ('reserved', 'sent')
    {chain.RETURNING}"""  # noqa: S608  # our own names


def _bury(connection: sqlite3.Connection, process: int) -> None:
    connection.execute(_BURY_ATTEMPTS, (process,))
    buried = connection.execute(_BURY_REQUESTS, (process,)).fetchall()
    chain.extend(connection, [(row, chain.attempts_of(connection, row[0])) for row in buried])
    connection.execute("DELETE FROM processes WHERE process = ?", (process,))
