"""Plain numbers that are counted up on the event loop, and how they are told to whoever asks for them."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

Labels = tuple[str, ...]


class Buckets:
    """How many values were at most as large as each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last one is for what is above every bound
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Family(NamedTuple):
    """One metric: its name, what it says, the names of its labels, and a number or buckets for each set of labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: Labels
    rows: Mapping[Labels, float | Buckets]


def summed(pairs: Iterable[tuple[Labels, int]]) -> dict[Labels, int]:
    """The numbers of equal labels together."""
    sums: dict[Labels, int] = {}
    for labels, number in pairs:
        sums[labels] = sums.get(labels, 0) + number
    return sums
