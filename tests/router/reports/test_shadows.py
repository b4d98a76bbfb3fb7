"""What shadows measured is told with its interval, and their money apart from that of the traffic."""

import json
from decimal import Decimal
from typing import Any

import pytest
from bookkeeping import NOON, Written, entry

from weighbridge.ledger.notes import Shadowed, ShadowSpend, Side
from weighbridge.reports.render import render
from weighbridge.reports.report import report
from weighbridge.reports.shadows import shadows_of


def shadow(served: Side = "small", small: float | None = 1.0, large: float | None = 1.0, **changes: Any) -> Shadowed:
    source = None if small is None else "judge j"
    return Shadowed("1", NOON, "auto", served, "local", "remote", small, large, source)._replace(**changes)


def test_means_and_intervals_are_those_of_the_judged() -> None:
    rows = [shadow(small=0.0)] * 20 + [shadow()] * 60 + [shadow("large", small=0.0)] * 20 + [shadow(small=None)] * 7
    found = shadows_of(rows, [ShadowSpend("remote", 300, 5_000, 2), ShadowSpend("judge", 200, 7, 0)])
    assert (found.compared, found.judged, found.sources) == (107, 100, (("judge j", 100),))
    assert (found.calls, found.cost_nano_usd, found.unknown_calls) == (500, 5_007, 2)
    assert found.total is not None
    assert (found.total.small.value, found.total.large.value) == (0.6, 1.0)
    assert found.total.kept.value == 0.8  # what users got: the large one's where that served
    assert 0.4 < found.total.small.low < 0.55 < 0.65 < found.total.small.high < 0.8
    assert found.small_served is not None
    assert found.large_served is not None
    assert (found.small_served.requests, found.small_served.small.value) == (80, 0.75)
    assert (found.large_served.requests, found.large_served.kept.value) == (20, 1.0)


def test_nothing_can_be_kept_of_nothing() -> None:
    found = shadows_of([shadow(small=0.0, large=0.0)], [])
    assert found.total is not None
    assert found.total.kept.value != found.total.kept.value  # NaN


@pytest.mark.parametrize("form", ["table", "html"])
def test_every_form_of_the_report_tells_of_them(form: Any) -> None:
    ledger = Written(given=(entry(),), given_shadows=(shadow(), shadow(small=0.0, large=0.0)))
    text = " ".join(render(report(ledger), form, width=200).split())
    assert "Shadows: 2 of 2 answers judged, $0.000001 spent; not in the cost above." in text
    assert "small 0.50 (0.00 to 1.00)" in text


def test_the_json_has_every_figure() -> None:
    ledger = Written(given=(entry(cost_nano_usd=0),), given_shadows=(shadow(), shadow(small=0.0, large=0.0)))
    found = json.loads(render(report(ledger), "json"), parse_float=Decimal)
    assert (found["requests"], found["cost_usd"]) == (1, 0)
    assert found["shadows"]["cost_usd"] == Decimal("0.000001")
    assert found["shadows"]["total"]["small"] == {"value": Decimal("0.5"), "low": 0, "high": 1}
    assert found["shadows"]["large_served"] is None
    assert "shadows" not in json.loads(render(report(Written(given=(entry(),))), "json"))
