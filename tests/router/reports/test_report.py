"""The report: it adds up to the ledger, and says what it does not know."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bookkeeping import NOON, entry, of, record, remote
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.ledger.base import CannotOpen, Entry
from weighbridge.ledger.sqlite import SQLite
from weighbridge.reports.latency import quantile
from weighbridge.reports.report import DIMENSIONS, Dimension, parse_since, report

amounts = st.none() | st.integers(0, 10**15)
entries = st.builds(
    lambda cost, baseline, place, day, end, caller: entry(
        cost_nano_usd=cost,
        baseline_cost_nano_usd=baseline,
        upstream=place,
        location=place,
        created_at=NOON + timedelta(days=day),
        end_reason=end,
        caller=caller,
    ),
    amounts,
    amounts,
    st.sampled_from(["local", "remote", None]),
    st.integers(-400, 400),
    st.sampled_from(["ok", "client_gone", "timeout", "error", "refused", "upstream_cut", None]),
    st.text(max_size=3),
)


@given(st.lists(entries, max_size=40), st.none() | st.sampled_from(DIMENSIONS))
def test_it_adds_up_to_the_ledger_to_the_nano_dollar(given_entries: list[Entry], by: Dimension | None) -> None:
    made = of(*given_entries, by=by)
    total = made.total.savings
    both = [
        (e.cost_nano_usd, e.baseline_cost_nano_usd)
        for e in given_entries
        if e.cost_nano_usd is not None and e.baseline_cost_nano_usd is not None
    ]
    assert total.requests == len(given_entries)
    assert total.cost_nano_usd == sum(e.cost_nano_usd or 0 for e in given_entries)
    assert total.baseline_cost_nano_usd == sum(e.baseline_cost_nano_usd or 0 for e in given_entries)
    assert total.saved_nano_usd == (sum(b - c for c, b in both) if both else None)
    assert total.compared_requests == len(both)
    assert total.unknown_cost_requests == sum(e.cost_nano_usd is None for e in given_entries)
    assert sum(day.requests for day in made.days) == len(given_entries)
    if by:
        assert sum(g.figures.savings.cost_nano_usd for g in made.groups) == total.cost_nano_usd
        assert sum(g.figures.savings.requests for g in made.groups) == total.requests
        assert sum(g.figures.errors for g in made.groups) == made.total.errors


async def test_it_says_what_the_tables_say(tmp_path: Path) -> None:
    ledger = SQLite(path=str(tmp_path / "ledger.db"))
    await ledger.aopen()
    for i in range(40):
        changes: dict[str, Any] = {"request_id": f"{i}", "cost_nano_usd": None if i % 7 == 0 else i * 1_000_003}
        await record(ledger, **changes, end_reason="timeout" if i % 5 == 0 else "ok")
    await ledger.aclose()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        (cost,) = connection.execute("SELECT sum(cost_nano_usd) FROM requests").fetchone()
        (paid,) = connection.execute("SELECT sum(cost_nano_usd) FROM attempts").fetchone()
    connection.close()
    found = report(ledger, by="upstream").total
    assert found.savings.cost_nano_usd == cost == paid
    assert (found.errors, found.savings.unknown_cost_requests) == (8, 6)


async def test_an_empty_ledger_has_a_report(tmp_path: Path) -> None:
    ledger = SQLite(path=str(tmp_path / "ledger.db"))
    with pytest.raises(CannotOpen):
        report(ledger)
    await ledger.aopen()
    await ledger.aclose()
    made = report(ledger, "7d", by="route")
    assert made.total.savings.requests == 0
    assert made.total.savings.saved_nano_usd is None
    assert (made.groups, made.days, made.scores) == ((), (), None)


async def test_only_the_asked_span_is_read(tmp_path: Path) -> None:
    ledger = SQLite(path=str(tmp_path / "ledger.db"))
    await ledger.aopen()
    for days in (0, 3, 9):
        await record(ledger, request_id=f"{days}", created_at=NOON - timedelta(days=days))
    await ledger.aclose()
    now = NOON + timedelta(minutes=1)
    assert report(ledger, now=now).total.savings.requests == 3
    assert report(ledger, "7d", now=now).total.savings.requests == 2
    assert report(ledger, "30d", "2d", now=now).total.savings.requests == 2
    assert report(ledger, "2026-03-14", now=now).total.savings.requests == 1


def test_unknown_costs_stay_unknown() -> None:
    counted = of(entry(cost_nano_usd=None), entry(baseline_cost_nano_usd=None)).total.savings
    assert (counted.saved_nano_usd, counted.saved_fraction) == (None, None)
    assert (counted.left_out_requests, counted.unknown_cost_requests) == (2, 1)


def test_cancelled_and_failed_requests_count_in_the_cost() -> None:
    made = of(*(entry(end_reason=end, cost_nano_usd=5) for end in ("client_gone", "error", "ok")))
    assert made.total.savings.cost_nano_usd == 15
    assert made.total.errors == 1


def test_a_refused_request_has_nothing_to_compare() -> None:
    refused = entry(
        status="released", end_reason="refused", cost_nano_usd=0, baseline_cost_nano_usd=None, location=None
    )
    counted = of(refused).total.savings
    assert (counted.left_out_requests, counted.unknown_cost_requests, counted.requests) == (0, 0, 1)


def test_time_saved_is_estimated_from_the_baselines_observed_pace() -> None:
    seen = [remote(ttft_s=1.0, latency_s=3.0, output_tokens=100) for _ in range(5)]  # 1 s, then 20 ms per token
    kept = [entry(output_tokens=50, latency_s=0.5), entry(output_tokens=200, latency_s=9.0)]
    made = of(*seen, *kept).total.latency
    assert made.saved_s == pytest.approx((1 + 50 * 0.02 - 0.5) + (1 + 200 * 0.02 - 9.0))
    assert made.why == "estimated for 2 answers from the baseline's observed pace"


def test_what_a_discarded_draft_took_counts_against_the_time_saved() -> None:
    seen = [remote(ttft_s=1.0, latency_s=3.0, output_tokens=100) for _ in range(5)]
    late = remote(reason="cascade_escalated", attempts=2, ttft_s=5.0, latency_s=7.0, output_tokens=100)
    assert of(*seen, late).total.latency.saved_s == pytest.approx(-4.0)


def test_whole_answers_tell_the_pace_where_there_are_no_streams() -> None:
    seen = [remote(is_stream=False, ttft_s=4.0, latency_s=4.0, output_tokens=100) for _ in range(5)]
    assert of(*seen, entry(output_tokens=50, latency_s=0.5)).total.latency.saved_s == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ([entry()], "fewer than 5 answers"),
        ([entry(), *[remote(upstream="another")] * 9], "fewer than 5 answers"),
        ([remote()], "no local answer"),
        ([entry(output_tokens=None), *[remote()] * 9], "no local answer"),
    ],
)
def test_without_evidence_no_time_is_saved(seen: list[Entry], why: str) -> None:
    made = of(*seen).total.latency
    assert made.saved_s is None
    assert why in made.why


def test_latency_is_that_of_answers_that_ended_well() -> None:
    made = of(entry(latency_s=1.0), entry(latency_s=99.0, end_reason="timeout"), remote(latency_s=2.0, ttft_s=None))
    assert (made.total.latency.local.p50_s, made.total.latency.local.p95_s) == (1.0, 1.0)
    assert (made.total.latency.remote.p50_s, made.total.latency.remote.ttft_p50_s) == (2.0, None)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_lies_between_its_neighbours(values: list[float], fraction: float) -> None:
    values.sort()
    found = quantile(values, fraction)
    assert found is not None
    assert values[0] <= found <= values[-1] + 1e-9


def test_groups_are_the_largest_first_and_days_in_order() -> None:
    seen = [entry(caller="b"), entry(caller="b"), entry(caller="a", created_at=NOON - timedelta(days=1))]
    assert [g.name for g in of(*seen, by="caller").groups] == ["b", "a"]
    assert [g.name for g in of(*seen, by="day").groups] == ["2026-03-13", "2026-03-14"]
    assert [g.name for g in of(entry(rule=None), by="rule").groups] == [None]


def test_scores_are_counted_with_the_threshold_most_applied() -> None:
    made = of(entry(score=0.0), entry(score=1.0), entry(score=0.52, threshold=0.7), entry(score=None, threshold=None))
    assert made.scores is not None
    assert (made.scores.counts[0], made.scores.counts[10], made.scores.counts[19]) == (1, 1, 1)
    assert made.scores.threshold == 0.52


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", NOON - timedelta(days=7)),
        ("24h", NOON - timedelta(hours=24)),
        (" 90M ", NOON - timedelta(minutes=90)),
        ("2w", NOON - timedelta(weeks=2)),
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T12:00:00+02:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("999999w", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_span_is_read(text: str, moment: datetime) -> None:
    assert parse_since(text, NOON) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "7", "d7", "7y", "2026-13-01"])
def test_what_is_no_span_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write 7d, 24h"):
        parse_since(text, NOON)
