"""What local attempts draw is measured where it can be, kept in the ledger, and told by the dashboard."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from running import RunningGateway
from scripted import ScriptedUpstream, Seen, completion

from weighbridge import metering

Start = Callable[..., RunningGateway]
ASK = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


@pytest.fixture
def counter(tmp_path: Path, local: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A processor that draws 5 J for each answer of the local server."""
    folder = tmp_path / "powercap" / "intel-rapl:0"
    folder.mkdir(parents=True)
    (folder / "name").write_text("package-0\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    count = folder / "energy_uj"
    count.write_text("1000000\n")
    monkeypatch.setattr(metering, "POWERCAP", folder.parent)
    answer = completion()

    async def working(seen: Seen, writer: asyncio.StreamWriter) -> None:
        count.write_text(f"{int(count.read_text()) + 5_000_000}\n")
        await answer(seen, writer)

    local.always(working)
    return count


@pytest.mark.usefixtures("counter")
def test_a_local_attempt_is_measured_and_a_remote_one_is_not(start: Start) -> None:
    gateway = start()
    for model in ("auto", "remote"):
        assert httpx.post(f"{gateway.url}/chat/completions", json={"model": model, **ASK}).status_code == 200
    assert [row["energy_mj"] for row in gateway.rows("attempts")] == [5000, None]
    assert "1 attempt measured" in httpx.get(f"{gateway.root}/").text


@pytest.mark.usefixtures("counter")
def test_nothing_is_measured_where_the_config_says_so(start: Start) -> None:
    gateway = start(energy={"measure": False})
    assert httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", **ASK}).status_code == 200
    assert [row["energy_mj"] for row in gateway.rows("attempts")] == [None]
