"""A report as a table, JSON, CSV or a page of its own. No figures are made here."""

import csv
import io
from dataclasses import asdict
from typing import Any, Literal, get_args

import orjson

from weighbridge.energy import MJ_PER_KWH, Range
from weighbridge.reports.drift import Drift, Shift, warnings
from weighbridge.reports.energy import EnergyUse
from weighbridge.reports.page import page
from weighbridge.reports.report import Figures, Group, Report
from weighbridge.reports.shadows import Measured, Shadows
from weighbridge.reports.words import obeyed_by_none
from weighbridge.units import as_usd

Format = Literal["table", "json", "csv", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)


def render(report: Report, format: Format, *, width: int = 80, is_terminal: bool = False) -> str:  # noqa: A002
    """The report in one of its forms. width, is_terminal: for the table, which may then have colours."""
    match format:
        case "table":
            from weighbridge.reports.table import table  # noqa: PLC0415  # rich is slow to load, and the page needs none

            return table(report, width=width, is_terminal=is_terminal)
        case "json":
            return as_json(report)
        case "csv":
            return as_csv(report)
        case "html":
            return page(report)


def as_json(report: Report) -> str:
    """Money as numbers with all their digits, exact to the nano-dollar: read them as decimals."""
    value = _object(report.total) | {
        "since": report.since.isoformat() if report.since else None,
        "until": report.until.isoformat() if report.until else None,
    }
    if report.by:
        groups = [{"name": group.name, **_object(group.figures)} for group in report.groups]
        value["by"] = {"dimension": report.by, "groups": groups}
    if report.shadows:
        value["shadows"] = _shadows(report.shadows)
    if report.drift:
        value["drift"] = _drift(report.drift)
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def as_csv(report: Report) -> str:
    """A row per group, or one of all. What is not known is empty."""
    rows = report.groups or (Group("all", report.total),)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    cells = [{report.by or "all": _cell(group.name), **_row(group.figures)} for group in rows]
    writer.writerow(cells[0])
    writer.writerows(row.values() for row in cells)
    return text.getvalue()


def _object(figures: Figures) -> dict[str, Any]:
    counted, times = figures.savings, figures.latency
    return {
        "requests": counted.requests,
        "by_location": {"local": counted.local, "remote": counted.remote},
        "cost_usd": _exact(counted.cost_nano_usd),
        "baseline_cost_usd": _exact(counted.baseline_cost_nano_usd),
        "saved_usd": _exact(counted.saved_nano_usd),
        "saved_fraction": counted.saved_fraction,
        "compared_requests": counted.compared_requests,
        "unknown_cost_requests": counted.unknown_cost_requests,
        "latency": {
            "local": _spread(figures, "local"),
            "remote": _spread(figures, "remote"),
            "saved_s": times.saved_s,
            "saved_why": times.why,
        },
        "errors": figures.errors,
        "end_reasons": dict(figures.ends),
        **({"energy": _energy(figures.energy)} if figures.energy else {}),
    }


def _energy(use: EnergyUse) -> dict[str, Any]:
    """Ranges as pairs, low and high."""
    emitted = use.emitted
    return {
        "local_kwh": _kwh(use.local_mj),
        "remote_kwh": _kwhs(use.remote),
        "baseline_kwh": _kwhs(use.baseline),
        "saved_kwh": _kwhs(use.saved),
        "co2e_g": {
            "local": emitted.local_g,
            "remote": emitted.remote_g,
            "baseline": emitted.baseline_g,
            "saved": emitted.saved_g,
        },
        "local_attempts": {"measured": use.measured, "from_watts": use.from_watts, "unknown": use.unknown},
        "remote_attempts_without_tokens": use.uncounted,
    }


def _kwh(mj: int) -> float:
    return mj / MJ_PER_KWH


def _kwhs(energy: Range | None) -> tuple[float, float] | None:
    return None if energy is None else (_kwh(energy.low), _kwh(energy.high))


def _shadows(found: Shadows) -> dict[str, Any]:
    """Intervals as value, low and high; their NaN, where nothing can be divided by, is null."""

    def measured(of: Measured | None) -> dict[str, Any] | None:
        return asdict(of) if of else None

    return {
        "compared": found.compared,
        "judged": found.judged,
        "sources": dict(found.sources),
        "calls": found.calls,
        "cost_usd": _exact(found.cost_nano_usd),
        "unknown_cost_calls": found.unknown_calls,
        "total": measured(found.total),
        "small_served": measured(found.small_served),
        "large_served": measured(found.large_served),
    }


def _drift(found: Drift) -> dict[str, Any]:
    def shift(of: Shift | None) -> dict[str, Any] | None:
        return {"psi": of.index, "by_chance": of.by_chance, "shifted": of.is_shifted} if of else None

    return {
        "reference_requests": found.reference,
        "recent_requests": found.recent,
        "scores": shift(found.scores),
        "mix": shift(found.mix),
        "busiest": [{**asdict(side), "one_sided": side.is_one_sided} for side in found.busiest],
        "signs": [
            {"location": side.location, "answers": side.answers, "kinds": dict(side.kinds)} for side in found.signs
        ],
        "warnings": warnings(found),
    }


def _spread(figures: Figures, location: Literal["local", "remote"]) -> dict[str, float | None]:
    spread = figures.latency.local if location == "local" else figures.latency.remote
    return {"ttft_p50_s": spread.ttft_p50_s, "p50_s": spread.p50_s, "p95_s": spread.p95_s}


def _row(figures: Figures) -> dict[str, object]:
    counted = figures.savings
    money = {
        "cost_usd": counted.cost_nano_usd,
        "baseline_cost_usd": counted.baseline_cost_nano_usd,
        "saved_usd": counted.saved_nano_usd,
    }
    times = {f"{at}_{name}": value for at in ("local", "remote") for name, value in _spread(figures, at).items()}
    return {
        "requests": counted.requests,
        "local": counted.local,
        "remote": counted.remote,
        **{name: None if nano is None else as_usd(nano) for name, nano in money.items()},
        "saved_fraction": counted.saved_fraction,
        "compared_requests": counted.compared_requests,
        "unknown_cost_requests": counted.unknown_cost_requests,
        **times,
        "latency_saved_s": figures.latency.saved_s,
        "errors": figures.errors,
        **(_energy_cells(figures.energy) if figures.energy else {}),
    }


def _energy_cells(use: EnergyUse) -> dict[str, float | None]:
    """Each end of a range in a cell of its own."""
    ranges = {"remote": use.remote, "baseline": use.baseline, "saved": use.saved}
    emitted = {"remote": use.emitted.remote_g, "baseline": use.emitted.baseline_g, "saved": use.emitted.saved_g}
    cells: dict[str, float | None] = {"local_kwh": _kwh(use.local_mj)}
    for name, energy in ranges.items():
        cells[f"{name}_kwh_low"], cells[f"{name}_kwh_high"] = _kwhs(energy) or (None, None)
    cells["local_co2e_g"] = use.emitted.local_g
    for name, pair in emitted.items():
        cells[f"{name}_co2e_g_low"], cells[f"{name}_co2e_g_high"] = pair or (None, None)
    return cells


def _exact(nano: int | None) -> orjson.Fragment | None:
    """As a JSON number to the last digit; a float would round it."""
    return None if nano is None else orjson.Fragment(as_usd(nano))


def _cell(text: str | None) -> str:
    """A name in a cell. A spreadsheet would run one that begins like a formula."""
    text = obeyed_by_none(text or "")
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text
