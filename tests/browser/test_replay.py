"""A replay as a page, in a browser."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from browsing import DESK, TELEPHONE, check_it_reads_well, opened
from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<script>alert(1)</script>"
LARGE = {"upstream": "large", "location": "remote", "cost_nano_usd": 1_302_000, "latency_s": 5.0}
COMMAND = ("replay", "--since", "60d", "--threshold", "0.8")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(write: Callable[..., Awaitable[None]], weighbridge: Callable[..., Awaitable[str]], folder: Path) -> str:
    """A hundred scored requests at another threshold, and two of a route that the config does not have."""
    alike = {"baseline_upstream": "large", "baseline_cost_nano_usd": 1_302_000, "classifier": "length", "model": "m"}
    small = {"upstream": "small", "location": "local", "cost_nano_usd": 0}
    rows: list[dict[str, Any]] = []
    for i in range(100):
        score = i / 100 + 0.005
        rows.append({**alike, **(LARGE if score > 0.5 else small), "score": score, "threshold": 0.5})
    await write([*rows, *({**alike, **small, "route": HOSTILE} for _ in range(2))])
    await weighbridge(*COMMAND, "--html", str(folder / "replay.html"), "--svg", str(folder / "curve.svg"))
    return (folder / "replay.html").as_uri()


async def test_it_asks_for_nothing_and_says_nothing(browser: Browser, page: str) -> None:
    async with opened(browser, page) as shown:
        assert await shown.page.title() == "Weighbridge replay"
        assert HOSTILE in await shown.page.inner_text(".notes")
        assert (shown.asked, shown.said) == ([page], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [TELEPHONE, DESK])
async def test_it_reads_well(browser: Browser, page: str, width: int, scheme: str) -> None:
    async with opened(browser, page, width, scheme) as shown:
        await check_it_reads_well(shown, scheme)


async def test_it_says_what_the_json_says(browser: Browser, page: str, weighbridge) -> None:
    told = json.loads(await weighbridge(*COMMAND, "--json"))
    async with opened(browser, page) as shown:
        rows = {name: cells for name, *cells in await shown.rows()}
        [curve] = (await shown.charts()).values()
    was, tried = (side["by_location"] for side in (told["old"], told["new"]))
    assert rows["Requests"] == ["100", "100"]
    assert rows["remote"] == [f"{was['remote']} (50.0 %)", f"{tried['remote']} (20.0 %)"]
    assert rows["Cost"] == [f"${told['old']['cost_usd']:.4f}", f"~${told['new']['cost_usd']:.4f}"]
    assert f"as tried: ${told['curve']['new']['cost_usd']:.4f}, quality {told['curve']['new']['quality']:.1%}" in (
        curve.replace(" %", "%")
    )


async def test_the_curve_is_a_picture_that_a_browser_opens(browser: Browser, page: str) -> None:
    curve = page.replace("replay.html", "curve.svg")
    async with opened(browser, curve) as shown:
        assert await shown.page.locator("polyline").is_visible()
        assert (shown.asked, shown.said) == ([curve], [])
