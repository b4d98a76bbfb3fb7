"""How well the shipped classifier ranks: the held-out table, beside random, length, always-small and always-large.

    python benchmarks/classifier_quality.py [--data DIR] [--artefact DIR] [--cache DIR] [--json]

Every row is one that nothing was fitted on. `bfcl_v1` and `routerbench_part` are whole datasets that were never fitted:
what to expect of new traffic. `demo` are the prompts of `weighbridge demo`: another author's, used in no fit and no
choice, taken as easy or expert by the kind that the demo gives them. Without the data it measures on prompts alone.
Ends with 1 when everyday asks and expert work are told apart worse than AUROC 0.95, or the head ranks below length on
what it was fitted for.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np

from weighbridge.classifiers.minilm import SHIPPED, MiniLM
from weighbridge.classifiers.training import dataset, evaluate, fit
from weighbridge.classifiers.training.evaluate import HEAD, LENGTH, Line

DEMO = "demo"
# Fixed before any of these prompts was scored.
EXPERT_KINDS = {"analysis", "debugging", "design", "finance", "legal", "medical", "plan", "proof"}
FITTED = {source.name for source in dataset.SOURCES if source.use == "train"}


def demo_rows() -> dataset.Rows:
    lines = [json.loads(line) for line in (files("weighbridge.demo") / "prompts.jsonl").read_text("utf-8").splitlines()]
    level = np.array(["hard" if line["kind"] in EXPERT_KINDS else "easy" for line in lines])
    shortfall = np.array([dataset.SHORTFALL[name] for name in level])
    ones = np.ones(len(lines))
    return dataset.Rows(
        prompt=[line["text"] for line in lines],
        dataset=np.array([DEMO] * len(lines)),
        fold=np.zeros(len(lines), dtype=np.int64),
        held_out=ones.astype(bool),
        weight=ones,
        small=1 - shortfall,
        large=ones,
        difficulty=shortfall,
        level=level,
        task=np.array([""] * len(lines)),
    )


def lines_of(data: Path | None, artefact: Path, cache: Path | None) -> list[Line]:
    rows = dataset.load(data, use=("train", "development"))
    classifier, encoder = MiniLM(artefact=str(artefact)), fit.open_encoder(artefact)
    lines: list[Line] = []
    for some in (rows[rows.held_out], demo_rows()):
        score = fit.scores(classifier._head, fit.read(some.prompt, encoder, cache))
        lines += evaluate.table(some, score, classifier.thresholds["balanced"])
    return lines


def missed(lines: list[Line]) -> list[str]:
    by = {(line.dataset, line.classifier): line for line in lines}
    problems = []
    for name in sorted({line.dataset for line in lines}):
        mine, length = by[name, HEAD].auroc, by[name, LENGTH].auroc
        assert mine
        assert length
        if name == dataset.OWN and mine.value < 0.95:
            problems.append(f"{name}: AUROC {mine} < 0.95")
        if name in FITTED and mine.high < length.value:
            problems.append(f"{name}: AUROC {mine} is below length alone, {length}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="public outcomes, such as ../shared/data")
    parser.add_argument("--artefact", type=Path, default=SHIPPED)
    parser.add_argument("--cache", type=Path, help="a folder that keeps embeddings for the next run")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    lines = lines_of(given.data, given.artefact, given.cache)
    problems = missed(lines)
    if given.json:
        print(json.dumps({"lines": [line.as_fields() for line in lines], "missed": problems}, indent=1))
        return bool(problems)
    print(
        f"{datetime.now(UTC).isoformat(timespec='seconds')}  artefact {MiniLM(artefact=str(given.artefact)).version}\n"
    )
    print(evaluate.as_markdown(lines))
    for problem in problems:
        print("goal missed:", problem)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
