"""How long Weighbridge takes from start to ready, and how much memory it holds with the classifier loaded.

Ready is the first 200 of /health/ready; after it the gateway answers a scored request. Files are in the page cache
after the first start, as on a machine that restarts its gateway; the first start is printed apart.

    python benchmarks/startup.py [--starts 7] [--json]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from rig import load, targets
from rig.processes import Program, cores, end_cleanly_on_sigterm
from rig.tables import machine

READY_GOAL_S = 2.0
RESIDENT_GOAL_MB = 300.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start. scored: requests answered between the two looks at its memory."""

    ready_s: float
    first_answer_s: float
    resident_mb: float
    loaded_mb: float
    scored: int


def start(cache: Path, seconds: float) -> Start:
    """Start a gateway, ask it, load it with scored requests, stop it."""
    gateway_core, load_core = cores()
    folder = targets.temporary_folder(cache)
    upstream, port = targets.start_upstream(load_core, folder)
    program: Program | None = None
    try:
        target = targets.weighbridge_scored(targets.Place(cache, folder, port))
        program = Program(target.command, gateway_core, folder / "weighbridge.log", target.env, folder)
        ready_s = targets.until_ready(program, target.port)
        job = load.Job(target.port, target.model, 64, is_stream=False, seconds=seconds)
        if trouble := uvloop.run(load.one(job)):
            raise SystemExit(f"the first request failed: {trouble}")
        first_s, resident_mb = time.monotonic() - program.began, program.resident_mb()
        sample = uvloop.run(load.measure(job, program.cpu_s))
        if sample.errors:
            raise SystemExit(f"errors under load: {dict(sample.errors)}")
        return Start(ready_s, first_s, resident_mb, program.resident_mb(), sample.sent)
    finally:
        if program is not None:
            program.stop()
        upstream.stop()


def _line(what: str, values: Sequence[float], unit: str, goal: float | None = None) -> str:
    middle = statistics.median(values)
    verdict = "" if goal is None else f"; goal under {goal:g} {unit}: {'PASS' if middle < goal else 'FAIL'}"
    return f"- {what}: {middle:.2f} {unit} ({min(values):.2f}..{max(values):.2f}){verdict}"


def rendered(starts: Sequence[Start]) -> str:
    """The report. The first start is left out of the medians where there are others."""
    warm = starts[1:] or starts
    return "\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}",
            f"{len(starts)} starts on one core; median (least..most)",
            "",
            f"- first start, files perhaps not in the page cache: ready after {starts[0].ready_s:.2f} s",
            _line("start to ready", [s.ready_s for s in warm], "s", READY_GOAL_S),
            _line("start to the first scored answer", [s.first_answer_s for s in warm], "s"),
            _line("resident, classifier loaded", [s.resident_mb for s in warm], "MB", RESIDENT_GOAL_MB),
            _line(
                f"resident after {warm[-1].scored:,} scored requests",
                [s.loaded_mb for s in warm],
                "MB",
                RESIDENT_GOAL_MB,
            ),
        ]
    )


def main() -> int:
    end_cleanly_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load before the second look at the memory")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/weighbridge-bench"), help="default %(default)s")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    starts = [start(options.cache.expanduser().resolve(), options.seconds) for _ in range(options.starts)]
    print(json.dumps([asdict(s) for s in starts], indent=1) if options.json else rendered(starts))
    warm = starts[1:] or starts
    is_fast = statistics.median(s.ready_s for s in warm) < READY_GOAL_S
    return 0 if is_fast and max(s.loaded_mb for s in warm) < RESIDENT_GOAL_MB else 1


if __name__ == "__main__":
    sys.exit(main())
