"""A real gateway, killed under the load of eight callers: what it had answered is in the ledger, as it was answered."""

from pathlib import Path

import postgres
import pytest
from killing import KillRun


@pytest.mark.parametrize(("store", "seed"), [("sqlite", 1), ("sqlite", 2), ("postgres", 3)])
def test_kills_lose_nothing_that_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, seed: int
) -> None:
    """S4: a gateway killed, stopped, its disk filled, its config read again: every answer is in the ledger."""
    ledger = 'path = "ledger.db"'
    if store == "postgres":
        monkeypatch.setenv(postgres.VARIABLE, postgres.running().url())
        ledger = f'use = "postgres"\nschema = "{postgres.new_schema()}"'
    found = KillRun(tmp_path, ledger, seed).run(kills=2)
    assert found.is_fine, found
    assert found.kills >= 2
    assert found.answered >= 3
    assert found.unknown > 0  # something was under way when it died
