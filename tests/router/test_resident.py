"""What the process has in use, how often that is looked at, and what happens when it is too much."""

import mmap

import pytest

from weighbridge.resident import LOOK_S, TRIM_S, Ceiling, resident_bytes


class Machine:
    """A clock, and what is in use."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.resident: int | None = 0
        self.looks = 0
        self.trims = 0

    def look(self) -> int | None:
        self.looks += 1
        return self.resident

    def trim(self) -> None:
        self.trims += 1

    def ceiling(self) -> Ceiling:
        return Ceiling(100, self.look, lambda: self.now_s, self.trim)


@pytest.mark.skipif(resident_bytes() is None, reason="this system does not tell what a process has in use")
def test_memory_that_is_written_to_is_in_use():
    before = resident_bytes()
    with mmap.mmap(-1, 64 << 20) as taken:
        taken.write(b"x" * (64 << 20))
        assert resident_bytes() - before > 60 << 20


def test_it_is_reached_above_and_no_longer_when_memory_falls():
    machine = Machine()
    ceiling = machine.ceiling()
    found = []
    for machine.resident in (100, 101, 100):
        found.append(ceiling.is_reached)
        machine.now_s += LOOK_S
    assert found == [False, True, False]


def test_it_is_looked_at_ten_times_a_second_at_most():
    machine = Machine()
    ceiling = machine.ceiling()
    for _ in range(1000):
        assert not ceiling.is_reached
    assert machine.looks == 1
    machine.now_s += LOOK_S
    assert not ceiling.is_reached
    assert machine.looks == 2


def test_what_is_free_is_given_back_once_a_second_while_there_is_too_little():
    machine = Machine()
    ceiling = machine.ceiling()
    assert not ceiling.is_reached
    assert machine.trims == 0
    machine.resident = 101
    for _ in range(5):
        machine.now_s += TRIM_S
        assert ceiling.is_reached
        machine.now_s += LOOK_S
        assert ceiling.is_reached
    assert machine.trims == 5


def test_where_nobody_can_tell_it_is_never_reached():
    machine = Machine()
    machine.resident = None
    assert not machine.ceiling().is_reached
