"""SQLite as a ledger: what a kill, a full disk, a lock and a sibling do to it. Real files, real processes."""

import asyncio
import itertools
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing as closing_file
from pathlib import Path

import pytest
from bookkeeping import closing, opening, record, reservation, settlement

from weighbridge.errors import Unavailable
from weighbridge.ledger.base import CannotOpen
from weighbridge.ledger.chain import audit
from weighbridge.ledger.sqlite import SQLite

SUPPORT = str(Path(__file__).parents[2] / "support")

# A gateway's worth of writing, in a process of its own: says `open`, then each request that was acknowledged.
WRITER = """
import asyncio, itertools, sys
sys.path.insert(0, sys.argv[3])
from bookkeeping import closing, opening, reservation, settlement
from weighbridge.ledger.sqlite import SQLite

async def main(path, name):
    ledger = SQLite(path=path)
    await ledger.aopen()
    print("open", flush=True)
    numbers = itertools.count()

    async def work():
        while True:
            key = {"request_id": f"{name}-{next(numbers):06}", "cost_nano_usd": 7}
            await ledger.reserve(opening(**key), reservation(**key))
            print("reserved", key["request_id"], flush=True)
            ledger.sent(key["request_id"], 1)
            await ledger.settle(settlement(**key), closing(**key))
            print("settled", key["request_id"], flush=True)

    await asyncio.gather(*(work() for _ in range(8)))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SQLite]:
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    yield ledger
    await ledger.aclose()


def start_writer(path: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, SUPPORT]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed_after(writer: subprocess.Popen[str], acknowledgements: int) -> list[str]:
    """Everything that the writer said before it was killed in the middle of its work."""
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(acknowledgements)]
    writer.send_signal(signal.SIGKILL)
    said += writer.stdout.readlines()
    writer.wait()
    writer.stdout.close()
    return [text.strip() for text in said if text.endswith("\n")]


@pytest.fixture
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


async def test_a_kill_loses_nothing_that_was_acknowledged(path: Path) -> None:
    """S4: SIGKILL in the middle of writing: nothing acknowledged is lost, and the file is whole."""
    acknowledged: dict[str, str] = {}
    for turn in range(6):
        said = killed_after(start_writer(path, f"turn{turn}"), random.Random(turn).randint(1, 400))
        acknowledged |= {words[1]: words[0] for text in said if len(words := text.split()) == 2}
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    found = {e.request_id: e for e in ledger.entries()}
    await ledger.aclose()
    assert acknowledged
    assert acknowledged.keys() <= found.keys()
    assert {found[name].status for name, word in acknowledged.items() if word == "settled"} == {"settled"}
    assert {e.status for e in found.values()} <= {"settled", "unknown"}


async def test_what_a_dead_process_left_open_becomes_unknown_and_keeps_its_reservation(path: Path) -> None:
    """S4: what a dead process left open is unknown, its reservation held."""
    killed_after(start_writer(path, "dead"), 50)
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    left = [e for e in ledger.entries() if e.status != "settled"]
    assert left
    assert {(e.status, e.end_reason, e.error_code, e.cost_nano_usd) for e in left} == {
        ("unknown", "error", "process_died", None)
    }
    assert {(e.upstream, e.location, e.attempts) for e in left} == {("local", "local", 1)}
    rows = sqlite3.connect(path)
    held = rows.execute("SELECT DISTINCT status, error_code, reserved_nano_usd FROM attempts WHERE status <> 'settled'")
    assert held.fetchall() == [("unknown", "process_died", 900_000)]
    rows.close()
    await ledger.aclose()
    assert sorted(p.name for p in path.parent.iterdir()) == ["ledger.db"]


async def test_what_is_still_open_at_the_end_becomes_unknown_too(path: Path) -> None:
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    # SQLite keeps a whole number of a real column as an integer, which is no tampering.
    await ledger.reserve(opening(score=1.0, threshold=0.0), reservation())
    await ledger.aclose()
    assert [(e.status, e.error_code) for e in ledger.entries()] == [("unknown", "process_died")]
    assert audit(ledger.links()).findings == []


async def test_two_processes_write_one_file_at_once(path: Path) -> None:
    """S7: two processes on one file: every row of both."""
    writers = [start_writer(path, name) for name in ("a", "b")]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
    ledger = SQLite(path=str(path))  # a third one comes while both work: it takes nothing away from them
    await ledger.aopen()
    said = [text for writer in writers for text in killed_after(writer, 300)]
    await record(ledger, request_id="mine")
    found = {e.request_id: e.status for e in ledger.entries()}
    settled = {text.split()[1] for text in said if text.startswith("settled")}
    assert {name[0] for name in settled} == {"a", "b"}
    assert {found[name] for name in settled} == {"settled"}
    assert "unknown" not in found.values()
    await ledger.aclose()


async def test_a_lock_of_another_process_is_told_and_passes(ledger: SQLite, locked: sqlite3.Connection) -> None:
    locked.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as caught:
        await ledger.reserve(opening(), reservation())
    assert (caught.value.code, caught.value.status) == ("ledger_unavailable", 503)
    assert not await ledger.is_writable()
    locked.execute("ROLLBACK")
    await record(ledger)
    assert [e.status for e in ledger.entries()] == ["settled"]


async def test_the_event_loop_does_not_wait_for_a_lock(ledger: SQLite, locked: sqlite3.Connection) -> None:
    """S2: another process holds the lock: only the ledger's thread waits."""
    locked.execute("BEGIN IMMEDIATE")
    waiting = asyncio.ensure_future(ledger.reserve(opening(), reservation()))
    await asyncio.sleep(0)  # hands the row over
    assert not waiting.done()
    locked.execute("ROLLBACK")
    await waiting


async def test_a_settlement_that_could_not_be_written_is_written_later(
    ledger: SQLite, locked: sqlite3.Connection
) -> None:
    """S2: a settlement meets a lock: it is written when that is gone."""
    await ledger.reserve(opening(), reservation())
    locked.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await ledger.settle(settlement(), closing())
    locked.execute("ROLLBACK")
    assert await ledger.is_writable()  # whatever is written next takes it along
    assert [e.status for e in ledger.entries()] == ["settled"]


FULL = """
import asyncio, resource, sys
sys.path.insert(0, sys.argv[2])
from bookkeeping import opening, reservation, record
from weighbridge.errors import Unavailable
from weighbridge.ledger.sqlite import SQLite
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

async def main(path):
    ledger = SQLite(path=path)
    await ledger.aopen()
    for i in range(20):
        await record(ledger, request_id=f"before-{i}")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    refused = 0
    for i in range(2000):
        try:
            await ledger.reserve(opening(request_id=f"during-{i}"), reservation(request_id=f"during-{i}"))
            print("kept", f"during-{i}")
        except Unavailable as error:
            assert error.code == "ledger_unavailable", error.code
            refused += 1
            if refused == 3:
                break
    assert not await ledger.is_writable()
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await record(ledger, request_id="after")
    assert await ledger.is_writable()
    await ledger.aclose()
    print("refused", refused)

asyncio.run(main(sys.argv[1]))
"""


def test_a_full_disk_is_told_and_passes_without_a_restart(path: Path) -> None:
    """S1: the disk is full: whoever writes is told, and nothing has to be started again."""
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(path), SUPPORT], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    words = [text.split() for text in run.stdout.splitlines()]
    assert words[-1] == ["refused", "3"]
    kept = {name for word, name in words if word == "kept"} | {f"before-{i}" for i in range(20)} | {"after"}
    assert {e.request_id for e in SQLite(path=str(path)).entries()} == kept
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """S5: a place that may not be written: refused at the start, with its name."""
    with pytest.raises(CannotOpen, match=r"missing/ledger\.db"):
        await SQLite(path=str(tmp_path / "missing" / "ledger.db")).aopen()


async def test_only_the_owner_may_read_it(ledger: SQLite, path: Path) -> None:
    await record(ledger)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert set(modes) >= {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
    assert set(modes.values()) == {0o600}


async def test_a_newer_file_is_refused(ledger: SQLite, path: Path, locked: sqlite3.Connection) -> None:
    """S8: the file of a newer version: refused."""
    locked.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(CannotOpen, match="newer Weighbridge"):
        await SQLite(path=str(path)).aopen()
    with pytest.raises(CannotOpen, match="newer Weighbridge"):
        list(SQLite(path=str(path)).entries())


async def test_a_migration_that_fails_anywhere_leaves_the_older_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S8: a migration that breaks off at any statement: the older file stays as it was."""
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    for i in range(3):
        await record(ledger, request_id=f"{i}")
    await ledger.aclose()
    with closing_file(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP TABLE chain; DROP TABLE pins; DROP TABLE shadows; DROP TABLE signals; DROP INDEX requests_shadow;"
            " ALTER TABLE attempts DROP COLUMN energy_mj;"
            " UPDATE meta SET value = '1' WHERE key = 'schema'"
        )
    connect, failed = sqlite3.connect, 0

    def failing_at(number: int) -> Callable[..., sqlite3.Connection]:
        def connected(*arguments: object, **options: object) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            left = itertools.count(number, -1)
            changes = {sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
            connection.set_authorizer(lambda action, *_: int(action in changes and next(left) == 0))
            return connection

        return connected

    for number in itertools.count():
        with monkeypatch.context() as patched:
            patched.setattr(sqlite3, "connect", failing_at(number))
            try:
                await ledger.aopen()
            except CannotOpen:
                failed += 1
            else:
                break
        with closing_file(sqlite3.connect(path)) as connection:
            version, tables = "SELECT value FROM meta WHERE key = 'schema'", "SELECT name FROM sqlite_schema"
            is_new = connection.execute(version).fetchone() == ("5",)
            assert (("chain",) in connection.execute(tables).fetchall()) is is_new
    assert failed > 3
    await ledger.aclose()
    await ledger.aopen()
    await record(ledger, request_id="new")
    await ledger.aclose()
    assert [e.status for e in ledger.entries()] == ["settled"] * 4
    assert audit(ledger.links()).is_fine


async def test_somebody_elses_database_is_refused(path: Path, locked: sqlite3.Connection) -> None:
    locked.execute("CREATE TABLE holidays (day TEXT)")
    with pytest.raises(CannotOpen, match="not a ledger"):
        await SQLite(path=str(path)).aopen()


def overwrite(path: Path, damage: bytes | None) -> None:
    """Put something else in the place of the file, or garbage into two of its pages."""
    whole = path.read_bytes()
    path.write_bytes(damage or whole[:8192] + b"\xff" * 8192 + whole[16384:])


@pytest.mark.parametrize("damage", [b"this is no database, only a text that is long enough to look at" * 9, None])
async def test_a_damaged_file_is_refused(path: Path, damage: bytes | None) -> None:
    """S3: a damaged file: refused at the start, with its name."""
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    for i in range(300):
        await record(ledger, request_id=f"{i}")
    await ledger.aclose()
    overwrite(path, damage)
    with pytest.raises(CannotOpen, match=r"ledger\.db"):
        await ledger.aopen()


def test_a_missing_ledger_is_told(path: Path) -> None:
    with pytest.raises(CannotOpen, match="no ledger at"):
        list(SQLite(path=str(path)).entries())
    assert not path.exists()


async def test_it_opens_with_full_synchronisation_and_keeps_prompts(path: Path) -> None:
    ledger = SQLite(path=str(path), synchronous="full", store_prompts=True)
    await ledger.aopen()
    await record(ledger, prompt="What is the capital of France?")
    await ledger.aclose()
    assert [e.prompt for e in ledger.entries()] == ["What is the capital of France?"]


async def test_a_sent_mark_arrives_without_anything_else_to_write(ledger: SQLite, locked: sqlite3.Connection) -> None:
    await ledger.reserve(opening(), reservation())
    ledger.sent("request-1", 1)
    deadline = time.monotonic() + 30
    while locked.execute("SELECT status FROM attempts").fetchone() != ("sent",):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
async def test_it_leaves_no_file_open(path: Path) -> None:
    before = open_files()
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    await asyncio.gather(*(record(ledger, request_id=f"{i}") for i in range(500)))
    reader = ledger.entries()
    next(reader)
    await record(ledger, request_id="beside a reader")
    reader.close()
    await ledger.aclose()
    assert open_files() == before
