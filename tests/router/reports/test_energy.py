"""Energy in the report: it adds up, in every form, and what is unknown stays unknown."""

import csv
import io
import json
from pathlib import Path

import pytest
from bookkeeping import entry, of, record, remote

from weighbridge.energy import Footprint
from weighbridge.ledger.sqlite import SQLite
from weighbridge.reports.energy import EnergyUse
from weighbridge.reports.render import FORMATS, render
from weighbridge.reports.report import report
from weighbridge.reports.words import between, energy, grams

WH = 3_600_000
KNOWN = Footprint({"local": 400.0}, {"remote": (0.5, 4.0)}, (0.3, 4.0), grid=500.0, remote_grid=250.0)
# 9 s at 400 W are 1 Wh.
LOCAL = entry(output_tokens=1000, latency_s=9.0)
REMOTE = remote(output_tokens=2000)


def used(*entries: object, footprint: Footprint = KNOWN) -> EnergyUse:
    found = of(*entries, footprint=footprint).total.energy  # type: ignore[arg-type]
    assert found is not None
    return found


def test_what_was_used_and_saved_adds_up() -> None:
    found = used(LOCAL, REMOTE)
    assert (found.local_mj, found.from_watts, found.measured, found.unknown) == (WH, 1, 0, 0)
    assert (found.remote.low, found.remote.high) == (WH, 8 * WH)
    assert found.baseline is not None
    assert (found.baseline.low, found.baseline.high) == (1.5 * WH, 12 * WH)
    assert found.saved is not None
    # The remote answer cancels out; the local one took 1 Wh where the baseline takes 0.5 to 4.
    assert (found.saved.low, found.saved.high) == (-0.5 * WH, 3 * WH)
    assert (found.emitted.local_g, found.emitted.remote_g) == (0.5, (0.25, 2.0))
    assert found.emitted.saved_g == pytest.approx((-0.375, 0.5))


def test_an_answer_of_the_cache_takes_nothing_and_saves_all() -> None:
    found = used(entry(upstream=None, location=None, attempts=0, output_tokens=1000))
    assert (found.local_mj, found.remote.high) == (0, 0)
    assert found.saved == found.baseline


def test_what_is_unknown_names_no_saving() -> None:
    dark = Footprint({}, KNOWN.wh_per_1k, KNOWN.otherwise, grid=500.0, remote_grid=500.0)
    found = used(LOCAL, REMOTE, footprint=dark)
    assert (found.unknown, found.saved, found.emitted.local_g) == (1, None, None)
    assert "1 local attempt of unknown energy" in render(of(LOCAL, footprint=dark), "table")
    assert used(remote(output_tokens=None)).uncounted == 1
    assert used(remote(baseline_upstream="gone")).saved is None
    assert used(LOCAL, footprint=Footprint(KNOWN.watts, KNOWN.wh_per_1k, KNOWN.otherwise)).emitted.saved_g is None


def test_it_is_in_every_form() -> None:
    made = of(LOCAL, REMOTE, by="upstream", footprint=KNOWN)
    told = json.loads(render(made, "json"))
    assert told["energy"]["saved_kwh"] == [-0.0005, 0.003]
    assert told["energy"]["local_attempts"] == {"measured": 0, "from_watts": 1, "unknown": 0}
    assert told["by"]["groups"][0]["energy"]["local_kwh"] == 0.001
    rows = list(csv.DictReader(io.StringIO(render(made, "csv"))))
    assert [row["local_kwh"] for row in rows] == ["0.001", "0.0"]
    assert rows[0]["saved_kwh_high"] == "0.003"
    for form in ("table", "html"):
        text = render(made, form)
        assert "local 1 Wh, remote 1 to 8 Wh (estimated)" in text
        assert "-500 mWh to 3 Wh" in text
        assert "1 attempt from the watts in the config" in text
    assert max(map(len, render(made, "table").splitlines())) <= 80


def test_without_a_footprint_nothing_is_said() -> None:
    for form in FORMATS:
        assert "kwh" not in render(of(LOCAL), form).lower()
        assert render(of(footprint=KNOWN), form)


def test_each_day_has_its_own() -> None:
    days = of(LOCAL, by="day", footprint=KNOWN).groups
    assert [day.figures.energy.local_mj for day in days if day.figures.energy] == [WH]


async def test_measured_attempts_go_before_watts(tmp_path: Path) -> None:
    ledger = SQLite(path=str(tmp_path / "ledger.db"))
    await ledger.aopen()
    await record(ledger, request_id="a", energy_mj=7, latency_s=9.0)
    await record(ledger, request_id="b", latency_s=9.0)
    await ledger.aclose()
    found = report(ledger, footprint=KNOWN).total.energy
    assert found is not None
    assert (found.local_mj, found.measured, found.from_watts) == (WH + 7, 1, 1)


def test_figures_are_short() -> None:
    assert [energy(mj) for mj in (0, 36, 1800, WH, 2_345_678 * WH)] == [
        "0 Wh", "0.01 mWh", "0.5 mWh", "1 Wh", "2.35 MWh"]  # fmt: skip
    assert [grams(value) for value in (0.0004, 12.34, 123_456)] == ["0.4 mg", "12.3 g", "123 kg"]
    assert [between("1 Wh", "1 Wh"), between("1 Wh", "2 Wh"), between("1 Wh", "2 kWh")] == [
        "1 Wh", "1 to 2 Wh", "1 Wh to 2 kWh"]  # fmt: skip
