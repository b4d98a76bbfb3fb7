"""Results as Markdown tables, for the terminal and for RESULTS.md."""

import os
import platform
import statistics
import sysconfig
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path

from rig.goals import Verdict, judged
from rig.results import (
    DIRECT,
    PACED_8,
    SLOW_64,
    STREAM_1,
    STREAM_8,
    STREAM_64,
    WHOLE_1,
    WHOLE_8,
    WHOLE_64,
    Results,
    Scenario,
)

FULL_CORE = 0.9  # a gateway that used less of its core than this was waiting for the load generator


def _cell(values: Sequence[float], digits: int) -> str:
    """Median and span: "12.3 (11.9..13.0)"."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f}..{max(values):,.{digits}f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _throughput_table(results: Results, names: Sequence[str], scenarios: Sequence[Scenario], unit: str) -> str:
    last = scenarios[-1]
    rows = []
    for name in names:
        full = results.series(name, last, lambda r: r.cores_used)
        is_bound = name != DIRECT and bool(full) and statistics.median(full) < FULL_CORE
        measured = _cell(results.series(name, last, lambda r: r.per_second), 0) + (" *" if is_bound else "")
        per_core = "-" if name == DIRECT else _cell(results.series(name, last, attrgetter("per_core")), 0)
        cpu = ["-" if name == DIRECT else _cell(results.series(name, s, lambda r: r.cpu_ms), 3) for s in scenarios]
        rows.append([name, measured, per_core, *cpu])
    head = ["", f"{unit}/s at {last.clients}", f"{unit}/s per core", *(f"CPU ms at {s.clients}" for s in scenarios)]
    return _table(head, rows)


def _latency_table(results: Results, names: Sequence[str], columns: Sequence[tuple[str, Scenario, str]]) -> str:
    """columns: heading, scenario, attribute of the reading. The first row is absolute, the others are what they add."""
    rows = []
    for name in names:
        series = results.series if name == DIRECT else results.added
        cells = [_cell(series(name, s, attrgetter(attribute)), 2) for _, s, attribute in columns]
        rows.append([f"{name} (itself)" if name == DIRECT else name, *cells])
    return _table(["added, ms", *(heading for heading, _, _ in columns)], rows)


def _start_table(results: Results, names: Sequence[str]) -> str:
    rows = []
    for name in names:
        starts = results.starts.get(name, [])
        ready, resident = [s.ready_s for s in starts], [s.resident_mb for s in starts]
        rows.append([name, _cell(ready, 2), _cell(resident, 0), results.versions[name]])
    return _table(["", "seconds to the first answer", "resident MB after the load", "version"], rows)


def _goal_table(verdicts: Sequence[Verdict]) -> str:
    rows = []
    for verdict in verdicts:
        goal = verdict.goal
        aim = f"{goal.aim:g}" if goal.aim else "-"
        measured = _cell(verdict.ratios, 1) + (f" ({verdict.trouble})" if verdict.trouble else "")
        rows.append([goal.what, verdict.theirs, measured, f"{goal.least:g}", aim, verdict.word])
    return _table(["ratio within one run", "against", "measured", "at least", "aim", ""], rows)


def rendered(results: Results, heading: str) -> str:
    """The whole report."""
    gateways = list(results.starts)
    names = [DIRECT, *gateways]
    p = [(f"p50 at {s.clients}", s, "p50_ms") for s in (WHOLE_1, WHOLE_8, WHOLE_64)]
    q = [(f"p99 at {s.clients}", s, "p99_ms") for s in (WHOLE_1, WHOLE_8, WHOLE_64)]
    slow = [("p50 at 64, upstream 100 ms", SLOW_64, "p50_ms"), ("p99", SLOW_64, "p99_ms")]
    first = [(f"first event p50 at {s.clients}", s, "ttft_p50_ms") for s in (STREAM_1, STREAM_8, STREAM_64)]
    paced = [("first event p50 at 8, 4 ms apart", PACED_8, "ttft_p50_ms"), ("p99", PACED_8, "ttft_p99_ms")]
    parts = [
        f"{heading} Figures: median (least..most). "
        "Per core: answers by CPU second of the gateway. "
        f"* the load was the limit: the gateway used less than {FULL_CORE:.0%} of its core.",
        "**Whole answers of 1.2 kB**",
        _throughput_table(results, names, (WHOLE_1, WHOLE_8, WHOLE_64), "requests"),
        _latency_table(results, names, p + q + slow),
        "**Streams of 50 events**",
        _throughput_table(results, names, (STREAM_1, STREAM_8, STREAM_64), "streams"),
        _latency_table(results, names, first + paced),
        "**Start and memory**",
        _start_table(results, gateways),
        "**Goals**",
        _goal_table(judged(results)),
    ]
    parts += [f"Ledger of {name}: {line}." for name, line in results.ledgers.items()]
    parts += [f"Skipped: {name}: {why}" for name, why in results.skipped.items()]
    parts += [f"ERRORS of {name}: {found}" for name in names if (found := results.errors(name))]
    parts += [
        f"Answers of {name} without a score: up to {share:.1%}."
        for name in names
        if (share := results.unmarked(name)) > 0
    ]
    return "\n\n".join(parts)


def machine() -> str:
    """The machine and the interpreter, as they bear on speed."""
    model = next(
        (li.partition(":")[2].strip() for li in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in li),
        platform.machine(),
    )
    is_tuned = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = "" if is_tuned else " (configured without --enable-optimizations)"
    return f"{os.cpu_count()} cores, {model}, Python {platform.python_version()}{build}"
