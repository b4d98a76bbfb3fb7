"""One browser for the tests of a file, and the command in a folder that holds a ledger."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bookkeeping import record
from browsing import launched
from commanding import CONFIG
from playwright.async_api import Browser
from typer.testing import CliRunner

from weighbridge.cli.commands import app
from weighbridge.ledger.sqlite import SQLite

Command = Callable[..., Awaitable[str]]
Write = Callable[..., Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with launched() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a config, its ledger and the pages made of it lie."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "config.toml").write_text(
        CONFIG.replace("THRESHOLD", "0.5").replace("ledger.db", str(folder / "ledger.db"))
    )
    return folder


@pytest.fixture(scope="module")
def weighbridge(folder: Path) -> Command:
    """Run the command with that config; what it wrote to stdout."""

    async def run(*arguments: str) -> str:
        # In a thread: the command has an event loop of its own.
        done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--config", str(folder / "config.toml")])
        assert done.exit_code == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def write(folder: Path) -> Write:
    """Put these requests into the ledger, one each eight hours, the last an hour ago."""

    async def put(rows: list[dict[str, Any]]) -> None:
        ledger = SQLite(path=str(folder / "ledger.db"))
        await ledger.aopen()
        last = datetime.now(UTC) - timedelta(hours=1)
        for i, row in enumerate(rows):
            at = last - timedelta(hours=8 * (len(rows) - 1 - i))
            await record(ledger, **{"request_id": str(i), "created_at": at, "started_at": at, **row})
        await ledger.aclose()

    return put
