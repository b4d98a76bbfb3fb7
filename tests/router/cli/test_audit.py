"""`weighbridge audit`: proves an honest ledger, and names what was done to another."""

import json
import sqlite3
from contextlib import closing as ending
from pathlib import Path

import postgres
import pytest
from bookkeeping import record
from commanding import ConfigFile

from weighbridge.ledger.postgres import Postgres
from weighbridge.ledger.sqlite import SQLite


@pytest.fixture
async def written(config: ConfigFile) -> Path:
    """Three requests, one of them fenced."""
    path = config.beside("ledger.db")
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    for name, fence in (("a", None), ("b", "local"), ("c", None)):
        await record(ledger, request_id=name, fence=fence)
    await ledger.aclose()
    return path


def tamper(path: Path, statement: str) -> None:
    with ending(sqlite3.connect(path)) as connection:
        connection.executescript(statement)


@pytest.mark.usefixtures("written")
async def test_an_honest_ledger_passes(weighbridge) -> None:
    ended = await weighbridge("audit")
    assert ended.code == 0
    assert "3 closed requests with their attempts are as they were closed" in ended.out
    assert "1 fenced requests, none of which went to a remote upstream" in ended.out
    head = json.loads((await weighbridge("audit", "--json")).out)["chain"]["head"]
    assert f"head of the chain: {head} (request 3)" in ended.out


async def test_a_changed_row_is_named(written: Path, weighbridge) -> None:
    tamper(written, "UPDATE requests SET caller = 'x' WHERE request_id = 'b'")
    ended = await weighbridge("audit")
    assert ended.code == 1
    assert "request b: is not what was closed" in ended.out
    told = json.loads((await weighbridge("audit", "--json")).out)
    assert (told["ok"], told["findings"], told["first"][0]["request_id"]) == (False, 1, "b")


async def test_a_fenced_attempt_that_left_is_counted(written: Path, weighbridge) -> None:
    tamper(written, "UPDATE attempts SET location = 'remote' WHERE request_id = 'b'")
    told = json.loads((await weighbridge("audit", "--json")).out)
    assert told["fenced"] == {"requests": 1, "remote_attempts": 1}
    assert [finding["request_id"] for finding in told["first"]] == ["b", "b"]


async def test_a_head_noted_before_finds_a_tail_that_was_cut(written: Path, weighbridge) -> None:
    head = json.loads((await weighbridge("audit", "--json")).out)["chain"]["head"]
    ended = await weighbridge("audit", "--anchor", head.upper())
    assert ended.code == 0
    assert "the digest that was noted is in the chain" in ended.out
    tables = (("chain", "no = 3"), ("requests", "request_id = 'c'"), ("attempts", "request_id = 'c'"))
    tamper(written, "; ".join(f"DELETE FROM {table} WHERE {row}" for table, row in tables))  # noqa: S608
    assert (await weighbridge("audit")).code == 0
    ended = await weighbridge("audit", "--anchor", head)
    assert ended.code == 1
    assert "the chain was cut before it or made anew" in ended.out


async def test_many_findings_are_counted(config: ConfigFile, weighbridge) -> None:
    ledger = SQLite(path=str(config.beside("ledger.db")))
    await ledger.aopen()
    for i in range(120):
        await record(ledger, request_id=f"{i}")
    await ledger.aclose()
    tamper(config.beside("ledger.db"), "UPDATE requests SET task = 'x'")
    ended = await weighbridge("audit")
    assert ended.code == 1
    assert "... and 20 more." in ended.out


@pytest.mark.usefixtures("config")
async def test_a_ledger_that_is_not_there_is_told(weighbridge) -> None:
    ended = await weighbridge("audit")
    assert (ended.code, ended.out) == (1, "")
    assert "there is no ledger at ledger.db yet" in ended.err


async def test_a_config_that_cannot_be_used_and_an_anchor_that_is_none_are_told(
    config: ConfigFile, weighbridge
) -> None:
    ended = await weighbridge("audit", "--anchor", "abc")
    assert ended.code == 2
    assert "is not a digest" in ended.err
    config.change("[ledger]", "[ledgers]")
    assert (await weighbridge("audit")).code == 78


async def test_a_ledger_in_postgresql_is_audited_as_well(
    config: ConfigFile, weighbridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, schema = postgres.running(), postgres.new_schema()
    monkeypatch.setenv(postgres.VARIABLE, server.url())
    ledger = Postgres(schema=schema)
    await ledger.aopen()
    await record(ledger)
    await ledger.aclose()
    config.change('path = "ledger.db"', f'use = "postgres"\nschema = "{schema}"')
    variable = {postgres.VARIABLE: server.url()}
    assert (await weighbridge("audit", env=variable)).code == 0
    server.psql("UPDATE requests SET caller = 'x'", schema)
    ended = await weighbridge("audit", env=variable)
    assert ended.code == 1
    assert "request request-1: is not what was closed" in ended.out
    assert json.loads((await weighbridge("report", "--json", env=variable)).out)["requests"] == 1
    monkeypatch.delenv(postgres.VARIABLE)
    ended = await weighbridge("audit")
    assert (ended.code, ended.err.strip()[:50]) == (1, "the environment variable WEIGHBRIDGE_LEDGER_URL is")
