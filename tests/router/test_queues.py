"""Queues: places, a bounded line, and how long it would take."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.queues import Average, Full, Line


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_who_comes_first_is_served_first() -> None:
    line = Line(1, 8)
    served: list[int] = []

    async def come(number: int) -> None:
        seat = await line.enter(None)
        served.append(number)
        await asyncio.sleep(0)
        seat.leave()

    await asyncio.gather(*(come(number) for number in range(8)))
    assert served == list(range(8))


async def test_a_full_line_turns_away_and_says_how_long_it_would_take() -> None:
    clock = Clock()
    line = Line(2, 1, clock)
    first, _ = await line.enter(None), await line.enter(None)
    clock.now = 3.0
    first.leave()
    again = await line.enter(None)
    waiting = asyncio.ensure_future(line.enter(None))
    await asyncio.sleep(0)
    with pytest.raises(Full) as full:
        await line.enter(None)
    assert full.value.wait_s == 2 * 3.0 / 2
    again.leave()
    (await waiting).leave()


async def test_who_would_wait_too_long_does_not_begin_to() -> None:
    clock = Clock()
    line = Line(1, 8, clock)
    seat = await line.enter(None)
    clock.now = 4.0
    seat.leave()
    await line.enter(None)
    assert line.expected_wait_s == 4.0
    with pytest.raises(Full):
        await line.enter(3.9)
    patient = asyncio.ensure_future(line.enter(4.0))
    await asyncio.sleep(0)
    assert line.expected_wait_s == 8.0
    patient.cancel()
    await asyncio.gather(patient, return_exceptions=True)
    assert line.expected_wait_s == 4.0


async def test_who_has_waited_long_enough_goes_and_leaves_no_gap() -> None:
    line = Line(1, 8)
    seat = await line.enter(None)
    with pytest.raises(Full):
        await line.enter(0.001)
    waiting = asyncio.ensure_future(line.enter(None))
    await asyncio.sleep(0)
    seat.leave()
    seat.leave()  # twice does no harm
    (await waiting).leave()
    assert line.expected_wait_s == 0.0


async def test_a_place_that_comes_as_its_waiter_leaves_goes_to_the_next() -> None:
    line = Line(1, 8)
    seat = await line.enter(None)
    leaving, staying = (asyncio.ensure_future(line.enter(None)) for _ in range(2))
    await asyncio.sleep(0)
    seat.leave()
    leaving.cancel()
    assert await asyncio.wait_for(staying, 5)


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 3))
def test_no_place_is_lost_or_made_whatever_happens(steps: list[int], places: int) -> None:
    async def play() -> None:
        line = Line(places, 5)
        waiting: list[asyncio.Future] = []
        seats = []
        for step in steps:
            if step < 2:
                waiting.append(asyncio.ensure_future(line.enter(None)))
            elif step == 2 and seats:
                seats.pop().leave()
            elif waiting:
                waiting.pop().cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            done = [task for task in waiting if task.done()]
            waiting = [task for task in waiting if not task.done()]
            seats += [task.result() for task in done if not task.cancelled() and not task.exception()]
            assert len(seats) <= places
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for seat in seats:
            seat.leave()
        assert [await line.enter(None) for _ in range(places)]
        with pytest.raises(Full):
            await line.enter(0)

    asyncio.run(play())


def test_an_average_follows_what_is_measured() -> None:
    average = Average()
    assert average.seconds is None
    average.add(2.0)
    assert average.seconds == 2.0
    average.add(7.0)
    assert average.seconds == 3.0
