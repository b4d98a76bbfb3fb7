"""What the ledger costs: CPU microseconds per request, and how fast a report reads a million of them.

    python benchmarks/ledger.py [--rows 1000000]

A request is a reservation, a sent mark and a settlement, committed in two transactions. `loop` is what the event loop's
own thread spends; `total` adds the writing thread. The machine's speed changes from minute to minute, so each figure is
the median of five interleaved rounds with their range, and a plain `executemany` of one narrow row stands beside it.
"""

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from weighbridge.ledger.base import Closing, Opening, Reservation, Settlement
from weighbridge.ledger.sqlite import SQLite
from weighbridge.reports.report import report

REQUESTS = 4_000
ROUNDS = 5
BATCHES = (1, 32, 500)

Rows = tuple[Opening, Reservation, Settlement, Closing]


def rows_of(number: int) -> Rows:
    key, now, place = f"request-{number:020}", datetime.now(UTC), ("local", "small-1", "local")
    return (
        Opening(key, now, "auto", "auto", "team-a", "below_threshold", "score 0.31 < 0.52", None, None, 0.31, 0.52,
                "code", "minilm-1", False),
        Reservation(key, 1, now, *place, 120_000),
        Settlement(key, 1, "settled", "ok", None, 312, 220, 0, "provider", 0, "config", 0.31, 2.2),
        Closing(key, "settled", "ok", 200, None, *place, "below_threshold", 1, 312, 220, 0, "provider", 0, "remote",
                518_000, "config", 0.31, 2.2, 0.003),
    )  # fmt: skip


async def write(path: Path, requests: list[Rows], batch: int) -> tuple[float, float]:
    """Seconds of CPU per request: the loop's thread, and the whole process."""
    ledger = SQLite(path=str(path))
    await ledger.aopen()
    loop, total = time.thread_time(), time.process_time()
    for start in range(0, len(requests), batch):
        some = requests[start : start + batch]
        await asyncio.gather(*(ledger.reserve(opening, reservation) for opening, reservation, _, _ in some))
        for opening, *_ in some:
            ledger.sent(opening.request_id, 1)
        await asyncio.gather(*(ledger.settle(settlement, closing) for _, _, settlement, closing in some))
    spent = time.thread_time() - loop, time.process_time() - total
    await ledger.aclose()
    return spent[0] / len(requests), spent[1] / len(requests)


def narrow_row() -> float:
    """Seconds of CPU for a row of one integer: the machine's own measure."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE numbers (n INTEGER)")
    start = time.thread_time()
    connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(20_000)])
    spent = time.thread_time() - start
    connection.close()
    return spent / 20_000


def measure_writing(folder: Path) -> None:
    requests = [rows_of(number) for number in range(REQUESTS)]
    found: dict[int, list[tuple[float, float]]] = {batch: [] for batch in BATCHES}
    narrow = []
    for turn in range(ROUNDS):
        narrow.append(narrow_row())
        for batch in BATCHES:
            found[batch].append(asyncio.run(write(folder / f"{turn}-{batch}.db", requests, batch)))
    print(f"a row of one integer: {told(narrow)}")
    for batch, spent in found.items():
        print(f"batches of {batch:3}: loop {told([s[0] for s in spent])}, total {told([s[1] for s in spent])}")


def told(seconds: list[float]) -> str:
    low, middle, high = (1e6 * value for value in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle:.1f} us ({low:.1f}-{high:.1f})"


def measure_report(folder: Path, rows: int) -> None:
    path = folder / "large.db"
    asyncio.run(write(path, [rows_of(0)], 1))
    connection = sqlite3.connect(path)
    names = [row[1] for row in connection.execute("PRAGMA table_info(requests)")]
    copied = ", ".join({"request_id": "n", "created_at": "created_at + n * 86400000"}.get(name, name) for name in names)
    count = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)"
    connection.execute(f"{count} INSERT INTO requests SELECT {copied} FROM requests, c", (rows - 1,))  # noqa: S608
    connection.commit()
    connection.close()
    start = time.perf_counter()
    made = report(SQLite(path=str(path)), by="route")
    print(f"report over {made.total.savings.requests:,} requests: {time.perf_counter() - start:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="requests in the ledger that is reported on")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_writing(Path(folder))
        measure_report(Path(folder), options.rows)


if __name__ == "__main__":
    main()
