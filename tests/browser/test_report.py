"""The report as a page, in a browser: it reads well, adds up, tells its charts in words, and runs nothing."""

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from browsing import DESK, TELEPHONE, check_it_reads_well, opened
from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
CALLERS = (HOSTILE, "team-a", "team-" + "long" * 30, "team-b")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(write: Callable[..., Awaitable[None]], weighbridge: Callable[..., Awaitable[str]], folder: Path) -> str:
    """The report of ninety requests, by caller, as a file's address; the amounts are whole hundredths of a cent."""
    small = {"upstream": "small", "location": "local", "cost_nano_usd": 0, "baseline_cost_nano_usd": 1_300_000}
    large = {**small, "upstream": "large", "location": "remote", "cost_nano_usd": 1_300_000, "ttft_s": 0.9}
    rows: list[dict[str, Any]] = []
    for i in range(90):
        score = i * 37 % 90 / 90
        kind = {**large, "latency_s": 4.0 + i / 50} if score >= 0.5 else small
        rows.append({**kind, "score": score, "threshold": 0.5, "caller": CALLERS[i % 4], "model": HOSTILE})
    rows[7] |= {"end_reason": "error", "cost_nano_usd": None, "baseline_cost_nano_usd": None}
    await write(rows)
    await weighbridge("report", "--by", "caller", "--format", "html", "--output", str(folder / "report.html"))
    return (folder / "report.html").as_uri()


async def test_it_asks_for_nothing_and_says_nothing(browser: Browser, page: str) -> None:
    async with opened(browser, page) as shown:
        assert await shown.page.title() == "Weighbridge report"
        assert (shown.asked, shown.said) == ([page], [])


async def test_a_hostile_name_is_a_text_like_any_other(browser: Browser, page: str) -> None:
    async with opened(browser, page) as shown:
        assert HOSTILE in [row[0] for row in await shown.rows()]
        assert await shown.page.locator("script, img").count() == 0
        assert shown.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [TELEPHONE, DESK])
async def test_it_reads_well(browser: Browser, page: str, width: int, scheme: str) -> None:
    async with opened(browser, page, width, scheme) as shown:
        await check_it_reads_well(shown, scheme)


async def test_its_charts_tell_their_figures_to_who_does_not_see_them(browser: Browser, page: str, weighbridge) -> None:
    told = json.loads(await weighbridge("report", "--json"))
    local, remote = told["by_location"]["local"], told["by_location"]["remote"]
    async with opened(browser, page) as shown:
        charts = await shown.charts()
    assert list(charts) == ["Cost over time", "Scores and threshold", "Latency", "Where it was answered"]
    costs = f"${told['cost_usd']:.4f} actual, ${told['baseline_cost_usd']:.4f} baseline"
    assert charts["Cost over time"].endswith(costs)
    assert "Threshold 0.50; scores 0.00 to 0.05: 5; " in charts["Scores and threshold"]
    assert f"{told['latency']['remote']['p95_s']:.2f} s remote" in charts["Latency"]
    assert f"local {local} (" in charts["Where it was answered"]
    assert f"remote {remote} (" in charts["Where it was answered"]


async def test_the_table_adds_up_to_the_json_report(browser: Browser, page: str, weighbridge) -> None:
    told = json.loads(await weighbridge("report", "--json", "--by", "caller"), parse_float=Decimal)
    async with opened(browser, page) as shown:
        rows = await shown.rows()
        figures = await shown.page.locator(".figure b").all_inner_texts()

    def total(column: int) -> Decimal:
        return sum((Decimal(row[column].removeprefix("$")) for row in rows), Decimal())

    assert len(rows) == len(told["by"]["groups"]) == 4
    assert total(1) == told["requests"] == 90
    assert total(3) == told["cost_usd"]
    assert total(4) == told["baseline_cost_usd"]
    assert total(5) == told["saved_usd"]
    assert total(7) == told["errors"] == 1
    assert figures[:3] == [f"${told[name]:.4f}" for name in ("saved_usd", "cost_usd", "baseline_cost_usd")]


async def test_a_table_wider_than_a_telephone_is_scrolled_with_the_keys(browser: Browser, page: str) -> None:
    async with opened(browser, page, TELEPHONE) as shown:
        await shown.page.keyboard.press("Tab")
        table = shown.page.get_by_role("region", name="By caller")
        assert await table.evaluate("node => node === document.activeElement")
        await table.evaluate("node => { window.scrolled = new Promise((done) => { node.onscroll = done; }); }")
        await shown.page.keyboard.press("ArrowRight")
        assert await shown.page.evaluate("window.scrolled.then(() => document.activeElement.scrollLeft)") > 0


@pytest.mark.usefixtures("page")
async def test_a_span_without_requests_makes_a_page_too(browser: Browser, weighbridge, folder: Path) -> None:
    empty = folder / "empty.html"
    await weighbridge("report", "--until", "60d", "--format", "html", "--output", str(empty))
    async with opened(browser, empty.as_uri(), TELEPHONE) as shown:
        assert "No requests" in await shown.page.inner_text("main")
        await check_it_reads_well(shown, "light")
