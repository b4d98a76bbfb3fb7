"""How much memory this process has in use, and when that is too much to begin anything new."""

import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable

LOOK_S = 0.1  # how often it is looked at, at most
TRIM_S = 1.0  # how often what is free is given back, where there is too little

_STATM = "/proc/self/statm"


def resident_bytes() -> int | None:
    """None where the system does not tell."""
    try:
        with open(_STATM, "rb", buffering=0) as told:  # noqa: PTH123  # on the event loop, at half the price of Path's
            return int(told.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return None


class Ceiling:
    """What this process may have in use. Above it nothing new is begun, and what is free is given back."""

    def __init__(
        self,
        most: int,
        resident: Callable[[], int | None] = resident_bytes,
        now: Callable[[], float] = time.monotonic,
        trim: Callable[[], None] | None = None,
    ) -> None:
        self._most = most
        self._resident = resident
        self._now = now
        self._trim = trim or _trim_beside
        self._looked_s = float("-inf")
        self._trimmed_s = float("-inf")
        self._is_reached = False

    @property
    def is_reached(self) -> bool:
        now = self._now()
        if now - self._looked_s >= LOOK_S:
            self._looked_s = now
            self._is_reached = (self._resident() or 0) > self._most
            if self._is_reached and now - self._trimmed_s >= TRIM_S:
                self._trimmed_s = now
                self._trim()
        return self._is_reached


def _trim_beside() -> None:
    """In a thread: it may take a while, and nobody waits for it."""
    threading.Thread(target=_give_back, name="give-back", daemon=True).start()


def _give_back() -> None:
    """What was freed stays with the process, unless the C library is told to let go of it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim:
        trim(0)
