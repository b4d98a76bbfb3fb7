"""`weighbridge report`: the ledger's figures in every form."""

import asyncio
import csv
import json
import urllib.request
from pathlib import Path

import pytest
from commanding import ConfigFile


@pytest.fixture
async def served(config: ConfigFile, serve) -> None:
    """Three requests were answered, two of them by the small model."""
    gateway = await serve()
    for text in ("hello", "good day", "Prove it. " * 200):
        body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}]}).encode()
        request = urllib.request.Request(f"{gateway.base_url}/chat/completions", body)  # noqa: S310
        (await asyncio.to_thread(urllib.request.urlopen, request, timeout=30)).close()
    await gateway.end()


async def test_a_ledger_that_is_not_there_is_told(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("report")
    assert (ended.code, ended.out) == (1, "")
    assert "there is no ledger at ledger.db yet" in ended.err


@pytest.mark.usefixtures("served")
async def test_it_comes_in_every_form(weighbridge, tmp_path: Path) -> None:
    as_json = json.loads((await weighbridge("report", "--json")).out)
    assert as_json == json.loads((await weighbridge("report", "--format", "json")).out)
    assert as_json["requests"] == 3
    assert as_json["by_location"] == {"local": 2, "remote": 1}
    rows = list(csv.DictReader((await weighbridge("report", "--format", "csv", "--by", "upstream")).out.splitlines()))
    assert [row["upstream"] for row in rows] == ["small", "large"]
    assert "Requests" in (await weighbridge("report")).out
    ended = await weighbridge("report", "--format", "html", "--output", "report.html")
    assert (ended.code, ended.out) == (0, "Wrote report.html.\n")
    assert (tmp_path / "report.html").read_text().lower().startswith("<!doctype html>")


@pytest.mark.usefixtures("served")
async def test_a_span_of_time_can_be_named(weighbridge) -> None:
    assert json.loads((await weighbridge("report", "--json", "--since", "1h")).out)["requests"] == 3
    assert json.loads((await weighbridge("report", "--json", "--until", "1h")).out)["requests"] == 0
    ended = await weighbridge("report", "--since", "yesterday")
    assert ended.code == 2
    assert "'yesterday' is not a time" in ended.err


@pytest.mark.usefixtures("served")
async def test_a_file_that_cannot_be_written_is_told(weighbridge) -> None:
    ended = await weighbridge("report", "--output", "nowhere/report.txt")
    assert ended.code == 1
    assert "nowhere/report.txt cannot be written: No such file or directory" in ended.err


@pytest.mark.usefixtures("served")
async def test_drift_is_looked_at_when_asked_for(weighbridge) -> None:
    assert json.loads((await weighbridge("report", "--json", "--drift")).out)["drift"]["recent_requests"] == 3
    assert "drift" not in json.loads((await weighbridge("report", "--json")).out)
    assert "Drift: 3 requests" in (await weighbridge("report", "--drift")).out
