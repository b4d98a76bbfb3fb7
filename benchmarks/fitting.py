"""How long `weighbridge fit` takes for 2,000 labels, with no embedding known and with all of them.

    python benchmarks/fitting.py [--data DIR] [--rows 2000] [--json]

DIR holds `pairs.parquet`; the rows are of `routellm_mmlu`. Ends with 1 where the first fit takes three minutes or more.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

GOAL_S = 180.0


def written(data: Path, rows: int, path: Path) -> None:
    pairs = pd.read_parquet(data / "pairs.parquet")
    some = pairs[pairs["dataset"].astype(str) == "routellm_mmlu"].sample(rows, random_state=0)
    renamed = some.rename(columns={"weak_score": "small_score", "strong_score": "large_score"})
    renamed[["prompt", "domain", "small_score", "large_score"]].to_json(path, orient="records", lines=True)


def fit(folder: Path) -> dict[str, Any]:
    """One fit in a process of its own: seconds by the clock, and of the processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environ = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    run = subprocess.run(
        [sys.executable, "-m", "weighbridge", "fit", "labels.jsonl", "--json"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode not in {0, 1}:
        raise SystemExit(run.stderr)
    head = json.loads(run.stdout)["lines"][0]
    return {
        "wall_s": time.monotonic() - began,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        **{name: head[name] for name in ("auroc", "apgr", "lift")},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        written(given.data, given.rows, folder / "labels.jsonl")
        found = {"first": fit(folder), "again, embeddings known": fit(folder)}
    is_missed = found["first"]["wall_s"] >= GOAL_S
    if given.json:
        print(
            json.dumps({"rows": given.rows, "load": os.getloadavg()[0], "fits": found, "missed": is_missed}, indent=1)
        )
        return is_missed
    now = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"{now}  {given.rows:,} labels, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| fit | seconds | of the processor |\n|---|---|---|")
    for fit_name, took in found.items():
        print(f"| {fit_name} | {took['wall_s']:.0f} | {took['cpu_s']:.0f} |")
    if is_missed:
        print(f"goal missed: {GOAL_S:.0f} s")
    return is_missed


if __name__ == "__main__":
    sys.exit(main())
