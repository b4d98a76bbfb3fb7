"""The promise: kept as often as it says, on traffic that was not seen, and refused where the labels are too few."""

import numpy as np
import pytest

from weighbridge.classifiers.evaluation.promise import GRID, promise, tuned

QUALITY, CONFIDENCE = 0.95, 0.9


def drawn(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A calibrated score: the small model falls short as often as it says. The large one is right nine times in ten."""
    score = rng.beta(1, 4, rows)
    large = (rng.random(rows) < 0.9).astype(float)
    small = np.where(rng.random(rows) < score, 0.0, large)
    return score, small, large


def relative(score: np.ndarray, small: np.ndarray, large: np.ndarray, threshold: float) -> float:
    return float(np.where(score >= threshold, large, small).mean() / large.mean())


@pytest.mark.parametrize("rows", [150, 600])
def test_it_is_kept_as_often_as_it_says(rows: int) -> None:
    rng = np.random.default_rng(5)
    world = drawn(rng, 100_000)
    broken_expected = broken_seen = broken_tuned = 0
    for _ in range(120):
        labels = drawn(rng, rows)
        expected = promise(*labels, quality=QUALITY, confidence=CONFIDENCE, over=0)
        seen = promise(*labels, quality=QUALITY, confidence=CONFIDENCE)
        broken_expected += relative(*world, expected.threshold) < QUALITY
        after = drawn(rng, rows)
        broken_seen += relative(*after, seen.threshold) < QUALITY
        broken_tuned += relative(*after, tuned(*labels, quality=QUALITY)) < QUALITY
    assert broken_expected <= 120 * (1 - CONFIDENCE)
    assert broken_seen <= 120 * (1 - CONFIDENCE)
    assert broken_tuned > 36  # what a threshold without a guarantee does


def test_more_labels_save_more() -> None:
    rng = np.random.default_rng(6)
    few, many = (promise(*drawn(rng, n), quality=QUALITY, confidence=CONFIDENCE) for n in (300, 5000))
    assert 0 < few.threshold < many.threshold
    assert few.kept < many.kept
    assert many.quality >= QUALITY


def test_what_the_labels_cannot_carry_is_not_promised() -> None:
    labels = drawn(np.random.default_rng(7), 60)
    found = promise(*labels, quality=0.99, confidence=0.95)
    assert not found.is_kept
    assert (found.threshold, found.kept) == (0, 0)
    assert 0 < found.best < 0.99
    assert promise(*labels, quality=found.best, confidence=0.95).is_kept


def test_a_stricter_promise_keeps_less() -> None:
    labels = drawn(np.random.default_rng(8), 2000)
    kept = [promise(*labels, quality=q, confidence=0.95).kept for q in (0.9, 0.95, 0.98)]
    assert kept == sorted(kept, reverse=True)
    sure = [promise(*labels, quality=0.95, confidence=c).kept for c in (0.8, 0.95, 0.999)]
    assert sure == sorted(sure, reverse=True)
    shown = [promise(*labels, quality=0.95, confidence=0.95, over=n).kept for n in (0, 500, 50)]
    assert shown == sorted(shown, reverse=True)


def test_the_same_labels_give_the_same_threshold_and_it_lies_on_the_grid() -> None:
    labels = drawn(np.random.default_rng(9), 800)
    found = promise(*labels, quality=0.95, confidence=0.95)
    assert found == promise(*labels, quality=0.95, confidence=0.95)
    assert found.threshold in GRID


def test_a_small_model_that_is_as_good_gets_everything() -> None:
    score, _, large = drawn(np.random.default_rng(10), 1000)
    found = promise(score, large, large, quality=0.95, confidence=0.95)
    assert found.threshold == 1
    assert found.kept == 1


def test_models_that_are_worth_nothing_support_no_promise() -> None:
    nothing = np.zeros(500)
    found = promise(np.linspace(0, 1, 500), nothing, nothing, quality=0.95, confidence=0.95)
    assert not found.is_kept
    assert tuned(np.linspace(0, 1, 500), nothing, nothing, quality=0.95) == 1
