"""Fitting a head to somebody's own labels, measuring it on rows that it has not seen, and writing it as an artefact.

The encoder stays the one of the base artefact, and so does what its head knows of tasks; what is fitted is the score.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from weighbridge.classifiers import head as heads
from weighbridge.classifiers.artefacts import MANIFEST, Manifest, OperatingPoint, read_files, read_manifest
from weighbridge.classifiers.evaluation import known, promise
from weighbridge.classifiers.evaluation.comparison import LENGTH, Comparison, compare
from weighbridge.classifiers.evaluation.labelled import Labels, parted
from weighbridge.classifiers.evaluation.metrics import Floats
from weighbridge.classifiers.evaluation.table import plain
from weighbridge.classifiers.minilm import ENCODER, HEAD, TOKENIZER, Encoder
from weighbridge.classifiers.training import own_card
from weighbridge.classifiers.training.embed import Inputs, read
from weighbridge.classifiers.training.ensemble import Fitted, fit_with_unseen

Say = Callable[[str], None]

ENOUGH = 600  # questions from which on a part is held out whole; fewer are too dear for that
HELD_OUT = 0.25
# What the three operating points are chosen for, as parts of the large model's quality.
_WANTED = {"cost": 0.9, "balanced": 0.95, "quality": 0.98}


@dataclass(frozen=True)
class OwnFit:
    """A fitted head and what is known of it. held_out: rows that nothing was fitted on, which a promise needs."""

    head: heads.Head
    points: Mapping[str, OperatingPoint]
    comparison: Comparison
    fitted: Labels
    held_out: int

    @property
    def version(self) -> str:
        return f"own-{hashlib.sha256(heads.write(self.head)).hexdigest()[:8]}"


@dataclass(frozen=True)
class Base:
    """The artefact that a head is fitted on top of, checked."""

    folder: Path
    manifest: Manifest
    encoder: Encoder
    head: heads.Head


def open_base(folder: Path) -> Base:
    """Raises ArtefactError before anything is parsed that is not what the manifest describes."""
    manifest = read_manifest(folder)
    contents = read_files(folder, manifest, (ENCODER, TOKENIZER, HEAD))
    encoder = Encoder(folder, contents, window_tokens=manifest.window_tokens, size=manifest.embedding_size)
    return Base(folder, manifest, encoder, heads.read(contents[HEAD], manifest.embedding_size, len(manifest.tasks)))


def fit_own(  # noqa: PLR0913  # labels, a base, and how to go about it
    labels: Labels,
    base: Base,
    *,
    cache: Path | None = None,
    held_out: float | None = None,
    threads: int = 2,
    say: Say = lambda _: None,
) -> OwnFit:
    """Fit on the questions that are not held out, and measure every row by a head that had not seen its question.

    held_out: the share of the questions that nothing is fitted on; None decides by their number. cache: a folder that
    keeps embeddings of the base's encoder. Raises TooLittle.
    """
    labels.check()
    if held_out is None:
        held_out = HELD_OUT if len(set(labels.stem.tolist())) >= ENOUGH else 0.0
    say(f"embedding {len(labels):,} prompts")
    digest = base.manifest.files[ENCODER].sha256[:16]
    inputs = read(list(labels.prompt), base.encoder, cache=cache / digest if cache else None, threads=threads)
    out = parted(labels, held_out)
    fitted, seen = labels[~out], inputs[~out]
    fitted.check()
    say(f"fitting on {len(fitted):,} rows")
    found = fit_with_unseen(
        seen.embedding, fitted.prompt, fitted.small, fitted.large, base=base.head, stems=fitted.stem.tolist()
    )
    points = operating_points(fitted, found.unseen)
    say(f"measuring on {len(labels):,} rows")
    scores = {
        "this head": _unseen(inputs, out, found),
        "before": heads.scores(base.head, inputs),
        LENGTH: _by_length(fitted, labels),
    }
    abstained = float(heads.abstains(found.head, inputs[out]).mean()) if out.any() else 0.0
    comparison = compare(labels, scores, points["balanced"].threshold, abstained=abstained)
    return OwnFit(found.head, points, comparison, fitted, int(out.sum()))


def _unseen(inputs: Inputs, out: NDArray[np.bool_], found: Fitted) -> Floats:
    """The score of each row from a head that had not seen its question. out: those that none has."""
    scores = np.empty(len(out))
    scores[~out] = found.unseen
    if out.any():
        scores[out] = heads.scores(found.head, inputs[out])
    return scores


def _by_length(fitted: Labels, rows: Labels) -> Floats:
    """The baseline: a logistic curve on the length, fitted on the same rows."""
    long = [np.log1p([float(len(prompt)) for prompt in some.prompt])[:, None] for some in (fitted, rows)]
    missed = fitted.falls_short
    if missed.min() == missed.max():
        return np.full(len(rows), float(missed[0]))
    share: Floats = LogisticRegression(C=1e6).fit(long[0], missed).predict_proba(long[1])[:, 1]
    return share


def operating_points(labels: Labels, unseen: Floats) -> dict[str, OperatingPoint]:
    """The cheapest thresholds for what is wanted, on scores of heads that had not seen the row. No promise."""
    points = {}
    for name, quality in _WANTED.items():
        threshold = promise.tuned(unseen, labels.small, labels.large, quality=quality)
        why = f"the cheapest that kept {quality:.0%} of the large model's quality on {len(labels):,} own labels; "
        points[name] = OperatingPoint(threshold=threshold, chosen_for=why + "not promised, see `weighbridge calibrate`")
    return points


def write(fit: OwnFit, base: Base, out: Path) -> None:
    """Write the artefact: the base's encoder, the new head, a card, which questions it knows, and last the manifest."""
    out.mkdir(parents=True, exist_ok=True)
    for name in (ENCODER, TOKENIZER):
        shutil.copyfile(base.folder / name, out / name)
    (out / HEAD).write_bytes(heads.write(fit.head))
    (out / known.FITTED_ON).write_bytes(known.written(fit.fitted.stem.tolist()))
    facts = _facts(fit, base)
    (out / own_card.CARD).write_text(own_card.card(fit.version, facts, fit.comparison, fit.points), encoding="utf-8")
    fields = json.loads((base.folder / MANIFEST).read_text(encoding="utf-8"))
    for about_the_base in ("length_baseline", "agreement_with_fp32", "abstained", "task", "built_with"):
        fields.pop(about_the_base, None)
    files = (ENCODER, TOKENIZER, HEAD, own_card.CARD, known.FITTED_ON)
    fields |= {
        "version": fit.version,
        "base": base.manifest.version,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "thresholds": {name: point.model_dump() for name, point in fit.points.items()},
        "files": {name: _record(out / name) for name in files},
        "training_data": asdict(facts),
        "metrics": fit.comparison.as_fields(),
    }
    (out / MANIFEST).write_text(json.dumps(plain(fields), indent=1, ensure_ascii=False) + "\n", "utf-8")


def _facts(fit: OwnFit, base: Base) -> own_card.Facts:
    return own_card.Facts(
        base=base.manifest.version,
        rows_fitted=len(fit.fitted),
        rows_held_out=fit.held_out,
        sources=dict(Counter(fit.fitted.source.tolist())),
        small_mean=float(fit.fitted.small.mean()),
        large_mean=float(fit.fitted.large.mean()),
    )


def _record(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
