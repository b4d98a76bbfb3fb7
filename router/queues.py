"""Queues: so many requests at once for an upstream, and a bounded line of those that wait for a place.

A local server that works on one request at a time makes the others wait, whether it says so or not. Here the wait is
known, so that who can be answered elsewhere sooner goes there. Each process has its own.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

_WEIGHT = 0.2  # of the newest measurement in an average
UNKNOWN_S = 0.5  # what another upstream is taken to need before it has ever answered: hardly any takes less


class Average:
    """A moving average of seconds; None before the first."""

    def __init__(self) -> None:
        self.seconds: float | None = None

    def add(self, seconds: float) -> None:
        known = self.seconds
        self.seconds = seconds if known is None else known + _WEIGHT * (seconds - known)


class Full(Exception):
    """No place in time. wait_s: how long it would take, as far as is known."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"{wait_s:.1f} s")
        self.wait_s = wait_s


class Seat:
    """A place that is taken. Give it back once the upstream is done; twice does no harm."""

    def __init__(self, line: "Line") -> None:
        self._line: Line | None = line
        self._since_s = line.now()

    def leave(self) -> None:
        line, self._line = self._line, None
        if line:
            line.held.add(line.now() - self._since_s)
            line.pass_on()


class Line:
    """The places of one upstream, first come, first served. longest: how many may wait."""

    def __init__(self, places: int, longest: int, now: Callable[[], float] = time.monotonic) -> None:
        self._places = self._free = places
        self._longest = longest
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.held = Average()
        self.guests: set[asyncio.Task[None]] = set()  # shadows, which leave as soon as anybody else comes
        self.now = now

    @property
    def length(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def is_free(self) -> bool:
        """Who comes now need not wait."""
        return self._free > 0

    @property
    def expected_wait_s(self) -> float:
        """Until who comes now has a place; 0 where one is free, or where nothing is known yet."""
        if self._free:
            return 0.0
        return (len(self._waiting) + 1) * (self.held.seconds or 0.0) / self._places

    async def enter(self, patience_s: float | None) -> Seat:
        """Wait for a place; None is to the end. Raises Full where the line is, or where it takes too long."""
        if self._free:
            self._free -= 1
            return Seat(self)
        wait_s = 0.0 if self._has_sent_guests_off() else self.expected_wait_s
        if len(self._waiting) >= self._longest or (patience_s is not None and wait_s > patience_s):
            raise Full(wait_s)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(patience_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.pass_on()  # the place came just as we left
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise Full(self.expected_wait_s) from None
            raise
        return Seat(self)

    def _has_sent_guests_off(self) -> bool:
        """Their places come back as soon as the loop turns."""
        left = {guest for guest in self.guests if guest is not asyncio.current_task()}
        for guest in left:
            guest.cancel()
        self.guests -= left
        return bool(left)

    def pass_on(self) -> None:
        """A place is free: for the first who waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
