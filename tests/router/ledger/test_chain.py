"""The hash chain: what is done to a ledger behind its back is found, and named. In both stores, with the same SQL."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing as ending
from hashlib import sha256
from pathlib import Path
from typing import Any

import postgres
import pytest
from bookkeeping import closing, opening, record, reservation, settlement

from weighbridge.ledger import _sqlite_schema as schema
from weighbridge.ledger.base import CannotOpen, Ledger
from weighbridge.ledger.chain import (
    ATTEMPT_COLUMNS,
    GENESIS,
    REQUEST_COLUMNS,
    SHOWN,
    Audit,
    Finding,
    Link,
    Row,
    audit,
    digest,
)
from weighbridge.ledger.postgres import Postgres
from weighbridge.ledger.sqlite import SQLite

Tamper = Callable[[str], None]
Book = tuple[Ledger, Tamper]


@pytest.fixture(params=["sqlite", "postgres"])
def book(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    """A ledger, and how somebody else changes it."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.db"

        def tamper(statements: str) -> None:
            with ending(sqlite3.connect(path)) as connection:
                connection.executescript(statements)

        return SQLite(path=str(path)), tamper
    server, name = postgres.running(), postgres.new_schema()
    monkeypatch.setenv(postgres.VARIABLE, server.url())
    return Postgres(schema=name), lambda statements: void(server.psql(statements, name))


def void(_: object) -> None:
    pass


@pytest.fixture
async def written(book: Book) -> AsyncIterator[Book]:
    """Six requests: r1 to r5, and `moved` with two attempts and a fence."""
    ledger, tamper = book
    await ledger.aopen()
    for i in range(1, 6):
        await record(ledger, request_id=f"r{i}", cost_nano_usd=i)
    await ledger.reserve(opening(request_id="moved", fence="local"), reservation(request_id="moved"))
    await ledger.settle(settlement(request_id="moved", status="released", cost_nano_usd=0), None)
    await ledger.reserve(None, reservation(request_id="moved", attempt_no=2))
    await ledger.settle(settlement(request_id="moved", attempt_no=2), closing(request_id="moved", attempts=2))
    yield ledger, tamper
    await ledger.aclose()


def findings(ledger: Ledger) -> list[tuple[str, str]]:
    return [tuple(finding) for finding in audit(ledger.links()).findings]


async def test_an_untouched_ledger_is_fine(written: Book) -> None:
    found = audit(written[0].links())
    assert found.is_fine
    assert (found.requests, found.attempts, found.no, found.fenced, found.fenced_remote) == (6, 7, 6, 1, 0)
    assert len(found.head) == 32


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE requests SET caller = 'somebody else' WHERE request_id = 'r3'",
        "UPDATE requests SET created_at = created_at + 1 WHERE request_id = 'r3'",
        "UPDATE requests SET score = score + 1e-16 WHERE request_id = 'r3'",
        "UPDATE requests SET overhead_s = NULL WHERE request_id = 'r3'",
        "UPDATE attempts SET model = 'another' WHERE request_id = 'r3'",
        "UPDATE attempts SET latency_s = NULL WHERE request_id = 'r3'",
        "UPDATE attempts SET reserved_nano_usd = 1 WHERE request_id = 'r3'",
        "UPDATE chain SET digest = (SELECT digest FROM chain WHERE no = 2) WHERE no = 3",
        "UPDATE chain SET request_id = 'r2' WHERE no = 3",
    ],
)
async def test_what_was_changed_is_named(written: Book, statement: str) -> None:
    ledger, tamper = written
    tamper(statement)
    name, what = findings(ledger)[0]
    assert name in {"r3", "r2"}
    assert what.startswith("is not what was closed")


async def test_only_what_was_changed_is_named(written: Book) -> None:
    ledger, tamper = written
    tamper("UPDATE requests SET task = 'poetry' WHERE request_id IN ('r2', 'r4')")
    assert [name for name, _ in findings(ledger)] == ["r2", "r4"]


async def test_a_changed_cost_also_contradicts_its_attempts(written: Book) -> None:
    ledger, tamper = written
    tamper("UPDATE requests SET cost_nano_usd = 0 WHERE request_id = 'r5'")
    assert [what for _, what in findings(ledger)][1] == "cost 0 nano-USD, and its attempts cost 5"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM requests WHERE request_id = 'r3'", [("r3", "is in the chain, and its row was removed")]),
        (
            "DELETE FROM chain WHERE no = 3",
            [
                ("r4", "comes as number 4 of the chain, and 3 is missing before it"),
                ("r4", "is not what was closed: its row, one of its attempts or its place in the chain was changed"),
                ("r3", "is closed, and not in the chain: it was added afterwards, or cut out of it"),
            ],
        ),
        (
            "DELETE FROM attempts WHERE request_id = 'moved' AND attempt_no = 1",
            [
                ("moved", "is not what was closed: its row, one of its attempts or its place in the chain was changed"),
                ("moved", "counts 2 attempts, and has 1"),
            ],
        ),
        (
            "UPDATE requests SET status = 'sent' WHERE request_id = 'r3'",
            [("r3", "was closed, and is sent again")],
        ),
    ],
)
async def test_what_was_removed_or_opened_again_is_named(
    written: Book, statement: str, expected: list[tuple[str, str]]
) -> None:
    ledger, tamper = written
    tamper(statement)
    assert findings(ledger) == expected


async def test_what_was_added_is_named(written: Book) -> None:
    ledger, tamper = written
    statements = []
    for table, columns, name in (("requests", REQUEST_COLUMNS, "new"), ("attempts", ATTEMPT_COLUMNS, "lone")):
        copied = ", ".join(f"'{name}'" if column == "request_id" else column for column in columns)
        source = f"SELECT {copied} FROM {table} WHERE request_id = 'r1'"  # noqa: S608
        statements.append(f"INSERT INTO {table} ({', '.join(columns)}) {source}")
    tamper("; ".join(statements))
    assert findings(ledger) == [
        ("new", "is closed, and not in the chain: it was added afterwards, or cut out of it"),
        ("new", "counts 1 attempts, and has 0"),
        ("new", "cost 1 nano-USD, and its attempts cost 0"),
        ("lone", "has attempts, and no row of its own"),
    ]


async def test_what_changed_places_is_named(written: Book) -> None:
    ledger, tamper = written
    tamper(
        "UPDATE chain SET no = -2 WHERE no = 2; UPDATE chain SET no = 2 WHERE no = 3;"
        " UPDATE chain SET no = 3 WHERE no = -2"
    )
    assert [name for name, _ in findings(ledger)][:2] == ["r3", "r2"]


async def test_a_tail_that_was_cut_shows_only_by_a_digest_that_was_noted_elsewhere(written: Book) -> None:
    ledger, tamper = written
    noted = audit(ledger.links()).head
    earlier = next(link.digest for link in ledger.links() if link.no == 4)
    tamper("DELETE FROM chain WHERE no > 4; DELETE FROM requests WHERE request_id IN ('r5', 'moved');"
           " DELETE FROM attempts WHERE request_id IN ('r5', 'moved')")  # fmt: skip
    assert audit(ledger.links()).is_fine
    found = audit(ledger.links(), noted)
    assert (found.anchored, found.is_fine, found.count) == (False, False, 0)
    assert audit(ledger.links(), earlier).is_fine
    assert audit(ledger.links(), GENESIS).is_fine


async def test_a_chain_made_anew_shows_only_by_a_digest_that_was_noted_elsewhere(written: Book) -> None:
    ledger, tamper = written
    noted = audit(ledger.links()).head
    tamper("UPDATE requests SET caller = 'nobody' WHERE request_id = 'r1'")
    head, statements = GENESIS, []
    binary = "X'{}'" if isinstance(ledger, SQLite) else "'\\x{}'"
    for link in ledger.links():
        assert link.request is not None
        head = digest(head, link.request, link.attempts)
        statements.append(f"UPDATE chain SET digest = {binary.format(head.hex())} WHERE no = {link.no}")  # noqa: S608
    tamper("; ".join(statements))
    assert audit(ledger.links()).is_fine
    assert not audit(ledger.links(), noted).is_fine


async def test_a_fenced_request_that_left_is_named(written: Book) -> None:
    ledger, _ = written
    away = {"upstream": "cloud", "location": "remote"}
    await record(ledger, request_id="leak", fence="local", **away)
    found = audit(ledger.links())
    assert found.fenced_remote == 1
    assert [tuple(f) for f in found.findings] == [("leak", "had to stay local, and attempt 1 went to cloud (remote)")]


async def test_an_open_request_that_left_its_fence_is_named_too(written: Book) -> None:
    ledger, _ = written
    await ledger.reserve(opening(request_id="leak", fence="local"), reservation(request_id="leak", location="remote"))
    assert [name for name, _ in findings(ledger)] == ["leak"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"cost_nano_usd": None}, "does not know its cost, and its attempts know theirs"),
        ({"cost_nano_usd": 9}, "cost 9 nano-USD, and its attempts cost 0"),
        ({"attempts": 2}, "counts 2 attempts, and has 1"),
        ({"output_tokens": 1}, "has 1 output_tokens, and its last attempt 220"),
    ],
)
async def test_a_request_that_contradicts_its_attempts_is_named(written: Book, changes: dict, what: str) -> None:
    ledger, _ = written
    await ledger.reserve(opening(), reservation())
    await ledger.settle(settlement(), closing(**changes))
    assert findings(ledger) == [("request-1", what)]


async def test_a_closed_request_with_an_open_attempt_is_named(written: Book) -> None:
    ledger, _ = written
    await ledger.reserve(opening(), reservation())
    await ledger.reserve(None, reservation(attempt_no=2))
    await ledger.settle(settlement(attempt_no=2), closing(attempts=2, cost_nano_usd=None))
    assert findings(ledger) == [("request-1", "is closed, and its attempt 1 is reserved")]


async def test_what_a_dead_process_left_is_in_the_chain(book: Book) -> None:
    ledger, _ = book
    await ledger.aopen()
    await ledger.reserve(opening(), reservation())
    await ledger.aclose()
    found = audit(ledger.links())
    assert (found.is_fine, found.no, found.open) == (True, 1, 0)


async def test_several_writers_make_one_chain(book: Book) -> None:
    ledger, _ = book
    second = ledger.model_copy()
    await ledger.aopen()
    await second.aopen()

    async def work(by: Ledger, name: str) -> None:
        for i in range(20):
            await record(by, request_id=f"{name}-{i}", score=i)  # a whole number is stored as any other

    await asyncio.gather(*(work(by, f"{n}-{who}") for n in range(5) for who, by in (("a", ledger), ("b", second))))
    await second.aclose()
    await ledger.aclose()
    found = audit(ledger.links())
    assert (found.findings, found.no) == ([], 200)


async def test_many_ways_to_end_are_all_chained_as_they_are_stored(book: Book) -> None:
    """Everything at once, twice, too late and not at all: what is hashed is what is in the store."""
    ledger, _ = book
    await ledger.aopen()
    calls: list[Awaitable[object]] = []
    for i in range(30):
        key = {
            "request_id": f"{i}",
            "ttft_s": 0 if i % 3 else None,
            "latency_s": 1,
            "rule": "é\u2028" if i % 2 else None,
        }
        calls.append(ledger.reserve(opening(**key), reservation(**key)))
        for end_reason in ("ok", "error", "ok")[: i % 4]:
            key["end_reason"] = end_reason
            calls.append(ledger.settle(settlement(**key), closing(**key)))
        if i % 5 == 0:
            calls.append(ledger.reserve(opening(**key), reservation(**key)))  # refused, and its commit with it
        if i % 10 == 9:
            await asyncio.gather(*calls, return_exceptions=True)
            calls = []
    await asyncio.gather(*calls, return_exceptions=True)
    await ledger.aclose()
    found: Audit = audit(ledger.links())
    assert (found.findings, found.requests, found.no) == ([], 30, 30)
    assert {e.end_reason for e in ledger.entries() if int(e.request_id) % 4} == {"ok"}


async def test_an_older_file_is_chained_when_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    for i in range(5):
        await record(ledger, request_id=f"r{i}")
    await ledger.aclose()
    with ending(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP TABLE chain; DROP TABLE shadows; DROP TABLE signals; DROP INDEX requests_shadow;"
            " ALTER TABLE attempts DROP COLUMN energy_mj;"
            " UPDATE meta SET value = '2' WHERE key = 'schema'"
        )
    with pytest.raises(CannotOpen, match="no hash chain yet"):
        list(ledger.links())
    await ledger.aopen()
    await record(ledger, request_id="new")
    await ledger.aclose()
    found = audit(ledger.links())
    assert (found.is_fine, found.no) == (True, 6)


async def test_everything_but_the_prompt_is_hashed(tmp_path: Path) -> None:
    """A column that comes later goes to the end of the list in chain.py."""
    ledger = SQLite(path=str(tmp_path / "ledger.db"))
    await ledger.aopen()
    await ledger.aclose()
    with ending(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        for table, columns in (("requests", REQUEST_COLUMNS), ("attempts", ATTEMPT_COLUMNS)):
            stored = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            assert [name for name in stored if name != "prompt"] == list(columns)
    assert schema.SCHEMA == 5


def test_a_column_that_comes_later_leaves_older_digests_as_they_were() -> None:
    assert digest(GENESIS, ("a", 1, None), [("a", 1)]) == digest(GENESIS, ("a", 1, None, None), [("a", 1, None)])
    assert digest(GENESIS, ("a", 1), []) != digest(GENESIS, ("a", 1.0), [])
    assert digest(GENESIS, ("a", None, 1), []) != digest(GENESIS, ("a", 1), [])


REQUEST = dict.fromkeys(REQUEST_COLUMNS) | {
    "request_id": "r1",
    "status": "settled",
    "attempts": 1,
    "input_tokens": 7,
    "output_tokens": 8,
    "cached_tokens": 0,
    "cost_nano_usd": 5,
}
ATTEMPT = dict.fromkeys(ATTEMPT_COLUMNS) | {
    "request_id": "r1",
    "attempt_no": 1,
    "status": "settled",
    "upstream": "here",
    "location": "local",
    "input_tokens": 7,
    "output_tokens": 8,
    "cached_tokens": 0,
    "cost_nano_usd": 5,
}
CHANGED = "is not what was closed: its row, one of its attempts or its place in the chain was changed"
ADDED = "is closed, and not in the chain: it was added afterwards, or cut out of it"
Change = dict[str, Any]


def row(of: Change, **changes: Any) -> Row:
    return tuple((of | changes).values())


def chained(request: Change, *attempts: Change) -> Link:
    """The first request of a chain: what it says of itself, and what its attempts say, but for these changes."""
    rows = [row(ATTEMPT, **changes) for changes in attempts]
    whole = row(REQUEST, **{"attempts": len(rows)} | request)
    return Link(1, digest(GENESIS, whole, rows), "r1", whole, rows)


def following(*names: str) -> list[Link]:
    """A chain of requests of one attempt each."""
    head, links = GENESIS, []
    for no, name in enumerate(names, 1):
        request, attempts = row(REQUEST, request_id=name), [row(ATTEMPT, request_id=name)]
        head = digest(head, request, attempts)
        links.append(Link(no, head, name, request, attempts))
    return links


def test_a_digest_is_that_of_the_one_before_and_the_rows_as_json() -> None:
    """What was hashed by any version has to come out the same in every later one."""
    text = b'[["a",1.5,null,"\xc3\xa9"],[["a",1],["a",2,0.25]]]'
    rows = [("a", 1, None), ("a", 2, 0.25)]
    assert digest(b"\x07" * 32, ("a", 1.5, None, "é", None), rows) == sha256(b"\x07" * 32 + text).digest()
    assert digest(GENESIS, (None, None), [(None,)]) == sha256(bytes(32) + b"[[],[[]]]").digest()


def test_a_chain_that_holds_is_counted() -> None:
    links = following("a", "b", "c")
    assert audit(links) == Audit(requests=3, attempts=3, no=3, head=links[2].digest or b"")
    assert audit([]) == Audit(requests=0, open=0, attempts=0, fenced=0, fenced_remote=0, no=0, head=bytes(32), count=0)


@pytest.mark.parametrize(
    ("anchor", "is_anchored"),
    [(None, None), (GENESIS, True), (following("a")[0].digest, True), (following("a", "b")[1].digest, True),
     (b"\x01" * 32, False), (following("b")[0].digest, False)],
)  # fmt: skip
def test_only_a_digest_that_is_in_the_chain_is_anchored(anchor: bytes | None, is_anchored: bool | None) -> None:
    outside = Link(None, None, "open", row(REQUEST, status="sent", attempts=0), [])
    found = audit([*following("a", "b", "c"), outside], anchor)
    assert (found.anchored, found.is_fine) == (is_anchored, is_anchored is not False)


def test_after_what_is_wrong_the_chain_goes_on_from_what_stands_there() -> None:
    a, b, c, d = following("a", "b", "c", "d")
    changed = b._replace(request=row(REQUEST, request_id="b", caller="somebody else"))
    assert audit([a, changed, c]).findings == [Finding("b", CHANGED)]
    assert audit([a, b._replace(request=None), c]).findings == [
        Finding("b", "is in the chain, and its row was removed"),
    ]
    found = audit([b, d])
    assert (found.no, found.head) == (4, d.digest)
    assert found.findings == [
        Finding("b", "comes as number 2 of the chain, and 1 is missing before it"),
        Finding("b", CHANGED),
        Finding("d", "comes as number 4 of the chain, and 3 is missing before it"),
        Finding("d", CHANGED),
    ]


@pytest.mark.parametrize("status", ["reserved", "sent"])
def test_what_was_opened_again_is_told_from_what_was_changed(status: str) -> None:
    (link,) = following("a")
    again = link._replace(request=row(REQUEST, request_id="a", status=status))
    found = audit([again])
    assert found.findings == [Finding("a", f"was closed, and is {status} again")]
    assert (found.requests, found.open, found.no, found.head) == (1, 1, 1, link.digest)


@pytest.mark.parametrize(
    ("status", "expected"),
    [("reserved", []), ("sent", []), ("settled", [ADDED]), ("released", [ADDED]), ("unknown", [ADDED])],
)
def test_only_open_requests_may_be_outside_the_chain(status: str, expected: list[str]) -> None:
    link = Link(None, None, "r1", row(REQUEST, status=status), [row(ATTEMPT)])
    found = audit([link, link])
    assert found.findings == [Finding("r1", what) for what in expected] * 2
    is_open = 0 if expected else 2
    assert (found.requests, found.open, found.attempts, found.no, found.head) == (2, is_open, 2, 0, GENESIS)


def test_attempts_of_nothing_are_named_and_not_counted_as_a_request() -> None:
    found = audit([*following("a"), Link(None, None, "lone", None, [row(ATTEMPT)])])
    assert found.findings == [Finding("lone", "has attempts, and no row of its own")]
    assert (found.requests, found.attempts, found.no) == (1, 1, 1)


@pytest.mark.parametrize("status", ["settled", "sent"])
def test_each_attempt_outside_its_fence_is_named(status: str) -> None:
    away = {"upstream": "cloud", "location": "remote"}
    attempts = [row(ATTEMPT, attempt_no=no, **changes) for no, changes in enumerate([{}, away, away], 1)]
    request = row(REQUEST, status=status, attempts=3, cost_nano_usd=15)
    links = [
        Link(None, None, "r1", (*request[:8], "local", *request[9:]), attempts),
        Link(None, None, "r1", request, attempts),
        Link(None, None, "r1", (*request[:8], "local", *request[9:]), [row(ATTEMPT)] * 3),
    ]
    found = audit(links)
    assert (found.requests, found.attempts, found.fenced, found.fenced_remote) == (3, 9, 2, 2)
    assert [tuple(one) for one in found.findings if one.what != ADDED] == [
        ("r1", "had to stay local, and attempt 2 went to cloud (remote)"),
        ("r1", "had to stay local, and attempt 3 went to cloud (remote)"),
    ]


@pytest.mark.parametrize(
    ("request_", "attempts", "expected"),
    [
        ({}, [{}], []),
        ({"cost_nano_usd": 0, **dict.fromkeys(["input_tokens", "output_tokens", "cached_tokens"], 3)}, [], []),
        ({"cost_nano_usd": 12}, [{"cost_nano_usd": 7}, {}], []),
        ({"cost_nano_usd": None}, [{"cost_nano_usd": None}], []),
        ({"attempts": 2}, [{}], ["counts 2 attempts, and has 1"]),
        ({"attempts": 0}, [{}], ["counts 0 attempts, and has 1"]),
        ({"cost_nano_usd": 6}, [{}], ["cost 6 nano-USD, and its attempts cost 5"]),
        ({"cost_nano_usd": 5}, [{}, {"cost_nano_usd": None}],
         ["cost 5 nano-USD, and its attempts cost 5 and more that is unknown"]),
        ({"cost_nano_usd": 5}, [{}, {}], ["cost 5 nano-USD, and its attempts cost 10"]),
        ({"cost_nano_usd": None}, [{}], ["does not know its cost, and its attempts know theirs"]),
        ({"cost_nano_usd": None, "status": "released"}, [{}], ["does not know its cost, and its attempts know theirs"]),
        ({"cost_nano_usd": None, "status": "unknown"}, [{}], []),
        ({}, [{"status": "reserved"}], ["is closed, and its attempt 1 is reserved"]),
        ({"status": "unknown"}, [{"status": "sent"}], ["is closed, and its attempt 1 is sent"]),
        ({"input_tokens": 1}, [{}], ["has 1 input_tokens, and its last attempt 7"]),
        ({"output_tokens": None}, [{}], ["has None output_tokens, and its last attempt 8"]),
        ({"cached_tokens": 2}, [{}], ["has 2 cached_tokens, and its last attempt 0"]),
        ({"cached_tokens": 2, "status": "unknown"}, [{}], []),
        ({"input_tokens": 9, "cost_nano_usd": 10}, [{}, {"input_tokens": 9}], []),
        ({"input_tokens": 9, "cost_nano_usd": 10}, [{"input_tokens": 9}, {}],
         ["has 9 input_tokens, and its last attempt 7"]),
    ],
)  # fmt: skip
def test_a_closed_request_says_what_its_attempts_say(
    request_: Change, attempts: list[Change], expected: list[str]
) -> None:
    found = audit([chained(request_, *attempts)])
    assert found.findings == [Finding("r1", what) for what in expected]
    assert (found.count, found.is_fine) == (len(expected), not expected)


def test_rows_of_another_shape_are_not_read_under_wrong_names() -> None:
    (link,) = following("a")
    for odd in (link._replace(request=row(REQUEST)[:-1]), link._replace(attempts=[row(ATTEMPT)[:-1]])):
        with pytest.raises(ValueError, match="shorter"):
            audit([odd])


def test_beyond_a_hundred_findings_the_rest_are_counted() -> None:
    links = [Link(None, None, f"{i}", None, []) for i in range(103)]
    found = audit(links)
    assert (found.count, found.is_fine) == (103, False)
    assert [name for name, _ in found.findings] == [f"{i}" for i in range(SHOWN)]
    assert len(found.findings) == 100
