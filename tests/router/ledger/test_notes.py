"""Notes are stored as they are, column by column."""

import sqlite3
from contextlib import closing
from pathlib import Path

from weighbridge.ledger.notes import SHADOW_COLUMNS, Signal
from weighbridge.ledger.sqlite import SQLite


async def test_each_field_that_is_stored_has_its_column(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    await ledger.aclose()
    with closing(sqlite3.connect(path)) as connection:
        for table, fields in (("shadows", SHADOW_COLUMNS), ("signals", Signal._fields)):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            assert columns == list(fields)
