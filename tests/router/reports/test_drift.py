"""Drift: found where the traffic changed, and not where only the dice did."""

import random
from datetime import timedelta
from pathlib import Path

import pytest
from bookkeeping import NOON, entry, record, remote
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.ledger.base import Heap, heap_of
from weighbridge.ledger.notes import Sign
from weighbridge.ledger.sqlite import SQLite
from weighbridge.reports.drift import LEAST, drift, drift_of, shift, told, told_of_signs, warnings
from weighbridge.reports.render import render
from weighbridge.reports.report import report


def heaps(*scores: float, threshold: float = 0.5, route: str = "auto") -> list[Heap]:
    """Requests of these scores, sent by the threshold."""
    rows = (
        entry(route=route, score=s, threshold=threshold, upstream="remote" if s >= threshold else "local")
        for s in scores
    )
    return [heap_of(row, "route") for row in rows]


def even(count: int) -> list[float]:
    return [(i + 0.5) / count for i in range(count)]


def test_the_index_is_the_one_of_the_books() -> None:
    found = shift({"a": 60_000, "b": 40_000}, {"a": 40_000, "b": 60_000}, "ab")
    assert found is not None
    assert found.index == pytest.approx(0.2 * 0.405465 * 2, rel=1e-3)  # 2 x 0.2 x ln 1.5
    assert found.by_chance == pytest.approx(3.84 * 2e-5, rel=0.05)


def test_the_same_traffic_has_not_drifted() -> None:
    found = drift(heaps(*even(1000)), heaps(*even(200)))
    assert (found.reference, found.recent) == (1000, 200)
    assert found.scores is not None
    assert found.scores.index < 0.01
    assert warnings(found) == []


def test_harder_traffic_has_drifted() -> None:
    found = drift(heaps(*(s * 0.8 for s in even(1000))), heaps(*(0.2 + s * 0.8 for s in even(300))))
    said = " ".join(warnings(found))
    assert "the scores have shifted" in said
    assert "the upstreams' shares have shifted" in said
    assert "routing does next to nothing" not in said


def test_another_threshold_shifts_the_mix_and_not_the_scores() -> None:
    [only] = warnings(drift(heaps(*even(1000)), heaps(*even(300), threshold=0.2)))
    assert "shares have shifted" in only


def test_one_side_that_takes_all_is_told_for_its_route() -> None:
    lopsided, fine = heaps(*even(100), threshold=0.99, route="code"), heaps(*even(100))
    found = drift([], lopsided + fine)
    [only] = warnings(found)
    assert "local took 99.0% of the 100 requests of code" in only
    assert (found.scores, found.mix) == (None, None)
    assert warnings(drift([], lopsided[:-1])) == []


def test_what_no_score_decided_does_not_count() -> None:
    fenced = heap_of(entry(score=0.9, threshold=None, reason="fence"), "route")
    unscored = heap_of(entry(score=None, threshold=None), "route")
    assert drift([], [fenced, unscored] * 200).recent == 0


def test_chance_alone_seldom_warns() -> None:
    rng = random.Random(0)
    told_of = 0
    for _ in range(200):
        sides = [heaps(*(rng.random() for _ in range(LEAST))) for _ in range(2)]
        told_of += bool(warnings(drift(*sides)))
    assert told_of <= 20


@given(st.dictionaries(st.integers(0, 9), st.integers(0, 500)), st.dictionaries(st.integers(0, 9), st.integers(0, 500)))
def test_the_index_is_never_negative_and_the_same_both_ways(before: dict[int, int], now: dict[int, int]) -> None:
    there, back = shift(before, now, range(10)), shift(now, before, range(10))
    assert (there is None) == (min(sum(before.values()), sum(now.values())) < LEAST) == (back is None)
    if there and back:
        assert there.index >= 0
        assert there.index == pytest.approx(back.index)


async def test_the_last_day_is_read_beside_the_weeks_before(tmp_path: Path) -> None:
    ledger = SQLite(path=str(tmp_path / "ledger.db"))
    await ledger.aopen()
    for i in range(240):
        at = NOON - timedelta(hours=i * 2 if i < 120 else 30 + i)
        await record(ledger, request_id=str(i), created_at=at, score=0.05 if i < 12 else 0.9, threshold=0.5)
    await record(ledger, request_id="old", created_at=NOON - timedelta(days=40), score=0.5, threshold=0.5)
    await ledger.aclose()
    found = drift_of(ledger, NOON + timedelta(seconds=1))
    assert (found.recent, found.reference) == (12, 228)
    assert "12 requests in the last day were decided by a score: 100 are the least" in told(found)
    made = report(ledger, now=NOON + timedelta(seconds=1), with_drift=True)
    assert '"recent_requests": 12' in render(made, "json")
    assert "Drift: 12 requests" in render(made, "table", width=120)
    assert "drift" not in render(report(ledger, now=NOON), "json")


def test_signs_are_told_by_side_and_beside_all_answers() -> None:
    signs = [Sign(f"{i}", "repeated", "auto", "local", "local") for i in range(3)]
    signs.append(Sign("9", "tool_error", "auto", "local", "local"))
    found = drift([], [*heaps(*even(50)), heap_of(remote(), "route")], signs)
    assert [(side.location, side.answers, dict(side.kinds)) for side in found.signs] == [
        ("local", 50, {"repeated": 3, "tool_error": 1}),
        ("remote", 1, {}),
    ]
    assert told_of_signs(found) == (
        "after the last day's answers, local 4 of 50 (8.0%): 3 repeated, 1 tool error; remote 0 of 1 (0.0%)"
    )
    assert told_of_signs(drift([], heaps(*even(100)))) is None
