"""Cascade: who drafts, what is verified, and how a budget bears on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from weighbridge.classifiers.base import Assessment
from weighbridge.policies.base import Decision, Situation, Verification
from weighbridge.policies.cascade import Cascade

shares = st.floats(0, 1)


def scored(score: float, pressure: float = 0.0) -> Situation:
    return Situation("slm", "llm", 0.5, Assessment(score), pressure=pressure)


def test_below_the_threshold_the_small_model_drafts():
    cascade = Cascade(accept=0.8, hold_tokens=9, hold_s=1.5, ask_logprobs=False, samples=3)
    verify = Verification(0.8, 9, 1.5, False, cascade.weights, 3)
    decision = Decision("slm", ("llm",), "cascade_accepted", "score 0.30 < 0.50, drafted", 0.5, verify)
    assert cascade.decide(scored(0.3)) == decision


def test_from_the_threshold_on_the_large_model_is_asked_at_once():
    decision = Decision("llm", ("slm",), "at_or_above_threshold", "score 0.40 >= 0.40", 0.4)
    assert Cascade(threshold=0.4).decide(scored(0.4)) == decision


@pytest.mark.parametrize(
    ("assessment", "why"), [(None, "no score"), (Assessment(0.99, abstained=True), "abstained")], ids=str
)
def test_without_a_score_the_small_model_drafts(assessment, why):
    decision = Cascade().decide(Situation("slm", "llm", 0.5, assessment))
    assert (decision.upstream, decision.detail, decision.threshold) == ("slm", f"{why}, drafted", None)
    assert decision.verify is not None


def test_pressure_that_changes_the_side_is_told():
    decision = Cascade().decide(scored(0.5, pressure=0.5))
    assert (decision.upstream, decision.threshold) == ("slm", 0.75)
    assert decision.detail == "score 0.50 < 0.75, 0.50 without pressure, drafted"


@given(score=shares, one=shares, other=shares)
def test_less_is_escalated_as_a_budget_is_used_up(score, one, other):
    low, high = (Cascade().decide(scored(score, pressure)) for pressure in sorted((one, other)))
    if low.upstream == "slm":
        assert high.upstream == "slm"
        accepts = [decision.verify.accept if decision.verify else 0.0 for decision in (low, high)]
        assert accepts[0] >= accepts[1]


def test_with_the_budget_used_up_nothing_is_verified():
    decision = Cascade().decide(scored(0.3, pressure=1.0))
    assert (decision.upstream, decision.fallbacks, decision.reason, decision.verify) == (
        "slm",
        ("llm",),
        "budget",
        None,
    )
    assert decision.detail.endswith(", not verified")
    assert decision.threshold is not None


def test_whoever_accepts_everything_verifies_nothing():
    decision = Cascade(accept=0).decide(scored(0.1))
    assert (decision.reason, decision.verify) == ("below_threshold", None)


def test_weights_of_ones_own_go_along():
    decision = Cascade(weights={"refusal": -9}).decide(scored(0.1))
    assert decision.verify is not None
    assert decision.verify.weights.refusal == -9


@pytest.mark.parametrize(
    "wrong",
    [{"accept": 1.1}, {"hold_tokens": 0}, {"hold_s": 0}, {"weights": {"refusals": 1}}, {"when_unsure": "small"}],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Cascade(**wrong)
