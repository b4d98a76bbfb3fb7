"""Drift shows in the metrics and the log, without anybody waiting for the look."""

import itertools
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bookkeeping import Written, entry

from weighbridge.drifting import EVERY_S, DriftWatch
from weighbridge.ledger.sqlite import SQLite
from weighbridge.reports.drift import LEAST
from weighbridge.telemetry import Metrics


def told(metrics: Metrics) -> dict[str, dict[tuple[str, ...], object]]:
    return {family.name: dict(family.rows) for family in metrics.families()}


async def test_one_side_that_takes_all_is_in_the_metrics_and_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    metrics, clock = Metrics(), itertools.count(0, int(EVERY_S))
    ledger = Written(given=tuple(entry(created_at=datetime.now(UTC)) for _ in range(LEAST)))
    watch = DriftWatch(ledger, metrics, lambda: float(next(clock)))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            watch.look()
            await watch.settled()
    found = told(metrics)
    assert found["weighbridge_busiest_share"] == {("auto", "local"): 1.0}
    assert found["weighbridge_drift_psi"].keys() == {("scores",), ("mix",)}
    assert found["weighbridge_drift_warnings"] == {(): 1.0}
    assert sum("local took 100.0%" in record.message for record in caplog.records) == 1


async def test_it_looks_no_oftener_than_it_should() -> None:
    metrics, clock = Metrics(), iter([0.0, 0.0, 1.0, EVERY_S + 1, EVERY_S + 1])
    watch = DriftWatch(Written(given=()), metrics, lambda: next(clock))
    looks = []
    for _ in range(3):
        watch.look()
        looks.append(watch._looking)
        await watch.settled()
    assert looks[0] is looks[1]
    assert looks[2] is not looks[0]


async def test_a_ledger_that_is_not_there_is_left_to_others(tmp_path: Path) -> None:
    metrics = Metrics()
    watch = DriftWatch(SQLite(path=str(tmp_path / "none.db")), metrics)
    watch.look()
    await watch.settled()
    assert told(metrics)["weighbridge_drift_psi"] == {}
