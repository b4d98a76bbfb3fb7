"""A replay as one HTML page, or its curve as an SVG or PNG file; none needs anything else."""

from html import escape

from weighbridge.reports import charts
from weighbridge.reports.page import chart, document, key, line, nothing, style
from weighbridge.reports.raster import Canvas
from weighbridge.reports.replay import Replay
from weighbridge.reports.replay_words import notes, rows
from weighbridge.reports.words import many, money, percent, spelt


def page(replay: Replay) -> str:
    """The whole page. Every text in it is escaped."""
    body = f'<div class="charts both">{_table(replay)}{_curve(replay)}</div>\n' if replay.requests else nothing()
    return document("Weighbridge replay", spelt(replay.since, replay.until), body)


def svg(replay: Replay) -> str | None:
    """The curve alone; None where no score decides anything."""
    drawing = charts.quality(replay.curve, replay.was, replay.is_now)
    return charts.standalone(drawing, style()) if drawing else None


def png(replay: Replay) -> bytes | None:
    """The same as pixels, on white."""
    if not replay.curve:
        return None
    frame = charts.frame_of(replay.curve, replay.was, replay.is_now)
    canvas = Canvas(frame.width, frame.height)
    for worth in frame.levels:
        y = frame.up(worth)
        canvas.line([(frame.left, y), (frame.width, y)], _EDGE)
        canvas.text((frame.left - 8, y + 4), percent(worth), _QUIET, "end")
    canvas.line([frame.place(point) for point in replay.curve], _CURVE, 2)
    for point, colour, name in ((replay.was, _WAS, "as it was"), (replay.is_now, _NOW, "as tried")):
        if point:
            x, y, anchor = frame.label(point)
            canvas.dot(frame.place(point), 6, colour)
            canvas.text((x, y), name, _QUIET, anchor)
    canvas.text((frame.left, frame.floor + 20), f"{money(frame.least)} cost", _QUIET)
    canvas.text((frame.width, frame.floor + 20), money(frame.most), _QUIET, "end")
    return canvas.png()


# The colours of page.css by day.
_EDGE, _QUIET, _CURVE = (0xE3, 0xE3, 0xDE), (0x64, 0x67, 0x6D), (0x2F, 0x6F, 0xD0)
_WAS, _NOW = (0xB9, 0xBC, 0xC2), (0xC8, 0x79, 0x2B)


def _table(replay: Replay) -> str:
    lines = "".join(line(row) for row in rows(replay))
    told = "".join(f"<li>{escape(note)}</li>" for note in notes(replay))
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "as it was", "as tried"))
    return (
        f"<section><h2>Replay</h2><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        f'<ul class="notes">{told}</ul></section>'
    )


def _curve(replay: Replay) -> str:
    drawing = charts.quality(replay.curve, replay.was, replay.is_now)
    tones = key(("actual", "every threshold"), ("baseline", "as it was"), ("remote", "as tried"))
    what = f"{many(replay.choices, 'request')} that a score decides, at what they would cost on either side."
    about = f'<p class="why">{escape(what)}</p>'
    why_not = "no score decides a request whose cost is known on both sides"
    return chart("Expected quality over cost", drawing, tones, why_not, about)
