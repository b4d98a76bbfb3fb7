"""The gate: what is worse is found, what is the same or better passes."""

import numpy as np

from weighbridge.classifiers.evaluation.labelled import Labels
from weighbridge.classifiers.evaluation.regression import Scored, changes

ROWS = 600
rng = np.random.default_rng(11)
SCORE = rng.beta(1, 2, ROWS)
LABELS = Labels(
    prompt=["x"] * ROWS,
    small=(rng.random(ROWS) > SCORE).astype(float),
    large=np.ones(ROWS),
    stem=np.arange(ROWS).astype(str),
    domain=np.array([""] * ROWS),
    source=np.array([""] * ROWS),
)
KNOWS = Scored("knows", SCORE, 0.5)
GUESSES = Scored("guesses", rng.permutation(SCORE), 0.5)


def worse(new: Scored, old: Scored) -> set[str]:
    return {change.measure for change in changes(LABELS, new, old, rounds=100) if change.is_worse}


def test_a_classifier_is_not_worse_than_itself() -> None:
    assert worse(KNOWS, KNOWS) == set()
    assert worse(GUESSES, GUESSES) == set()


def test_one_that_guesses_is_worse_than_one_that_knows() -> None:
    assert {"AUROC", "ECE", "quality at the same mix", "cost at 95 %", "cost at 98 %"} <= worse(GUESSES, KNOWS)
    assert worse(KNOWS, GUESSES) == set()


def test_one_that_sends_more_to_the_large_model_is_told_by_its_mix() -> None:
    assert worse(Scored("dear", SCORE, 0.2), KNOWS) == {"large share"}


def test_a_cheaper_mix_that_costs_some_quality_is_no_regression() -> None:
    cheaper = Scored("cheaper", SCORE, 0.55)
    assert worse(cheaper, KNOWS) == set()
    (quality,) = [change for change in changes(LABELS, cheaper, KNOWS, rounds=50) if change.measure == "quality"]
    assert quality.change.high < 0


def test_one_that_is_off_by_half_is_told_by_its_calibration() -> None:
    assert worse(Scored("off", SCORE / 2, 0.25), KNOWS) == {"ECE"}


def test_the_change_is_the_difference_of_the_two() -> None:
    for change in changes(LABELS, GUESSES, KNOWS, rounds=50):
        assert abs(change.new - change.old - change.change.value) < 1e-12
        assert change.change.low <= change.change.value <= change.change.high
