"""What is read from an SQLite ledger: each reading keeps to its span, sums what is alike, and reads older files too."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing as ending
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from bookkeeping import NOON, closing, opening, record, reservation, settlement

from weighbridge.errors import Unavailable
from weighbridge.ledger.base import CannotOpen, Dimension, UnderWay, heap_of, work_of
from weighbridge.ledger.chain import audit
from weighbridge.ledger.notes import SHADOW, Shadowed, ShadowSpend, Sign, Signal
from weighbridge.ledger.sqlite import SQLite

HOURS = ("zero", "one", "two")
SPAN = (NOON + timedelta(hours=1), NOON + timedelta(hours=2))


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SQLite]:
    """A request an hour, each with a shadow, a signal, and one that the gateway asked itself."""
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    for hour, name in reversed(list(enumerate(HOURS))):
        at = {"created_at": NOON + timedelta(hours=hour), "upstream": name, "route": name}
        await record(ledger, request_id=name, energy_mj=hour or None, **at)
        await record(ledger, request_id=f"shadow-{name}", caller=SHADOW, cost_nano_usd=hour, **at)
        await ledger.note(Shadowed(name, NOON, "auto", "small", "s", "l", 0.5, None, None))
        await ledger.note(Signal(name, "repeated", NOON, "later"))
        under_way = {"request_id": f"open-{name}", **at}
        await ledger.reserve(opening(**under_way, caller="team-b"), reservation(**under_way))
        await ledger.settle(settlement(request_id=f"open-{name}", status="released"), None)
        await ledger.reserve(None, reservation(**under_way, attempt_no=2))
    yield ledger
    await ledger.aclose()


Read = Callable[[SQLite, Any, Any], list[Any]]
READINGS: dict[str, tuple[Read, list[Any]]] = {
    "entries": (lambda ledger, *span: [e.request_id for e in ledger.entries(*span)], [[n, f"open-{n}"] for n in HOURS]),
    "heaps": (
        lambda ledger, *span: [(h.name, h.status, h.requests) for h in ledger.heaps("route", *span)],
        [[(n, "reserved", 1), (n, "settled", 1)] for n in HOURS],
    ),
    "work": (
        lambda ledger, *span: [(w.name, w.upstream, w.measured_mj) for w in ledger.work("route", *span)],
        [[(n, n, 0), (n, n, hour)] for hour, n in enumerate(HOURS)],  # the one under way, and the one that ended
    ),
    "shadows": (lambda ledger, *span: [s.request_id for s in ledger.shadows(*span)], [[n] for n in HOURS]),
    "shadow spend": (
        lambda ledger, *span: ledger.shadow_spend(*span),
        [[ShadowSpend(n, 1, hour, 0)] for hour, n in enumerate(HOURS)],
    ),
    "signs": (
        lambda ledger, *span: list(ledger.signs(*span)),
        [[Sign(n, "repeated", n, n, "local")] for n in HOURS],
    ),
}


def change(path: Path, statements: str) -> None:
    with ending(sqlite3.connect(path)) as connection:
        connection.executescript(statements)


def scribble(path: Path) -> None:
    path.write_bytes(b"this is no database, only a text that is long enough to look at" * 99)


@pytest.mark.parametrize("name", READINGS)
async def test_each_reading_keeps_to_its_span(ledger: SQLite, name: str) -> None:
    read, expected = READINGS[name]
    since, until = SPAN

    def found(*span: Any) -> list[Any]:
        return sorted(read(ledger, *span))

    zero, one, two = map(sorted, expected)
    assert found(since, until) == one
    assert found(since, None) == sorted(one + two)
    assert found(None, until) == sorted(zero + one)
    assert found(None, None) == sorted(zero + one + two)
    assert found(None, NOON) == []


async def test_what_is_told_in_order_is_told_oldest_first(ledger: SQLite) -> None:
    assert [e.created_at for e in ledger.entries()] == [NOON + timedelta(hours=h) for h in (0, 0, 1, 1, 2, 2)]
    assert [s.request_id for s in ledger.shadows()] == list(HOURS)
    assert [s.request_id for s in ledger.signs()] == list(HOURS)
    assert [s.upstream for s in ledger.shadow_spend()] == sorted(HOURS)


async def test_what_runs_and_what_was_spent_are_those_since_then(ledger: SQLite) -> None:
    at = SPAN[0] + timedelta(hours=1)
    assert ledger.under_way(at) == [UnderWay("team-b", "two", "local", "open-two/2")]
    assert {(s.caller, s.route, s.requests) for s in ledger.spent(at)} == {
        ("team-a", "two", 1),
        ("team-b", "two", 1),
        (SHADOW, "two", 1),
    }


@pytest.mark.parametrize("by", [None, *get_args(Dimension)])
async def test_alike_requests_are_one_heap_and_one_work(path: Path, by: Dimension | None) -> None:
    """By whatever they are told apart: what differs in nothing is summed, the value of each is kept."""
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    for i in (1, 2):
        await record(ledger, request_id=f"{i}", rule="r", cost_nano_usd=i, ttft_s=i / 4, output_tokens=i)
    await ledger.aclose()
    ((heap,), (work,)) = (list(ledger.heaps(by)), list(ledger.work(by)))
    (one, two) = ledger.entries()
    first, second = heap_of(one, by), heap_of(two, by)
    assert heap == first._replace(
        requests=2,
        known_costs=2,
        cost=3,
        baseline=2 * first.baseline,
        compared=2,
        compared_cost=3,
        compared_baseline=2 * first.baseline,
        ttft_us=[*first.ttft_us, *second.ttft_us],
        latency_us=first.latency_us * 2,
        output_tokens=[1, 2],
    )
    alike = work_of(one, by)
    assert work == alike._replace(others=2, others_us=2 * alike.others_us, output_tokens=3, answered_tokens=3)


async def test_what_did_not_end_well_has_no_times(path: Path) -> None:
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    await record(ledger, end_reason="timeout")
    await ledger.aclose()
    assert list(ledger.heaps()) == [heap_of(entry, None) for entry in ledger.entries()]


async def test_an_older_file_is_read_without_what_it_has_not(ledger: SQLite, path: Path) -> None:
    """A report may be made of a file that no newer gateway has opened yet."""
    await ledger.aclose()
    entries = list(ledger.entries())
    change(path, "DROP TABLE shadows; DROP TABLE signals; UPDATE meta SET value = '4' WHERE key = 'schema'")
    assert (list(ledger.shadows()), list(ledger.signs())) == ([], [])
    assert sum(w.measured_mj for w in ledger.work()) == 3
    change(path, "UPDATE meta SET value = '3' WHERE key = 'schema'")
    assert audit(ledger.links()).findings == []
    change(path, "ALTER TABLE attempts DROP COLUMN energy_mj; UPDATE meta SET value = '2' WHERE key = 'schema'")
    assert list(ledger.entries()) == entries
    assert [sum(numbers) for numbers in zip(*(w[5:8] for w in ledger.work()), strict=True)] == [0, 0, 3]
    with pytest.raises(CannotOpen):
        list(ledger.links())


@pytest.mark.parametrize("kind", ["missing", "no database", "of another shape"])
@pytest.mark.parametrize("name", [*READINGS, "links", "spent", "under way"])
async def test_what_cannot_be_read_is_told_by_its_name(path: Path, name: str, kind: str) -> None:
    ledger = SQLite(path=str(path))
    if kind != "missing":
        await ledger.aopen()
        await ledger.aclose()
    if kind == "no database":
        scribble(path)
    if kind == "of another shape":
        change(path, "ALTER TABLE requests RENAME created_at TO came_at")
    others: dict[str, Read] = {
        "links": lambda ledger, *_: list(ledger.links()),
        "spent": lambda ledger, *_: ledger.spent(NOON),
        "under way": lambda ledger, *_: ledger.under_way(NOON),
    }
    read = others.get(name) or READINGS[name][0]
    with pytest.raises(CannotOpen, match=r"ledger\.db"):
        read(ledger, None, None)


async def test_a_session_that_cannot_be_read_is_a_new_one(path: Path) -> None:
    ledger = SQLite(path=str(path))
    ledger.remember(["a"], "local")  # closed: nobody will write it
    assert await ledger.recall("a") is None
    await ledger.aopen()
    assert await ledger.recall("a") is None
    await ledger.aclose()
    scribble(path)
    assert await ledger.recall("a") is None


async def test_a_closed_ledger_takes_nothing_and_may_be_closed_and_opened_again(path: Path) -> None:
    ledger = SQLite(path=str(path))
    await ledger.aclose()
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            await ledger.reserve(opening(), reservation())
        assert caught.value.code == "ledger_unavailable"
        ledger.sent("request-1", 1)
        await ledger.aopen()
        assert await ledger.is_writable() is True
        await ledger.aclose()
        assert await ledger.is_writable() is False
    await ledger.aopen()
    await ledger.reserve(opening(), reservation())
    await ledger.settle(settlement(), closing())
    await ledger.aclose()
    assert [e.status for e in ledger.entries()] == ["settled"]


async def test_a_ledger_that_cannot_be_entered_is_told(path: Path) -> None:
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    await ledger.aclose()
    change(path, "ALTER TABLE processes RENAME TO others")
    with pytest.raises(CannotOpen, match=r"ledger\.db cannot be opened"):
        await ledger.aopen()
    assert await ledger.is_writable() is False
    change(path, "ALTER TABLE others RENAME TO processes")
    await ledger.aopen()  # the first try has left nothing locked
    await record(ledger)
    await ledger.aclose()
