"""From somebody's encoder to an artefact to build on: its graph, its tokenizer, and a head for prompts of our own.

That head stands in for the shipped one, which only fits the shipped encoder. It tells everyday asks from expert work
and names tasks, from the project's own prompts alone; no public outcomes are in it.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from weighbridge.classifiers import head as heads
from weighbridge.classifiers import minilm
from weighbridge.classifiers.artefacts import KIND, MANIFEST, SCHEMA_VERSION
from weighbridge.classifiers.base import TASKS
from weighbridge.classifiers.minilm import ENCODER, HEAD, TOKENIZER
from weighbridge.classifiers.training import card, dataset, embed, ensemble, families, fit
from weighbridge.classifiers.training.families import CannotExport

Say = Callable[[str], None]

_COMPARED = 100  # prompts on which int8 is compared with fp32
_POOR_COSINE = 0.95
_WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "1_Pooling/*", "README.md")


@dataclass(frozen=True, slots=True)
class About:
    """What an encoder is called, and what is known beside its files. origin: where it was taken from."""

    name: str
    licence: str | None
    origin: str


def fetched(repository: str) -> Path:
    """An encoder of the hub, in the hub's own cache. Raises CannotExport."""
    try:
        folder = Path(snapshot_download(repository, allow_patterns=list(_WANTED)))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(repository, allow_patterns=[*_WANTED, "pytorch_model*.bin"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        remedy = "where the hub is not reached, fetch it elsewhere and name its folder"
        raise CannotExport(f"{repository}: cannot be had from the hub ({first}); {remedy}") from error
    return folder


def write(  # noqa: PLR0913  # an encoder, a place, and how to go about it
    source: Path,
    about: About,
    out: Path,
    *,
    cache: Path | None = None,
    say: Say = lambda _: None,
    everyday: Path | None = None,
) -> None:
    """The artefact. cache: a folder that keeps embeddings by encoder. everyday: other prompts than our own.

    Raises CannotExport.
    """
    encoder = families.opened(source)
    out.mkdir(parents=True, exist_ok=True)
    (out / TOKENIZER).write_text(families.tokenizer_of(source), encoding="utf-8")
    say(f"exporting {about.name} ({encoder.architecture}, {encoder.parameters:,} parameters)")
    (out / ENCODER).write_bytes(families.as_onnx(encoder))
    served = _served(out, encoder)
    rows = dataset.load(None, everyday=everyday or dataset.EVERYDAY)
    rows = rows[(rows.dataset == dataset.OWN) & ~rows.held_out]
    cosine = _agreement(encoder, served, rows.prompt)
    say(f"int8 agrees with fp32: cosine {cosine[0]:.4f} on average, {cosine[1]:.4f} at the least")
    if cosine[0] < _POOR_COSINE:
        say("that is poor: what is fitted is fitted to the int8 encoder, yet much of what this one knows is lost")
    say(f"embedding {len(rows.prompt):,} prompts of our own")
    digest = hashlib.sha256((out / ENCODER).read_bytes()).hexdigest()[:16]
    inputs = embed.read(rows.prompt, served, cache=cache / digest if cache else None)
    head = ensemble.fit_with_unseen(
        inputs.embedding, rows.prompt, 1 - rows.difficulty, np.ones(len(rows.prompt)), stems=rows.stem.tolist()
    ).head
    task_w, task_b = fit.tasks(inputs, rows)
    (out / HEAD).write_bytes(heads.write(replace(head, task_w=task_w, task_b=task_b)))
    _write_manifest(out, encoder, about, cosine)


def _served(out: Path, encoder: families.Encoder) -> minilm.Encoder:
    contents = {name: (out / name).read_bytes() for name in (ENCODER, TOKENIZER)}
    return minilm.Encoder(out, contents, window_tokens=_window(encoder), size=encoder.size)


def _window(encoder: families.Encoder) -> int:
    return min(embed.WINDOW_TOKENS, encoder.positions)


def _agreement(encoder: families.Encoder, served: minilm.Encoder, prompts: list[str]) -> tuple[float, float]:
    """The cosine of the engine that serves with fp32: the mean, and the least."""
    tokens = served.tokens_of([embed.ends_of(prompt) for prompt in prompts[:: max(1, len(prompts) // _COMPARED)]])
    found = [float(served.embed(row) @ families.reference(encoder, row)) for row in tokens]
    return float(np.mean(found)), min(found)


def _write_manifest(out: Path, encoder: families.Encoder, about: About, cosine: tuple[float, float]) -> None:
    stem = "".join(c if c.isalnum() or c in ".-" else "-" for c in about.name.rpartition("/")[2])[:60]
    why = "not chosen: the head was fitted to prompts of the project's own, on which no model was run"
    manifest = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "version": f"{stem}-{hashlib.sha256((out / HEAD).read_bytes()).hexdigest()[:8]}",
        "window_tokens": _window(encoder),
        "embedding_size": encoder.size,
        "tasks": list(TASKS),
        "task_minimum": card.TASK_MINIMUM,
        "thresholds": {
            name: {"threshold": threshold, "chosen_for": why}
            for name, threshold in (("cost", 0.75), ("balanced", 0.5), ("quality", 0.25))
        },
        "files": {name: card.record(out / name) for name in (ENCODER, TOKENIZER, HEAD)},
        "encoder": {
            "model": about.name,
            "architecture": encoder.architecture,
            "parameters": encoder.parameters,
            "pooling": encoder.pooling,
            "licence": about.licence or encoder.licence,
            "taken_from": about.origin,
            "cosine_with_fp32": {"mean": round(cosine[0], 4), "least": round(cosine[1], 4)},
        },
    }
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


__all__ = ["About", "CannotExport", "fetched", "write"]
