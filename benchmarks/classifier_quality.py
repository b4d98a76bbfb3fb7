"""How well the shipped classifier ranks, what it abstains on, and how easily it is led astray.

    python benchmarks/classifier_quality.py [--data DIR] [--artefact DIR] [--cache DIR] [--every N] [--json]

Three parts. The held-out table, beside random, length, always-small and always-large; `bfcl_v1` and `routerbench_part`
are whole datasets that were never fitted. Then prompts that no head has seen: `fresh`, written for this
(benchmarks/data/everyday_test.jsonl: over 200 everyday asks and 200 of expert work), and `demo`, another author's (easy
or expert by the kind that the demo gives them); and texts unlike all of them, on which it is to abstain
(benchmarks/data/odd_test.jsonl). The bound for known words was chosen with both in view. Last what a change that
changes no difficulty does to the side that a fresh prompt goes to, read as the gateway reads it; and what claims,
wishes, gadgets and small talk do that other authors wrote, who had not seen what we take off
(benchmarks/data/asides_test.jsonl; what is taken off was narrowed with its genuine prompts in view). Without the data
the first part measures on prompts of our own alone. --every takes every Nth fresh prompt for the last part, which takes
minutes with all of them.

Ends with 1 when a goal is missed: everyday and expert asks told apart at AUROC 0.95; no ranking below length's on what
was fitted; gadgets raise at most a fifth of the easy prompts; padding lowers at most one hard prompt in fifty.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighbridge.asks import extract
from weighbridge.classifiers.evaluation import robustness
from weighbridge.classifiers.evaluation.metrics import Interval, auroc, bootstrap
from weighbridge.classifiers.evaluation.robustness import Report
from weighbridge.classifiers.head import Inputs, abstains, scores
from weighbridge.classifiers.minilm import SHIPPED, MiniLM
from weighbridge.classifiers.training import dataset, embed, evaluate
from weighbridge.classifiers.training.dataset import Rows
from weighbridge.classifiers.training.evaluate import HEAD, LENGTH, Line

FRESH = Path(__file__).parent / "data" / "everyday_test.jsonl"
ODD = FRESH.with_name("odd_test.jsonl")
ASIDES = FRESH.with_name("asides_test.jsonl")
SURROUNDED = 10  # fresh prompts of each level that an aside is put to
# Fixed before any of the demo's prompts was scored.
EXPERT_KINDS = {"analysis", "debugging", "design", "finance", "legal", "medical", "plan", "proof"}
FITTED = {source.name for source in dataset.SOURCES if source.use == "train"}


@dataclass(frozen=True)
class Asks:
    """Prompts of which it is known whether they are expert work, and what the classifier made of them."""

    name: str
    easy: int
    expert: int
    auroc: Interval
    length: Interval
    easy_above: float
    expert_below: float
    abstained: float


@dataclass(frozen=True)
class Surrounded:
    """What somebody else's asides do: the shares of easy prompts raised and of expert ones lowered, in the mean."""

    kind: str
    place: str
    asides: int
    raised: float
    lowered: float


@dataclass(frozen=True)
class Unsure:
    """On how many rows of a dataset the classifier abstains."""

    name: str
    rows: int
    abstained: float


def held_out(data: Path | None, artefact: Path, cache: Path | None) -> tuple[Rows, Inputs]:
    rows = dataset.load(data, use=("train", "development"))
    rows = rows[rows.held_out]
    return rows, embed.read(rows.prompt, embed.open_encoder(artefact), cache)


def unsure(classifier: MiniLM, rows: Rows, inputs: Inputs) -> list[Unsure]:
    """Shares of the held-out rows, and of texts that are unlike everything fitted."""
    known = abstains(classifier._head, inputs)
    parts = [(name, known[rows.dataset == name]) for name in np.unique(rows.dataset).tolist()]
    lines = [json.loads(line) for line in ODD.read_text("utf-8").splitlines()]
    odd = np.array([assessment.abstained for assessment in classifier.assess([line["text"] for line in lines])])
    kinds = np.array([line["kind"] for line in lines])
    parts += [(f"texts in {kind}", odd[kinds == kind]) for kind in dict.fromkeys(kinds.tolist())]
    return [Unsure(name, len(values), float(values.mean())) for name, values in parts]


def fresh() -> list[tuple[str, bool]]:
    lines = [json.loads(line) for line in FRESH.read_text("utf-8").splitlines()]
    return [(line["text"], line["level"] == "expert") for line in lines]


def demo() -> list[tuple[str, bool]]:
    lines = [json.loads(line) for line in (files("weighbridge.demo") / "prompts.jsonl").read_text("utf-8").splitlines()]
    return [(line["text"], line["kind"] in EXPERT_KINDS) for line in lines]


def told_apart(classifier: MiniLM, name: str, prompts: list[tuple[str, bool]]) -> Asks:
    found = classifier.assess([text for text, _ in prompts])
    score = np.array([assessment.score for assessment in found])
    expert = np.array([is_expert for _, is_expert in prompts])
    length = np.array([float(len(text)) for text, _ in prompts])
    threshold = classifier.thresholds["balanced"]
    return Asks(
        name,
        int((~expert).sum()),
        int(expert.sum()),
        bootstrap(auroc, score, expert.astype(float)),
        bootstrap(auroc, length, expert.astype(float)),
        float((score[~expert] >= threshold).mean()),
        float((score[expert] < threshold).mean()),
        float(np.mean([assessment.abstained for assessment in found])),
    )


def surrounded(classifier: MiniLM) -> list[Surrounded]:
    lines = [json.loads(line) for line in ASIDES.read_text("utf-8").splitlines()]
    easy, expert = _below_and_above(classifier)
    found = []
    for kind, place in dict.fromkeys((line["kind"], line["place"]) for line in lines if line["kind"] != "genuine"):
        asides = [line["text"] for line in lines if (line["kind"], line["place"]) == (kind, place)]
        raised, lowered = (
            _above(classifier, [f"{a} {ask}" if place == "before" else f"{ask} {a}" for a in asides for ask in asks])
            for asks in (easy, expert)
        )
        found.append(Surrounded(kind, place, len(asides), float(raised.mean()), float((~lowered).mean())))
    return found


def _below_and_above(classifier: MiniLM) -> tuple[list[str], list[str]]:
    """Some fresh prompts that are easy and taken for it, and some of expert work that are taken for that."""
    prompts = fresh()
    above = _above(classifier, [text for text, _ in prompts])
    right = [(text, expert) for (text, expert), is_above in zip(prompts, above, strict=True) if expert == is_above]
    easy, expert = ([text for text, is_expert in right if is_expert == wanted] for wanted in (False, True))
    return easy[:: len(easy) // SURROUNDED], expert[:: len(expert) // SURROUNDED]


def _above(classifier: MiniLM, texts: list[str]) -> NDArray[np.bool_]:
    threshold = classifier.thresholds["balanced"]
    return np.array([a.abstained or a.score >= threshold for a in classifier.assess(texts)])


def as_markdown(asks: list[Asks]) -> str:
    head = "| prompts | easy | expert | AUROC | length alone | easy above | expert below | abstained |"
    body = [
        f"| {a.name} | {a.easy} | {a.expert} | {a.auroc} | {a.length} | {a.easy_above:.3f} | {a.expert_below:.3f} "
        f"| {a.abstained:.3f} |"
        for a in asks
    ]
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *body])


def shares_as_markdown(shares: list[Unsure]) -> str:
    body = [f"| {share.name} | {share.rows:,} | {share.abstained:.3f} |" for share in shares]
    return "\n".join(["| rows of | rows | abstained |", "|---|---|---|", *body])


def surrounded_as_markdown(rows: list[Surrounded]) -> str:
    body = [f"| {r.kind} | {r.place} | {r.asides} | {r.raised:.3f} | {r.lowered:.3f} |" for r in rows]
    return "\n".join(
        ["| kind | place | asides | easy ones raised | hard ones lowered |", "|---|---|---|---|---|", *body]
    )


def missed(lines: list[Line], asks: list[Asks], report: Report) -> list[str]:
    by = {(line.dataset, line.classifier): line for line in lines}
    problems = [f"{a.name}: AUROC {a.auroc} < 0.95" for a in asks if a.auroc.value < 0.95]
    for name in sorted(FITTED & {line.dataset for line in lines}):
        mine, length = by[name, HEAD].auroc, by[name, LENGTH].auroc
        if mine and length and mine.high < length.value:
            problems.append(f"{name}: AUROC {mine} is below length alone, {length}")
    if report.raised("gadget") > 0.20:
        problems.append(f"gadgets raise {report.raised('gadget'):.3f} of the easy prompts")
    if report.lowered("padding") > 0.02:
        problems.append(f"padding lowers {report.lowered('padding'):.3f} of the hard prompts")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="public outcomes, such as ../shared/data")
    parser.add_argument("--artefact", type=Path, default=SHIPPED)
    parser.add_argument("--cache", type=Path, help="a folder that keeps embeddings for the next run")
    parser.add_argument("--every", type=int, default=1, help="of the fresh prompts, for the changes")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    classifier = MiniLM(artefact=str(given.artefact))
    rows, inputs = held_out(given.data, given.artefact, given.cache)
    lines = evaluate.table(rows, scores(classifier._head, inputs), classifier.thresholds["balanced"])
    shares = unsure(classifier, rows, inputs)
    asks = [told_apart(classifier, "fresh", fresh()), told_apart(classifier, "demo", demo())]
    report = robustness.robustness(
        classifier,
        [text for text, _ in fresh()][:: given.every],
        classifier.thresholds["balanced"],
        read=lambda text: extract([{"role": "user", "content": text}]),
    )
    others = surrounded(classifier)
    problems = missed(lines, asks, report)
    if given.json:
        parts = {"lines": [x.as_fields() for x in lines], "asks": [asdict(x) for x in asks]}
        parts |= {"abstained": [asdict(x) for x in shares]}
        parts |= {"surrounded": [asdict(x) for x in others]}
        print(json.dumps({**parts, "robustness": asdict(report), "missed": problems}, indent=1))
        return bool(problems)
    print(f"{datetime.now(UTC).isoformat(timespec='seconds')}  artefact {classifier.version}\n")
    print(evaluate.as_markdown(lines), shares_as_markdown(shares), as_markdown(asks), sep="\n\n")
    print(f"\n{report.prompts} fresh prompts, threshold {report.threshold}:\n\n{robustness.as_markdown(report)}")
    print(f"\nBy another author:\n\n{surrounded_as_markdown(others)}")
    for problem in problems:
        print("goal missed:", problem)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
