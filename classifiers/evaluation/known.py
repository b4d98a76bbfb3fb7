"""Which questions an artefact was fitted on, as digests in a file of its own: on those it must not be measured."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighbridge.classifiers.artefacts import ArtefactError, read_files, read_manifest
from weighbridge.classifiers.evaluation.labelled import Labels

FITTED_ON = "fitted_on.txt"
_DIGITS = 16


def written(stems: Iterable[str]) -> bytes:
    """The file: enough to know a question again, and not to read it."""
    return ("\n".join(sorted(map(_digest, set(stems)))) + "\n").encode()


def fitted_on(folder: Path) -> frozenset[str]:
    """The digests in an artefact; empty where it holds none, as the shipped one does. Raises ArtefactError."""
    manifest = read_manifest(folder)
    if FITTED_ON not in manifest.files:
        return frozenset()
    try:
        return frozenset(read_files(folder, manifest, (FITTED_ON,))[FITTED_ON].decode("ascii").split())
    except UnicodeDecodeError as error:
        raise ArtefactError(folder / FITTED_ON, "is no list of digests") from error


def fresh(labels: Labels, known: frozenset[str]) -> NDArray[np.bool_]:
    """Which rows ask what the artefact was not fitted on."""
    return np.array([_digest(stem) not in known for stem in labels.stem.tolist()], dtype=bool)


def _digest(stem: str) -> str:
    return hashlib.sha256(stem.encode("utf-8", "replace")).hexdigest()[:_DIGITS]
