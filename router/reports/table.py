"""A report for a terminal of 80 columns."""

import io

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from weighbridge.reports.drift import told, told_of_signs, warnings
from weighbridge.reports.latency import Spread
from weighbridge.reports.report import Report
from weighbridge.reports.words import (
    duration,
    ends,
    money,
    notes,
    of_shadows,
    percent,
    printable,
    seconds,
    share,
    span,
    spared,
    used,
)

BAR = 34


def table(report: Report, *, width: int = 80, is_terminal: bool = False) -> str:
    """The report as text; with colours only for a terminal."""
    console = Console(
        file=io.StringIO(), width=width, force_terminal=is_terminal, color_system="auto", legacy_windows=False
    )
    title = Text.assemble(("Weighbridge", "bold"), "  ", (span(report), "dim"))
    parts: list[RenderableType] = [Panel(_summary(report), title=title, title_align="left", padding=(1, 2))]
    if report.by:
        parts.append(_groups(report))
    console.print(Group(*parts))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _summary(report: Report) -> RenderableType:
    if not report.total.savings.requests:
        return Text("No requests in this span of time.", style="dim")
    parts: list[RenderableType] = [_sums(report), Text(), _times(report)]
    parts += [Text(note, style="dim") for note in notes(report.total)]
    if report.shadows:
        parts += [Text(), *(Text(told) for told in of_shadows(report.shadows))]
    if report.drift:
        parts.append(Text(f"Drift: {told(report.drift)}.", style="dim"))
        if signs := told_of_signs(report.drift):
            parts.append(Text(f"Signals: {signs}.", style="dim"))
        parts += [Text(f"Drift: {warning}.", style="bold yellow") for warning in warnings(report.drift)]
    return Group(*parts)


def _sums(report: Report) -> Table:
    counted = report.total.savings
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(justify="right")
    grid.add_column()
    local = Text.assemble(
        (f"local {counted.local:,}", "green"), f" ({share(counted.local, counted.requests)})  ",
        (f"remote {counted.remote:,}", "yellow"), f" ({share(counted.remote, counted.requests)})",
    )  # fmt: skip
    grid.add_row("Requests", f"{counted.requests:,}", local)
    most = max(counted.cost_nano_usd, counted.baseline_cost_nano_usd)
    grid.add_row("Cost", money(counted.cost_nano_usd), _bar(counted.cost_nano_usd, most, "green"))
    baseline = counted.baseline_cost_nano_usd if counted.compared_requests else None
    grid.add_row("Baseline", money(baseline), _bar(baseline or 0, most, "bright_black"))
    fraction = f"{percent(counted.saved_fraction)} of the baseline" if counted.saved_fraction is not None else ""
    grid.add_row("Saved", Text(money(counted.saved_nano_usd), "bold green"), fraction)
    grid.add_row("Time saved", duration(report.total.latency.saved_s), "")
    if use := report.total.energy:
        grid.add_row("Energy", "", used(use))
        grid.add_row("Energy saved", "", spared(use))
    grid.add_row("Errors", f"{report.total.errors:,}", Text(ends(report.total), style="dim"))
    return grid


def _bar(part: int, most: int, style: str) -> Text:
    """Half blocks, so that a small share still shows."""
    halves = round(part / most * BAR * 2) if most > 0 else 0
    return Text("━" * (halves // 2) + "╸" * (halves % 2), style=style)


def _times(report: Report) -> Table:
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    rows.add_column("Latency", style="bold")
    for name in ("first token p50", "whole p50", "whole p95"):
        rows.add_column(name, justify="right")
    for name, spread in (("local", report.total.latency.local), ("remote", report.total.latency.remote)):
        rows.add_row(name, *_seconds(spread))
    return rows


def _seconds(spread: Spread) -> tuple[str, str, str]:
    return seconds(spread.ttft_p50_s), seconds(spread.p50_s), seconds(spread.p95_s)


def _groups(report: Report) -> Table:
    rows = Table(box=box.SIMPLE_HEAD, title=f"By {report.by}", title_justify="left", title_style="bold", pad_edge=False)
    rows.add_column(str(report.by), overflow="fold", ratio=1)
    for name in ("requests", "local", "cost", "baseline", "saved", "errors"):
        rows.add_column(name, justify="right", no_wrap=True)
    for group in report.groups:
        counted = group.figures.savings
        rows.add_row(
            Text(printable(group.name)),
            f"{counted.requests:,}",
            share(counted.local, counted.requests),
            money(counted.cost_nano_usd if counted.unknown_cost_requests < counted.requests else None),
            money(counted.baseline_cost_nano_usd if counted.compared_requests else None),
            money(counted.saved_nano_usd),
            f"{group.figures.errors:,}",
        )
    return rows
