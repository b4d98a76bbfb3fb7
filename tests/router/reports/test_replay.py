"""A replay's sums: alike both ways, and nothing in them that is not known."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.reports.replay import Case, Choice, Served, curve, replay, weighted_quantile, wilson
from weighbridge.reports.replay_page import page, svg
from weighbridge.reports.replay_words import as_json, table

LOCAL = Served("small", "local", 10, 100, 0.25)
REMOTE = Served("large", "remote", 100, 100, 0.0)

known = st.none() | st.integers(0, 10**12)
served = st.builds(
    lambda place, cost, baseline, shortfall: Served(*place, cost, baseline, shortfall),
    st.sampled_from([("small", "local"), ("large", "remote")]),
    known,
    known,
    st.none() | st.floats(0, 1),
)
cases = st.lists(st.builds(Case, served, st.none() | served, st.just("x"), latency_s=st.none() | st.floats(0, 9)))


@given(cases)
def test_every_request_is_counted_once_and_both_ways_have_the_same(given_cases: list[Case]) -> None:
    found = replay(given_cases, {})
    assert found.requests == len(given_cases) == found.known + sum(count for _, count in found.missing)
    for side in (found.old, found.new):
        assert side.local + side.remote + side.nowhere == found.known
    both = [c for c in given_cases if c.new and c.old.cost_nano_usd is not None and c.new.cost_nano_usd is not None]
    assert found.compared == len(both)
    assert found.old.cost_nano_usd == sum(c.old.cost_nano_usd or 0 for c in both)
    assert found.new.cost_nano_usd == sum(c.new.cost_nano_usd or 0 for c in both if c.new)
    assert found.proven <= min(found.known, found.compared, found.judged)
    assert as_json(found)
    assert "replay" in table(found)


def test_what_moves_takes_as_long_as_others_did_there() -> None:
    stays, moves = Case(LOCAL, LOCAL, latency_s=1.0), Case(LOCAL, REMOTE, latency_s=1.0)
    found = replay([stays] * 4 + [moves] * 4, {"large": [5.0] * 10})
    assert (found.old.p50_s, found.old.p95_s) == (1.0, 1.0)
    assert (found.new.p50_s, found.new.p95_s, found.new.untimed) == (1.0, 5.0, 0)
    assert replay([moves] * 4, {"large": [5.0] * 4}).new.untimed == 4


def test_verdicts_of_users_count_where_the_answer_is_the_same() -> None:
    found = replay([Case(LOCAL, LOCAL, feedback=1.0), Case(LOCAL, REMOTE, feedback=0.0)], {})
    assert found.old.measured is not None
    assert found.new.measured is not None
    assert (found.old.measured.value, found.old.measured.of) == (0.5, 2)
    assert (found.new.measured.value, found.new.measured.of) == (1.0, 1)


def test_wilsons_interval_is_the_known_one() -> None:
    found = wilson(10, 100)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(0.0552, abs=1e-4), pytest.approx(0.1744, abs=1e-4))
    assert wilson(0, 0) is None


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_an_interval_holds_its_value_and_stays_within_a_whole(share: float, of: int) -> None:
    found = wilson(share * of, of)
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_weighted_quantile_counts_weights() -> None:
    assert weighted_quantile([(1.0, 1.0), (2.0, 3.0)], 0.5) == 2.0
    assert weighted_quantile([(1.0, 3.0), (2.0, 1.0)], 0.5) == 1.0
    assert weighted_quantile([], 0.5) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 50), st.integers(50, 100)), min_size=1))
def test_the_curve_falls_from_all_large(given_choices: list[tuple[float, int, int]]) -> None:
    points = curve([Choice(score, small, large, False, True) for score, small, large in given_choices])
    assert (points[0].large_share, points[0].quality) == (1.0, 1.0)
    assert points[0].cost_nano_usd == sum(large for _, _, large in given_choices)
    for before, after in pairwise(points):
        assert after.cost_nano_usd <= before.cost_nano_usd
        assert after.quality <= before.quality + 1e-9
    for point in points:
        assert point.threshold is not None
        sent = [score for score, _, _ in given_choices if score >= point.threshold]
        assert point.large_share == pytest.approx(len(sent) / len(given_choices))


def test_names_on_the_page_are_escaped() -> None:
    found = replay([Case(LOCAL, None, "not kept: what the rule '<script>' reads")], {})
    assert "<script>" not in page(found)
    assert svg(found) is None
