"""Entries as heaps and as work: one request is summed as what it is, and the unknown is never nothing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from bookkeeping import NOON, entry, record

from weighbridge.ledger.base import EPOCH, Dimension, Heap, Ledger, Work, heap_of, microseconds, work_of
from weighbridge.ledger.sqlite import SQLite

DAY = (NOON - EPOCH).days
HEAP = Heap(
    name=None,
    day=DAY,
    location="local",
    upstream="local",
    baseline_upstream="remote",
    is_stream=False,
    is_first=True,
    status="settled",
    end_reason="ok",
    slot=6,
    threshold=0.52,
    requests=1,
    known_costs=1,
    cost=7,
    baseline=518_000,
    compared=1,
    compared_cost=7,
    compared_baseline=518_000,
    ttft_us=[310_000],
    latency_us=[2_250_000],
    output_tokens=[220],
)
WORK = Work(
    name=None,
    day=DAY,
    upstream="local",
    location="local",
    baseline_upstream="remote",
    measured=0,
    measured_mj=0,
    others=1,
    others_us=2_250_000,
    without_tokens=0,
    output_tokens=220,
    answered_tokens=220,
)
UNTIMED: dict[str, list[int]] = {"ttft_us": [], "latency_us": [], "output_tokens": []}
NO_WORK = {"upstream": None, "location": None, "others": 0, "others_us": 0, "output_tokens": 0}


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, {}),
        ({"cost_nano_usd": 0}, {"cost": 0, "compared_cost": 0}),
        ({"cost_nano_usd": None},
         {"known_costs": 0, "cost": 0, "compared": 0, "compared_cost": 0, "compared_baseline": 0}),
        ({"baseline_cost_nano_usd": None}, {"baseline": 0, "compared": 0, "compared_cost": 0, "compared_baseline": 0}),
        ({"baseline_cost_nano_usd": 0}, {"baseline": 0, "compared_baseline": 0}),
        ({"end_reason": "timeout"}, {"end_reason": "timeout"} | UNTIMED),
        ({"end_reason": None, "status": "sent"}, {"end_reason": None, "status": "sent"} | UNTIMED),
        ({"ttft_s": None}, {"ttft_us": [-1]}),
        ({"ttft_s": 0.0, "latency_s": 0.0000016}, {"ttft_us": [0], "latency_us": [2]}),
        ({"latency_s": None}, {"latency_us": [-1]}),
        ({"output_tokens": None}, {"output_tokens": [-1]}),
        ({"output_tokens": 0}, {"output_tokens": [0]}),
        ({"score": None}, {"slot": None}),
        ({"score": 0.0}, {"slot": 0}),
        ({"score": 0.9499}, {"slot": 18}),
        ({"score": 1.0}, {"slot": 19}),
        ({"threshold": None}, {"threshold": None}),
        ({"attempts": 0}, {}),
        ({"attempts": 2}, {"is_first": False}),
        ({"is_stream": True}, {"is_stream": True}),
        ({"upstream": "far", "location": "remote", "baseline_upstream": "b"},
         {"upstream": "far", "location": "remote", "baseline_upstream": "b"}),
        ({"created_at": EPOCH - timedelta(seconds=1)}, {"day": -1}),
        ({"created_at": NOON + timedelta(hours=12)}, {"day": DAY + 1}),
    ],
)  # fmt: skip
def test_a_request_is_a_heap_of_its_own(changes: dict[str, Any], differs: dict[str, Any]) -> None:
    assert heap_of(entry(**{"cost_nano_usd": 7} | changes), None) == HEAP._replace(**differs)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, {}),
        ({"status": "unknown"}, {}),
        ({"status": "released"}, NO_WORK),
        ({"upstream": None, "location": None}, NO_WORK),
        ({"latency_s": None}, NO_WORK),
        ({"latency_s": 0.0}, {"others_us": 0}),
        ({"output_tokens": None}, {"without_tokens": 1, "output_tokens": 0, "answered_tokens": 0}),
        ({"output_tokens": None, "status": "released"}, NO_WORK | {"answered_tokens": 0}),
        ({"output_tokens": 0}, {"output_tokens": 0, "answered_tokens": 0}),
        ({"upstream": "far", "location": "remote", "baseline_upstream": None},
         {"upstream": "far", "location": "remote", "baseline_upstream": None}),
        ({"created_at": NOON + timedelta(hours=12)}, {"day": DAY + 1}),
    ],
)  # fmt: skip
def test_a_request_is_the_work_of_one_attempt(changes: dict[str, Any], differs: dict[str, Any]) -> None:
    assert work_of(entry(**changes), None) == WORK._replace(**differs)


@pytest.mark.parametrize("by", get_args(Dimension))
def test_both_are_named_by_the_dimension_that_was_asked_for(by: Dimension) -> None:
    one = entry(route="r", upstream="u", rule="rule", caller="c", task="t")
    expected = {"route": "r", "upstream": "u", "rule": "rule", "caller": "c", "task": "t", "day": None}[by]
    assert (heap_of(one, by).name, work_of(one, by).name) == (expected, expected)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (EPOCH, 0),
        (datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC), 1_000_001),
        (datetime(2026, 3, 14, 12, 0, 0, 123456, tzinfo=UTC), 1_773_489_600_123_456),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1),
    ],
)
def test_an_instant_is_kept_to_the_microsecond(moment: datetime, expected: int) -> None:
    assert microseconds(moment) == expected


async def test_a_store_that_cannot_sum_tells_each_request_of_the_span(tmp_path: Path) -> None:
    ledger = SQLite(path=str(tmp_path / "ledger.db"))
    await ledger.aopen()
    for hour in range(3):
        await record(ledger, request_id=f"{hour}", created_at=NOON + timedelta(hours=hour), route=f"{hour}")
    await ledger.aclose()
    span = (NOON + timedelta(hours=1), NOON + timedelta(hours=2))
    assert list(Ledger.heaps(ledger, "route", *span)) == [heap_of(entry(route="1"), "route")]
    assert list(Ledger.work(ledger, "route", *span)) == [work_of(entry(route="1"), "route")]
    assert [heap.name for heap in Ledger.heaps(ledger, "route")] == ["0", "1", "2"]
    assert [work.name for work in Ledger.work(ledger, "route")] == ["0", "1", "2"]
