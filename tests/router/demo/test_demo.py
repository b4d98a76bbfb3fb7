"""The demo from end to end: the real gateway on loopback, faster than real time."""

import io
import json
import sqlite3
from contextlib import closing

import pytest
import typer
from rich.console import Console

from weighbridge.cli import ports
from weighbridge.demo import demo
from weighbridge.demo.traffic import sample


async def played(folder, prompts, **options):
    console = Console(file=io.StringIO(), width=120)
    with closing(ports.bound(demo.HOST, 0)) as listener:
        await demo.play(demo.Stage(console, folder, listener, speed=50), prompts, is_staying=False, **options)
    return console.file.getvalue()


def rows(folder, query):
    with closing(sqlite3.connect(folder / "ledger.db")) as ledger:
        return ledger.execute(query).fetchall()


async def test_the_demo_answers_everything_and_shows_the_report(tmp_path, capfd):
    prompts = sample()[:30]
    said = await played(tmp_path, prompts)
    assert "Simulated: both models" in said
    assert "quality was not measured" in said
    assert "curl -i http://127.0.0.1:8484/v1/chat/completions" in said
    assert rows(tmp_path, "SELECT count(*), min(end_reason), max(end_reason) FROM requests") == [(30, "ok", "ok")]
    # Both sides were used, and each knows what it cost.
    assert len(rows(tmp_path, "SELECT DISTINCT location FROM requests")) == 2
    assert rows(tmp_path, "SELECT count(*) FROM requests WHERE cost_nano_usd IS NULL") == [(0,)]
    assert capfd.readouterr().out, "the report"


async def test_the_curl_line_is_one_line_that_a_shell_understands(tmp_path, capfd):
    said = await played(tmp_path, sample()[:2])
    [line] = [line for line in said.splitlines() if "curl -i" in line]
    assert json.loads(line.split("-d '")[1].rstrip().removesuffix("'"))["model"] == "auto"


def test_a_taken_port_is_said_and_nothing_runs(capfd):
    with closing(ports.bound(demo.HOST, 0)) as listener, pytest.raises(typer.Exit) as ended:
        demo.run(serve=True, port=listener.getsockname()[1])
    assert ended.value.exit_code == 1
    assert "--port takes another" in capfd.readouterr().err
