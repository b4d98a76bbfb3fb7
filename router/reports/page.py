"""A report as one HTML page that needs nothing else: no script, no font, no request to anywhere."""

from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files

from weighbridge.reports import charts
from weighbridge.reports.report import Report
from weighbridge.reports.words import (
    UNKNOWN,
    duration,
    ends,
    many,
    money,
    notes,
    of_shadows,
    percent,
    printable,
    share,
    span,
    spared,
    used,
)

# The page may show itself and nothing more, wherever it is opened.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(report: Report) -> str:
    """The whole page. Every text in it is escaped."""
    body = _figures(report) + _charts(report) + _groups(report) if report.total.savings.requests else nothing()
    return document("Weighbridge report", span(report), body)


def document(title: str, subtitle: str, body: str) -> str:
    """A page around a body that is HTML already."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style()}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>Weighbridge</h1><p>{escape(subtitle)}</p></header>\n{body}</main>\n</body>\n</html>\n"
    )


@cache
def style() -> str:
    return files("weighbridge.reports").joinpath("page.css").read_text(encoding="utf-8")


def nothing() -> str:
    return "<section><h2>No requests</h2><p class='why'>The ledger holds none in this span of time.</p></section>\n"


def _figures(report: Report) -> str:
    counted, times = report.total.savings, report.total.latency
    is_compared = counted.compared_requests > 0
    unpriced = "no request has both a known cost and a known baseline"
    saved = f"{percent(counted.saved_fraction)} of the baseline" if counted.saved_fraction is not None else ""
    cost = money(counted.cost_nano_usd if counted.unknown_cost_requests < counted.requests else None)
    unknown = f"{many(counted.unknown_cost_requests, 'request')} of unknown cost not in it"
    tone = "" if counted.saved_nano_usd is None else "good" if counted.saved_nano_usd >= 0 else "bad"
    cells = (
        figure("Saved", money(counted.saved_nano_usd), saved if is_compared else unpriced, tone),
        figure("Actual cost", cost, unknown if counted.unknown_cost_requests else "every cost is known"),
        figure(
            "Baseline cost",
            money(counted.baseline_cost_nano_usd) if is_compared else UNKNOWN,
            "all on the large model" if is_compared else unpriced,
        ),
        figure("Time saved", duration(times.saved_s), times.why),
        figure("Answered locally", share(counted.local, counted.requests), f"of {many(counted.requests, 'request')}"),
        figure("Errors", f"{report.total.errors:,}", ends(report.total) or "none"),
    )
    return f'<div class="figures">{"".join(cells)}</div>\n'


def figure(name: str, value: str, why: str, tone: str = "") -> str:
    told = f'<p class="why">{escape(why)}</p>'
    return f'<div class="figure {tone}"><span>{escape(name)}</span><b>{escape(value)}</b>{told}</div>'


def _charts(report: Report) -> str:
    counted = report.total.savings
    places = key(("local", "local"), ("remote", "remote"))
    costs = charts.costs(report.days)
    use = report.total.energy
    energy = [f"Energy: {used(use)}. Saved: {spared(use)}."] if use else []
    said = [*energy, *notes(report.total), *(of_shadows(report.shadows) if report.shadows else [])]
    told = f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in said)}</ul>'
    drawn = (
        chart("Cost over time", costs, key(("actual", "actual"), ("baseline", "baseline")), "no cost is known"),
        chart("Scores and threshold", charts.scores(report.scores) if report.scores else "", places, "nothing scored"),
        chart("Latency", charts.latencies(report.total.latency), "", "no answer was timed"),
        chart("Where it was answered", charts.shares(counted.local, counted.remote), "", "nowhere", told),
    )
    return f'<div class="charts">{"".join(drawn)}</div>\n'


def chart(name: str, drawing: str, tones: str, why_not: str, after: str = "") -> str:
    inside = drawing + tones if drawing else f'<p class="why">{UNKNOWN} {escape(why_not)}</p>'
    return f"<section><h2>{escape(name)}</h2>{inside}{after}</section>"


def key(*tones: tuple[str, str]) -> str:
    items = "".join(f'<li style="--tone: var(--{tone})">{escape(name)}</li>' for tone, name in tones)
    return f'<ul class="key">{items}</ul>'


def _groups(report: Report) -> str:
    if not report.by:
        return ""
    heads = (report.by, "requests", "local", "cost", "baseline", "saved", "saved %", "errors")
    rows = []
    for group in report.groups:
        counted = group.figures.savings
        cells = (
            printable(group.name),
            f"{counted.requests:,}",
            share(counted.local, counted.requests),
            money(counted.cost_nano_usd if counted.unknown_cost_requests < counted.requests else None),
            money(counted.baseline_cost_nano_usd if counted.compared_requests else None),
            money(counted.saved_nano_usd),
            percent(counted.saved_fraction),
            f"{group.figures.errors:,}",
        )
        rows.append(line(cells))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    return (
        f'<section class="groups"><h2 id="groups">By {escape(report.by)}</h2>'
        # Wider than a telephone: whoever has no pointer scrolls it with the keys, once it can have the focus.
        f'<div tabindex="0" role="region" aria-labelledby="groups"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>\n"
    )


def line(cells: Sequence[str]) -> str:
    """A row of a table; its first cell is its name."""
    name, *figures = (escape(cell) for cell in cells)
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{one}</td>" for one in figures)}</tr>'
