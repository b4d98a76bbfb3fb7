"""What every shared state does, whichever is configured."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis_server

from weighbridge.plugins import build, implementations
from weighbridge.state.base import Claim, Forgotten, Held, State

SHELF = "weighbridge.state"
OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "memory": dict,
    "redis": lambda: {"prefix": redis_server.new_prefix(), "timeout_s": 5},
}


def test_every_state_on_the_shelf_is_tested_here() -> None:
    assert set(implementations(SHELF, State)) == set(OPTIONS)


@pytest.fixture(params=sorted(OPTIONS))
async def empty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[State]:
    if request.param == "redis":
        monkeypatch.setenv(redis_server.VARIABLE, redis_server.running().url)
    made = build(SHELF, request.param, OPTIONS[request.param](), State)
    await made.aopen()
    yield made
    await made.aclose()


@pytest.fixture(params=sorted(OPTIONS))
async def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[State]:
    """One with room for three notes of three thousand characters."""
    if request.param == "redis":
        monkeypatch.setenv(redis_server.VARIABLE, redis_server.running().url)
    made = build(SHELF, request.param, OPTIONS[request.param]() | {"answers_max_mb": 11_000 / (1 << 20)}, State)
    await made.aopen()
    yield made
    await made.aclose()


@pytest.fixture
async def state(empty: State) -> State:
    assert await empty.rebuild({})
    return empty


def claim(amount: int, cap: int = 100, key: str = "day", ttl_s: float = 60) -> Claim:
    return Claim(key, amount, cap, ttl_s)


async def test_claims_add_up_to_the_cap_and_no_further(state: State) -> None:
    assert [await state.take([claim(40)]) for _ in range(3)] == [None, None, "day"]
    assert await state.levels(["day", "other"]) == [80, 0]
    assert await state.take([claim(20)]) is None


async def test_several_claims_are_taken_together_or_not_at_all(state: State) -> None:
    await state.take([claim(90, key="month")])
    assert await state.take([claim(10), claim(20, key="month")]) == "month"
    assert await state.levels(["day", "month"]) == [0, 90]


async def test_what_was_not_used_is_given_back(state: State) -> None:
    await state.take([claim(100)])
    await state.give({"day": -70, "never": -5})
    assert await state.levels(["day", "never"]) == [30, 0]
    await state.give({"day": -70})
    assert await state.levels(["day"]) == [0]


async def test_a_counter_whose_time_is_over_begins_again(state: State) -> None:
    await state.take([claim(100, ttl_s=0.05)])
    assert await state.take([claim(1, ttl_s=0.05)]) == "day"
    deadline = time.monotonic() + 5
    while (refused := await state.take([claim(100)])) and time.monotonic() < deadline:
        pass
    assert refused is None


async def test_sixty_four_callers_at_once_never_take_more_than_there_is(state: State) -> None:
    async def caller() -> int:
        return sum([await state.take([claim(3, cap=1000)]) is None for _ in range(10)])

    taken = await asyncio.gather(*(caller() for _ in range(64)))
    assert sum(taken) == 333
    assert await state.levels(["day"]) == [999]


async def test_an_empty_state_gives_nothing_before_it_is_rebuilt(empty: State) -> None:
    with pytest.raises(Forgotten):
        await empty.take([claim(1)])
    assert await empty.rebuild({"day": (95, 60.0)})
    assert not await empty.rebuild({"day": (0, 60.0)})
    assert await empty.take([claim(10)]) == "day"
    assert await empty.levels(["day"]) == [95]


async def test_a_state_that_was_made_to_forget_is_rebuilt_like_an_empty_one(state: State) -> None:
    await state.take([claim(40)])
    await state.forget()
    assert await state.levels(["day"]) == [0]
    with pytest.raises(Forgotten):
        await state.take([claim(1)])
    assert await state.rebuild({"day": (30, 60.0)})
    assert await state.levels(["day"]) == [30]


async def test_amounts_are_exact_to_the_last_nano_dollar(state: State) -> None:
    # 2^53 nano-dollars are nine million dollars; from there on a double would lose the last of them.
    most = 2**60 + 1
    assert await state.take([claim(2**60, cap=most)]) is None
    assert await state.take([claim(2, cap=most)]) == "day"
    assert await state.take([claim(1, cap=most)]) is None
    assert await state.levels(["day"]) == [most]
    await state.give({"day": -(2**59) - 1})
    assert await state.levels(["day"]) == [2**59]


async def test_a_cap_without_end_is_no_trouble(state: State) -> None:
    assert await state.take([claim(5, cap=10**30)]) is None
    assert await state.take([claim(5, cap=0), claim(5, key="other")]) == "day"
    assert await state.levels(["day", "other"]) == [5, 0]


async def test_a_note_is_changed_only_by_who_knows_what_it_was(state: State) -> None:
    assert await state.swap("key", None, "mine", 60) is None
    assert await state.swap("key", None, "yours", 60) == "mine"
    assert await state.swap("key", "yours", "theirs", 60) == "mine"
    assert await state.swap("key", "mine", "übersetzt \x00\xff", 60) == "mine"
    assert await state.swap("key", "übersetzt \x00\xff", None, 60) == "übersetzt \x00\xff"
    assert await state.swap("key", "gone", "back", 60) is None
    assert await state.swap("key", None, "anew", 60) is None


async def test_of_many_who_claim_a_note_one_gets_it(state: State) -> None:
    there = await asyncio.gather(*(state.swap("key", None, str(i), 60) for i in range(64)))
    assert there.count(None) == 1
    assert set(there) == {None, str(there.index(None))}


async def test_a_note_runs_out(state: State) -> None:
    assert await state.swap("key", None, "mine", 0.05) is None
    deadline = time.monotonic() + 5
    while (there := await state.swap("key", None, "yours", 60)) and time.monotonic() < deadline:
        pass
    assert there is None


async def test_notes_outlive_what_the_counters_forget(state: State) -> None:
    await state.swap("key", None, "mine", 60)
    await state.forget()
    assert await state.swap("key", None, "yours", 60) == "mine"


async def test_the_notes_written_longest_ago_make_room(small: State) -> None:
    for name in ("a", "b", "c"):
        await small.swap(name, None, name * 3000, 60)
    await small.swap("a", "a" * 3000, "A" * 3000, 60)
    await small.swap("d", None, "d" * 3000, 60)
    there = [await small.swap(name, "", None, 60) for name in ("a", "b", "c", "d")]
    assert there == ["A" * 3000, None, "c" * 3000, "d" * 3000]


async def test_what_has_run_out_takes_no_room(small: State) -> None:
    await small.swap("short", None, "s" * 3000, 0.05)
    deadline = time.monotonic() + 5
    while await small.swap("short", "", None, 60) and time.monotonic() < deadline:
        pass
    for name in ("a", "b", "c"):
        await small.swap(name, None, name * 3000, 60)
    assert [await small.swap(name, "", None, 60) for name in ("a", "b", "c")] == [n * 3000 for n in "abc"]


def place(holder: str, ttl_s: float = 60) -> Claim:
    return Claim("places", 1, 2, ttl_s, holder)


async def test_a_place_is_given_back_by_its_holder_and_once_is_as_twice(state: State) -> None:
    assert [await state.take([place(name)]) for name in "abc"] == [None, None, "places"]
    for _ in range(2):
        await state.leave({"places": "a", "others": "a"})
    assert [await state.take([place(name)]) for name in "cd"] == [None, "places"]


async def test_a_place_is_taken_together_with_what_else_is_claimed(state: State) -> None:
    assert await state.take([place("a"), claim(60)]) is None
    assert await state.take([place("b"), claim(60)]) == "day"
    assert await state.take([place("b"), claim(40)]) is None
    assert await state.take([claim(0), place("c")]) == "places"


async def test_a_place_whose_holder_has_died_is_free_after_its_time(state: State) -> None:
    assert await state.take([place("a"), place("b", ttl_s=0.05)]) is None
    deadline = time.monotonic() + 5
    while (refused := await state.take([place("c")])) and time.monotonic() < deadline:
        pass
    assert refused is None
    assert await state.take([place("d")]) == "places"


async def test_places_are_not_given_anew_when_the_rest_is_rebuilt(state: State) -> None:
    assert [await state.take([place(name)]) for name in "ab"] == [None, None]
    await state.forget()
    assert await state.rebuild({"day": (1, 60.0)}, {"places": Held(["a", "b"], 60.0)})
    assert await state.take([place("c")]) == "places"
    await state.leave({"places": "a"})
    assert await state.take([place("c")]) is None
