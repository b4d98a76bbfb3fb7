"""How often a promise of quality is broken, and what it saves: 1,000 resplits of every dataset.

    python benchmarks/promise.py [--data DIR] [--quality 0.95] [--confidence 0.95] [--resplits N] [--cache DIR]
                                 [--only DATASET ...] [--json]

DIR holds `pairs.parquet`, as classifiers/training/dataset.py reads it. Every question gets a score from a head that was
not fitted on it (three folds, by stem). Then, again and again, half of the questions are labels that set the threshold,
and the other half is the traffic on which the promise is looked at. A promise is broken where the answers of
that half are worth less than promised, relative to always-large on the same half. Beside it stand the threshold that is
merely tuned on the labels, the best threshold in hindsight, and an oracle that knows every answer beforehand. Savings
are shares of requests that stay on the small model.

Ends with 1 where a promise is broken in more than 1 - confidence of the resplits of some dataset.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from weighbridge.classifiers.evaluation import metrics
from weighbridge.classifiers.evaluation.metrics import Floats
from weighbridge.classifiers.evaluation.promise import promise, tuned
from weighbridge.classifiers.minilm import SHIPPED
from weighbridge.classifiers.training.embed import open_encoder, read
from weighbridge.classifiers.training.ensemble import fit_with_unseen


@dataclass(frozen=True)
class Result:
    """One dataset. Shares are 0..1; broken_low, broken_high: the exact 95 % binomial interval (Clopper-Pearson)."""

    dataset: str
    questions: int
    labels: int
    broken: float
    broken_low: float
    broken_high: float
    kept: float
    promised_something: float
    tuned_broken: float
    tuned_kept: float
    hindsight_kept: float
    oracle_kept: float
    took_s: float


def columns_of(frame: pd.DataFrame, cache: Path | None) -> tuple[Floats, Floats, Floats]:
    """The score, and what both answers were worth, one row for each question."""
    frame = frame.drop_duplicates("stem")
    prompts = frame["prompt"].astype(str).tolist()
    small, large = (frame[name].to_numpy(dtype=np.float64) for name in ("weak_score", "strong_score"))
    inputs = read(prompts, open_encoder(SHIPPED), cache=cache)
    fitted = fit_with_unseen(inputs.embedding, prompts, small, large, stems=frame["stem"].astype(str).tolist())
    return fitted.unseen, small, large


def resplit(name: str, columns: tuple[Floats, Floats, Floats], given: argparse.Namespace) -> Result:
    rng, began = np.random.default_rng(0), time.monotonic()
    rows = len(columns[0])
    found = np.zeros((given.resplits, 6))
    for i in range(given.resplits):
        order = rng.permutation(rows)
        labels, (score, small, large) = (
            [c[part] for c in columns] for part in (order[: rows // 2], order[rows // 2 :])
        )
        kept = promise(*labels, quality=given.quality, confidence=given.confidence, over=rows - rows // 2)
        merely = tuned(*labels, quality=given.quality)
        reached = [metrics.quality_at(score, small, large, t) for t in (kept.threshold, merely)]
        stays = [1 - metrics.large_share(score, t) for t in (kept.threshold, merely)]
        best = 1 - metrics.cost_at(score, small, large, given.quality)
        oracle = 1 - metrics.cost_at(large - small, small, large, given.quality)
        found[i] = (reached[0] < given.quality, stays[0], reached[1] < given.quality, stays[1], best, oracle)
        found[i, 0] = found[i, 0] and stays[0] > 0
    mean = found.mean(0)
    low, high = binomial(int(found[:, 0].sum()), given.resplits)
    return Result(
        dataset=name,
        questions=rows,
        labels=rows // 2,
        broken=float(mean[0]),
        broken_low=low,
        broken_high=high,
        kept=float(mean[1]),
        promised_something=float((found[:, 1] > 0).mean()),
        tuned_broken=float(mean[2]),
        tuned_kept=float(mean[3]),
        hindsight_kept=float(mean[4]),
        oracle_kept=float(mean[5]),
        took_s=time.monotonic() - began,
    )


def binomial(events: int, trials: int, error: float = 0.05) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson, 1934), by bisection."""

    def at_most(share: float, k: int) -> float:
        """The chance of at most k events."""
        if k < 0:
            return 0.0
        logs = [
            math.lgamma(trials + 1) - math.lgamma(i + 1) - math.lgamma(trials - i + 1)
            + i * math.log(share) + (trials - i) * math.log1p(-share)
            for i in range(k + 1)
        ]  # fmt: skip
        return math.fsum(map(math.exp, logs))

    def solved(k: int, wanted: float) -> float:
        low, high = 1e-12, 1 - 1e-12
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if at_most(middle, k) > wanted else (low, middle)
        return low

    low = 0.0 if events == 0 else solved(events - 1, 1 - error / 2)
    high = 1.0 if events == trials else solved(events, error / 2)
    return low, high


def table(results: list[Result]) -> str:
    head = (
        "| dataset | labels | broken (exact 95 % interval) | kept small | tuned: broken | tuned: kept small "
        "| best in hindsight | oracle |"
    )
    rows = [
        f"| {r.dataset} | {r.labels:,} | {r.broken:.1%} ({r.broken_low:.1%}-{r.broken_high:.1%}) | {r.kept:.1%} "
        f"| {r.tuned_broken:.1%} | {r.tuned_kept:.1%} | {r.hindsight_kept:.1%} | {r.oracle_kept:.1%} |"
        for r in results
    ]
    return "\n".join([head, "|---" * 8 + "|", *rows])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quality", type=float, default=0.95)
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--resplits", type=int, default=1000)
    parser.add_argument("--only", nargs="*", metavar="DATASET", help="some of the datasets")
    parser.add_argument("--cache", type=Path, help="a folder that keeps embeddings for the next run")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    pairs = pd.read_parquet(given.data / "pairs.parquet")
    results = []
    for name in given.only or sorted(pairs["dataset"].astype(str).unique()):
        columns = columns_of(pairs[pairs["dataset"].astype(str) == name], given.cache)
        results.append(resplit(name, columns, given))
        print(results[-1].dataset, f"{results[-1].took_s:.0f} s", file=sys.stderr, flush=True)
    missed = [r.dataset for r in results if r.broken > 1 - given.confidence]
    if given.json:
        print(json.dumps({"results": [asdict(r) for r in results], "missed": missed}, indent=1))
        return bool(missed)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"{now}  {given.quality:.0%} of quality, {given.confidence:.0%} confidence, {given.resplits:,} resplits\n")
    print(table(results))
    for name in missed:
        print(f"goal missed: {name}: broken in more than {1 - given.confidence:.0%}")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
