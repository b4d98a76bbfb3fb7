"""What an artefact was fitted on is known again, and cannot be read."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from weighbridge.classifiers.artefacts import MANIFEST, ArtefactError
from weighbridge.classifiers.evaluation import known
from weighbridge.classifiers.evaluation.labelled import Labels
from weighbridge.classifiers.minilm import SHIPPED

STEMS = ["how much is the fish", "who goes there"]


def labels(*stems: str) -> Labels:
    zeros, none = np.zeros(len(stems)), np.array([""] * len(stems))
    return Labels(list(stems), zeros, zeros, np.array(stems), none, none)


@pytest.fixture
def fitted(tmp_path: Path) -> Path:
    """An artefact of a manifest and the list alone: all that is read here."""
    content = known.written(STEMS)
    manifest = json.loads((SHIPPED / MANIFEST).read_text())
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest["files"] = {known.FITTED_ON: record}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    (tmp_path / known.FITTED_ON).write_bytes(content)
    return tmp_path


def test_questions_that_were_fitted_on_are_known_again(fitted: Path) -> None:
    digests = known.fitted_on(fitted)
    assert known.fresh(labels("something new", STEMS[1]), digests).tolist() == [True, False]
    assert b"fish" not in (fitted / known.FITTED_ON).read_bytes()


def test_the_shipped_artefact_was_fitted_on_nobody_s_own() -> None:
    assert known.fitted_on(SHIPPED) == frozenset()
    assert known.fresh(labels("a", "b"), frozenset()).all()


def test_a_list_that_was_changed_is_refused(fitted: Path) -> None:
    (fitted / known.FITTED_ON).write_bytes(known.written(["another"]))
    with pytest.raises(ArtefactError):
        known.fitted_on(fitted)
