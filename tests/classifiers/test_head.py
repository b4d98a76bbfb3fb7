"""The head: numbers in, a calibrated score out, and nothing read that does not fit."""

import io
from dataclasses import replace

import numpy as np
import pytest

from weighbridge.classifiers import features, head

SIZE, TASKS = 6, 3
LEXICAL = len(features.NAMES)


def a_head(seed: int = 0) -> head.Head:
    """Five landmarks, two projections, two trees: one of three nodes, one that is a leaf."""
    rng = np.random.default_rng(seed)
    shapes = head.expected_shapes({"D": SIZE, "M": 5, "P": 2, "T": 2, "S": 4, "K": TASKS})
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    arrays |= {
        "lexical_scale": np.abs(arrays["lexical_scale"]) + 1,
        "word_rarity": np.abs(arrays["word_rarity"]),
        "kernel": np.array([1.0, 0.1]),
        "tree_start": np.array([0, 3]),
        "node_feature": np.array([1, 0, 0, 0]),
        "node_number": np.array([0.0, -1.0, 1.0, 0.25]),
        "node_right": np.array([2, 0, 0, 0]),
        "calibration": np.array([2.0, -1.0]),
        "support_floor": np.array(-2.0),
        "words_floor": np.array(-1.0),
        "base_w": np.array(0.0),
        "lexical_w": np.zeros(shapes["lexical_w"]),
    }
    stored = {name: np.asarray(array, head._kept_as(name)) for name, array in arrays.items()}
    return head.Head(**{name: array.astype(head._used_as(name)) for name, array in stored.items()})


def npz(**changes: object) -> bytes:
    """A written head of which some arrays were changed, or taken away by None."""
    arrays = head._stored(a_head(), "") | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in arrays.items() if value is not None})
    return buffer.getvalue()


def some_inputs(rows: int = 20, seed: int = 1) -> head.Inputs:
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(rows, SIZE)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    counts = rng.normal(size=(rows, LEXICAL)).astype(np.float32)
    words = [np.unique(rng.integers(0, features.WORD_BUCKETS, 9)) for _ in range(rows)]
    return head.Inputs(embedding, counts, words)


def test_what_was_written_is_what_is_read():
    read = head.read(head.write(a_head()), SIZE, TASKS)
    for name in head.ARRAYS:
        assert np.array_equal(getattr(read, name), getattr(a_head(), name))
    assert read.base is None


def test_a_base_is_written_and_read_with_the_head():
    leaning = replace(a_head(), base=a_head(1), base_w=np.array(0.5, np.float32))
    read = head.read(head.write(leaning), SIZE, TASKS)
    inputs = some_inputs()
    assert np.array_equal(head.scores(read, inputs), head.scores(leaning, inputs))
    assert not np.allclose(head.scores(read, inputs), head.scores(a_head(), inputs))


def test_the_same_head_gives_the_same_bytes():
    assert head.write(a_head()) == head.write(a_head())
    assert head.write(a_head()) != head.write(a_head(1))


def test_a_text_alone_has_the_score_that_it_has_among_others():
    inputs = some_inputs()
    alone = [a_head().judge(inputs.embedding[i], inputs.counts[i], inputs.words[i]).score for i in range(len(inputs))]
    assert np.allclose(alone, head.scores(a_head(), inputs), atol=1e-6)


def test_scores_and_probabilities_lie_between_0_and_1():
    rng = np.random.default_rng(1)
    for scale in (0, 1, 1e6):
        counts = (scale * rng.normal(size=LEXICAL)).astype(np.float32)
        verdict = a_head().judge(rng.normal(size=SIZE).astype(np.float32), counts, np.array([3, 70_000]))
        assert 0 < verdict.score < 1
        assert 1 / TASKS <= verdict.task_probability <= 1
        assert 0 <= verdict.task < TASKS


def test_a_tree_is_walked_from_its_root_to_a_leaf():
    inputs = some_inputs()
    blank = replace(
        a_head(), word_w=np.zeros_like(a_head().word_w), landmark_w=np.zeros(5, np.float32), bias=np.float32(0)
    )
    right = inputs.embedding @ blank.projection[:, 1] > 0
    assert np.allclose(head.raw(blank, inputs), np.where(right, 1.0, -1.0) + 0.25)


def test_a_head_without_models_says_its_bias():
    bare = replace(
        a_head(),
        word_w=np.zeros_like(a_head().word_w),
        landmarks=np.zeros((0, SIZE), np.float32),
        landmark_counts=np.zeros((0, LEXICAL), np.float32),
        landmark_w=np.zeros(0, np.float32),
        tree_start=np.zeros(0, np.int64),
        task_w=np.zeros((SIZE, 0), np.float32),
        task_b=np.zeros(0, np.float32),
    )
    inputs = some_inputs(3)
    assert np.allclose(head.raw(bare, inputs), float(bare.bias))
    assert bare.judge(inputs.embedding[0], inputs.counts[0], inputs.words[0]).task == -1


def test_it_abstains_far_from_its_landmarks():
    known = replace(a_head(), landmarks=np.eye(SIZE, dtype=np.float32)[:5], support_floor=np.array(0.5, np.float32))
    near = replace(known, landmarks=np.repeat(np.eye(SIZE, dtype=np.float32)[:1], 5, axis=0))
    inputs = head.Inputs(
        np.eye(SIZE, dtype=np.float32)[[0, 5]], np.zeros((2, LEXICAL), np.float32), [np.array([1])] * 2
    )
    assert head.abstains(near, inputs).tolist() == [False, True]
    assert head.abstains(known, inputs).tolist() == [True, True]
    assert near.judge(inputs.embedding[1], inputs.counts[1], inputs.words[1]).abstained


def test_it_abstains_where_it_has_met_too_few_of_the_words():
    rarity = np.zeros(features.WORD_BUCKETS, np.float32)
    rarity[[1, 2]] = 1.0
    reader = replace(a_head(), word_rarity=rarity, words_floor=np.array(0.5, np.float32))
    inputs = head.Inputs(
        np.tile(np.eye(SIZE, dtype=np.float32)[0], (3, 1)),
        np.zeros((3, LEXICAL), np.float32),
        [np.array([1, 2, 3]), np.array([3, 4]), np.zeros(0, np.int64)],
    )
    assert head.abstains(reader, inputs).tolist() == [False, True, True]


def test_what_the_base_has_met_is_met():
    rarity = np.zeros(features.WORD_BUCKETS, np.float32)
    rarity[1] = 1.0
    reader = replace(a_head(), word_rarity=np.zeros_like(rarity), words_floor=np.array(0.5, np.float32))
    inputs = head.Inputs(some_inputs(1).embedding, some_inputs(1).counts, [np.array([1])])
    assert head.abstains(reader, inputs).tolist() == [True]
    assert head.abstains(replace(reader, base=replace(a_head(), word_rarity=rarity)), inputs).tolist() == [False]


def test_a_steeper_calibration_keeps_the_order():
    steep = replace(a_head(), calibration=np.array([5, 0], dtype=np.float32))
    order = [np.argsort(head.scores(h, some_inputs(50))).tolist() for h in (a_head(), steep)]
    assert order[0] == order[1]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"task_b": None}, "task_b is missing"),
        ({"landmarks": np.zeros((2, 2), np.float16)}, "landmarks is"),
        ({"landmark_w": np.zeros(5)}, "float64"),
        ({"bias": np.float32("nan")}, "not finite"),
        ({"lexical_scale": np.zeros(LEXICAL, np.float32)}, "above 0"),
        ({"calibration": np.array([-1, 0], np.float32)}, "below it"),
        ({"bias": np.array("x")}, "wanted float32"),
        ({"tree_start": np.array([0, 9], np.int32)}, "not there"),
        ({"node_right": np.array([9, 0, 0, 0], np.int32)}, "not there"),
        ({"node_right": np.array([-1, 0, 0, 0], np.int32)}, "not there"),
        ({"node_feature": np.array([99, 0, 0, 0], np.int32)}, "not there"),
        ({"base.bias": np.float32(0)}, "is missing"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, problem):
    with pytest.raises(ValueError, match=problem):
        head.read(npz(**changes), SIZE, TASKS)


def test_python_objects_are_never_unpickled():
    with pytest.raises(ValueError, match="pickle"):
        head.read(npz(task_b=np.array([{"a": 1}], dtype=object)), SIZE, TASKS)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all", b"\x93NUMPY"])
def test_what_is_no_npz_is_refused(content):
    with pytest.raises(ValueError, match="npz"):
        head.read(content, SIZE, TASKS)


def test_a_head_that_unpacks_to_too_much_is_refused():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, landmarks=np.zeros(30_000_000, np.float32))
    with pytest.raises(ValueError, match="unpacks"):
        head.read(buffer.getvalue(), SIZE, TASKS)
