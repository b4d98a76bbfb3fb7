"""Encoders side by side: parameters, size on disk, time for one text on one core, and routing quality where known.

    python benchmarks/encoders.py [--data DIR] [--rows 1500] [--encoder DIR ...] [--only NAME ...] [--json]

The catalogue's encoders stand here as their architectures at true size with random weights: those have a size and a
speed, and no quality. Beside them stand the shipped encoder and each `--encoder`, a folder with real weights. With the
data their routing quality is measured: on each, a head is fitted to the same rows of `routellm_mmlu` without a base,
and each question scored by a head that had not seen it. Times are medians of the encoder alone, in processor time of
its one thread, so that neighbours count less. There are no goals.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time
from typing import Any

import numpy as np
import onnxruntime

from weighbridge.classifiers.evaluation.comparison import line
from weighbridge.classifiers.evaluation.labelled import Labels
from weighbridge.classifiers.minilm import ENCODER, SHIPPED
from weighbridge.classifiers.training import dataset, embed, ensemble, families, foreign, own

TOKENS = (16, 32, 64, 128)
ROUNDS = 15
# As the models' own config.json say; what is not named is the default of the architecture in transformers.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-tiny": ("bert", {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}),
    "bert-mini": ("bert", {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}),
    "tinybert-4l-312d": (
        "bert",
        {"hidden_size": 312, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 1200},
    ),
    "all-minilm-l6-v2": ("bert", {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12}),
    "electra-small-discriminator": ("electra", {}),
    "all-minilm-l12-v2": ("bert", {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12}),
    "mobilebert-uncased": ("mobilebert", {}),
    "albert-base-v2": (
        "albert",
        {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    ),
    "distilbert-base-uncased": ("distilbert", {}),
    "distilbert-base-multilingual-cased": ("distilbert", {"vocab_size": 119_547}),
}


@dataclass(frozen=True)
class Line:
    """One encoder. p50_ms: by tokens. auroc, apgr: None where the weights are random."""

    name: str
    architecture: str
    weights: str
    parameters: int | None
    bytes: int
    p50_ms: dict[int, float]
    auroc: str | None = None
    apgr: str | None = None


def random_line(name: str, folder: Path) -> Line:
    """An encoder of that shape, whose weights say nothing."""
    import torch  # noqa: PLC0415
    from transformers import AutoConfig, AutoModel  # noqa: PLC0415

    torch.manual_seed(0)
    architecture, shape = SHAPES[name]
    if architecture == "bert":
        shape = {"intermediate_size": 4 * shape["hidden_size"], **shape}
    model = AutoModel.from_config(AutoConfig.for_model(architecture, **shape)).eval()
    encoder = families.Encoder(folder, model, "mean")
    content = families.as_onnx(encoder)
    return Line(name, architecture, "random", encoder.parameters, len(content), timed(content))


def real_lines(folders: Sequence[Path], labels: Labels | None, scratch: Path) -> Iterator[Line]:
    yield _measured("all-minilm-l6-v2, shipped", "bert", "real", None, SHIPPED, labels)
    for i, folder in enumerate(folders):
        out = scratch / str(i)
        foreign.write(folder, foreign.About(folder.name, None, "a folder"), out)
        said = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["encoder"]
        yield _measured(folder.name, said["architecture"], "real", said["parameters"], out, labels)


def _measured(
    name: str, architecture: str, weights: str, parameters: int | None, artefact: Path, labels: Labels | None
) -> Line:
    """Fitted without a base, so that only the encoders differ."""
    content = (artefact / ENCODER).read_bytes()
    if labels is None:
        return Line(name, architecture, weights, parameters, len(content), timed(content))
    base = own.open_base(artefact)
    inputs = embed.read(list(labels.prompt), base.encoder)
    found = ensemble.fit_with_unseen(
        inputs.embedding, labels.prompt, labels.small, labels.large, stems=labels.stem.tolist()
    )
    quality = line(name, labels, found.unseen, 0.5)
    figures = str(quality.auroc), str(quality.apgr)
    return Line(name, architecture, weights, parameters, len(content), timed(content), *figures)


def timed(content: bytes) -> dict[int, float]:
    """Set up as the classifier does; the median in milliseconds, by tokens."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0)
    found = {}
    for tokens in TOKENS:
        seconds = []
        for _ in range(ROUNDS + 2):
            given = {"input_ids": draw.integers(1000, 20_000, (1, tokens))}
            began = thread_time()
            session.run(None, given)
            seconds.append(thread_time() - began)
        found[tokens] = round(statistics.median(seconds[2:]) * 1e3, 2)
    return found


def labels_of(data: Path, count: int) -> Labels:
    rows = dataset.load(data)
    picked = np.random.default_rng(0).permutation(np.flatnonzero(rows.dataset == "routellm_mmlu"))[:count]
    rows = rows[np.isin(np.arange(len(rows.prompt)), picked)]
    return Labels(rows.prompt, rows.small, rows.large, rows.stem, rows.dataset, rows.dataset)


def as_markdown(lines: Sequence[Line]) -> str:
    head = ["encoder", "architecture", "weights", "parameters", "MB", *(f"{n} tokens" for n in TOKENS), "AUROC", "APGR"]
    rows = [head, ["---"] * len(head)]
    for one in lines:
        count = "?" if one.parameters is None else f"{one.parameters:,}"
        times = [f"{one.p50_ms[n]:.1f}" for n in TOKENS]
        row = [one.name, one.architecture, one.weights, count, f"{one.bytes / 1e6:.1f}", *times]
        rows.append([*row, one.auroc or "-", one.apgr or "-"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="public outcomes, such as ../shared/data")
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--encoder", type=Path, action="append", default=[], help="a folder with real weights")
    parser.add_argument("--only", action="append", choices=list(SHAPES), help="these shapes alone")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    labels = labels_of(given.data, given.rows) if given.data else None
    with TemporaryDirectory() as scratch:
        lines = [random_line(name, Path(scratch)) for name in given.only or SHAPES]
        lines += real_lines(given.encoder, labels, Path(scratch))
    if given.json:
        print(json.dumps({"rows": len(labels or ()), "lines": [asdict(one) for one in lines]}, indent=1))
        return 0
    now = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"{now}  {platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}; times are p50 in ms")
    quality = f"Quality on {len(labels):,} rows of routellm_mmlu. " if labels else ""
    print(f"{quality}Random weights have a size and a speed, and no quality.\n")
    print(as_markdown(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
