"""The two papers that go with an artefact: manifest.json for the machine, MODEL_CARD.md for people."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from weighbridge.classifiers.artefacts import KIND, MANIFEST, SCHEMA_VERSION, OperatingPoint
from weighbridge.classifiers.base import TASKS
from weighbridge.classifiers.evaluation.metrics import Interval
from weighbridge.classifiers.training.dataset import OWN, SOURCES, Rows
from weighbridge.classifiers.training.embed import EMBEDDING_SIZE, LAYERS, WINDOW_TOKENS
from weighbridge.classifiers.training.evaluate import HEAD, LENGTH, Line, as_markdown
from weighbridge.classifiers.training.weights import PACKAGE, WEIGHTS, WEIGHTS_SHA256

CARD = "MODEL_CARD.md"
TASK_MINIMUM = 0.5
_TOOLS = ("numpy", "onnx", "onnxruntime", "scikit-learn", "sentence-transformers", "tokenizers", "torch")


@dataclass(frozen=True)
class Findings:
    """What is known about a head when it is written down.

    agreement: Spearman's rank correlation of the scores with those of the fp32 reference; None where not measured.
    abstained: the share of each dataset's held-out rows on which it abstains.
    task_accuracy, task_share: of the held-out prompts of our own whose task was named, the share that was right; and
        the share whose task was named at all.
    """

    lines: list[Line]
    thresholds: Mapping[str, OperatingPoint]
    length: tuple[float, float]
    agreement: float | None
    cosine: tuple[float, float] | None
    abstained: Mapping[str, float]
    task_accuracy: float
    task_share: float


def write(out: Path, name: str, rows: Rows, findings: Findings) -> None:
    """Write the card, and last the manifest, which describes every other file."""
    (out / CARD).write_text(_card(name, rows, findings), encoding="utf-8")
    files = ("encoder.onnx", "tokenizer.json", "head.npz", CARD)
    manifest = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "version": name,
        "window_tokens": WINDOW_TOKENS,
        "embedding_size": EMBEDDING_SIZE,
        "tasks": list(TASKS),
        "task_minimum": TASK_MINIMUM,
        "thresholds": {key: point.model_dump() for key, point in findings.thresholds.items()},
        "files": {file: record(out / file) for file in files},
        "encoder": {
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "licence": "Apache-2.0",
            "layers": LAYERS,
            "taken_from": f"the Python package {PACKAGE}",
            WEIGHTS: WEIGHTS_SHA256,
        },
        "training_data": _data(rows),
        "length_baseline": {"slope": round(findings.length[0], 4), "intercept": round(findings.length[1], 4)},
        "metrics": [line.as_fields() for line in findings.lines],
        "agreement_with_fp32": findings.agreement,
        "abstained": dict(findings.abstained),
        "task": {"accuracy": findings.task_accuracy, "share_named": findings.task_share},
        "built_with": {"python": sys.version.split()[0], **{tool: version(tool) for tool in _TOOLS}},
    }
    (out / MANIFEST).write_text(json.dumps(_rounded(manifest), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def name_of(head: bytes) -> str:
    """The version of an artefact: what it is, and which head."""
    return f"minilm-l6-2.{hashlib.sha256(head).hexdigest()[:8]}"


def record(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _data(rows: Rows) -> list[dict[str, object]]:
    described = [(s.name, s.licence, s.origin) for s in SOURCES if s.use == "train"]
    described.append((OWN, "Apache-2.0", "written for this project: classifiers/training/everyday.jsonl"))
    return [
        {
            "name": name,
            "licence": licence,
            "origin": origin,
            "rows_fitted": int(((rows.dataset == name) & ~rows.held_out).sum()),
            "rows_held_out": int(((rows.dataset == name) & rows.held_out).sum()),
        }
        for name, licence, origin in described
    ]


def _rounded(value: object) -> object:
    """Six digits: more would differ between machines and say nothing."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value


def _verdict(lines: list[Line], name: str) -> str:
    """In words: how this head does on a dataset, beside chance and beside length."""
    mine, length = (next(x for x in lines if (x.dataset, x.classifier) == (name, c)) for c in (HEAD, LENGTH))
    assert mine.auroc is not None and length.auroc is not None  # noqa: S101, PT018  # both rank
    if mine.auroc.low <= 0.5:
        beside = "no better than random" if mine.auroc.high >= 0.5 else "worse than random"
    else:
        beside = "better than random"
    if _apart(mine.auroc, length.auroc):
        longer = "better than length alone"
    else:
        longer = (
            "not clearly better than length alone" if mine.auroc.value >= length.auroc.value else "below length alone"
        )
    return f"- `{name}`: AUROC {mine.auroc}, {beside}; {longer} ({length.auroc})."


def _apart(one: Interval, other: Interval) -> bool:
    return one.low > other.high


def _card(name: str, rows: Rows, findings: Findings) -> str:
    datasets = list(dict.fromkeys(line.dataset for line in findings.lines))
    sources = "\n".join(
        f"| {d['name']} | {d['origin']} | {d['licence']} | {d['rows_fitted']:,} | {d['rows_held_out']:,} |"
        for d in _data(rows)
    )
    points = "\n".join(
        f"| `{key}` | {point.threshold:.3f} | {point.chosen_for} |" for key, point in findings.thresholds.items()
    )
    agreement = "not measured in this build"
    if findings.agreement is not None and findings.cosine is not None:
        agreement = (
            f"Spearman {findings.agreement:.4f} of the scores on held-out prompts; "
            f"cosine of the embeddings mean {findings.cosine[0]:.4f}, least {findings.cosine[1]:.4f}"
        )
    return _TEXT.format(
        name=name,
        sources=sources,
        points=points,
        table=as_markdown(findings.lines),
        verdicts="\n".join(_verdict(findings.lines, dataset) for dataset in datasets),
        agreement=agreement,
        abstained=", ".join(f"`{dataset}` {share:.3f}" for dataset, share in findings.abstained.items()),
        task=f"it names one for {findings.task_share:.2f} of them, and of those {findings.task_accuracy:.2f} are right",
        window=WINDOW_TOKENS,
        layers=LAYERS,
    )


_TEXT = """# Model card: {name}

Reads a user's ask and gives the probability that a small language model's answer falls short of what a large one would
give. Written by `python -m weighbridge.classifiers.training`; every figure here comes from that run.

## What it is

The sentence encoder all-MiniLM-L6-v2 (Apache-2.0), frozen, the first {layers} of its six layers, in int8 ONNX with mean
pooling and norm inside; a few counts (length, symbols, telling words); and three small models whose sum goes through a
logistic calibration: a weight for each word, a kernel machine over a thousand remembered prompts (its landmarks), and a
hundred randomised trees. A softmax on the same embedding names the kind of task. It reads {window} tokens: of a longer
text the first and the last, never the middle.

Where no landmark is near, or it has met too few of the words, it abstains, and the policy decides without a score
(reason `abstain`). The first bound is where about one in a hundred rows of the fitted kinds would be taken for strange,
the second a quarter of the words.

## What it was fitted on

| data | origin | licence | rows fitted | rows held out |
|---|---|---|---|---|
{sources}

Public rows say for each question which models answered it rightly. Where many small models were asked, their mean
failure enters the target beside the gap between the pair's two models. Our own prompts are everyday asks and expert
work that the public sets lack; nobody ran models on them: their level is what we gave (easy 0.03, medium 0.35, hard
0.92), so figures on them say that the head agrees with us, not that a model was measured.

Rows with the same question stem are never on both sides of a split. The held-out rows entered neither the fit of the
head, nor its calibration, nor the thresholds. They did guide its design: some twenty variants (kind of head, target,
smoothing, penalty) were compared on them and the recipe was chosen by that, so the figures on the fitted datasets and
on `everyday` are on the high side of what fresh rows would give.

On `everyday` there is a second reason. One author wrote both sides, a stem is no guarantee against a near twin ("What
is the capital of France?" and "What is the capital of Norway?" have different stems), the pasted passages recur on both
sides, and some prompts were added after an early head had scored them badly. Expect less on what others write.

## How good it is, on held-out rows

AUROC: does a question where the small model falls short score above one where it does not (on `everyday`: expert above
easy). APGR: the share of the gap between the models that is recovered, averaged over every share of large calls (random
0.5). ECE: how far the score is from the frequency. Large share and quality: at the threshold `balanced`; random and
length at the same share. In brackets the 95 % interval of a bootstrap over questions.

{table}

In words:

{verdicts}

Agreement with the fp32 reference (sentence-transformers, same tokens): {agreement}.

It abstains on this share of the held-out rows: {abstained}.

Task head, on held-out prompts of our own: {task}.

## Recommended thresholds

| name | score | chosen for |
|---|---|---|
{points}

## What it cannot do

- Rank difficulty inside a kind of question that it was not fitted on. `bfcl_v1` (tool calls) and `routerbench_part`
  (code, science, commonsense), where the table has them, were never fitted: the figures there are what to expect of new
  traffic, and they are near chance. What it does well is tell everyday asks from expert work.
- Know your models. The score is for a typical small model of 3 to 9 billion parameters beside a frontier model of 2024.
- Judge what it does not see: the middle of a long text, pictures, tools, earlier turns.
- Languages: nearly all it was fitted on is English, with some German, French and Spanish, and little else.
- Promise quality. The calibration holds for data like that above; on other traffic it may be far off. Measure on your
  own requests before you rely on a threshold.
- Be sure to say that it does not know. It abstains on most gibberish and on most text in another script, but not on
  all of it (`benchmarks/classifier_quality.py` prints the shares); and a question of a kind that is new to it, in words
  that it knows, gets a score like any other.
- Resist someone who writes to be routed: words of expert work raise the score.
"""
