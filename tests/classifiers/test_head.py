"""The head: numbers in, a calibrated score out, and nothing read that does not fit."""

import io
from dataclasses import replace

import numpy as np
import pytest

from weighbridge.classifiers import features, head

SIZE, HIDDEN, TASKS = 6, 4, 3


def a_head(seed: int = 0) -> head.Head:
    rng = np.random.default_rng(seed)
    shapes = head.expected_shapes(SIZE, HIDDEN, TASKS)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["lexical_scale"] = np.abs(arrays["lexical_scale"]) + 1
    arrays["calibration"] = np.array([2, -1], dtype=np.float32)
    return head.Head(**arrays)


def npz(**changes: object) -> bytes:
    arrays = {name: getattr(a_head(), name) for name in head.Head.__slots__} | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in arrays.items() if value is not None})
    return buffer.getvalue()


def test_what_was_written_is_what_is_read():
    read = head.read(head.write(a_head()), SIZE, TASKS)
    for name in head.Head.__slots__:
        assert np.array_equal(getattr(read, name), getattr(a_head(), name))


def test_the_same_head_gives_the_same_bytes():
    assert head.write(a_head()) == head.write(a_head())
    assert head.write(a_head()) != head.write(a_head(1))


def test_scores_and_probabilities_lie_between_0_and_1():
    rng = np.random.default_rng(1)
    for scale in (0, 1, 1e6):
        counts = (scale * rng.normal(size=len(features.NAMES))).astype(np.float32)
        verdict = a_head().judge(rng.normal(size=SIZE).astype(np.float32), counts)
        assert 0 < verdict.score < 1
        assert 1 / TASKS <= verdict.task_probability <= 1
        assert 0 <= verdict.task < TASKS


def test_a_steeper_calibration_keeps_the_order():
    rng = np.random.default_rng(2)
    inputs = [(rng.normal(size=SIZE), rng.normal(size=len(features.NAMES))) for _ in range(50)]
    steep = replace(a_head(), calibration=np.array([5, 0], dtype=np.float32))
    order = [np.argsort([h.judge(*x).score for x in inputs]).tolist() for h in (a_head(), steep)]
    assert order[0] == order[1]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"task_b": None}, "task_b is missing"),
        ({"hidden_w": np.zeros((2, 2), np.float32)}, "hidden_w is"),
        ({"hidden_b": np.zeros(HIDDEN)}, "float64"),
        ({"output_b": np.float32("nan")}, "not finite"),
        ({"lexical_scale": np.zeros(len(features.NAMES), np.float32)}, "above 0"),
        ({"calibration": np.array([-1, 0], np.float32)}, "above 0"),
        ({"hidden_b": np.array("x")}, "wanted float32"),
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
    np.savez_compressed(buffer, hidden_w=np.zeros(30_000_000, np.float32))
    with pytest.raises(ValueError, match="unpacks"):
        head.read(buffer.getvalue(), SIZE, TASKS)
