"""A replay for a terminal and for programs. No figures are made here."""

import io
from dataclasses import asdict
from typing import Any

import orjson
from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from weighbridge.reports.replay import Point, Replay, Share, Side
from weighbridge.reports.words import UNKNOWN, many, money, percent, printable, seconds, spelt
from weighbridge.units import as_usd

Row = tuple[str, str, str]


def as_json(replay: Replay) -> str:
    """Money as numbers with all their digits."""
    value = {
        "since": replay.since.isoformat() if replay.since else None,
        "until": replay.until.isoformat() if replay.until else None,
        "requests": replay.requests,
        "known": replay.known,
        "without_evidence": {"share": replay.unknown_share, "way": dict(replay.missing)},
        "cost_compared": replay.compared,
        "cost_estimated": replay.estimated,
        "quality_compared": replay.judged,
        "moved": replay.moved,
        "old": _side(replay.old),
        "new": _side(replay.new),
        "curve": {
            "requests": replay.choices,
            "points": [_point(point) for point in replay.curve],
            "old": _point(replay.was) if replay.was else None,
            "new": _point(replay.is_now) if replay.is_now else None,
        },
        "classifiers": dict(replay.scorers),
        "notes": notes(replay),
    }
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _side(side: Side) -> dict[str, Any]:
    return {
        "by_location": {"local": side.local, "remote": side.remote, "nowhere": side.nowhere},
        "cost_usd": _exact(side.cost_nano_usd),
        "baseline_cost_usd": _exact(side.baseline_nano_usd),
        "saved_usd": _exact(side.saved_nano_usd),
        "latency": {"p50_s": side.p50_s, "p95_s": side.p95_s, "untimed_requests": side.untimed},
        "expected_shortfall": asdict(side.shortfall) if side.shortfall else None,
        "measured_quality": asdict(side.measured) if side.measured else None,
    }


def _point(point: Point) -> dict[str, Any]:
    of_a_threshold = {} if point.threshold is None else {"threshold": point.threshold}
    cost = _exact(point.cost_nano_usd)
    return {**of_a_threshold, "large_share": point.large_share, "cost_usd": cost, "quality": point.quality}


def _exact(nano: int | None) -> orjson.Fragment | None:
    return None if nano is None else orjson.Fragment(as_usd(nano))


def rows(replay: Replay) -> list[Row]:
    """What was, beside what would have been. A `~` marks what rests on estimates."""
    old, new = replay.old, replay.new
    about = "~" if replay.estimated else ""
    late = "~" if replay.moved else ""
    known = replay.known
    return [
        ("Requests", f"{known:,}", f"{known:,}"),
        ("local", _of(old.local, known), _of(new.local, known)),
        ("remote", _of(old.remote, known), _of(new.remote, known)),
        *([("denied, unsent", _of(old.nowhere, known), _of(new.nowhere, known))] if old.nowhere + new.nowhere else []),
        ("Cost", _cost(replay, old), about + _cost(replay, new)),
        ("Baseline", money(old.baseline_nano_usd), money(new.baseline_nano_usd)),
        ("Saved", money(old.saved_nano_usd), about + money(new.saved_nano_usd)),
        ("Latency p50", seconds(old.p50_s), late + seconds(new.p50_s)),
        ("Latency p95", seconds(old.p95_s), late + seconds(new.p95_s)),
        ("Falls short, expected", interval(old.shortfall), interval(new.shortfall)),
        ("Users' verdicts", interval(old.measured), interval(new.measured)),
        ("Without evidence", "", f"{percent(replay.unknown_share)} of {many(replay.requests, 'request')}"),
    ]


def table(replay: Replay, *, width: int = 80, is_terminal: bool = False) -> str:
    """The replay as text; with colours only for a terminal."""
    console = Console(
        file=io.StringIO(), width=width, force_terminal=is_terminal, color_system="auto", legacy_windows=False
    )
    title = Text.assemble(("Weighbridge replay", "bold"), "  ", (spelt(replay.since, replay.until), "dim"))
    console.print(Panel(_inside(replay), title=title, title_align="left", padding=(1, 2)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _inside(replay: Replay) -> RenderableType:
    if not replay.requests:
        return Text("No requests in this span of time.", style="dim")
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("", style="bold")
    for name in ("as it was", "as tried"):
        grid.add_column(name, justify="right")
    for row in rows(replay):
        grid.add_row(*row)
    return Group(grid, *(Text(note, style="dim") for note in notes(replay)))


def notes(replay: Replay) -> list[str]:
    """What the figures rest on, and what they leave out."""
    told = [f"{many(count, 'request')} left out of both columns, {printable(why)}." for why, count in replay.missing]
    told.append(f"{many(replay.moved, 'request')} would go elsewhere.")
    if replay.compared < replay.known:
        left = many(replay.known - replay.compared, "request")
        told.append(f"{left} not in the costs: tokens or a price are unknown on one side.")
    if replay.judged < replay.known:
        left = many(replay.known - replay.judged, "request")
        why = "no usable score, a draft that was judged, or another upstream than the route's two"
        told.append(f"{left} not in the expected quality: {why}.")
    if replay.estimated:
        told.append(f"~ {many(replay.estimated, 'cost')} estimated: another model would write more or fewer tokens.")
    if replay.moved:
        told.append("~ Requests that go elsewhere take as long as that upstream's others did in this span.")
    if replay.new.untimed:
        told.append(f"{many(replay.new.untimed, 'request')} not in the latency: too few answers of their new upstream.")
    if len(replay.scorers) > 1:
        names = ", ".join(f"{printable(name)} ({count:,})" for name, count in replay.scorers)
        told.append(f"The scores are of several classifiers, which cannot be compared: {names}.")
    return told


def interval(share: Share | None) -> str:
    if share is None:
        return UNKNOWN
    return f"{share.value * 100:.1f} % ({share.low * 100:.1f}-{share.high * 100:.1f})"


def _of(part: int, whole: int) -> str:
    return f"{part:,} ({percent(part / whole) if whole else UNKNOWN})"


def _cost(replay: Replay, side: Side) -> str:
    return money(side.cost_nano_usd if replay.compared else None)
