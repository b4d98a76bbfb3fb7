"""Charts as SVG: drawn here, coloured by the page's style sheet, no script.

A screen reader takes a chart for one picture and reads its label, so the label says the figures too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape

from weighbridge.reports.latency import Latency
from weighbridge.reports.replay import Point
from weighbridge.reports.report import Day, Scores
from weighbridge.reports.words import money, percent, seconds

_WIDTH = 520
_MOST_BARS = 45


def costs(days: Sequence[Day]) -> str:
    """Actual beside baseline cost per day; per week where the days are many."""
    bars = _weeks(days) if len(days) and (days[-1].day - days[0].day).days >= _MOST_BARS else _gapless(days)
    highest = max((max(bar.cost_nano_usd, bar.baseline_cost_nano_usd) for bar in bars), default=0)
    if not highest:
        return ""
    most = _round_up(highest)
    height, floor, left = 220, 190, max(70, 8 + 9 * len(money(most // 2)))
    step = min((_WIDTH - left - 6) / len(bars), 60)
    thick = step * 0.38
    parts = [_scale(most, left, floor)]
    for i, bar in enumerate(bars):
        x = left + step * i + step * 0.1
        told = f"{bar.day}: {money(bar.cost_nano_usd)} actual, {money(bar.baseline_cost_nano_usd)} baseline"
        parts.append("<g>" + _title(told))
        parts.append(_bar(x, floor, thick, bar.baseline_cost_nano_usd / most * 160, "baseline"))
        parts.append(_bar(x + thick + 1, floor, thick, bar.cost_nano_usd / most * 160, "actual") + "</g>")
    for i in _labelled(len(bars)):
        x = left + step * (i + 0.5)
        parts.append(_text(x, floor + 24, f"{bars[i].day:%d %b}", "middle"))
    actual, baseline = sum(bar.cost_nano_usd for bar in bars), sum(bar.baseline_cost_nano_usd for bar in bars)
    told = f"{days[0].day} to {days[-1].day}: {money(actual)} actual, {money(baseline)} baseline"
    return _svg(height, f"Actual and baseline cost over time. {told}", parts)


def shares(local: int, remote: int) -> str:
    """Which part of the requests stayed at home."""
    whole = local + remote
    if not whole:
        return ""
    cut = _WIDTH * local / whole
    at_home, away = f"local {local:,} ({percent(local / whole)})", f"remote {remote:,} ({percent(remote / whole)})"
    parts = [
        f'<rect class="local" x="0" y="0" width="{cut:.1f}" height="34" rx="4"/>',
        f'<rect class="remote" x="{cut:.1f}" y="0" width="{_WIDTH - cut:.1f}" height="34" rx="4"/>',
        _text(0, 58, at_home, "start"),
        _text(_WIDTH, 58, away, "end"),
    ]
    return _svg(66, f"Share of requests answered locally and remotely. {at_home}, {away}", parts)


def scores(found: Scores) -> str:
    """How hard the requests were, and where the line was drawn."""
    height, floor, slots, most = 220, 180, len(found.counts), max(found.counts)
    step = _WIDTH / slots
    parts = [f'<line class="axis" x1="0" y1="{floor}" x2="{_WIDTH}" y2="{floor}"/>']
    told = []
    for i, count in enumerate(found.counts):
        middle = (i + 0.5) / slots
        side = "plain" if found.threshold is None else "local" if middle < found.threshold else "remote"
        told.append(f"{i / slots:.2f} to {(i + 1) / slots:.2f}: {count:,}")
        parts.append(
            f"<g>{_title(f'score {told[-1]}')}{_bar(step * i + 1, floor, step - 2, count / most * 145, side)}</g>"
        )
    parts += [_text(_WIDTH * x, floor + 24, text, anchor) for x, text, anchor in _SCORE_LABELS]
    if found.threshold is not None:
        x = _WIDTH * min(max(found.threshold, 0), 1)
        anchor, shift = ("start", 6) if x < _WIDTH / 2 else ("end", -6)
        parts.append(f'<line class="threshold" x1="{x:.1f}" y1="8" x2="{x:.1f}" y2="{floor}"/>')
        parts.append(_text(x + shift, 20, f"threshold {found.threshold:.2f}", anchor))
    threshold = f"Threshold {found.threshold:.2f}; scores " if found.threshold is not None else "Scores "
    heard = "; ".join(words for words, count in zip(told, found.counts, strict=True) if count)
    return _svg(height, f"Histogram of scores with the threshold. {threshold}{heard}", parts)


_SCORE_LABELS = ((0, "0 easier", "start"), (0.5, "0.5", "middle"), (1, "harder 1", "end"))


def latencies(found: Latency) -> str:
    """The three quantiles of both locations, as bars on one scale."""
    rows = [
        ("first token, p50", found.local.ttft_p50_s, found.remote.ttft_p50_s),
        ("whole answer, p50", found.local.p50_s, found.remote.p50_s),
        ("whole answer, p95", found.local.p95_s, found.remote.p95_s),
    ]
    most = max((value for _, *pair in rows for value in pair if value is not None), default=0.0)
    if not most:
        return ""
    parts = []
    told = [f"{name}: {seconds(local)} local, {seconds(remote)} remote" for name, local, remote in rows]
    for i, (name, local, remote) in enumerate(rows):
        y = i * 70 + 14
        parts.append(_text(0, y, name, "start"))
        for k, (side, value) in enumerate((("local", local), ("remote", remote))):
            top = y + 8 + k * 20
            length = 0 if value is None else value / most * (_WIDTH - 130)
            parts.append(f'<rect class="{side}" x="0" y="{top}" width="{length:.1f}" height="15" rx="3"/>')
            parts.append(_text(length + 6, top + 12, f"{seconds(value)} {side}", "start"))
    return _svg(210, f"Latency by location. {'; '.join(told)}", parts)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the points of a curve of quality over cost lie in its picture. least, most: nano-dollars."""

    least: int
    most: int
    worst: float
    width: int = _WIDTH
    height: int = 240
    left: int = 70
    top: int = 16
    floor: int = 210

    def place(self, point: Point) -> tuple[float, float]:
        wide = (self.most - self.least) or 1
        return self.left + (point.cost_nano_usd - self.least) / wide * (self.width - self.left - 12), self.up(
            point.quality
        )

    def up(self, quality: float) -> float:
        return self.floor - (quality - self.worst) / ((1 - self.worst) or 1.0) * (self.floor - self.top)

    def label(self, point: Point) -> tuple[float, float, str]:
        """Where a point's name stands, and its anchor: beside the curve, which rises to the right."""
        x, y = self.place(point)
        if x < self.width / 2:
            return x + 12, y + 20, "start"
        # Near the top there is no room above, and the curve is flat.
        return x - 12, y + 20 if y < self.top + 24 else y - 12, "end"

    @property
    def levels(self) -> tuple[float, float, float]:
        """The qualities that get a line across."""
        return self.worst, (1 + self.worst) / 2, 1.0


def frame_of(points: Sequence[Point], *others: Point | None) -> Frame:
    every = [*points, *(point for point in others if point)]
    costs = [point.cost_nano_usd for point in every]
    return Frame(min(costs), max(costs), min(point.quality for point in every))


def quality(points: Sequence[Point], was: Point | None, is_now: Point | None) -> str:
    """Expected quality over cost at every threshold, with where the traffic lay and where it would."""
    if not points:
        return ""
    frame = frame_of(points, was, is_now)
    left, floor = frame.left, frame.floor
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(frame.place, points))
    parts = [f'<line class="axis" x1="{left}" y1="{floor}" x2="{_WIDTH}" y2="{floor}"/>']
    for worth in frame.levels:
        y = frame.up(worth)
        parts.append(f'<line class="axis" x1="{left}" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, percent(worth), "end"))
    every = points[:: max(1, len(points) // 20)]
    parts += [f'<polyline class="curve" points="{line}"/>', *(_dot(frame, p) for p in every)]
    told = [_of_point(points[0]), _of_point(points[-1])]
    for point, kind, name in ((was, "baseline", "as it was"), (is_now, "remote", "as tried")):
        if point:
            told.append(_of_point(point, name))
            parts.append(_dot(frame, point, kind=kind, name=name))
    parts.append(_text(left, floor + 24, f"{money(frame.least)} cost", "start"))
    parts.append(_text(_WIDTH, floor + 24, money(frame.most), "end"))
    return _svg(frame.height, f"Expected quality over cost at every threshold. {'; '.join(told)}", parts)


def _dot(frame: Frame, point: Point, kind: str = "actual", name: str = "") -> str:
    """A point of the curve; the larger ones have names."""
    x, y = frame.place(point)
    beside = frame.label(point)
    label = _text(*beside[:2], name, beside[2]) if name else ""
    told = _title(_of_point(point, name))
    return f'<g>{told}<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{7 if name else 3}"/>{label}</g>'


def _of_point(point: Point, name: str = "") -> str:
    where = name or f"threshold {point.threshold:.2f}"
    return (
        f"{where}: {money(point.cost_nano_usd)}, quality {percent(point.quality)}, large {percent(point.large_share)}"
    )


def standalone(drawing: str, style: str) -> str:
    """A chart as a file of its own."""
    opened = '<svg xmlns="http://www.w3.org/2000/svg" '
    own = f"<style>{style} svg {{ background: var(--card); font-family: sans-serif; }}</style>"
    head, bracket, rest = drawing.replace("<svg ", opened, 1).partition(">")
    return f"{head}{bracket}{own}{rest}\n"


def _gapless(days: Sequence[Day]) -> list[Day]:
    """A day without requests is a day of nothing, not a day left out."""
    known = {day.day: day for day in days}
    if not known:
        return []
    first, last = min(known), max(known)
    spans = (first + timedelta(days=i) for i in range((last - first).days + 1))
    return [known.get(day) or Day(day, 0, 0, 0) for day in spans]


def _weeks(days: Sequence[Day]) -> list[Day]:
    found: dict[date, Day] = {}
    for day in _gapless(days):
        monday = day.day - timedelta(days=day.day.weekday())
        known = found.get(monday) or Day(monday, 0, 0, 0)
        found[monday] = Day(
            monday,
            known.requests + day.requests,
            known.cost_nano_usd + day.cost_nano_usd,
            known.baseline_cost_nano_usd + day.baseline_cost_nano_usd,
        )
    return list(found.values())


def _labelled(count: int) -> list[int]:
    """At most six of the bars get their date written under them."""
    every = -(-count // 6)
    return list(range(0, count, every))


def _round_up(highest: int) -> int:
    """The top of the scale: a round amount, of which half is one too."""
    unit = int(10 ** (len(str(highest)) - 1))
    return next(unit * step for step in (1, 2, 4, 6, 8, 10) if unit * step >= highest)


def _scale(most: int, left: int, floor: int) -> str:
    lines = []
    for part in (0, 0.5, 1):
        y = floor - part * 160
        lines.append(f'<line class="axis" x1="{left}" y1="{y:.0f}" x2="{_WIDTH}" y2="{y:.0f}"/>')
        lines.append(_text(left - 8, y + 4, money(round(most * part)), "end"))
    return "".join(lines)


def _bar(x: float, floor: float, width: float, height: float, kind: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{floor - height:.1f}" width="{max(width, 1):.1f}"'
        f' height="{max(height, 0):.1f}" rx="2"/>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _title(text: str) -> str:
    """What the pointer shows over a bar."""
    return f"<title>{escape(text)}</title>"


def _svg(height: int, label: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
