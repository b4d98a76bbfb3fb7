"""When an upstream is left alone, and when it is looked at again."""

from weighbridge.breaker import ENOUGH, LAST, PROBE_S, WINDOW_S, Breaker


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def opened() -> tuple[Breaker, Clock]:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(ENOUGH):
        breaker.failed()
    return breaker, clock


def test_a_few_failures_do_not_open_it():
    breaker = Breaker(Clock())
    for _ in range(ENOUGH - 1):
        breaker.failed()
    assert breaker.admits()


def test_enough_failures_open_it_and_it_says_for_how_long():
    breaker, clock = opened()
    assert not breaker.admits()
    clock.now_s += 2
    assert breaker.wait_s == PROBE_S - 2


def test_old_failures_do_not_count():
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(3 * ENOUGH):
        breaker.failed()
        breaker.succeeded()
        clock.now_s += WINDOW_S
    assert breaker.admits()


def test_a_failure_counts_to_the_end_of_the_window():
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(ENOUGH - 1):
        breaker.failed()
    clock.now_s += WINDOW_S
    breaker.failed()
    assert breaker.is_open


def test_only_the_last_outcomes_count():
    breaker = Breaker(Clock())
    for _ in range(2):
        for _ in range(ENOUGH - 1):
            breaker.failed()
        for _ in range(LAST):
            breaker.succeeded()
    breaker.failed()
    assert not breaker.is_open


def test_after_a_good_probe_it_takes_as_many_failures_as_before():
    breaker, clock = opened()
    clock.now_s += WINDOW_S + PROBE_S
    breaker.admits()
    breaker.succeeded()
    breaker.failed()
    assert not breaker.is_open


def test_an_open_one_lets_a_single_probe_through():
    breaker, clock = opened()
    clock.now_s += PROBE_S
    assert breaker.admits()
    assert not breaker.admits()


def test_a_probe_that_succeeds_closes_it():
    breaker, clock = opened()
    clock.now_s += PROBE_S
    breaker.admits()
    breaker.succeeded()
    assert [breaker.admits() for _ in range(3)] == [True, True, True]


def test_a_probe_that_fails_keeps_it_open_for_another_while():
    breaker, clock = opened()
    clock.now_s += PROBE_S
    breaker.admits()
    breaker.failed()
    assert breaker.wait_s == PROBE_S
    assert not breaker.admits()


def test_a_probe_whose_client_left_makes_room_for_the_next():
    breaker, clock = opened()
    clock.now_s += PROBE_S
    breaker.admits()
    breaker.left()
    assert breaker.admits()


def test_what_does_not_mend_itself_opens_it_at_once():
    breaker = Breaker(Clock())
    breaker.failed(for_good=True)
    assert breaker.is_open
