"""What SIGKILL costs: a gateway is killed again and again under load, and its ledger held against the answers.

    python benchmarks/kills.py [--kills 200] [--minutes 8] [--seed 1] [--postgres URL] [--json]

It is the run of tests/faults/test_ledger_kills.py, only longer. Before most kills the gateway is stopped for a while,
its disk is full (a limit on the size of its files), or its config is read again, a broken one first. After each kill an
SQLite file is checked page by page.
Ends with 0 when no answer is missing, wrong or unsettled, nothing is left open, and the hash chain holds.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from killing import CALLERS, Findings, KillRun  # the tests' own support


def figures(found: Findings) -> dict[str, object]:
    return {
        "kills": found.kills,
        "stopped and gone on": found.stops,
        "full disks": found.full_disks,
        "reloads, each of a broken config and a good one": found.reloads,
        "callers": CALLERS,
        "answered": found.answered,
        "answers missing in the ledger": len(found.lost),
        "answers not settled, or outside their fence": len(found.not_settled),
        "answers with another cost than the caller was told": len(found.wrong_cost),
        "answers given while the disk was full, killed before they were settled: held at their reservation": found.held,
        "requests in the ledger": found.rows,
        "of them unknown, their reservation held": found.unknown,
        "unknown attempts without a reservation": len(found.not_held),
        "requests left open": len(found.left_open),
        "findings of the integrity checks": len(found.damaged),
        "findings of the audit": found.audit.count,
        "fenced requests": found.audit.fenced,
        "their attempts that went to a remote upstream": found.audit.fenced_remote,
        "seconds from start to answering, median": round(statistics.median(found.seconds_down), 2),
        "seconds from start to answering, most": round(max(found.seconds_down), 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="how many")
    parser.add_argument("--minutes", type=float, default=8, help="stop killing after this time")
    parser.add_argument("--seed", type=int, default=1, help="of the requests and the moments")
    parser.add_argument("--postgres", help="keep the ledger there instead of in SQLite: postgresql://...")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    ledger = 'path = "ledger.db"'
    if options.postgres:
        os.environ["WEIGHBRIDGE_LEDGER_URL"] = options.postgres
        ledger = f'use = "postgres"\nschema = "kills_{time.time_ns()}"'
    with tempfile.TemporaryDirectory() as folder:
        run = KillRun(Path(folder), ledger, options.seed)
        found = run.run(options.kills, time.monotonic() + options.minutes * 60)
    if options.json:
        print(json.dumps(figures(found), indent=2))
    else:
        print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `python {' '.join(sys.argv)}`\n")
        for name, value in figures(found).items():
            print(f"- {name}: {value:,}")
        print("\nPASS" if found.is_fine else "\nFAIL")
    return 0 if found.is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
