"""How often the classifier names the right task: recall, precision and abstention, on prompts that were not fitted.

    python benchmarks/tasks.py [--data DIR] [--artefact DIR] [--json]

`everyday` is the held-out fifth of the project's own prompts, by the author of the fitted ones. `demo` are the prompts
of `weighbridge demo`, another author's, used in no fit; the kind that the demo gives a prompt stands for its task where
it clearly does. With the data: `mbpp` (programming; the whole dataset was never fitted) and the held-out split of
`zeroeval_mathl5` (mathematics). A task counts as named as it does in routing: at the artefact's minimum probability or
above it, and not abstained from. Recall is of all prompts of the task, those without a name included. In brackets
Wilson's 95 % interval. Ends with 1 where the mean recall on `everyday` is below 0.8 or the mean precision below 0.9.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np

from weighbridge.classifiers.minilm import SHIPPED, MiniLM
from weighbridge.classifiers.training import dataset

RECALL_GOAL, PRECISION_GOAL = 0.8, 0.9
# Fixed before any of these prompts was looked at by the classifier. The other kinds mix tasks.
TASK_OF_KIND = {
    "edit": "rewriting",
    "extraction": "extraction",
    "greeting": "chat",
    "lookup": "question_answering",
    "one_liner": "code",
    "plan": "planning",
    "proof": "reasoning",
    "summary": "summarization",
    "translation": "translation",
}
_Z = 1.96


@dataclass(frozen=True)
class Set:
    """Prompts whose task is known."""

    name: str
    prompts: Sequence[str]
    tasks: Sequence[str]


@dataclass(frozen=True)
class Line:
    """One task in one set. precision: None where it was never named there, or no other task is in the set."""

    dataset: str
    task: str
    prompts: int
    recall: float
    recall_low: float
    recall_high: float
    precision: float | None
    abstained: float


def sets(data: Path | None) -> Iterator[Set]:
    rows = dataset.load(data, use=("train", "development"))
    own = rows[rows.held_out & (rows.dataset == dataset.OWN)]
    yield Set("everyday", own.prompt, own.task.tolist())
    lines = [json.loads(line) for line in (files("weighbridge.demo") / "prompts.jsonl").read_text("utf-8").splitlines()]
    known = [line for line in lines if line["kind"] in TASK_OF_KIND]
    yield Set("demo", [line["text"] for line in known], [TASK_OF_KIND[line["kind"]] for line in known])
    if data is not None:
        maths = rows[rows.held_out & (rows.dataset == "zeroeval_mathl5")]
        yield Set("zeroeval_mathl5", maths.prompt, ["reasoning"] * len(maths.prompt))
        yield Set("mbpp", *_mbpp(data))


def _mbpp(data: Path) -> tuple[list[str], list[str]]:
    import pandas as pd  # noqa: PLC0415  # only where there are data

    pairs = pd.read_parquet(data / "pairs.parquet")
    prompts = pairs[pairs["domain"].astype(str) == "mbpp"]["prompt"].astype(str).tolist()
    return prompts, ["code"] * len(prompts)


def lines_of(some: Set, classifier: MiniLM) -> list[Line]:
    """A line for each task in the set, and one for all of them."""
    found = [classifier.assess([prompt])[0] for prompt in some.prompts]
    named = np.array(["" if f.abstained or f.task is None else f.task for f in found])
    true = np.array(some.tasks)
    lines = [
        _line(some.name, task, true == task, named, is_alone=len(set(some.tasks)) == 1)
        for task in sorted(set(some.tasks))
    ]
    if len(lines) == 1:
        return lines
    right = int((named == true).sum())
    precision = right / max(1, int((named != "").sum()))
    return [
        *lines,
        Line(some.name, "all", len(true), *_share(right, len(true)), precision, float((named == "").mean())),
    ]


def _line(name: str, task: str, here: np.ndarray, named: np.ndarray, *, is_alone: bool) -> Line:
    right, said, count = int((here & (named == task)).sum()), int((named == task).sum()), int(here.sum())
    precision = right / said if said and not is_alone else None
    return Line(name, task, count, *_share(right, count), precision, float((named[here] == "").mean()))


def _share(right: int, count: int) -> tuple[float, float, float]:
    """A share and Wilson's interval for it."""
    share = right / count
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * (share * (1 - share) / count + _Z**2 / (4 * count**2)) ** 0.5
    return share, max(0.0, middle - half), min(1.0, middle + half)


def missed(lines: Sequence[Line]) -> list[str]:
    own = [line for line in lines if line.dataset == "everyday" and line.task != "all"]
    means: Mapping[str, tuple[float, float]] = {
        "recall": (float(np.mean([line.recall for line in own])), RECALL_GOAL),
        "precision": (float(np.mean([line.precision or 0.0 for line in own])), PRECISION_GOAL),
    }
    return [f"mean {name} {value:.3f} < {goal}" for name, (value, goal) in means.items() if value < goal]


def as_markdown(lines: Sequence[Line]) -> str:
    rows = []
    for line in lines:
        recall = f"{line.recall:.2f} ({line.recall_low:.2f}-{line.recall_high:.2f})"
        precision = "-" if line.precision is None else f"{line.precision:.2f}"
        rows.append(
            f"| {line.dataset} | {line.task} | {line.prompts} | {recall} | {precision} | {line.abstained:.2f} |"
        )
    return (
        "| prompts | task | number | recall | precision | no name |\n| --- | --- | --- | --- | --- | --- |\n"
        + "\n".join(rows)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="public outcomes, such as ../shared/data")
    parser.add_argument("--artefact", type=Path, default=SHIPPED)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    classifier = MiniLM(artefact=str(given.artefact))
    lines = [line for some in sets(given.data) for line in lines_of(some, classifier)]
    problems = missed(lines)
    if given.json:
        print(json.dumps({"lines": [asdict(line) for line in lines], "missed": problems}, indent=1))
        return bool(problems)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"{now}  artefact {classifier.version}, minimum probability {classifier._manifest.task_minimum:g}\n")
    print(as_markdown(lines))
    for problem in problems:
        print("goal missed:", problem)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
