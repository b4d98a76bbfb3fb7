"""Looks for drift now and then while the gateway serves, so that metrics can show it and the log can say so."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from weighbridge.ledger.base import CannotOpen, Ledger
from weighbridge.reports.drift import drift_of, warnings
from weighbridge.telemetry import Metrics

log = logging.getLogger(__name__)

EVERY_S = 3600.0  # it compares days with weeks, and reads a month of the ledger


class DriftWatch:
    """One look at a time, in a thread, begun when somebody reads the metrics. It changes nothing but what they say."""

    def __init__(self, ledger: Ledger, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._now = now
        self._looked_s = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._told: set[str] = set()

    def look(self) -> None:
        """Begin a look, if one is due. What it finds is there the next time that metrics are read."""
        if self._now() - self._looked_s >= EVERY_S:
            self._looked_s = self._now()
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="drift")

    async def settled(self) -> None:
        """Return when no look is under way."""
        if self._looking:
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        try:
            found = await asyncio.to_thread(drift_of, self._ledger, datetime.now(UTC))
        except CannotOpen:
            return  # readiness tells of that
        said = warnings(found)
        self._metrics.drifted(found, len(said))
        # The figures in a warning change with each look: what is told once is its beginning.
        for warning in said:
            if (about := warning.split(" (", 1)[0][:60]) not in self._told:
                self._told.add(about)
                log.warning("drift: %s", warning)
