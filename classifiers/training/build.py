"""The recipe from weights and data to an artefact, step by step. The same input gives the same head."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from weighbridge.classifiers import head as heads
from weighbridge.classifiers.artefacts import OperatingPoint
from weighbridge.classifiers.base import TASKS
from weighbridge.classifiers.evaluation.metrics import Floats
from weighbridge.classifiers.head import Inputs, scores
from weighbridge.classifiers.minilm import ENCODER, HEAD, TOKENIZER, Encoder
from weighbridge.classifiers.training import calibrate, card, dataset, embed, ensemble, evaluate, export, fit, weights
from weighbridge.classifiers.training.dataset import Rows

_COMPARED = 400  # held-out prompts on which the int8 engine is compared with the reference


def build(data: Path | None, given: Path | None, out: Path, *, cache: Path | None = None, threads: int = 2) -> None:
    """data: the public outcomes; without them our own prompts alone. given: the weights; fetched where None."""
    with TemporaryDirectory() as scratch:
        found = weights.find(given, Path(scratch))
        _build(data, found, out, cache, threads)


def _build(data: Path | None, found: Path, out: Path, cache: Path | None, threads: int) -> None:
    print("exporting the encoder", flush=True)
    export.write_encoder(found, out / ENCODER)
    export.write_tokenizer(found, out / TOKENIZER)
    encoder = embed.open_encoder(out)

    rows = dataset.load(data, use=("train", "development"))
    print(f"embedding {len(rows.prompt):,} prompts", flush=True)
    inputs = embed.read(rows.prompt, encoder, cache, threads)
    for_fit = ~rows.held_out
    head = _fitted(inputs[for_fit], rows[for_fit], out)

    print("measuring", flush=True)
    named, right = _tasks(head[0], inputs, rows)
    agreement, cosine = _agreement(head[0], found, encoder, inputs, rows)
    length = _length(rows[for_fit])
    findings = card.Findings(
        lines=evaluate.table(
            rows[rows.held_out], scores(head[0], inputs[rows.held_out]), head[1]["balanced"].threshold, length
        ),
        thresholds=head[1],
        length=length,
        agreement=agreement,
        cosine=cosine,
        abstained=_abstained(head[0], inputs, rows),
        task_accuracy=right,
        task_share=named,
    )
    card.write(out, card.name_of((out / HEAD).read_bytes()), rows, findings)
    print(evaluate.as_markdown(findings.lines))
    print(f"agreement with fp32: Spearman {agreement:.4f}, cosine mean {cosine[0]:.4f} least {cosine[1]:.4f}")


def _fitted(inputs: Inputs, rows: Rows, out: Path) -> tuple[heads.Head, dict[str, OperatingPoint]]:
    """Fit, calibrate, choose thresholds; write the head."""
    print(f"fitting on {len(rows.prompt):,} prompts", flush=True)
    seen = calibrate.unseen(inputs, rows)
    head = calibrate.calibrated(fit.fit(inputs, rows, seen.weights), inputs, seen, rows)
    (out / HEAD).write_bytes(heads.write(head))
    return head, dict(calibrate.operating_points(head, seen, rows))


def _length(rows: Rows) -> tuple[float, float]:
    """The constants of the length baseline."""
    length = np.log1p([float(len(prompt)) for prompt in rows.prompt])
    return ensemble.logistic(length, rows.shortfall, rows.weight)


def _abstained(head: heads.Head, inputs: Inputs, rows: Rows) -> dict[str, float]:
    """The share of each dataset's held-out rows that the head takes for unlike what it was fitted on."""
    names, unsure = rows.dataset[rows.held_out], heads.abstains(head, inputs[rows.held_out])
    return {name: float(unsure[names == name].mean()) for name in np.unique(names).tolist()}


def _tasks(head: heads.Head, inputs: Inputs, rows: Rows) -> tuple[float, float]:
    """On held-out prompts of our own: the share whose task is named, and the share of those that is right."""
    places = np.flatnonzero((rows.dataset == dataset.OWN) & rows.held_out)
    verdicts = [head.judge(inputs.embedding[i], inputs.counts[i], inputs.words[i]) for i in places.tolist()]
    named = np.array([verdict.task_probability >= card.TASK_MINIMUM for verdict in verdicts])
    right = np.array([TASKS[v.task] == rows.task[i] for v, i in zip(verdicts, places, strict=True)])
    return float(named.mean()), float(right[named].mean()) if named.any() else 0.0


def _agreement(
    head: heads.Head, found: Path, encoder: Encoder, inputs: Inputs, rows: Rows
) -> tuple[float, tuple[float, float]]:
    """How the scores and embeddings of the engine that serves compare with the reference's on the same tokens."""
    places = np.flatnonzero(rows.held_out)
    places = np.sort(np.random.default_rng(0).permutation(places)[:_COMPARED])
    which = np.isin(np.arange(len(rows.prompt)), places)
    tokens = encoder.tokens_of([embed.ends_of(rows.prompt[i]) for i in places])
    exact = export.reference(found, tokens)
    served = inputs[which]
    cosine: Floats = (exact * served.embedding).sum(1)
    both = [scores(head, x) for x in (served, Inputs(exact, served.counts, served.words))]
    return spearman(*both), (float(cosine.mean()), float(cosine.min()))


def spearman(a: Floats, b: Floats) -> float:
    """Do two scores rank alike? 1 is the same order."""
    ranks = [np.argsort(np.argsort(x)).astype(float) for x in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
