"""The hash chain in an SQLite ledger, and the drafts that spare its writer from reading back what it just wrote."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from weighbridge.ledger.base import Closing, Settlement
from weighbridge.ledger.chain import ATTEMPT_COLUMNS, GENESIS, REQUEST_COLUMNS, Link, Row, digest

Closed = tuple[Row, Sequence[Row]]  # a request, and its attempts

TABLE = "CREATE TABLE chain (no INTEGER NOT NULL PRIMARY KEY, request_id TEXT NOT NULL, digest BLOB NOT NULL)"

_REQUEST = ", ".join(f"r.{name}" for name in REQUEST_COLUMNS)
_ATTEMPT = ", ".join(f"a.{name}" for name in ATTEMPT_COLUMNS)
# A real that is a whole number is kept as an integer. SELECT makes it a real again, RETURNING does not.
_REALS = frozenset({"score", "threshold", "ttft_s", "latency_s", "overhead_s"})
_AS_READ = (f"CAST({name} AS REAL)" if name in _REALS else name for name in REQUEST_COLUMNS)
RETURNING = f"RETURNING {', '.join(_AS_READ)}"

_HEAD = "SELECT no, digest FROM chain ORDER BY no DESC LIMIT 1"
_LINK = "INSERT INTO chain VALUES (?, ?, ?)"
_CLOSED = f"SELECT {_REQUEST} FROM requests r WHERE r.status NOT IN ('reserved', 'sent') ORDER BY r.rowid"  # noqa: S608  # our own names
_ATTEMPTS = f"SELECT {_ATTEMPT} FROM attempts a WHERE a.request_id = ? ORDER BY a.attempt_no"  # noqa: S608  # our own names
_CHAINED = f"""SELECT c.no, c.digest, c.request_id, {_REQUEST}
    FROM chain c LEFT JOIN requests r ON r.request_id = c.request_id ORDER BY c.no"""  # noqa: S608  # our own names
_OUTSIDE = f"SELECT {_REQUEST} FROM requests r WHERE r.request_id NOT IN (SELECT request_id FROM chain)"  # noqa: S608  # our own names
_ORPHANS = f"""SELECT {_ATTEMPT} FROM attempts a
    WHERE NOT EXISTS (SELECT 1 FROM requests r WHERE r.request_id = a.request_id)
    AND a.request_id NOT IN (SELECT request_id FROM chain)"""  # noqa: S608  # our own names


def extend(connection: sqlite3.Connection, closed: Iterable[Closed]) -> None:
    """Add closed requests to the chain. Within a transaction that writes, so that processes take turns."""
    no, head = connection.execute(_HEAD).fetchone() or (0, GENESIS)
    links = []
    for request, attempts in closed:
        no, head = no + 1, digest(head, request, attempts)
        links.append((no, request[0], head))
    connection.executemany(_LINK, links)


def attempts_of(connection: sqlite3.Connection, request_id: str) -> Sequence[Row]:
    return connection.execute(_ATTEMPTS, (request_id,)).fetchall()


def begin(connection: sqlite3.Connection) -> None:
    """Make the chain, over everything that was closed before there was one."""
    connection.execute(TABLE)
    closed = connection.execute(_CLOSED)
    extend(connection, ((request, attempts_of(connection, request[0])) for request in closed))


def links(connection: sqlite3.Connection) -> Iterator[Link]:
    """The whole chain, then what is outside it."""
    for no, found, request_id, *request in connection.execute(_CHAINED):
        row = request if request[0] is not None else None
        yield Link(no, found, request_id, row, attempts_of(connection, request_id))
    for request in connection.execute(_OUTSIDE):
        yield Link(None, None, request[0], request, attempts_of(connection, request[0]))
    for attempt in connection.execute(_ORPHANS):
        yield Link(None, None, attempt[0], None, (attempt,))


@dataclass(slots=True)
class _Draft:
    opened: Row
    attempts: dict[int, Row] = field(default_factory=dict)
    open: int = 0  # attempts that are not settled


@dataclass(slots=True)
class Drafts:
    """The open requests of this process, as they stand in the file. What is not in here is read from there."""

    by_id: dict[str, _Draft] = field(default_factory=dict)

    def open(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.by_id[row[0]] = _Draft(row)

    def reserve(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if draft := self.by_id.get(row[0]):
                draft.attempts[row[1]] = row
                draft.open += 1

    def settle(self, settlements: Iterable[Settlement]) -> None:
        for settlement in settlements:
            draft = self.by_id.get(settlement.request_id)
            row = draft and draft.attempts.get(settlement.attempt_no)
            if draft and row and len(row) < len(ATTEMPT_COLUMNS):
                *plain, ttft_s, latency_s, energy_mj = settlement
                reals = (_real(ttft_s), _real(latency_s))
                draft.attempts[settlement.attempt_no] = (*row, *plain[2:], *reals, energy_mj)
                draft.open -= 1

    def close(self, closing: Closing) -> Closed | None:
        """The whole request as it now is; None where that has to be read."""
        draft = self.by_id.pop(closing.request_id, None)
        if draft is None or draft.open:
            return None
        opened, (*ended, ttft_s, latency_s, overhead_s) = draft.opened, closing
        reals = (_real(ttft_s), _real(latency_s), _real(overhead_s))
        # The reason is decided at first, and stands when the request ends. The prompt is left out.
        request = (*opened[:5], ended[8], *opened[6:15], opened[16], *ended[1:8], *ended[9:], *reals)
        return request, [draft.attempts[no] for no in sorted(draft.attempts)]


def _real(value: Any) -> float | None:
    """As the file gives it back, whatever kind of number came."""
    return None if value is None else float(value)
