"""What a budget counts, when its span begins and ends, and how it presses."""

import asyncio
import itertools
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from weighbridge.budgets import Budget, Budgets, Exhausted, Hold
from weighbridge.ledger.base import CannotOpen, Spent
from weighbridge.state.base import Claim, State, Unreachable
from weighbridge.state.memory import Memory

_numbers = itertools.count(1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def budgets(*tables: dict, spent: list[Spent] | None = None, state: State | None = None) -> Budgets:
    made = [Budget.model_validate({"name": f"b{i}", **table}) for i, table in enumerate(tables)]
    return Budgets(made, state or Memory(), lambda _: spent or [], lambda _: [])


async def claim(
    them: Budgets, cost: int = 0, tokens: int = 0, *, caller: str = "ann", is_local: bool = False, counted=frozenset()
):
    kept = {"is_local": is_local, "counted": counted, "holder": f"request/{next(_numbers)}"}
    return await them.claim(caller, "auto", cost=cost, tokens=tokens, **kept)


@pytest.mark.parametrize(
    ("zone", "per", "now", "since", "left_s"),
    [
        ("UTC", "minute", "2026-03-01T10:20:30", "2026-03-01T10:20:00", 30),
        ("UTC", "day", "2026-03-01T23:59:59", "2026-03-01T00:00:00", 1),
        ("UTC", "month", "2026-02-28T23:59:00", "2026-02-01T00:00:00", 60),
        ("UTC", "month", "2026-12-31T00:00:00", "2026-12-01T00:00:00", 86400),
        ("Europe/Berlin", "day", "2026-03-28T23:30:00", "2026-03-28T23:00:00", 22.5 * 3600),  # an hour is skipped
        ("Europe/Berlin", "day", "2026-10-24T22:30:00", "2026-10-24T22:00:00", 24.5 * 3600),  # an hour comes twice
        ("America/New_York", "month", "2026-03-01T04:59:00", "2026-02-01T05:00:00", 60),
    ],
)
def test_a_span_begins_and_ends_by_the_clock_on_the_wall(zone, per, now, since, left_s):
    """C8: the end of a month, a leap day, a change of hour: each span once, none twice."""
    budget = Budget(name="b", usd="1", timezone=zone, per=per)
    assert budget.since(at(now)).timestamp() == at(since).timestamp()
    assert budget.left_s(at(now)) == left_s


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"usd": "1", "tokens": 5},
        {"usd": "-1"},
        {"usd": "ten"},
        {"usd": "1", "timezone": "Mars"},
        {"usd": "1", "per": "year"},
        {"requests": -1},
        {"concurrency": 0},
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(table):
    with pytest.raises(ValidationError):
        Budget(name="b", **table)


async def test_money_is_claimed_at_its_worst_and_put_right_afterwards():
    them = budgets({"usd": "0.000001"})  # 1,000 nano-USD
    first = await claim(them, cost=800)
    assert isinstance(first, Hold)
    assert isinstance(await claim(them, cost=800), Exhausted)
    await them.settle(first, cost=100, tokens=10)
    assert isinstance(await claim(them, cost=800), Hold)


async def test_what_nobody_knows_stays_claimed():
    them = budgets({"usd": "0.000001"})
    hold = await claim(them, cost=800)
    await them.settle(hold, cost=None, tokens=None)
    assert isinstance(await claim(them, cost=800), Exhausted)


async def test_a_local_attempt_does_not_count_where_the_rest_may_stay_local():
    them = budgets({"requests": 1})
    assert isinstance(await claim(them), Hold)
    assert isinstance(await claim(them), Exhausted)
    assert isinstance(await claim(them, is_local=True), Hold)


async def test_everything_counts_where_the_rest_is_refused():
    them = budgets({"tokens": 100, "at_cap": "refuse"})
    assert isinstance(await claim(them, tokens=90, is_local=True), Hold)
    used_up = await claim(them, tokens=90)
    assert isinstance(used_up, Exhausted)
    assert 0 < used_up.retry_after_s <= 90_000


async def test_each_caller_has_an_allowance_of_its_own():
    them = budgets({"requests": 1, "over": "caller"}, {"requests": 1, "callers": ["bob"]})
    assert isinstance(await claim(them), Hold)
    assert isinstance(await claim(them), Exhausted)
    assert isinstance(await claim(them, caller="bob"), Hold)
    assert isinstance(await claim(them, caller="bob"), Exhausted)


async def test_a_place_is_free_again_when_its_attempt_ends():
    them = budgets({"concurrency": 1, "at_cap": "refuse"})
    hold = await claim(them)
    assert isinstance(await claim(them), Exhausted)
    await them.settle(hold, cost=0, tokens=0)
    assert isinstance(await claim(them), Hold)


async def test_pressure_rises_from_its_beginning_to_the_cap():
    them = budgets({"requests": 10, "pressure_from": 0.5})
    seen = []
    for _ in range(10):
        await claim(them)
        seen.append(round(await them.pressure("ann", "auto"), 2))
    assert seen == [0, 0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1]


async def test_only_what_may_go_on_locally_presses():
    refusing, places = {"requests": 2, "at_cap": "refuse"}, {"concurrency": 1}
    them = budgets(refusing, places)
    assert isinstance(await claim(them), Hold)
    assert await them.pressure("ann", "auto") == 0
    assert isinstance(await claim(budgets(places)), Hold)
    assert await budgets().pressure("ann", "auto") == 0


async def test_the_budget_that_is_used_up_most_presses_and_only_those_whom_it_counts():
    them = budgets(
        {"requests": 4, "pressure_from": 0},
        {"requests": 2, "pressure_from": 0, "over": "caller", "callers": ["ann"], "routes": ["auto"]},
    )
    await claim(them)
    assert await them.pressure("ann", "auto") == 0.5
    assert await them.pressure("ann", "other") == 0.25
    assert await them.pressure("bob", "auto") == 0.25


async def test_each_route_has_a_pressure_of_its_own():
    them = budgets({"requests": 2, "pressure_from": 0, "over": "route"})
    await claim(them)
    assert (await them.pressure("ann", "auto"), await them.pressure("ann", "other")) == (0.5, 0)


@pytest.mark.parametrize(("cap", "claims", "pressure"), [(0, 0, 1), (1, 0, 0), (1, 1, 1), (2, 1, 0)])
async def test_a_budget_without_a_rise_presses_at_its_cap_alone(cap, claims, pressure):
    them = budgets({"requests": cap, "pressure_from": 1})
    for _ in range(claims):
        await claim(them)
    assert await them.pressure("ann", "auto") == pressure


async def test_tokens_are_put_right_and_a_request_stays_one():
    them = budgets({"tokens": 100}, {"requests": 2})
    first = await claim(them, tokens=90)
    assert isinstance(await claim(them, tokens=90), Exhausted)
    await them.settle(first, cost=0, tokens=5)
    assert isinstance(await claim(them, tokens=95), Hold)
    assert isinstance(await claim(them), Exhausted)


async def test_the_counters_begin_where_the_ledger_stands():
    spent = [Spent("ann", "auto", "remote", 900, 3, 50, 3), Spent("ann", "auto", "local", 70, 9, 90, 9)]
    them = budgets({"usd": "0.000001"}, {"tokens": 1000, "at_cap": "refuse"}, spent=spent)
    assert isinstance(await claim(them, cost=101), Exhausted)
    assert isinstance(await claim(them, cost=100, tokens=860), Hold)
    assert isinstance(await claim(them, tokens=1), Exhausted)


async def test_a_minute_begins_where_the_ledger_stands_too():
    them = budgets({"requests": 4, "per": "minute"}, spent=[Spent("ann", "auto", "remote", 0, 3, 0, 3)])
    assert isinstance(await claim(them), Hold)
    assert isinstance(await claim(them), Exhausted)


class Away(Memory):
    """A store that never answers."""

    async def take(self, claims: list[Claim]) -> str | None:
        raise Unreachable

    async def levels(self, keys: list[str]) -> list[int]:
        raise Unreachable


async def test_a_state_that_does_not_answer_lets_pass_or_stops_as_configured():
    assert isinstance(await claim(budgets({"usd": "1"}, state=Away())), Hold)
    assert await budgets({"usd": "1"}, state=Away()).pressure("ann", "auto") == 0
    with pytest.raises(Unreachable):
        await claim(budgets({"usd": "1"}, state=Away(fail="closed")))


async def test_budgets_that_are_new_to_a_state_begin_where_the_ledger_stands():
    state, spent = Memory(), [Spent("ann", "auto", "remote", 0, 3, 0, 3)]
    assert isinstance(await claim(budgets({"requests": 10}, spent=spent, state=state)), Hold)
    stricter = budgets({"requests": 4}, spent=spent, state=state)
    assert isinstance(await claim(stricter), Hold)
    assert isinstance(await claim(stricter), Exhausted)
    # The same budgets again, as after a reload, go on where they were.
    assert isinstance(await claim(budgets({"requests": 4}, spent=[], state=state)), Exhausted)


async def test_a_place_is_kept_when_the_counters_are_forgotten():
    state = Memory()
    first = await claim(budgets({"concurrency": 1}, state=state))
    other = budgets({"concurrency": 1}, {"requests": 9}, state=state)
    assert isinstance(await claim(other), Exhausted)
    await other.settle(first, cost=None, tokens=None)
    assert isinstance(await claim(other), Hold)


class Forgetful(Memory):
    """A store whose counters another gateway keeps taking away."""

    async def rebuild(self, levels: dict[str, tuple[int, float]], places: object = None) -> bool:
        return False


async def test_a_state_that_cannot_be_built_up_counts_as_one_that_does_not_answer():
    assert isinstance(await claim(budgets({"usd": "1"}, state=Forgetful())), Hold)
    with pytest.raises(Unreachable):
        await claim(budgets({"usd": "1"}, state=Forgetful(fail="closed")))


async def test_without_the_ledger_there_is_nothing_to_rebuild_counters_from():
    def away(_: datetime) -> list[Spent]:
        raise CannotOpen("the ledger is away")

    with pytest.raises(Unreachable):
        await claim(Budgets([Budget(name="b", usd="1")], Memory(fail="closed"), away, lambda _: []))


async def test_the_counters_are_rebuilt_once_for_all_who_wait_for_them():
    asked = []

    def spent(since: datetime) -> list[Spent]:
        asked.append(since)
        return [Spent("ann", "auto", "remote", 0, 7, 0, 7)]

    them = Budgets([Budget(name="b", requests=10)], Memory(), spent, lambda _: [])
    found = await asyncio.gather(*(claim(them) for _ in range(20)))
    assert sum(isinstance(one, Hold) for one in found) == 3
    assert len(asked) == 1
