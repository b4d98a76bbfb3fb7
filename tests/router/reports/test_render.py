"""How a report is shown: exact where machines read it, safe where people open it, a dash for what is unknown."""

import csv
import io
import json
import re
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any, get_args

import pytest
from bookkeeping import NOON, entry, of, remote

from weighbridge.reports.render import FORMATS, Format, render
from weighbridge.reports.words import duration, money, seconds

HOSTILE = "<script>alert(1)</script>\"'&"


def seen(**changes: Any) -> list[Any]:
    return [entry(**changes), remote(**{"cost_nano_usd": 518_000, **changes})]


class Page(HTMLParser):
    """What a browser would find in the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_the_json_has_the_keys_of_the_contract_and_exact_money() -> None:
    found = json.loads(render(of(*seen(cost_nano_usd=1)), "json"), parse_float=Decimal)
    contract = {"requests", "by_location", "cost_usd", "baseline_cost_usd", "saved_usd", "saved_fraction", "errors"}
    assert contract | {"unknown_cost_requests", "latency", "since", "until"} <= found.keys()
    assert found["cost_usd"] == Decimal("0.000000002")
    assert found["baseline_cost_usd"] == Decimal("0.001036")
    assert found["by_location"] == {"local": 1, "remote": 1}
    assert found["latency"]["local"].keys() == {"ttft_p50_s", "p50_s", "p95_s"}
    assert found["latency"]["saved_s"] is None


def test_a_large_sum_keeps_its_last_digit_in_json() -> None:
    text = render(of(entry(cost_nano_usd=123_456_789_012_345_678)), "json")
    assert '"cost_usd": 123456789.012345678' in text


def test_what_is_unknown_is_null_in_json_and_empty_in_csv() -> None:
    made = of(entry(cost_nano_usd=None, baseline_cost_nano_usd=None, ttft_s=None, latency_s=None))
    found = json.loads(render(made, "json"))
    assert (found["saved_usd"], found["saved_fraction"], found["latency"]["local"]["p50_s"]) == (None, None, None)
    (row,) = csv.DictReader(io.StringIO(render(made, "csv")))
    assert (row["saved_usd"], row["local_p50_s"], row["unknown_cost_requests"]) == ("", "", "1")


def test_groups_are_in_every_form() -> None:
    made = of(*seen(), by="upstream")
    assert [g["name"] for g in json.loads(render(made, "json"))["by"]["groups"]] == ["local", "remote"]
    assert [row["upstream"] for row in csv.DictReader(io.StringIO(render(made, "csv")))] == ["local", "remote"]
    assert "By upstream" in render(made, "table")
    assert "By upstream" in render(made, "html")


@pytest.mark.parametrize("format", FORMATS)
def test_every_form_can_show_nothing(format: Format) -> None:  # noqa: A002
    assert render(of(), format)
    assert render(of(by="day"), format)
    assert get_args(Format) == FORMATS


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_runs_nothing(name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(render(of(entry(caller=name), by="caller"), "csv"), newline=""))
    assert row["caller"][0] not in "=+-@\t\r"


def test_the_page_escapes_hostile_names() -> None:
    made = of(*seen(caller=HOSTILE, upstream=HOSTILE), by="caller")
    found = Page(render(made, "html"))
    assert "script" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "&lt;script&gt;" in render(made, "html")


def test_the_page_needs_nothing_from_anywhere() -> None:
    text = render(of(*seen(), by="day"), "html")
    found = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert not {"src", "href", "action", "srcset"} & {name for name, _ in found.attributes}
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_page_shows_a_dash_and_the_reason_for_what_is_unknown() -> None:
    text = render(of(entry(cost_nano_usd=None, baseline_cost_nano_usd=None)), "html")
    assert text.count("<b>—</b>") >= 3
    assert "no request has both a known cost and a known baseline" in text
    assert "$0.00" not in text


def test_the_page_draws_the_four_charts() -> None:
    labels = [v for k, v in Page(render(of(*seen()), "html")).attributes if k == "aria-label"]
    assert [str(label).split()[0] for label in labels] == ["Actual", "Histogram", "Latency", "Share"]


def test_a_long_time_is_drawn_by_weeks() -> None:
    days = [entry(created_at=NOON + timedelta(days=i * 3)) for i in range(60)]
    assert render(of(*days), "html").count("baseline</title>") == 27


def test_the_table_fits_eighty_columns_whatever_the_names() -> None:
    made = of(*seen(caller="x" * 300), entry(caller="\x1b[31mred\x07"), by="caller")
    text = render(made, "table")
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "\x07" not in text


def test_the_table_has_colours_only_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in render(of(*seen()), "table", is_terminal=True)


def test_the_table_takes_names_literally() -> None:
    assert "[bold]x[/bold]" in render(of(entry(caller="[bold]x[/bold]"), by="caller"), "table", width=120)


def test_amounts_are_written_for_people() -> None:
    assert [money(n) for n in (None, 0, 1_500, -2_000_000_000, 12_345_678_900_000, 4_200_000)] == [
        "—",
        "$0.00",
        "$0.0000015",
        "-$2.00",
        "$12,345.68",
        "$0.0042",
    ]
    assert [seconds(s) for s in (None, 0.1834, 2.5)] == ["—", "183 ms", "2.50 s"]
    assert [duration(s) for s in (None, 5.25, 61, -1928, 3_725)] == [
        "—",
        "5.2 s",
        "1 min 1 s",
        "-32 min 8 s",
        "1 h 2 min",
    ]
