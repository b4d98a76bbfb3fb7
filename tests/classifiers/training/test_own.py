"""A head of one's own: fitted on labels, measured on others, and written so that the classifier loads it."""

import json
from pathlib import Path

import numpy as np
import pytest
from labelling import prompts

from weighbridge.classifiers.artefacts import MANIFEST, ArtefactError
from weighbridge.classifiers.evaluation import known
from weighbridge.classifiers.evaluation.labelled import Labels, TooLittle, stem_of
from weighbridge.classifiers.minilm import SHIPPED, MiniLM
from weighbridge.classifiers.training import own


def labels() -> Labels:
    rows = prompts()
    hard = np.array([is_hard for _, is_hard in rows], dtype=float)
    return Labels(
        prompt=[text for text, _ in rows],
        small=1 - hard,
        large=np.ones(len(rows)),
        stem=np.array([stem_of(text) for text, _ in rows]),
        domain=np.array(["hard" if h else "easy" for h in hard]),
        source=np.array(["file"] * len(rows)),
    )


@pytest.fixture(scope="module")
def base() -> own.Base:
    return own.open_base(SHIPPED)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def fitted(base: own.Base, cache: Path) -> own.OwnFit:
    return own.fit_own(labels(), base, cache=cache)


def test_few_rows_are_all_fitted_on_and_measured_in_turn(fitted: own.OwnFit) -> None:
    assert fitted.held_out == 0
    assert len(fitted.fitted) == 100
    assert [line.name for line in fitted.comparison.lines][:3] == ["this head", "before", "length only"]
    assert fitted.comparison.beats_shuffled


def test_a_part_can_be_held_out(base: own.Base, cache: Path) -> None:
    found = own.fit_own(labels(), base, cache=cache, held_out=0.3)
    assert found.held_out == 30
    assert len(found.fitted) == 70
    assert found.comparison.head.rows == 100


def test_embeddings_are_remembered_by_encoder(fitted: own.OwnFit, base: own.Base, cache: Path) -> None:
    assert fitted.held_out == 0
    digest = base.manifest.files["encoder.onnx"].sha256
    assert [folder.name for folder in cache.iterdir()] == [digest[:16]]


def test_a_damaged_memory_of_embeddings_is_made_anew(base: own.Base, tmp_path: Path) -> None:
    some = labels()[np.arange(100) < 60]
    first = own.fit_own(some, base, cache=tmp_path)
    (memory,) = tmp_path.glob("*/embeddings.npz")
    memory.write_bytes(memory.read_bytes()[:1000])
    assert own.fit_own(some, base, cache=tmp_path).version == first.version
    assert memory.stat().st_size > 1000


def test_the_points_are_in_order_and_say_what_they_are(fitted: own.OwnFit) -> None:
    points = [fitted.points[name] for name in ("cost", "balanced", "quality")]
    assert [p.threshold for p in points] == sorted((p.threshold for p in points), reverse=True)
    assert "not promised" in points[0].chosen_for


def test_the_classifier_loads_what_was_written(fitted: own.OwnFit, base: own.Base, tmp_path: Path) -> None:
    own.write(fitted, base, tmp_path / "own")
    mine = MiniLM(artefact=str(tmp_path / "own"))
    assert mine.version == fitted.version
    assert mine.version.startswith("own-")
    easy, hard = mine.assess(["Say hello to bread", "Prove that every bridge has a bounded limit"])
    assert easy.score < hard.score
    assert easy.task == MiniLM().assess(["Say hello to bread"])[0].task
    manifest = json.loads((tmp_path / "own" / MANIFEST).read_text())
    assert manifest["base"] == base.manifest.version
    assert manifest["metrics"]["beats_shuffled"] is True
    card = (tmp_path / "own" / "MODEL_CARD.md").read_text()
    assert "It beats the shuffled control" in card
    assert "hello to bread" not in card


def test_what_was_fitted_on_is_remembered(fitted: own.OwnFit, base: own.Base, tmp_path: Path) -> None:
    own.write(fitted, base, tmp_path)
    assert not known.fresh(labels(), known.fitted_on(tmp_path)).any()


def test_it_can_be_built_upon(fitted: own.OwnFit, base: own.Base, cache: Path, tmp_path: Path) -> None:
    own.write(fitted, base, tmp_path)
    again = own.fit_own(labels(), own.open_base(tmp_path), cache=cache)
    assert again.comparison.beats_shuffled


def test_a_base_that_is_damaged_is_refused(fitted: own.OwnFit, base: own.Base, tmp_path: Path) -> None:
    own.write(fitted, base, tmp_path)
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes().replace(b"hello", b"jello", 1))
    with pytest.raises(ArtefactError, match="SHA-256 differs"):
        own.open_base(tmp_path)


def test_too_little_is_refused_before_anything_is_embedded(base: own.Base) -> None:
    said: list[str] = []
    with pytest.raises(TooLittle):
        own.fit_own(labels()[np.arange(100) < 10], base, say=said.append)
    assert not said
