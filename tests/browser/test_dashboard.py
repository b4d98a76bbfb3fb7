"""What a gateway shows at `/`, in a browser: the demo's page, and that of traffic with hostile names."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from browsing import DESK, TELEPHONE, check_it_reads_well, opened
from playwright.async_api import Browser
from rich.console import Console

from weighbridge.cli import ports
from weighbridge.demo import demo
from weighbridge.demo.traffic import sample

pytestmark = pytest.mark.asyncio(loop_scope="module")


class _Screen(io.StringIO):
    """Says when the demo invites."""

    def __init__(self) -> None:
        super().__init__()
        self.is_staying = asyncio.Event()

    def write(self, text: str) -> int:
        if "stays up" in text:
            self.is_staying.set()
        return super().write(text)


@pytest_asyncio.fixture(loop_scope="module")
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """The demo, faster than real time, as `weighbridge demo --serve` leaves it."""
    screen = _Screen()
    with closing(ports.bound(demo.HOST, 0)) as listener:
        stage = demo.Stage(Console(file=screen, width=120), tmp_path, listener, speed=50)
        playing = asyncio.create_task(demo.play(stage, sample()[:30], is_staying=True))
        staying = asyncio.create_task(screen.is_staying.wait())
        await asyncio.wait((playing, staying), return_when=asyncio.FIRST_COMPLETED)
        assert not playing.done(), screen.getvalue()
        yield f"http://{demo.HOST}:{stage.port}/"
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


async def test_the_demo_shows_its_page(browser: Browser, address: str) -> None:
    for width, scheme in ((DESK, "light"), (TELEPHONE, "dark")):
        async with opened(browser, address, width, scheme) as shown:
            assert "of 30 requests" in await shown.page.inner_text("main")
            assert len(await shown.charts()) == 4
            assert (shown.asked, shown.said) == ([address], [])
            await check_it_reads_well(shown, scheme)
