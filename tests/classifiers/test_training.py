"""The recipe, on a few prompts of the test's own. It runs where the training libraries are installed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from weighbridge.classifiers import head as heads
from weighbridge.classifiers.base import TASKS
from weighbridge.classifiers.evaluation import metrics
from weighbridge.classifiers.minilm import SHIPPED

pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from weighbridge.classifiers.training import (  # after the skip
    calibrate,
    dataset,
    embed,
    ensemble,
    evaluate,
    fit,
    models,
    weights,
)


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "TREES", 20)
        yield


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
        for task in TASKS
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
    for place, task in enumerate(TASKS, 1):
        embedding[rows.task == task, place] += 6
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    return embed.inputs_of(embedding.astype(np.float32), rows.prompt)


@pytest.fixture(scope="module")
def seen(inputs, rows):
    kept = ~rows.held_out
    return calibrate.unseen(inputs[kept], rows[kept])


@pytest.fixture(scope="module")
def head(inputs, rows, seen):
    kept = ~rows.held_out
    return calibrate.calibrated(fit.fit(inputs[kept], rows[kept], seen.weights), inputs[kept], seen, rows[kept])


def test_the_same_input_gives_the_same_head_to_the_byte(inputs, rows, seen):
    kept = ~rows.held_out
    again = [heads.write(fit.fit(inputs[kept], rows[kept], seen.weights)) for _ in range(2)]
    assert again[0] == again[1]


def test_what_can_be_learnt_is_learnt(head, inputs, rows):
    held = rows.held_out
    score = heads.scores(head, inputs[held])
    kept = rows.level[held] != "medium"
    assert metrics.auroc(score[kept], rows.shortfall[held][kept]) > 0.8
    verdicts = [head.judge(*given) for given in zip(inputs.embedding, inputs.counts, inputs.words, strict=True)]
    named = np.array([TASKS[verdict.task] for verdict in verdicts])
    assert np.mean(named[held] == rows.task[held]) > 0.9


def test_the_operating_points_are_in_order(head, seen, rows):
    points = calibrate.operating_points(head, seen, rows[~rows.held_out])
    assert points["cost"].threshold >= points["balanced"].threshold >= points["quality"].threshold


def test_a_stem_is_never_on_both_sides_of_a_split(rows):
    sides = {}
    for stem, held_out in zip(rows.stem, rows.held_out, strict=True):
        assert sides.setdefault(stem, held_out) == held_out


def test_the_table_has_every_baseline(head, inputs, rows):
    held = rows.held_out
    length = ensemble.logistic(inputs.counts[~held, 0], rows.shortfall[~held], rows.weight[~held])
    lines = evaluate.table(rows[held], heads.scores(head, inputs[held]), 0.5, length)
    assert [line.classifier for line in lines] == ["this head", "length only", "random", "always small", "always large"]
    assert evaluate.as_markdown(lines).count("\n") == len(lines) + 1


def test_our_own_prompts_are_many_varied_and_unique():
    lines = [json.loads(line) for line in dataset.EVERYDAY.read_text(encoding="utf-8").splitlines()]
    assert len(lines) >= 900
    assert len({line["text"] for line in lines}) == len(lines)
    assert len({line["stem"] for line in lines}) >= 500
    assert {line["task"] for line in lines} == set(TASKS)
    assert {line["difficulty"] for line in lines} == set(dataset.SHORTFALL)


def test_the_shipped_manifest_names_only_data_that_may_be_shipped():
    manifest = json.loads((SHIPPED / "manifest.json").read_text())
    may = {source.name for source in dataset.SOURCES if source.use == "train"} | {dataset.OWN}
    assert {entry["name"] for entry in manifest["training_data"]} == may
    assert all(entry["licence"] for entry in manifest["training_data"])


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
    tokens = embed.open_encoder(SHIPPED).tokens_of(["What is the capital of France?", "Prove it."])
    ours = [embed.open_encoder(tmp_path).embed(row) for row in tokens]
    assert np.allclose(ours, [embed.open_encoder(SHIPPED).embed(row) for row in tokens], atol=1e-3)
    assert ((np.array(ours) * export.reference(found, tokens)).sum(1) > 0.97).all()


def test_weights_with_another_digest_are_refused(tmp_path):
    (tmp_path / weights.WEIGHTS).write_bytes(b"not the weights")
    with pytest.raises(weights.WrongWeights, match="SHA-256"):
        weights.find(tmp_path, tmp_path)
    with pytest.raises(weights.WrongWeights, match=r"no model\.safetensors"):
        weights.find(tmp_path / "nowhere", tmp_path)
