"""The measures, on outcomes small enough to be counted by hand and on the published definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.classifiers.evaluation import metrics as m

# Four prompts: the small model fails the two that score highest; the large one is always right.
SCORE = np.array([0.9, 0.8, 0.2, 0.1])
SMALL = np.array([0.0, 0.0, 1.0, 1.0])
LARGE = np.ones(4)


def test_a_perfect_score_recovers_the_gap_with_the_fewest_calls() -> None:
    assert m.auroc(SCORE, LARGE - SMALL) == 1
    assert m.cpt50(SCORE, SMALL, LARGE) == 0.25
    assert m.cpt80(SCORE, SMALL, LARGE) == 0.5
    assert m.cost_at(SCORE, SMALL, LARGE, 0.95) == 0.5
    assert m.apgr(SCORE, SMALL, LARGE) == pytest.approx((0 + 0.5 + 1 + 1 + 1) / 5)


def test_a_score_that_says_nothing_recovers_as_much_as_it_spends() -> None:
    same = np.full(4, 0.5)
    assert m.auroc(same, LARGE - SMALL) == 0.5
    assert m.apgr(same, SMALL, LARGE) == pytest.approx(0.5)
    assert m.cpt50(same, SMALL, LARGE) == 0.5
    assert m.cost_at(same, SMALL, LARGE, 0.75) == 0.5
    assert m.lift_at(same, SMALL, LARGE, 0.4) == pytest.approx(0)


def test_a_score_upside_down_is_worse_than_none() -> None:
    assert m.auroc(-SCORE, LARGE - SMALL) == 0
    assert m.apgr(-SCORE, SMALL, LARGE) < 0.5
    assert m.lift_at(1 - SCORE, SMALL, LARGE, 0.5) < 0


def test_costs_are_fractions_of_what_the_large_model_would_have_cost() -> None:
    cheap, dear = np.full(4, 1.0), np.array([7.0, 1.0, 1.0, 1.0])
    assert m.cost_at(SCORE, SMALL, LARGE, 0.5, cheap, dear) == pytest.approx(0.4)
    # The costly prompt goes first, and half the gap with it.
    assert m.cost_at(SCORE, SMALL, LARGE, 0.75, cheap, dear) == pytest.approx(1.0)


def test_the_control_spends_as_much_as_the_router() -> None:
    # One call in four recovers half the gap; a mix for the same money a quarter of it.
    assert m.lift_at(SCORE, SMALL, LARGE, 0.85) == pytest.approx(0.75 - 0.625)


def test_the_lift_is_what_the_gap_recovered_is_above_one_half() -> None:
    rng = np.random.default_rng(4)
    score, small, large = rng.random(50), rng.integers(0, 2, 50) * 0.5, np.ones(50)
    gap = float((large - small).mean())
    assert m.lift(score, small, large) == pytest.approx((m.apgr(score, small, large) - 0.5) * gap)
    assert m.lift(np.full(50, 0.5), small, large) == pytest.approx(0)
    dear = rng.random(50) + 1
    assert m.lift(np.full(50, 0.5), small, large, 0.1 * dear, dear) == pytest.approx(0)


def test_where_the_large_model_is_no_better_there_is_nothing_to_recover() -> None:
    for measure in (m.apgr, m.cpt50, m.cpt80):
        assert math.isnan(measure(SCORE, LARGE, LARGE))
    assert m.cost_at(SCORE, LARGE, LARGE, 0.95) == 0
    assert math.isnan(m.auroc(SCORE, LARGE - LARGE))


def test_calibration_is_measured_in_slices() -> None:
    assert m.ece(np.full(10, 0.3), np.array([1.0] * 3 + [0.0] * 7)) == pytest.approx(0)
    assert m.ece(np.full(10, 0.8), np.array([1.0] * 3 + [0.0] * 7)) == pytest.approx(0.5)
    assert m.ece(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == 0


def test_quality_and_mix_at_a_threshold() -> None:
    assert m.large_share(SCORE, 0.8) == 0.5
    assert m.quality_at(SCORE, SMALL, LARGE, 0.85) == 0.75
    assert math.isnan(m.quality_at(SCORE, SMALL, np.zeros(4), 0.85))


def test_an_interval_holds_its_figure_and_narrows_with_more_rows() -> None:
    rng = np.random.default_rng(1)

    def width(rows: int) -> float:
        values = rng.random(rows)
        found = m.bootstrap(lambda x: float(x.mean()), values)
        assert found.low < found.value < found.high
        return found.high - found.low

    assert width(2000) < width(100)


def test_rows_of_one_group_are_drawn_together() -> None:
    values = np.repeat(np.random.default_rng(2).random(40), 25)
    groups = np.repeat(np.arange(40), 25)

    def mean(x: m.Floats) -> float:
        return float(x.mean())

    together, apart = m.bootstrap(mean, values, groups=groups), m.bootstrap(mean, values)
    assert together.high - together.low > 3 * (apart.high - apart.low)
    assert together.value == apart.value


def test_groups_of_different_sizes_keep_their_rows() -> None:
    groups = m.group_ids(["b", "a", "b", "c", "b"])
    draw = m._Draw(5, groups, seed=3)
    for _ in range(50):
        places = draw()
        counts = np.bincount(places, minlength=5)
        assert counts[0] == counts[2] == counts[4]


def test_the_same_seed_gives_the_same_interval() -> None:
    columns = (SCORE, SMALL, LARGE)
    assert m.bootstrap(m.apgr, *columns) == m.bootstrap(m.apgr, *columns)
    assert m.bootstrap_all({"a": m.apgr}, *columns)["a"] == m.bootstrap(m.apgr, *columns)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_the_curve_runs_from_always_small_to_always_large(rows: list[tuple[int, bool, bool]]) -> None:
    score, small, large = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    along = m.curve(score, small, large)
    assert along.quality[[0, -1]] == pytest.approx([small.mean(), large.mean()])
    assert along.cost == pytest.approx(along.share)
    # The mean over many orders of the ties is what the curve says.
    shuffled = m.curve(score + np.random.default_rng(0).random(len(rows)) * 1e-6, small, large)
    at_ends = np.flatnonzero(np.diff(np.sort(-score))) + 1
    assert along.quality[at_ends] == pytest.approx(shuffled.quality[at_ends])
