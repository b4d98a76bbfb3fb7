"""A page in a real browser: what it asked for, what it said, and whether a person can read it."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ALONE = ("quic", "gpu", "background-networking", "component-update", "sync", "default-apps", "extensions")
TELEPHONE, DESK = 400, 1280  # widths in pixels

# Every text that is shown: how large it is, how far from what lies under it in lightness, and where.
_TEXTS = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    const colour = getComputedStyle(node).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" && node.parentElement ? ground(node.parentElement) : colour;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.tagName === "title") continue;
    const style = getComputedStyle(node);
    const svg = node.closest("svg");
    const scale = svg ? svg.getScreenCTM().a : 1;
    const shades = [light(svg ? style.fill : style.color), light(ground(node))].sort((a, b) => b - a);
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const box = (svg ? node : range).getBoundingClientRect();
    const card = node.closest("section, .figure, header").getBoundingClientRect();
    const scrolls = node.closest("[tabindex]") !== null;
    found.push({
      text: walker.currentNode.data, size: parseFloat(style.fontSize) * scale,
      contrast: (shades[0] + 0.05) / (shades[1] + 0.05),
      chart: svg ? [...document.querySelectorAll("svg")].indexOf(svg) : null,
      box: [box.left, box.top, box.right, box.bottom],
      isInside: scrolls || (box.left >= card.left && box.right <= card.right + 0.5 && box.bottom <= card.bottom),
    });
  }
  return found;
}"""


def program() -> str:
    """The browser. Without one the test is skipped, but never in CI."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        words = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    return found


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A browser that calls nobody."""
    arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in _ALONE)]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program(), args=arguments)
        yield browser
        await browser.close()


@dataclass(slots=True)
class Opened:
    """A page that is open. asked: the addresses of its requests. said: by the console, an error or a dialogue."""

    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def texts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.page.evaluate(_TEXTS)
        return found

    async def charts(self) -> dict[str, str]:
        """What a screen reader says of each chart, by the heading over it."""
        found: dict[str, str] = {}
        for card in await self.page.locator("section:has(svg)").all():
            name = await card.get_by_role("heading").inner_text()
            label = await card.get_by_role("img").get_attribute("aria-label")
            found[name] = label or ""
        return found

    async def rows(self) -> list[list[str]]:
        """The cells of the page's table, without its head."""
        lines = await self.page.locator("tbody tr").all()
        return [await line.locator("th, td").all_inner_texts() for line in lines]


@asynccontextmanager
async def opened(browser: Browser, url: str, width: int = DESK, scheme: str = "light") -> AsyncIterator[Opened]:
    """Open it in a window of this width; scheme: light or dark."""
    context = await browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    shown = Opened(await context.new_page())
    shown.page.on("request", lambda request: shown.asked.append(request.url))
    shown.page.on("console", lambda message: shown.said.append(message.text))
    shown.page.on("pageerror", lambda error: shown.said.append(str(error)))
    shown.page.on("dialog", lambda dialog: shown.said.append(dialog.message))
    await shown.page.goto(url)
    yield shown
    await context.close()


async def check_it_reads_well(shown: Opened, scheme: str) -> None:
    """No sideways scrolling, no text too small, too faint, outside of its card or over another one."""
    widths = await shown.page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]")
    assert max(widths) == widths[2], f"the page is {widths} wide"
    ground = await shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
    shade = int(ground.removeprefix("rgb(").split(",")[0])
    assert (shade > 128) == (scheme == "light"), ground
    texts = await shown.texts()
    assert [text for text in texts if text["size"] < 10.5] == []
    assert [text for text in texts if text["contrast"] < 4.5] == []
    assert [text for text in texts if not text["isInside"]] == []
    drawn = [text for text in texts if text["chart"] is not None]
    assert [(a["text"], b["text"]) for i, a in enumerate(drawn) for b in drawn[:i] if _meet(a, b)] == []


def _meet(one: dict[str, Any], other: dict[str, Any]) -> bool:
    left, top, right, bottom = one["box"]
    its_left, its_top, its_right, its_bottom = other["box"]
    # The boxes of letters have air above and below.
    air = 4
    return (
        one["chart"] == other["chart"]
        and left < its_right
        and its_left < right
        and top + air < its_bottom - air
        and its_top + air < bottom - air
    )
