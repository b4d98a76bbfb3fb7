"""What every ledger on the shelf must do, whatever it stores its rows in."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import postgres
import pytest
from bookkeeping import NOON, closing, entry, opening, record, reservation, settlement

from weighbridge.errors import Unavailable
from weighbridge.ledger.base import Dimension, Ledger, Spent, UnderWay
from weighbridge.ledger.chain import audit
from weighbridge.ledger.notes import SHADOW, Shadowed, ShadowSpend, Sign, Signal
from weighbridge.plugins import build, implementations

SHELF = "weighbridge.ledger"
# Each file on the shelf is named here, with the options of a ledger that nobody has used.
OPTIONS = {"sqlite": lambda: {"path": "ledger.db"}, "postgres": lambda: {"schema": postgres.new_schema()}}


def test_every_ledger_on_the_shelf_is_tested_here() -> None:
    assert set(implementations(SHELF, Ledger)) == set(OPTIONS)


@pytest.fixture(params=sorted(OPTIONS))
def closed(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.chdir(tmp_path)
    if request.param == "postgres":
        monkeypatch.setenv(postgres.VARIABLE, postgres.running().url())
    return build(SHELF, request.param, OPTIONS[request.param](), Ledger)


@pytest.fixture
async def ledger(closed: Ledger) -> AsyncIterator[Ledger]:
    await closed.aopen()
    yield closed
    await closed.aclose()
    if list(closed.entries()):
        assert audit(closed.links()).findings == []


async def test_a_request_comes_back_as_it_was_recorded(ledger: Ledger) -> None:
    changes = {"rule": "private", "fence": "local", "tags": "a,b", "is_stream": True, "score": 0.1 + 0.2}
    await record(ledger, **changes)
    assert list(ledger.entries()) == [entry(**changes)]


async def test_what_is_unknown_comes_back_unknown(ledger: Ledger) -> None:
    unknown = dict.fromkeys(["score", "threshold", "task", "classifier", "route", "ttft_s", "input_tokens"])
    unknown |= dict.fromkeys(["output_tokens", "cached_tokens", "cost_nano_usd", "baseline_cost_nano_usd"])
    unknown |= dict.fromkeys(["baseline_upstream", "price_version", "reserved_nano_usd"])
    await record(ledger, **unknown, usage_source="none")
    assert list(ledger.entries()) == [entry(**unknown, usage_source="none")]


async def test_a_reserved_request_is_there_before_it_ends(ledger: Ledger) -> None:
    await ledger.reserve(opening(), reservation())
    (open_one,) = ledger.entries()
    assert (open_one.status, open_one.end_reason, open_one.cost_nano_usd) == ("reserved", None, None)


async def test_a_request_of_two_attempts_is_one_entry(ledger: Ledger) -> None:
    await ledger.reserve(opening(), reservation())
    await ledger.settle(settlement(status="unknown", end_reason="timeout", cost_nano_usd=None), None)
    await ledger.reserve(None, reservation(attempt_no=2, upstream="remote"))
    await ledger.settle(
        settlement(attempt_no=2), closing(upstream="remote", attempts=2, reason="fallback", cost_nano_usd=None)
    )
    assert [(e.upstream, e.attempts, e.reason) for e in ledger.entries()] == [("remote", 2, "fallback")]


async def test_what_is_settled_stays_as_it_is(ledger: Ledger) -> None:
    await record(ledger)
    await ledger.settle(settlement(cost_nano_usd=7), closing(cost_nano_usd=7, status="unknown"))
    ledger.sent("request-1", 1)
    assert list(ledger.entries()) == [entry()]


async def test_the_same_attempt_cannot_be_reserved_twice(ledger: Ledger) -> None:
    await ledger.reserve(opening(), reservation())
    with pytest.raises(Unavailable) as caught:
        await ledger.reserve(None, reservation())
    assert caught.value.code == "ledger_conflict"


async def test_one_bad_row_does_not_take_its_neighbours_along(ledger: Ledger) -> None:
    await record(ledger)
    calls = [ledger.reserve(opening(request_id=i), reservation(request_id=i)) for i in ("new-1", "request-1", "new-2")]
    calls.append(ledger.reserve(opening(request_id="new-3", caller="\ud800"), reservation(request_id="new-3")))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [False, True, False, True]
    assert sorted(e.request_id for e in ledger.entries()) == ["new-1", "new-2", "request-1"]


async def test_a_request_that_was_turned_away_has_an_entry(ledger: Ledger) -> None:
    refusal = {"status": "released", "end_reason": "refused", "http_status": 403, "attempts": 0, "error_code": "policy"}
    await ledger.turned_away(opening(), closing(**refusal))
    assert list(ledger.entries()) == [entry(**refusal)]


async def test_feedback_is_kept_and_the_last_word_counts(ledger: Ledger) -> None:
    await record(ledger)
    assert await ledger.feedback("request-1", 0.25, "meh")
    assert await ledger.feedback("request-1", 1.0, None)
    assert not await ledger.feedback("nobody", 1.0, None)
    assert [e.feedback for e in ledger.entries()] == [1.0]


async def test_entries_are_those_of_the_span_oldest_first(ledger: Ledger) -> None:
    for hour in (3, 1, 2, 4):
        await record(ledger, request_id=f"r{hour}", created_at=NOON + timedelta(hours=hour))
    since, until = NOON + timedelta(hours=2), NOON + timedelta(hours=4)
    assert [e.request_id for e in ledger.entries()] == ["r1", "r2", "r3", "r4"]
    assert [e.request_id for e in ledger.entries(since, until)] == ["r2", "r3"]


@pytest.mark.parametrize("by", [None, *get_args(Dimension)])
async def test_heaps_add_up_to_the_entries(ledger: Ledger, by: Dimension | None) -> None:
    """Whatever the store sums by itself, it says what one heap per entry says."""
    for i in range(24):
        changes = {
            "score": None if i % 5 == 0 else i / 24,
            "cost_nano_usd": None if i % 7 == 0 else 10**12 + i,
            "baseline_cost_nano_usd": None if i % 11 == 0 else i,
            "end_reason": "timeout" if i % 6 == 0 else "ok",
            "ttft_s": None if i % 4 == 0 else 0.1,
            "rule": "r" if i % 3 else None,
            "created_at": NOON + timedelta(hours=i % 2 * 24),
        }
        await record(ledger, request_id=f"{i}", **changes)
    until = NOON + timedelta(days=9)
    summed = [heap._asdict() for heap in ledger.heaps(by, NOON, until)]
    apart = [heap._asdict() for heap in Ledger.heaps(ledger, by, NOON, until)]
    for name in ("requests", "known_costs", "cost", "baseline", "compared", "compared_cost", "compared_baseline"):
        assert sum(h[name] for h in summed) == sum(h[name] for h in apart), name
    for name in ("ttft_us", "latency_us", "output_tokens"):
        assert sorted(n for h in summed for n in h[name]) == sorted(n for h in apart for n in h[name]), name
    keys = ("name", "day", "location", "upstream", "is_stream", "status", "end_reason", "slot", "threshold")
    assert {tuple(h[k] for k in keys) for h in summed} == {tuple(h[k] for k in keys) for h in apart}
    assert list(ledger.heaps(by, until)) == []


@pytest.mark.parametrize("by", [None, *get_args(Dimension)])
async def test_work_adds_up_to_the_entries(ledger: Ledger, by: Dimension | None) -> None:
    """Where each request took one attempt, the attempts say what the entries say."""
    for i in range(24):
        changes = {
            "status": "released" if i % 5 == 0 else "settled",
            "output_tokens": None if i % 7 == 0 else i,
            "upstream": "remote" if i % 3 else "local",
            "location": "remote" if i % 3 else "local",
            "rule": "r" if i % 4 else None,
            "created_at": NOON + timedelta(hours=i % 2 * 24),
        }
        await record(ledger, request_id=f"{i}", **changes)
    summed, apart = list(ledger.work(by, NOON)), list(Ledger.work(ledger, by, NOON))
    assert len({work[:5] for work in summed}) == len(summed)
    for keys in {work[:5] for work in apart}:
        [found] = [work for work in summed if work[:5] == keys]
        assert found[5:] == tuple(map(sum, zip(*(work[5:] for work in apart if work[:5] == keys), strict=True)))
    assert list(ledger.work(by, NOON + timedelta(days=9))) == []


async def test_work_is_that_of_every_attempt(ledger: Ledger) -> None:
    await ledger.reserve(opening(), reservation())
    await ledger.settle(settlement(output_tokens=7, latency_s=1.5), None)
    await ledger.reserve(None, reservation(attempt_no=2))
    await ledger.settle(settlement(attempt_no=2, energy_mj=5_000_000_000), None)
    await ledger.reserve(None, reservation(attempt_no=3, upstream="remote", location="remote"))
    there = {"attempt_no": 3, "output_tokens": 11, "upstream": "remote", "location": "remote", "attempts": 3}
    await ledger.settle(settlement(**there), closing(**there))
    here, remote = sorted(ledger.work(), key=lambda work: str(work.upstream))
    assert here[5:] == (1, 5_000_000_000, 1, 1_500_000, 0, 227, 0)
    assert remote[2:5] == ("remote", "remote", "remote")
    assert remote[5:] == (0, 0, 1, 2_250_000, 0, 11, 11)


async def test_what_was_spent_holds_what_may_still_be_owed(ledger: Ledger) -> None:
    await record(ledger, request_id="settled", cost_nano_usd=7)
    await record(ledger, request_id="free", status="released", cost_nano_usd=0)
    await record(ledger, request_id="lost", status="unknown", cost_nano_usd=None, input_tokens=None, output_tokens=None)
    await record(ledger, request_id="early", created_at=NOON - timedelta(seconds=1))
    await ledger.reserve(opening(request_id="open"), reservation(request_id="open"))
    await ledger.settle(settlement(request_id="open", status="unknown", cost_nano_usd=None), None)
    again = {"request_id": "open", "attempt_no": 2, "location": "remote", "reserved_nano_usd": 50}
    await ledger.reserve(None, reservation(**again))
    await record(ledger, request_id="other", caller="team-b", route=None, cost_nano_usd=3)
    refusal = {"status": "released", "attempts": 0, "upstream": None, "model": None, "location": None}
    await ledger.turned_away(opening(request_id="refused"), closing(request_id="refused", cost_nano_usd=0, **refusal))
    found = sorted(ledger.spent(NOON), key=lambda one: (one.caller, one.location))
    assert found == [
        Spent("team-a", "auto", "local", 7 + 900_000 + 900_000, 4, 3 * (312 + 220), 4),
        Spent("team-a", "auto", "remote", 50, 1, 0, 0),
        Spent("team-b", None, "local", 3, 1, 312 + 220, 1),
    ]


async def test_a_request_is_counted_once_wherever_it_went(ledger: Ledger) -> None:
    for no, location in enumerate(("local", "remote", "local", "remote"), 1):
        first = opening() if no == 1 else None
        await ledger.reserve(first, reservation(attempt_no=no, location=location))
    assert sorted(one[2:5:2] + one[6:] for one in ledger.spent(NOON)) == [("local", 1, 1), ("remote", 1, 0)]


async def test_attempts_under_way_are_told_until_they_end(ledger: Ledger) -> None:
    await record(ledger, request_id="settled")
    await ledger.reserve(opening(request_id="open"), reservation(request_id="open"))
    await ledger.settle(settlement(request_id="open", status="released"), None)
    await ledger.reserve(None, reservation(request_id="open", attempt_no=2, location="remote"))
    assert ledger.under_way(NOON) == [UnderWay("team-a", "auto", "remote", "open/2")]
    await ledger.settle(settlement(request_id="open", attempt_no=2), closing(request_id="open", attempts=2))
    assert ledger.under_way(NOON) == []


async def test_a_prompt_is_kept_only_when_asked_for(ledger: Ledger) -> None:
    await record(ledger, prompt="my secret")
    assert [e.prompt for e in ledger.entries()] == [None]


async def test_an_open_ledger_is_writable_and_a_closed_one_is_not(closed: Ledger) -> None:
    assert not await closed.is_writable()
    await closed.aopen()
    assert await closed.is_writable()
    await closed.aclose()
    assert not await closed.is_writable()
    with pytest.raises(Unavailable):
        await closed.reserve(opening(), reservation())


async def test_closing_commits_what_waits(closed: Ledger) -> None:
    await closed.aopen()
    waiting = [closed.reserve(opening(request_id=f"{i}"), reservation(request_id=f"{i}")) for i in range(50)]
    await closed.aclose()
    await asyncio.gather(*waiting)
    assert len(list(closed.entries())) == 50


async def test_a_caller_who_leaves_does_not_stop_the_rest(ledger: Ledger) -> None:
    calls = [
        asyncio.ensure_future(ledger.reserve(opening(request_id=f"{i}"), reservation(request_id=f"{i}")))
        for i in range(3)
    ]
    calls[1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert len(list(ledger.entries())) == 3


async def test_two_ledgers_may_share_one_store(closed: Ledger) -> None:
    second = closed.model_copy()
    await closed.aopen()
    await second.aopen()
    await closed.reserve(opening(request_id="first"), reservation(request_id="first"))
    await record(second, request_id="second")
    await second.aclose()
    # The first is alive: what it has under way is its own.
    assert [(e.request_id, e.status) for e in closed.entries()] == [("first", "reserved"), ("second", "settled")]
    await closed.aclose()


async def test_a_session_is_remembered_with_the_next_settlement_and_after_a_restart(closed: Ledger) -> None:
    await closed.aopen()
    await closed.reserve(opening(), reservation())
    closed.remember(["a", "b"], "local")
    await closed.settle(settlement(), closing())
    assert [await closed.recall(key) for key in ("a", "b", "c")] == ["local", "local", None]
    closed.remember(["a"], "remote")
    await closed.aclose()
    await closed.aopen()
    assert [await closed.recall(key) for key in ("a", "b")] == ["remote", "local"]
    await closed.aclose()


def shadowed(**changes: Any) -> Shadowed:
    row = Shadowed("request-1", NOON, "auto", "small", "local", "remote", 0.5, 1.0, "judge remote", "why?", "a", "b")
    return row._replace(**changes)


async def test_a_shadow_comes_back_as_it_was_judged_and_the_last_judgement_counts(ledger: Ledger) -> None:
    await record(ledger)
    await ledger.note(shadowed(small_worth=0.0))
    await ledger.note(shadowed())
    await record(ledger, request_id="request-2", created_at=NOON + timedelta(hours=1))
    unsaid = dict.fromkeys(["small_worth", "large_worth", "source", "prompt", "small_answer", "large_answer"])
    await ledger.note(shadowed(request_id="request-2", **unsaid))
    assert list(ledger.shadows()) == [
        shadowed(task="code"),
        shadowed(request_id="request-2", task="code", **unsaid),
    ]
    assert [s.request_id for s in ledger.shadows(NOON + timedelta(minutes=1))] == ["request-2"]
    assert list(ledger.shadows(until=NOON)) == []


async def test_any_text_can_be_kept_of_a_shadow(ledger: Ledger) -> None:
    await record(ledger)
    await ledger.note(shadowed(prompt="a\0b", small_answer="é\U0001f600"))
    (found,) = ledger.shadows()
    assert (found.prompt or "").startswith("a")
    assert found.small_answer == "é\U0001f600"


async def test_what_the_gateway_asks_itself_is_money_and_no_traffic(ledger: Ledger) -> None:
    await record(ledger, cost_nano_usd=5)
    ours = {"caller": SHADOW, "upstream": "remote", "location": "remote"}
    await record(ledger, request_id="s1", cost_nano_usd=7, **ours)
    await record(ledger, request_id="s2", cost_nano_usd=None, status="unknown", **ours)
    refusal = {"status": "released", "attempts": 0, "upstream": None, "model": None, "location": None}
    away = {"request_id": "s3", **refusal}
    await ledger.turned_away(opening(request_id="s3", caller=SHADOW), closing(cost_nano_usd=0, **away))
    assert [e.request_id for e in ledger.entries()] == ["request-1"]
    assert sum(heap.requests for heap in ledger.heaps()) == 1
    assert {work.upstream for work in ledger.work()} == {"local"}
    assert ledger.shadow_spend() == [ShadowSpend("remote", 2, 7, 1)]
    assert ledger.shadow_spend(until=NOON) == []
    held = [one for one in ledger.spent(NOON) if one.caller == SHADOW]
    assert held == [Spent(SHADOW, "auto", "remote", 7 + 900_000, 2, 2 * (312 + 220), 2)]


async def test_a_signal_is_kept_once_for_each_kind_and_apart_from_feedback(ledger: Ledger) -> None:
    await record(ledger)
    await ledger.note(Signal("request-1", "repeated", NOON, "request-2"))
    await ledger.note(Signal("request-1", "repeated", NOON, "request-3"))
    await ledger.note(Signal("request-1", "tool_error", NOON, "request-4"))
    assert sorted(ledger.signs()) == [
        Sign("request-1", "repeated", "auto", "local", "local"),
        Sign("request-1", "tool_error", "auto", "local", "local"),
    ]
    assert list(ledger.signs(until=NOON)) == []
    assert [e.feedback for e in ledger.entries()] == [None]
