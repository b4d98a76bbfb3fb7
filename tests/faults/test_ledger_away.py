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
    deadline = time.monotonic() + 30
    while ask(gateway, key=key)[0] != 200:
        assert time.monotonic() < deadline
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
    deadline = time.monotonic() + 30
    while ask(gateway)[0] != 200:
        assert time.monotonic() < deadline
    assert {entry.status for entry in Postgres(schema=schema).entries()} == {"settled"}
    assert asked(local) == 2
