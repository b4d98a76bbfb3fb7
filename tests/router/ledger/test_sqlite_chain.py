"""The chain in a file: drafts say what the file would, and what is read back is what was hashed."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing as ending
from pathlib import Path
from typing import Any

import pytest
from bookkeeping import NOON, closing, opening, record, reservation, settlement

from weighbridge.ledger._sqlite_chain import TABLE, Drafts, extend
from weighbridge.ledger.base import microseconds
from weighbridge.ledger.chain import GENESIS, Row, digest
from weighbridge.ledger.sqlite import SQLite

OPENED_US = microseconds(NOON)
STARTED_US = OPENED_US + 2000


def opened(**changes: Any) -> Row:
    """An opening as it is stored, with its process."""
    request_id, _, *rest, is_stream, tags, prompt = opening(**changes)
    return (request_id, OPENED_US, *rest, int(is_stream), tags, prompt, 9)


def reserved(**changes: Any) -> Row:
    request_id, attempt_no, _, *rest = reservation(**changes)
    return (request_id, attempt_no, STARTED_US, *rest)


def request_row(**changes: Any) -> Row:
    """A closed request of its fields' usual values, as the file gives it back."""
    row = {
        "request_id": "request-1", "created_at": OPENED_US, "route": "auto", "model_asked": "auto", "caller": "team-a",
        "reason": "below_threshold", "reason_detail": "score 0.31 < 0.52", "rule": None, "fence": None, "score": 0.31,
        "threshold": 0.52, "task": "code", "classifier": "minilm-1", "is_stream": 0, "tags": None, "process": 9,
        "status": "settled", "end_reason": "ok", "http_status": 200, "error_code": None, "upstream": "local",
        "model": "small-1", "location": "local", "attempts": 1, "input_tokens": 312, "output_tokens": 220,
        "cached_tokens": 0, "usage_source": "provider", "cost_nano_usd": 0, "baseline_upstream": "remote",
        "baseline_cost_nano_usd": 518_000, "price_version": "config", "ttft_s": 0.31, "latency_s": 2.25,
        "overhead_s": 0.003,
    }  # fmt: skip
    return tuple((row | changes).values())


def attempt_row(**changes: Any) -> Row:
    row = {
        "request_id": "request-1", "attempt_no": 1, "started_at": STARTED_US, "upstream": "local", "model": "small-1",
        "location": "local", "reserved_nano_usd": 900_000, "status": "settled", "end_reason": "ok", "error_code": None,
        "input_tokens": 312, "output_tokens": 220, "cached_tokens": 0, "usage_source": "provider", "cost_nano_usd": 0,
        "price_version": "config", "ttft_s": 0.31, "latency_s": 2.25, "energy_mj": None,
    }  # fmt: skip
    return tuple((row | changes).values())


@pytest.fixture
def drafts() -> Drafts:
    drafts = Drafts()
    drafts.open([opened(request_id="another"), opened()])
    drafts.reserve([reserved(request_id="nobody"), reserved()])
    return drafts


def test_a_draft_is_the_whole_request_and_is_given_once(drafts: Drafts) -> None:
    drafts.settle([settlement()])
    assert drafts.close(closing()) == (request_row(), [attempt_row()])
    assert drafts.close(closing()) is None
    assert drafts.close(closing(request_id="another", attempts=0)) == (
        request_row(request_id="another", attempts=0),
        [],
    )


def test_the_reason_stands_and_the_end_may_say_another(drafts: Drafts) -> None:
    drafts.settle([settlement(energy_mj=4)])
    found = drafts.close(closing(reason="fallback", status="unknown", overhead_s=None, ttft_s=None))
    ended = request_row(reason="fallback", status="unknown", overhead_s=None, ttft_s=None)
    assert found == (ended, [attempt_row(energy_mj=4)])


def test_attempts_are_in_their_order_and_the_first_settlement_of_each_counts(drafts: Drafts) -> None:
    drafts.reserve([reserved(attempt_no=3), reserved(attempt_no=2)])
    later = [settlement(attempt_no=no, cost_nano_usd=no) for no in (9, 3, 1, 2)]
    drafts.settle([settlement(request_id="nobody"), *later, settlement(cost_nano_usd=70)])
    assert drafts.close(closing(attempts=3)) == (
        request_row(attempts=3),
        [attempt_row(attempt_no=no, cost_nano_usd=no) for no in (1, 2, 3)],
    )


def test_what_has_an_open_attempt_has_to_be_read(drafts: Drafts) -> None:
    drafts.reserve([reserved(attempt_no=2)])
    drafts.settle([settlement(), settlement()])
    assert drafts.close(closing()) is None


def test_a_whole_number_of_seconds_is_hashed_as_the_file_gives_it_back(drafts: Drafts) -> None:
    drafts.settle([settlement(ttft_s=0, latency_s=2)])
    found = drafts.close(closing(ttft_s=0, latency_s=2, overhead_s=1))
    assert found is not None
    whole = (request_row(ttft_s=0.0, latency_s=2.0, overhead_s=1.0), [attempt_row(ttft_s=0.0, latency_s=2.0)])
    assert digest(GENESIS, *found) == digest(GENESIS, *whole)


def test_a_chain_is_extended_from_where_it_ends() -> None:
    closed: list[tuple[Row, Sequence[Row]]] = [((name,), [(name, 1)]) for name in ("a", "b", "c")]
    first = digest(GENESIS, *closed[0])
    second = digest(first, *closed[1])
    with ending(sqlite3.connect(":memory:")) as connection:
        connection.execute(TABLE)
        extend(connection, closed[:2])
        extend(connection, [])
        extend(connection, closed[2:])
        found = connection.execute("SELECT * FROM chain").fetchall()
    assert found == [(1, "a", first), (2, "b", second), (3, "c", digest(second, *closed[2]))]


async def test_links_are_the_chain_with_what_it_covers_then_what_is_outside(path: Path) -> None:
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    await record(ledger)
    await record(ledger, request_id="r2", cost_nano_usd=7)
    await record(ledger, request_id="gone")
    await ledger.reserve(opening(request_id="open"), reservation(request_id="open"))
    with ending(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DELETE FROM requests WHERE request_id = 'gone'; DELETE FROM chain WHERE request_id = 'r2';"
            " UPDATE attempts SET request_id = 'lone' WHERE request_id = 'r2'"
        )
    found = list(ledger.links())
    await ledger.aclose()
    first = request_row(process=1)
    assert [(link.no, link.request_id, list(link.attempts)) for link in found] == [
        (1, "request-1", [attempt_row()]),
        (3, "gone", [attempt_row(request_id="gone")]),
        (None, "r2", []),
        (None, "open", [(*reserved(request_id="open"), "reserved", *[None] * 5, "none", *[None] * 5)]),
        (None, "lone", [attempt_row(request_id="lone", cost_nano_usd=7)]),
    ]
    assert found[0].digest == digest(GENESIS, first, [attempt_row()])
    requests = [link.request and tuple(link.request) for link in found]
    assert requests[:3] == [first, None, request_row(request_id="r2", process=1, cost_nano_usd=7)]
    assert [row and row[0] for row in requests[3:]] == ["open", None]
