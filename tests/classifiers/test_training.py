"""The recipe, on a few prompts of the test's own. It runs where the training libraries are installed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from weighbridge.classifiers import head as heads
from weighbridge.classifiers.minilm import SHIPPED

for library in ("pandas", "sklearn"):
    pytest.importorskip(library)

from weighbridge.classifiers.training import calibrate, dataset, evaluate, fit, measure, weights  # noqa: E402  # after the skip


@pytest.fixture(scope="module")
def everyday(tmp_path_factory):
    """A hundred short prompts of every task and level, five to a stem."""
    path = tmp_path_factory.mktemp("data") / "everyday.jsonl"
    levels = {"easy": "Say {} to {}.", "medium": "Explain how {} works for {}.", "hard": "Prove that every {} is a {}."}
    lines = [
        {
            "text": f"{task}: " + ask.format(f"thing {i}", f"person {i}"),
            "task": task,
            "difficulty": level,
            "stem": f"{task} {level} {i // 5}",
        }
        for task in dataset.TASKS
        for level, ask in levels.items()
        for i in range(15)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def rows(everyday):
    return dataset.load(None, everyday=everyday)


@pytest.fixture(scope="module")
def inputs(rows):
    """Stand-in embeddings: the level in the first place, the task in the next ones, noise in the rest."""
    rng = np.random.default_rng(0)
    embedding = 0.3 * rng.normal(size=(len(rows.prompt), 384))
    embedding[:, 0] += 6 * rows.difficulty
    for place, task in enumerate(dataset.TASKS, 1):
        embedding[rows.task == task, place] += 6
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    counts = rng.normal(size=(len(rows.prompt), len(fit.features.NAMES)))
    return fit.Inputs(embedding.astype(np.float32), counts.astype(np.float32))


@pytest.fixture(scope="module")
def fitted(inputs, rows):
    kept = ~rows.held_out
    seen = calibrate.unseen(inputs[kept], rows[kept])
    return calibrate.calibrated(fit.fit(inputs[kept], rows[kept]), seen, rows[kept]), seen


def test_the_same_input_gives_the_same_head_to_the_byte(inputs, rows):
    kept = ~rows.held_out
    assert heads.write(fit.fit(inputs[kept], rows[kept])) == heads.write(fit.fit(inputs[kept], rows[kept]))


def test_what_can_be_learnt_is_learnt(fitted, inputs, rows):
    held = rows.held_out
    score = fit.scores(fitted[0], inputs[held])
    kept = rows.level[held] != "medium"
    assert measure.auroc(score[kept], rows.shortfall[held][kept]) > 0.8
    verdicts = [fitted[0].judge(e, c) for e, c in zip(inputs[held].embedding, inputs[held].counts, strict=True)]
    assert np.mean([dataset.TASKS[v.task] for v in verdicts] == rows.task[held]) > 0.9


def test_the_operating_points_are_in_order(fitted, rows):
    points = calibrate.operating_points(fitted[0], fitted[1], rows[~rows.held_out])
    assert points["cost"].threshold >= points["balanced"].threshold >= points["quality"].threshold


def test_a_stem_is_never_on_both_sides_of_a_split(everyday, rows):
    stems = [json.loads(line)["stem"] for line in everyday.read_text().splitlines()]
    sides = {}
    for stem, held_out in zip(stems, rows.held_out, strict=True):
        assert sides.setdefault(stem, held_out) == held_out


def test_the_table_has_every_baseline(fitted, inputs, rows):
    held = rows.held_out
    lines = evaluate.table(rows[held], fit.scores(fitted[0], inputs[held]), 0.5)
    assert [line.classifier for line in lines] == ["this head", "length only", "random", "always small", "always large"]
    assert evaluate.as_markdown(lines).count("\n") == len(lines) + 1


def test_our_own_prompts_are_many_varied_and_unique():
    lines = [json.loads(line) for line in dataset.EVERYDAY.read_text(encoding="utf-8").splitlines()]
    assert len(lines) >= 900
    assert len({line["text"] for line in lines}) == len(lines)
    assert len({line["stem"] for line in lines}) >= 500
    assert {line["task"] for line in lines} == set(dataset.TASKS)
    assert {line["difficulty"] for line in lines} == set(dataset.SHORTFALL)


def test_the_shipped_manifest_names_only_data_that_may_be_shipped():
    manifest = json.loads((SHIPPED / "manifest.json").read_text())
    may = {source.name for source in dataset.SOURCES if source.use == "train"} | {dataset.OWN}
    assert {entry["name"] for entry in manifest["training_data"]} == may
    assert all(entry["licence"] for entry in manifest["training_data"])


def test_auroc_counts_ties_half():
    assert measure.auroc(np.array([0.1, 0.9]), np.array([0.0, 1.0])) == 1
    assert measure.auroc(np.array([0.5, 0.5]), np.array([0.0, 1.0])) == 0.5
    assert np.isnan(measure.auroc(np.array([0.5, 0.5]), np.array([1.0, 1.0])))


def test_apgr_is_a_half_for_a_score_that_says_nothing():
    small, large = np.array([0.0, 1.0, 0.0, 1.0]), np.ones(4)
    assert measure.apgr(np.zeros(4), small, large) == pytest.approx(0.5)
    assert measure.apgr(np.array([0.9, 0.1, 0.8, 0.2]), small, large) == pytest.approx(0.7)
    assert np.isnan(measure.apgr(np.zeros(4), large, large))


def test_ece_is_nothing_for_an_honest_score():
    assert measure.ece(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0])) == 0
    assert measure.ece(np.full(4, 0.75), np.array([1.0, 1.0, 1.0, 0.0])) == pytest.approx(0)
    assert measure.ece(np.zeros(4), np.ones(4)) == 1


WEIGHTS = os.environ.get("WEIGHBRIDGE_TEST_WEIGHTS", "")


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS, reason="WEIGHBRIDGE_TEST_WEIGHTS names no folder with the weights")
def test_the_weights_become_the_shipped_encoder(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("sentence_transformers")
    from weighbridge.classifiers.training import export  # noqa: PLC0415  # only where torch is

    found = weights.find(Path(WEIGHTS), tmp_path)
    export.write_encoder(found, tmp_path / "encoder.onnx")
    export.write_tokenizer(found, tmp_path / "tokenizer.json")
    tokens = fit.open_encoder(SHIPPED).tokens_of(["What is the capital of France?", "Prove it."])
    ours = [fit.open_encoder(tmp_path).embed(row) for row in tokens]
    assert np.allclose(ours, [fit.open_encoder(SHIPPED).embed(row) for row in tokens], atol=1e-3)
    assert ((np.array(ours) * export.reference(found, tokens)).sum(1) > 0.97).all()


def test_weights_with_another_digest_are_refused(tmp_path):
    (tmp_path / weights.WEIGHTS).write_bytes(b"not the weights")
    with pytest.raises(weights.WrongWeights, match="SHA-256"):
        weights.find(tmp_path, tmp_path)
    with pytest.raises(weights.WrongWeights, match=r"no model\.safetensors"):
        weights.find(tmp_path / "nowhere", tmp_path)
