"""A replay as one HTML page, or its curve as an SVG file; neither needs anything else."""

from html import escape

from weighbridge.reports import charts
from weighbridge.reports.page import chart, document, key, nothing, style
from weighbridge.reports.replay import Replay
from weighbridge.reports.replay_words import notes, rows
from weighbridge.reports.words import many, spelt


def page(replay: Replay) -> str:
    """The whole page. Every text in it is escaped."""
    body = f'<div class="charts">{_table(replay)}{_curve(replay)}</div>\n' if replay.requests else nothing()
    return document("Weighbridge replay", spelt(replay.since, replay.until), body)


def svg(replay: Replay) -> str | None:
    """The curve alone; None where no score decides anything."""
    drawing = charts.quality(replay.curve, replay.was, replay.is_now)
    return charts.standalone(drawing, style()) if drawing else None


def _table(replay: Replay) -> str:
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows(replay))
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
