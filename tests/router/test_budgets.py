"""What a budget counts, when its span begins and ends, and how it presses."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from weighbridge.budgets import HELD_S, Budget, Budgets, Exhausted, Hold
from weighbridge.ledger.base import CannotOpen, Spent, UnderWay
from weighbridge.state.base import Claim, Held, State, Unreachable
from weighbridge.state.memory import Memory

_numbers = itertools.count(1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def budgets(*tables: dict, spent: list[Spent] | None = None, state: State | None = None) -> Budgets:
    made = [Budget.model_validate({"name": f"b{i}", **table}) for i, table in enumerate(tables)]
    return Budgets(made, state or Memory(), lambda _: spent or [], lambda _: [])


async def claim(
    them: Budgets,
    cost: int = 0,
    tokens: int = 0,
    *,
    caller: str = "ann",
    is_local: bool = False,
    counted=frozenset(),
    holder: str = "",
):
    kept = {"is_local": is_local, "counted": counted, "holder": holder or f"request/{next(_numbers)}"}
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
    ("table", "key"),
    [
        ({"usd": "1", "per": "minute"}, '["b","","2026-03-05T22:20:00+00:00"]'),
        ({"requests": 1, "over": "caller"}, '["b","ann","2026-03-05T00:00:00+00:00"]'),
        ({"usd": "1", "over": "route", "timezone": "Asia/Kolkata"}, '["b","auto","2026-03-06T00:00:00+05:30"]'),
        ({"tokens": 1, "per": "month", "timezone": "Europe/Berlin"}, '["b","","2026-03-01T00:00:00+01:00"]'),
        ({"concurrency": 1, "over": "caller"}, '["b","ann",""]'),
    ],
)
def test_a_counter_has_the_same_name_in_every_gateway(table, key):
    """The budget, whom it counts, and since when; places have no beginning."""
    assert Budget(name="b", **table).key("ann", "auto", at("2026-03-05T22:20:30.5")) == key


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


def test_a_config_may_do_without_budgets():
    assert budgets({"usd": "1"})
    assert not budgets()


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
    refusing, places = {"requests": 1, "at_cap": "refuse"}, {"concurrency": 1}
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

    async def leave(self, places: Mapping[str, str]) -> None:
        raise Unreachable


async def test_a_state_that_does_not_answer_lets_pass_or_stops_as_configured():
    assert isinstance(await claim(budgets({"usd": "1"}, state=Away())), Hold)
    assert await budgets({"usd": "1"}, state=Away()).pressure("ann", "auto") == 0
    with pytest.raises(Unreachable):
        await claim(budgets({"usd": "1"}, state=Away(fail="closed")))


async def test_an_attempt_that_ends_while_the_state_is_away_is_left_to_the_ledger():
    hold = await claim(budgets({"concurrency": 1}, state=Away()))
    assert hold.amounts
    await budgets(state=Away()).settle(hold, cost=None, tokens=None)


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


class Noting(Memory):
    """A store that several gateways share, and that notes what they ask of it."""

    is_shared: ClassVar[bool] = True

    asked: list[Any] = Field(default_factory=list)

    async def take(self, claims: Sequence[Claim]) -> str | None:
        refused = await super().take(claims)
        self.asked.append(list(claims))
        return refused

    async def give(self, amounts: Mapping[str, int]) -> None:
        self.asked.append(("give", amounts))

    async def leave(self, places: Mapping[str, str]) -> None:
        self.asked.append(("leave", places))

    async def rebuild(self, levels: Mapping[str, tuple[int, float]], places: Mapping[str, Held] | None = None) -> bool:
        self.asked.append((levels, places))
        return await super().rebuild(levels)


# A month of Kolkata begins at another moment than any day of UTC, and neither ends within a test but by great bad luck.
DOLLARS = Budget(name="dollars", usd="2", per="month", timezone="Asia/Kolkata", over="caller")
CENTS = Budget(name="cents", usd="0.5", per="month", timezone="Asia/Kolkata", at_cap="refuse", routes=("auto",))
ASKED = Budget(name="asked", requests=3, routes=("", "auto"))
ANSWERED = Budget(name="answered", requests=9, at_cap="refuse", over="route")
WORDS = Budget(name="words", tokens=1000, at_cap="refuse", callers=("ann",))
AT_ONCE = Budget(name="at once", concurrency=2, over="caller")
PLACES = Budget(name="places", concurrency=5, at_cap="refuse", over="route")
EVERY = (DOLLARS, CENTS, ASKED, ANSWERED, WORDS, AT_ONCE, PLACES)


def key(budget: Budget, caller: str = "ann", route: str = "auto") -> str:
    return budget.key(caller, route, datetime.now(UTC))


def soon(budget: Budget) -> Any:
    """When the present span ends, give or take."""
    return pytest.approx(budget.left_s(datetime.now(UTC)), abs=60)


def every(state: State, spent: Any = lambda _: [], under_way: Any = lambda _: []) -> Budgets:
    return Budgets(EVERY, state, spent, under_way)


async def test_an_attempt_claims_its_worst_of_every_kind_and_gives_back_what_it_did_not_take():
    state = Noting()
    them = every(state)
    hold = await claim(them, cost=800, tokens=90, holder="r/2", counted={key(ASKED)})
    assert state.asked[-1] == [
        Claim(key(DOLLARS), 800, 2_000_000_000, soon(DOLLARS)),
        Claim(key(CENTS), 800, 500_000_000, soon(CENTS)),
        Claim(key(ASKED), 0, 3, soon(ASKED)),
        Claim(key(ANSWERED), 1, 9, soon(ANSWERED)),
        Claim(key(WORDS), 90, 1000, soon(WORDS)),
        Claim(key(AT_ONCE), 1, 2, 3600, "r/2"),
        Claim(key(PLACES), 1, 5, 3600, "r/2"),
    ]
    kinds = ("usd", "usd", "requests", "requests", "tokens", "concurrency", "concurrency")
    amounts = (800, 800, 0, 1, 90, 1, 1)
    assert hold == Hold(dict(zip(map(key, EVERY), zip(kinds, amounts, strict=True), strict=True)), "r/2")
    assert hold.requests == {key(ASKED), key(ANSWERED)}
    await them.settle(hold, cost=100, tokens=95)
    assert state.asked[-2:] == [
        ("leave", {key(AT_ONCE): "r/2", key(PLACES): "r/2"}),
        ("give", {key(DOLLARS): -700, key(CENTS): -700, key(WORDS): 5}),
    ]


async def test_a_local_attempt_claims_from_those_alone_that_refuse():
    state = Noting()
    hold = await claim(every(state), cost=0, tokens=90, is_local=True)
    assert [one.key for one in state.asked[-1]] == [key(CENTS), key(ANSWERED), key(WORDS), key(PLACES)]
    assert list(hold.amounts) == [key(CENTS), key(ANSWERED), key(WORDS), key(PLACES)]


async def test_what_turned_out_as_claimed_is_not_put_right():
    state = Noting()
    them = every(state)
    hold = await claim(them, cost=800, tokens=90, holder="r/1")
    await them.settle(hold, cost=800, tokens=None)
    assert state.asked[-1] == ("leave", {key(AT_ONCE): "r/1", key(PLACES): "r/1"})


@pytest.mark.parametrize(("table", "wait_s"), [({"concurrency": 1}, 1.0), ({"requests": 1, "per": "month"}, None)])
async def test_who_finds_a_budget_used_up_is_told_which_one_and_how_long_to_wait(table, wait_s):
    full = Budget(name="full", at_cap="refuse", **table)
    them = Budgets([ANSWERED, full], Memory(), lambda _: [], lambda _: [])
    assert isinstance(await claim(them), Hold)
    assert await claim(them) == Exhausted(full, wait_s or soon(full))


async def test_a_place_that_could_not_be_counted_is_given_back_all_the_same():
    hold = await claim(every(Away()), cost=800, holder="r/1")
    assert hold == Hold({key(AT_ONCE): ("concurrency", 1), key(PLACES): ("concurrency", 1)}, "r/1")
    state = Noting()
    await every(state).settle(hold, cost=0, tokens=0)
    assert state.asked == [("leave", {key(AT_ONCE): "r/1", key(PLACES): "r/1"})]


async def test_counters_are_rebuilt_from_all_that_the_ledger_holds_of_their_span():
    def spent(since: datetime) -> list[Spent]:
        if since == DOLLARS.since(datetime.now(UTC)):
            return [Spent("ann", "auto", "remote", 900, 7, 50, 5), Spent("ann", None, "local", 70, 9, 90, 9)]
        assert since == ASKED.since(datetime.now(UTC))
        return [
            Spent("ann", "auto", "remote", 300, 3, 20, 2),
            Spent("bob", "auto", "local", 0, 4, 30, 4),
            Spent("bob", None, "remote", 40, 2, 10, 1),
            Spent("ann", "other", "remote", 5, 1, 6, 0),
        ]

    state = Noting()
    await every(state, spent).rebuild()
    levels, places = state.asked[-1]
    known = [one for one in levels if one.startswith("budgets-")]
    assert levels == {
        key(DOLLARS): (900, soon(DOLLARS)),
        key(CENTS): (900, soon(CENTS)),
        key(ASKED): (5, soon(ASKED)),
        key(ANSWERED, route="auto"): (6, soon(ANSWERED)),
        key(ANSWERED, route=""): (1, soon(ANSWERED)),
        key(ANSWERED, route="other"): (0, soon(ANSWERED)),
        key(WORDS): (26, soon(WORDS)),
        known[0]: (1, 366 * 86400),
    }
    assert places == {}


def under_way(since: datetime) -> list[UnderWay]:
    assert since == pytest.approx(datetime.now(UTC) - timedelta(seconds=HELD_S), abs=timedelta(seconds=60))
    return [
        UnderWay("ann", "auto", "remote", "r1/1"),
        UnderWay("bob", None, "remote", "r2/1"),
        UnderWay("ann", "auto", "local", "r3/1"),
        UnderWay("ann", "auto", "remote", "r4/2"),
    ]


async def test_those_under_way_have_their_places_when_the_counters_are_rebuilt():
    state = Noting()
    await every(state, under_way=under_way).rebuild()
    assert state.asked[-1][1] == {
        key(AT_ONCE): Held(["r1/1", "r4/2"], 3600),
        key(AT_ONCE, "bob"): Held(["r2/1"], 3600),
        key(PLACES): Held(["r1/1", "r3/1", "r4/2"], 3600),
        key(PLACES, route=""): Held(["r2/1"], 3600),
    }


@pytest.mark.parametrize(("budget", "state"), [(DOLLARS, Noting()), (PLACES, Memory())])
async def test_nobody_asks_the_ledger_for_places_that_are_not_counted_or_not_forgotten(budget, state):
    def unasked(_: datetime) -> list[UnderWay]:
        raise AssertionError

    await Budgets([budget], state, lambda _: [], unasked).rebuild()


async def test_a_store_is_known_once_it_has_counted_for_these_budgets():
    state = Noting()
    for _ in range(2):  # as two gateways, or one before and after a reload
        them = Budgets([DOLLARS], state, lambda _: [], lambda _: [])
        for _ in range(2):
            assert isinstance(await claim(them), Hold)
    rebuilds = [one for one in state.asked if isinstance(one, tuple)]
    assert (len(rebuilds), len(state.asked)) == (1, 5)
