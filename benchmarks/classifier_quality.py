"""How well the shipped classifier ranks: the held-out table, beside random, length, always-small and always-large.

    python benchmarks/classifier_quality.py [--data DIR] [--artefact DIR] [--cache DIR] [--json]

Every row is one that nothing was fitted on. `bfcl_v1` and `routerbench_part` are whole datasets that were never fitted:
what to expect of new traffic. Without the data it measures on our own held-out prompts alone. Ends with 1 when everyday
asks and expert work are told apart worse than AUROC 0.95, or the head ranks below length on what it was fitted for.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from weighbridge.classifiers.minilm import SHIPPED, MiniLM
from weighbridge.classifiers.training import dataset, evaluate, fit
from weighbridge.classifiers.training.evaluate import HEAD, LENGTH, Line

FITTED = {source.name for source in dataset.SOURCES if source.use == "train"}


def lines_of(data: Path | None, artefact: Path, cache: Path | None) -> list[Line]:
    rows = dataset.load(data, use=("train", "development"))
    rows = rows[rows.held_out]
    classifier = MiniLM(artefact=str(artefact))
    inputs = fit.read(rows.prompt, fit.open_encoder(artefact), cache)
    return evaluate.table(rows, fit.scores(classifier._head, inputs), classifier.thresholds["balanced"])


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
