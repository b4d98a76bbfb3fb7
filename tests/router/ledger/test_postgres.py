"""PostgreSQL as a ledger: what a kill, a sibling and a server that is gone, frozen or restarted do to it. All real."""

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import postgres
import pytest
from bookkeeping import closing, opening, record, reservation, settlement
from postgres import Server, Valve

from weighbridge.errors import Unavailable
from weighbridge.ledger import _postgres_schema as tables_of
from weighbridge.ledger._postgres_schema import connect
from weighbridge.ledger.base import CannotOpen, Entry
from weighbridge.ledger.chain import audit
from weighbridge.ledger.postgres import Postgres

SUPPORT = str(Path(__file__).parents[2] / "support")

# A gateway's worth of writing, in a process of its own: says `open`, then each request that was acknowledged.
WRITER = """
import asyncio, itertools, sys
sys.path.insert(0, sys.argv[3])
from bookkeeping import closing, opening, reservation, settlement
from weighbridge.ledger.postgres import Postgres

async def main(schema, name):
    ledger = Postgres(schema=schema)
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
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = postgres.running()
    monkeypatch.setenv(postgres.VARIABLE, server.url())
    return server


@pytest.fixture
def valve(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Valve]:
    with Valve(server.port) as valve:
        monkeypatch.setenv(postgres.VARIABLE, server.url(valve.port))
        yield valve


@pytest.fixture
def schema() -> str:
    return postgres.new_schema()


@pytest.fixture
async def ledger(server: Server, schema: str) -> AsyncIterator[Postgres]:
    ledger = Postgres(schema=schema)
    await ledger.aopen()
    yield ledger
    await ledger.aclose()


def start_writer(schema: str, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, schema, name, SUPPORT]
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


def sessions(server: Server) -> int:
    return int(server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'weighbridge'")[0][0])


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens elsewhere."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # nobody here could set an event
            await asyncio.sleep(0.02)


async def is_back(ledger: Postgres) -> None:
    async with asyncio.timeout(30):
        while not await ledger.is_writable():  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.05)


def by_id(ledger: Postgres) -> dict[str, Entry]:
    return {entry.request_id: entry for entry in ledger.entries()}


async def test_a_kill_loses_nothing_that_was_acknowledged(server: Server, schema: str) -> None:
    acknowledged: dict[str, str] = {}
    for turn in range(3):
        said = killed_after(start_writer(schema, f"turn{turn}"), random.Random(turn).randint(1, 200))
        acknowledged |= {words[1]: words[0] for text in said if len(words := text.split()) == 2}
    await until(lambda: not sessions(server))
    ledger = Postgres(schema=schema)
    await ledger.aopen()
    found = by_id(ledger)
    checked = audit(ledger.links())
    await ledger.aclose()
    assert acknowledged
    assert acknowledged.keys() <= found.keys()
    assert {found[name].status for name, word in acknowledged.items() if word == "settled"} == {"settled"}
    assert {e.status for e in found.values()} <= {"settled", "unknown"}
    assert (checked.findings, checked.open) == ([], 0)


async def test_what_a_dead_process_left_open_becomes_unknown_and_keeps_its_reservation(
    server: Server, schema: str
) -> None:
    killed_after(start_writer(schema, "dead"), 40)
    await until(lambda: not sessions(server))
    ledger = Postgres(schema=schema)
    await ledger.aopen()
    left = [e for e in ledger.entries() if e.status != "settled"]
    assert left
    assert {(e.status, e.end_reason, e.error_code, e.cost_nano_usd) for e in left} == {
        ("unknown", "error", "process_died", None)
    }
    assert {(e.upstream, e.location, e.attempts) for e in left} == {("local", "local", 1)}
    held = "SELECT DISTINCT status, error_code, reserved_nano_usd FROM attempts WHERE status <> 'settled'"
    assert server.psql(held, schema) == [["unknown", "process_died", "900000"]]
    await ledger.aclose()
    assert server.psql("SELECT count(*) FROM processes", schema) == [["0"]]


async def test_a_replica_that_lives_closes_what_a_dead_one_left(ledger: Postgres, server: Server, schema: str) -> None:
    assert ledger._writer is not None
    ledger._writer.look_s = 0.05
    await ledger.reserve(opening(request_id="mine"), reservation(request_id="mine"))
    killed_after(start_writer(schema, "dead"), 20)
    await until(lambda: not [e for e in ledger.entries() if e.status == "reserved" and e.request_id != "mine"])
    found = by_id(ledger)
    assert found["mine"].status == "reserved"
    assert {e.status for e in found.values()} <= {"settled", "unknown", "reserved"}


async def test_two_processes_write_one_ledger_at_once(server: Server, schema: str) -> None:
    writers = [start_writer(schema, name) for name in ("a", "b")]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
    ledger = Postgres(schema=schema)  # a third one comes while both work: it takes nothing away from them
    await ledger.aopen()
    said = [text for writer in writers for text in killed_after(writer, 100)]
    await record(ledger, request_id="mine")
    found = by_id(ledger)
    settled = {text.split()[1] for text in said if text.startswith("settled")}
    assert {name[0] for name in settled} == {"a", "b"}
    assert {found[name].status for name in settled} == {"settled"}
    assert "unknown" not in {e.status for e in found.values()}
    await ledger.aclose()


async def test_replicas_that_start_together_make_the_tables_once(server: Server, schema: str) -> None:
    ledgers = [Postgres(schema=schema) for _ in range(4)]
    await asyncio.gather(*(ledger.aopen() for ledger in ledgers))
    await asyncio.gather(*(record(ledger, request_id=f"{i}") for i, ledger in enumerate(ledgers)))
    assert audit(ledgers[0].links()).no == 4
    await asyncio.gather(*(ledger.aclose() for ledger in ledgers))


async def test_it_starts_without_a_database_and_goes_on_when_there_is_one(server: Server, schema: str) -> None:
    server.stop()
    ledger = Postgres(schema=schema)
    await ledger.aopen()
    assert not await ledger.is_writable()
    with pytest.raises(Unavailable) as caught:
        await ledger.reserve(opening(), reservation())
    assert (caught.value.code, caught.value.status) == ("ledger_unavailable", 503)
    assert await ledger.recall("session") is None
    with pytest.raises(CannotOpen, match="cannot be read"):
        list(ledger.entries())
    server.start()
    await is_back(ledger)
    await record(ledger)
    assert [e.status for e in ledger.entries()] == ["settled"]
    await ledger.aclose()


async def test_a_restart_of_the_database_loses_no_settlement(ledger: Postgres, server: Server) -> None:
    await record(ledger, request_id="before")
    for name in ("under-way", "kept"):
        await ledger.reserve(opening(request_id=name), reservation(request_id=name))
    ledger.remember(["session"], "local")
    server.stop()
    with pytest.raises(Unavailable):
        await ledger.settle(settlement(request_id="kept"), closing(request_id="kept"))
    server.start()
    await is_back(ledger)
    # The session is another one, the process is the same: what it has under way is still its own.
    await ledger.settle(settlement(request_id="under-way"), closing(request_id="under-way"))
    assert {name: e.status for name, e in by_id(ledger).items()} == dict.fromkeys(
        ["before", "under-way", "kept"], "settled"
    )
    assert await ledger.recall("session") == "local"
    assert audit(ledger.links()).is_fine


async def test_a_frozen_server_holds_up_nobody_for_long(valve: Valve, schema: str) -> None:
    """R8: PostgreSQL frozen: nobody waits for long."""
    ledger = Postgres(schema=schema)
    await ledger.aopen()
    await ledger.reserve(opening(), reservation())
    ledger.remember(["session"], "local")
    valve.freeze()
    waiting = asyncio.ensure_future(ledger.settle(settlement(), closing()))
    await asyncio.sleep(0)  # the loop goes on meanwhile
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await ledger.reserve(opening(request_id="late"), reservation(request_id="late"))
    assert await ledger.recall("session") is None
    valve.thaw()
    await is_back(ledger)
    assert [(e.request_id, e.status) for e in ledger.entries()] == [("request-1", "settled")]
    await ledger.aclose()


async def test_a_reservation_in_doubt_is_taken_back(valve: Valve, schema: str, server: Server) -> None:
    """The commit came about and its answer did not: nobody will use what was reserved."""
    ledger = Postgres(schema=schema)
    await ledger.aopen()
    await ledger.reserve(opening(request_id="two"), reservation(request_id="two"))
    valve.freeze_after(b"COMMIT")
    calls = [
        ledger.reserve(opening(), reservation()),
        ledger.reserve(None, reservation(request_id="two", attempt_no=2)),
        ledger.settle(settlement(request_id="two"), None),
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    await until(lambda: server.psql("SELECT count(*) FROM attempts", schema) == [["3"]])
    valve.thaw()
    await is_back(ledger)
    taken_back = by_id(ledger)["request-1"]
    assert (taken_back.status, taken_back.error_code, taken_back.http_status) == ("released", "ledger_unavailable", 503)
    attempts = "SELECT request_id, attempt_no, status FROM attempts ORDER BY 1, 2"
    assert server.psql(attempts, schema) == [
        ["request-1", "1", "released"], ["two", "1", "settled"], ["two", "2", "released"]
    ]  # fmt: skip
    assert audit(ledger.links()).is_fine
    await ledger.aclose()


async def test_a_replica_that_freezes_in_a_transaction_does_not_hold_up_the_others(
    ledger: Postgres, server: Server, schema: str
) -> None:
    frozen = await connect(server.url(), schema)
    await frozen.execute("BEGIN; LOCK TABLE chain")
    with pytest.raises(Unavailable):
        await record(ledger)
    await is_back(ledger)
    await record(ledger, request_id="after")
    assert by_id(ledger)["after"].status == "settled"
    frozen.terminate()


async def test_a_read_only_database_is_told_and_passes(ledger: Postgres, server: Server) -> None:
    """As after a failover, when the address leads to a replica."""
    await ledger.reserve(opening(), reservation())
    server.psql("ALTER DATABASE postgres SET default_transaction_read_only = on")
    server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'weighbridge'")
    await until(lambda: ledger._writer is not None and ledger._writer.is_failing)
    with pytest.raises(Unavailable):
        await ledger.settle(settlement(), closing())
    server.psql("ALTER DATABASE postgres RESET default_transaction_read_only")
    await is_back(ledger)
    assert [e.status for e in ledger.entries()] == ["settled"]


async def test_a_newer_ledger_is_refused(ledger: Postgres, server: Server, schema: str) -> None:
    server.psql("UPDATE meta SET value = '99' WHERE key = 'schema'", schema)
    with pytest.raises(CannotOpen, match="newer Weighbridge"):
        await Postgres(schema=schema).aopen()
    with pytest.raises(CannotOpen, match="newer Weighbridge"):
        list(Postgres(schema=schema).entries())


async def test_an_older_ledger_is_brought_up_to_date_or_left_as_it_is(
    server: Server, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Postgres(schema=schema)
    await ledger.aopen()
    await record(ledger)
    await ledger.aclose()
    tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'later' AND schemaname = current_schema()"
    now = tables_of.SCHEMA
    monkeypatch.setattr(tables_of, "SCHEMA", now + 1)
    for last, is_migrated in (("CREATE TABLE nonsense (", False), ("ALTER TABLE later ADD COLUMN more text", True)):
        steps = (*tables_of._MIGRATIONS[:now], ("CREATE TABLE later (day text)", last))
        monkeypatch.setattr(tables_of, "_MIGRATIONS", steps)
        await ledger.aopen()
        assert await ledger.is_writable() is is_migrated
        await ledger.aclose()
        assert server.psql(tables, schema) == [[str(int(is_migrated))]]
    assert server.psql("SELECT value FROM meta WHERE key = 'schema'", schema) == [[str(now + 1)]]
    assert [e.status for e in ledger.entries()] == ["settled"]


async def test_somebody_elses_tables_are_refused(server: Server, schema: str) -> None:
    server.psql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.holidays (day text)")
    with pytest.raises(CannotOpen, match="no ledger"):
        await Postgres(schema=schema).aopen()


def test_a_missing_ledger_is_told(server: Server, schema: str) -> None:
    with pytest.raises(CannotOpen, match="serve a request first"):
        list(Postgres(schema=schema).entries())


async def test_who_may_not_make_the_tables_is_told(
    server: Server, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.psql(f"CREATE ROLE poor_{schema} LOGIN")
    monkeypatch.setenv(postgres.VARIABLE, server.url(user=f"poor_{schema}"))
    with pytest.raises(CannotOpen, match="let the role create it"):
        await Postgres(schema=schema).aopen()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "WEIGHBRIDGE_LEDGER_URL is not set"),
        ("postgresql://owner:hush-hush@127.0.0.1:{port}/nowhere", "refuses us"),
        ("postgresql://nobody:hush-hush@127.0.0.1:{port}/postgres", "refuses us"),
        ("mysql://owner:hush-hush@127.0.0.1:{port}/postgres", "URL"),
        ("owner:hush-hush", "URL"),
        ("postgresql://owner:hush-hush@127.0.0.1:port/postgres", "URL"),
    ],
)
async def test_what_waiting_will_not_mend_is_told_at_once(
    server: Server, schema: str, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setenv(postgres.VARIABLE, url.format(port=server.port))
    with pytest.raises(CannotOpen, match=words) as caught:
        await Postgres(schema=schema).aopen()
    assert "hush" not in str(caught.value)


def test_a_missing_driver_is_told(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ValueError, match=r"pip install 'weighbridge\[postgres\]'"):
        Postgres(schema=schema)


async def test_prompts_are_kept_when_asked_for_and_odd_characters_pass(server: Server, schema: str) -> None:
    ledger = Postgres(schema=schema, store_prompts=True)
    await ledger.aopen()
    await record(ledger, prompt="What is the capital of France?", caller="Zoë \U0001f600 '; DROP TABLE requests; --")
    assert await ledger.feedback("request-1", 1.0, "nul: \0")
    (found,) = ledger.entries()
    assert (found.prompt, found.caller[:3]) == ("What is the capital of France?", "Zoë")
    await ledger.aclose()


async def test_a_sent_mark_arrives_without_anything_else_to_write(
    ledger: Postgres, server: Server, schema: str
) -> None:
    await ledger.reserve(opening(), reservation())
    ledger.sent("request-1", 1)
    await until(lambda: server.psql("SELECT status FROM attempts", schema) == [["sent"]])


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
async def test_it_leaves_nothing_behind(server: Server, schema: str) -> None:
    await until(lambda: not sessions(server))
    tasks, files = asyncio.all_tasks(), open_files()
    ledger = Postgres(schema=schema)
    await ledger.aopen()
    await asyncio.gather(*(record(ledger, request_id=f"{i}") for i in range(300)))
    await ledger.recall("session")
    reader = ledger.entries()
    next(reader)
    await record(ledger, request_id="beside a reader")
    reader.close()
    await ledger.aclose()
    await until(lambda: not sessions(server))
    assert asyncio.all_tasks() == tasks
    assert open_files() == files
