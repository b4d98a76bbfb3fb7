"""Encoders side by side: parameters, size on disk, time for one text on one core, and routing quality where it is known.

    python benchmarks/encoders.py [--labels FILE] [--encoder DIR ...] [--only NAME ...] [--json]

The architectures of the catalogue's encoders stand here at their true sizes with random weights: those have a size and a
speed, and no quality. Quality is measured for the shipped encoder, and for each `--encoder` (a folder with real weights):
a head is fitted on `--labels` (else on the project's own prompts) and every question scored by a head that had not seen
it. Times are the medians of the encoder alone, tokens already read, on one thread; goals there are none.
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
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime

from weighbridge.classifiers.evaluation import metrics
from weighbridge.classifiers.evaluation.labelled import Labels
from weighbridge.classifiers.minilm import ENCODER, SHIPPED
from weighbridge.classifiers.training import dataset, embed, ensemble, families, foreign, own
from weighbridge.learning.labels import from_file

TOKENS = (16, 32, 64, 128)
ROUNDS = 15
# As the models' own config.json say; what is not named is the default of the architecture in transformers.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-tiny": ("bert", _BERT := {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}),
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


def real_lines(folders: Sequence[Path], labels: Labels, scratch: Path) -> Iterator[Line]:
    shipped = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))["encoder"]
    yield _measured("the shipped encoder", "bert", str(shipped["model"]), None, SHIPPED, labels)
    for i, folder in enumerate(folders):
        out = scratch / str(i)
        foreign.write(folder, foreign.About(folder.name, None, "a folder"), out)
        said = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["encoder"]
        yield _measured(folder.name, said["architecture"], "real", said["parameters"], out, labels)


def _measured(
    name: str, architecture: str, weights: str, parameters: int | None, artefact: Path, labels: Labels
) -> Line:
    """Fitted without a base, so that only the encoders differ."""
    base = own.open_base(artefact)
    inputs = embed.read(list(labels.prompt), base.encoder)
    found = ensemble.fit_with_unseen(
        inputs.embedding, labels.prompt, labels.small, labels.large, stems=labels.stem.tolist()
    )
    values = (found.unseen, labels.small, labels.large)
    groups = metrics.group_ids(labels.stem)
    auroc = metrics.bootstrap(metrics.auroc_of_shortfall, *values, groups=groups)
    apgr = metrics.bootstrap(metrics.apgr, *values, groups=groups)
    content = (artefact / ENCODER).read_bytes()
    return Line(name, architecture, weights, parameters, len(content), timed(content), str(auroc), str(apgr))
