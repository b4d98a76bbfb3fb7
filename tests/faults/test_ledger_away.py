"""A gateway whose ledger's database is not there: it starts, says so, lets nobody through unrecorded, and recovers."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import postgres
import pytest
from running import RunningGateway
from scripted import ScriptedUpstream

from weighbridge.keys import KeysFile
from weighbridge.ledger.postgres import Postgres

BODY = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hello"}]}).encode()
Start = Callable[..., RunningGateway]


def ask(gateway: RunningGateway, path: str = "/v1/chat/completions", key: str = "") -> tuple[int, dict[str, Any]]:
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    body = None if path.startswith("/health") else BODY
    try:
        with urllib.request.urlopen(urllib.request.Request(gateway.root + path, body, headers)) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> postgres.Server:
    server = postgres.running()
    monkeypatch.setenv(postgres.VARIABLE, server.url())
    return server


def asked(upstream: ScriptedUpstream) -> int:
    """How many requests of callers it saw: readiness looks at it, too."""
    return sum(seen.method == "POST" for seen in upstream.seen)


def until_answered(gateway: RunningGateway, key: str = "") -> None:
    deadline = time.monotonic() + 30
    while ask(gateway, key=key)[0] != 200:
        assert time.monotonic() < deadline


def test_without_its_database_the_gateway_answers_503_and_never_401(
    start: Start, server: postgres.Server, local: ScriptedUpstream, remote: ScriptedUpstream, tmp_path: Path
) -> None:
    """R8: no PostgreSQL at the start: 503 and never 401, nothing goes out, and it recovers by itself."""
    schema, key = postgres.new_schema(), KeysFile(tmp_path / "keys.json").add("ann", ["chat"], None)
    server.stop()
    gateway = start(ledger={"use": "postgres", "schema": schema}, server={"keys_path": "keys.json"})
    status, told = ask(gateway, key=key)
    assert (status, told["error"]["code"]) == (503, "ledger_unavailable")
    assert ask(gateway, key="wrong")[0] == 401
    assert ask(gateway, "/health/live")[0] == 200
    assert ask(gateway, "/health/ready")[0] == 503
    assert asked(local) + asked(remote) == 0  # nothing goes out that is not recorded
    server.start()
    until_answered(gateway, key)
    (entry,) = Postgres(schema=schema).entries()
    assert (entry.status, entry.end_reason, entry.caller) == ("settled", "ok", "ann")


def test_a_database_that_goes_away_takes_no_answer_along(
    start: Start, server: postgres.Server, local: ScriptedUpstream
) -> None:
    """R8: PostgreSQL stopped and started: 503 meanwhile, and no row is lost."""
    schema = postgres.new_schema()
    gateway = start(ledger={"use": "postgres", "schema": schema})
    assert ask(gateway)[0] == 200
    server.stop()
    assert ask(gateway)[0] == 503
    server.start()
    until_answered(gateway)
    assert {entry.status for entry in Postgres(schema=schema).entries()} == {"settled"}
    assert asked(local) == 2


def test_a_database_without_a_free_place_is_waited_for_and_who_has_one_goes_on(
    start: Start, server: postgres.Server, local: ScriptedUpstream, tmp_path: Path
) -> None:
    """R8: PostgreSQL takes no more sessions: who starts then answers 503 and never 401, until there is room."""
    key = KeysFile(tmp_path / "keys.json").add("ann", ["chat"], None)
    first, second = postgres.new_schema(), postgres.new_schema()
    inside = start(ledger={"use": "postgres", "schema": first}, server={"keys_path": "keys.json"})
    assert ask(inside, key=key)[0] == 200
    with server.all_taken():
        outside = start(ledger={"use": "postgres", "schema": second}, server={"keys_path": "keys.json"})
        status, told = ask(outside, key=key)
        assert (status, told["error"]["code"]) == (503, "ledger_unavailable")
        assert ask(outside, "/health/ready")[0] == 503
        assert ask(inside, key=key)[0] == 200
    until_answered(outside, key)
    assert asked(local) == 3


def test_a_database_that_has_become_slow_costs_no_more_than_its_limit(
    start: Start, server: postgres.Server, monkeypatch: pytest.MonkeyPatch, local: ScriptedUpstream, tmp_path: Path
) -> None:
    """R8: PostgreSQL too slow to answer in time: not ready, 503 and never 401, and it recovers by itself."""
    schema, key = postgres.new_schema(), KeysFile(tmp_path / "keys.json").add("ann", ["chat"], None)
    with postgres.Valve(server.port) as valve:
        monkeypatch.setenv(postgres.VARIABLE, server.url(valve.port))
        gateway = start(ledger={"use": "postgres", "schema": schema}, server={"keys_path": "keys.json"})
        assert ask(gateway, key=key)[0] == 200
        valve.freeze()
        status, told = ask(gateway, key=key)
        assert (status, told["error"]["code"]) == (503, "ledger_unavailable")
        assert ask(gateway, "/health/ready")[0] == 503
        valve.thaw()
        until_answered(gateway, key)
        assert {entry.status for entry in Postgres(schema=schema).entries()} <= {"settled", "released"}
        assert asked(local) == 2
