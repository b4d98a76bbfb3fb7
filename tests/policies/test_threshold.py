"""Threshold: which one applies, and where a request goes without a score."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from weighbridge.classifiers.base import Assessment
from weighbridge.policies.base import Decision, Situation
from weighbridge.policies.threshold import Threshold

shares = st.floats(0, 1)


def scored(score: float, *, recommended: float = 0.5, forced: bool = False) -> Situation:
    return Situation("slm", "llm", recommended, Assessment(score), forced)


def test_a_score_at_the_threshold_goes_to_the_large_model():
    assert Threshold(threshold=0.5).decide(scored(0.5)) == Decision(
        "llm", ("slm",), "at_or_above_threshold", "score 0.50 >= 0.50", 0.5
    )


def test_a_score_below_the_threshold_stays_with_the_small_model():
    assert Threshold(threshold=0.5).decide(scored(0.49)) == Decision(
        "slm", ("llm",), "below_threshold", "score 0.49 < 0.50", 0.5
    )


def test_without_a_threshold_the_recommended_one_applies():
    assert Threshold().decide(scored(0.4, recommended=0.3)).upstream == "llm"


def test_the_configured_threshold_goes_before_the_recommended_one():
    assert Threshold(threshold=0.6).decide(scored(0.4, recommended=0.3)).threshold == 0.6


def test_what_the_client_asks_for_goes_before_the_configured_threshold():
    assert Threshold(threshold=0.6).decide(scored(0.4, recommended=0.3, forced=True)).threshold == 0.3


def test_a_threshold_of_nothing_is_one():
    assert Threshold(threshold=0).decide(scored(0.0, recommended=1)).upstream == "llm"


def test_without_a_score_it_goes_to_the_large_model_unless_told_otherwise():
    nothing = Situation("slm", "llm", 0.5)
    assert Threshold().decide(nothing) == Decision("llm", ("slm",), "classifier_unavailable", "no score: large")
    assert Threshold(when_unsure="small").decide(nothing).upstream == "slm"


def test_an_abstaining_classifier_is_not_believed():
    situation = Situation("slm", "llm", 0.5, Assessment(0.01, abstained=True))
    decision = Threshold().decide(situation)
    assert (decision.upstream, decision.reason, decision.threshold) == ("llm", "abstain", None)
    assert decision.detail == "unlike what the classifier knows: large"


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "high"])
def test_a_threshold_that_is_no_share_is_refused(value):
    with pytest.raises(ValidationError, match="threshold"):
        Threshold(threshold=value)


def test_a_misspelt_key_is_refused():
    with pytest.raises(ValidationError, match="treshold"):
        Threshold(treshold=0.5)


@given(shares, shares, shares)
def test_a_higher_score_never_brings_a_request_down_to_the_small_model(threshold, one, other):
    policy = Threshold(threshold=threshold)
    low, high = sorted((one, other))
    if policy.decide(scored(low)).upstream == "llm":
        assert policy.decide(scored(high)).upstream == "llm"
