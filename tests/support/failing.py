"""A ledger whose n-th statement fails: SQLite's own way to test itself, and ours to test what comes of it."""

import asyncio
import sqlite3
from dataclasses import dataclass
from typing import Any

from pydantic import PrivateAttr

from weighbridge.ledger._sqlite_writer import Writer
from weighbridge.ledger.sqlite import SQLite


@dataclass
class Fault:
    """at: which statement from now on fails, 0 for none. is_lasting: all after it too, until it is healed."""

    at: int = 0
    is_lasting: bool = False
    has_struck: bool = False

    def arm(self, at: int, *, is_lasting: bool) -> None:
        self.at, self.is_lasting, self.has_struck = at, is_lasting, False

    def heal(self) -> None:
        self.at = 0

    def step(self) -> None:
        if self.at > 1:
            self.at -= 1
        elif self.at == 1:
            self.has_struck = True
            self.at = int(self.is_lasting)
            raise sqlite3.OperationalError("disk I/O error")


class _Connection:
    """A real connection, with a fault before any of its statements."""

    def __init__(self, real: sqlite3.Connection, fault: Fault) -> None:
        self._real = real
        self._fault = fault

    def execute(self, statement: str, *more: Any) -> sqlite3.Cursor:
        if statement != "ROLLBACK":  # what SQLite does by itself when it fails
            self._fault.step()
        return self._real.execute(statement, *more)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._fault.step()
        return self._real.executemany(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Failing(SQLite):
    """`fault` says when."""

    _fault: Fault = PrivateAttr(default_factory=Fault)

    @property
    def fault(self) -> Fault:
        return self._fault

    def _open(self, loop: asyncio.AbstractEventLoop) -> Writer:
        writer = super()._open(loop)
        writer.connection = _Connection(writer.connection, self._fault)  # type: ignore[assignment]
        return writer
