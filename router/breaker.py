"""A circuit breaker: an upstream that keeps failing is left alone, and looked at again now and then. Pure."""

from collections import deque
from collections.abc import Callable

LAST = 10  # outcomes that count
WINDOW_S = 30.0  # and for how long
ENOUGH = 5  # failures among them that open it
PROBE_S = 5.0  # how often an open one lets a single request through


class Breaker:
    """One upstream's. Only failures of the upstream count; a request that it refuses is the client's affair."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures: deque[tuple[float, bool]] = deque(maxlen=LAST)  # when, and whether it failed
        self._probe_due_s: float | None = None  # None while closed
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        return self._probe_due_s is not None

    @property
    def wait_s(self) -> float:
        """Until the next request may go through."""
        return 0.0 if self._probe_due_s is None else max(0.0, self._probe_due_s - self._now())

    def admits(self) -> bool:
        """Whether a request may go through. Of an open breaker only one may, and its outcome must be told."""
        if self._probe_due_s is None:
            return True
        if self._is_probing or self._now() < self._probe_due_s:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        self._is_probing = False
        self._probe_due_s = None
        if self._failures:
            self._failures.append((self._now(), False))

    def failed(self, *, for_good: bool = False) -> None:
        """for_good: it will not mend itself in a moment (our key is refused), so one failure is enough."""
        now = self._now()
        self._failures.append((now, True))
        failures = sum(has_failed and now - at_s <= WINDOW_S for at_s, has_failed in self._failures)
        if self._is_probing or for_good or failures >= ENOUGH:
            self._probe_due_s = now + PROBE_S
        self._is_probing = False

    def left(self) -> None:
        """The request ended without a word on the upstream: the client went, or asked for something impossible."""
        self._is_probing = False
