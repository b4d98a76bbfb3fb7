"""The table of a fit: the head beside what it must beat."""

import json

import numpy as np
import pytest

from weighbridge.classifiers.evaluation.comparison import LARGE, LENGTH, SHUFFLED, SMALL, Comparison, compare
from weighbridge.classifiers.evaluation.labelled import Labels
from weighbridge.classifiers.evaluation.table import COLUMNS, as_markdown, cells, plain, verdict

ROWS = 400


def world(signal: bool, costs: bool = False) -> tuple[Labels, np.ndarray]:
    """Labels, and a calibrated score that knows them, or one that knows nothing."""
    rng = np.random.default_rng(3)
    score = rng.beta(1, 2, ROWS)
    small = (rng.random(ROWS) > score).astype(float)
    labels = Labels(
        prompt=["x"] * ROWS,
        small=small,
        large=np.ones(ROWS),
        stem=np.arange(ROWS).astype(str),
        domain=np.array(["one", "two", "three", ""] * 90 + ["rare"] * 10 + ["one"] * 30),
        source=np.array(["file"] * ROWS),
        small_cost=np.full(ROWS, 0.1) if costs else None,
        large_cost=np.full(ROWS, 1.1) if costs else None,
    )
    return labels, score if signal else rng.permutation(score)


@pytest.fixture(scope="module")
def known() -> Comparison:
    labels, score = world(signal=True)
    return compare(labels, {"this head": score, LENGTH: np.full(ROWS, 0.3)}, 0.5, rounds=100)


def test_a_head_that_knows_beats_the_shuffled_control(known: Comparison) -> None:
    assert known.beats_shuffled
    assert "It beats the shuffled control" in verdict(known)
    names = [line.name for line in known.lines]
    assert names == ["this head", LENGTH, SHUFFLED, SMALL, LARGE]


def test_a_head_that_knows_nothing_does_not() -> None:
    labels, score = world(signal=False)
    found = compare(labels, {"this head": score}, 0.5, rounds=100)
    assert not found.beats_shuffled
    assert "the interval holds zero" in verdict(found)


def test_the_control_costs_what_the_head_costs_and_is_worth_less(known: Comparison) -> None:
    head, shuffled = known.head, known.lines[2]
    assert shuffled.large_share.value == head.large_share.value
    assert shuffled.quality.high < head.quality.value
    assert shuffled.auroc is not None
    assert (shuffled.auroc.value, shuffled.apgr.value) == (0.5, pytest.approx(0.5))
    assert shuffled.cpt50.value == 0.5
    assert shuffled.cost_at_95.value > head.cost_at_95.value


def test_the_others_are_taken_at_the_share_of_the_head(known: Comparison) -> None:
    assert known.lines[1].large_share.value == pytest.approx(known.head.large_share.value, abs=1 / ROWS)
    assert (known.lines[3].large_share.value, known.lines[4].large_share.value) == (0, 1)
    assert known.lines[4].quality.value == 1


def test_large_domains_have_lines_of_their_own(known: Comparison) -> None:
    assert [line.name for line in known.domains] == ["one", "two", "three"] or known.domains[0].name == "one"
    assert "rare" not in {line.name for line in known.domains}
    assert "" not in {line.name for line in known.domains}


def test_costs_of_the_rows_count_where_they_are_known() -> None:
    labels, score = world(signal=True, costs=True)
    found = compare(labels, {"this head": score}, 0.5, rounds=50)
    small, large = found.lines[-2], found.lines[-1]
    assert (small.cost_at_95, large.cost_at_95) == (None, None)
    free, _ = world(signal=True)
    without = compare(free, {"this head": score}, 0.5, rounds=50)
    # A small answer costs a eleventh of a large one here, so nothing is as cheap.
    assert found.head.cost_at_95.value > without.head.cost_at_95.value


def test_it_is_shown_as_text_and_as_json(known: Comparison) -> None:
    shown = as_markdown(known.lines)
    assert shown.count("\n") == 1 + len(known.lines)
    assert len(cells(known.head)) == len(COLUMNS)
    assert cells(known.lines[3])[0] == ""
    fields = json.loads(json.dumps(plain(known.as_fields()), allow_nan=False))
    assert fields["lines"][0]["auroc"]["low"] < fields["lines"][0]["auroc"]["value"]
