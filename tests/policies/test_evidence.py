"""Evidence: what it is worth together, and how a verdict is told."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from weighbridge.policies.evidence import Evidence, Weights, features, p_accept, verdict

PRIOR = Weights()
logprobs = st.none() | st.floats(-100, 0)
drafts = st.builds(
    Evidence,
    score=st.none() | st.floats(0, 1),
    mean_logprob=logprobs,
    low_logprob=logprobs,
    is_refusal=st.booleans(),
    is_truncated=st.booleans(),
    is_unfinished=st.booleans(),
    repetition=st.floats(0, 1),
    is_looping=st.booleans(),
    is_other_language=st.booleans(),
    faults=st.sampled_from([(), ("empty",)]),
)


def test_a_plain_draft_of_an_easy_ask_is_good_enough():
    assert p_accept(Evidence(score=0.2), PRIOR) > 0.9
    assert p_accept(Evidence(), PRIOR) > 0.7


@pytest.mark.parametrize("sign", ["is_refusal", "is_truncated", "is_unfinished", "is_looping", "is_other_language"])
@settings(deadline=None)
@given(draft=drafts)
def test_no_bad_sign_makes_a_draft_better(sign, draft):
    assert p_accept(replace(draft, **{sign: True}), PRIOR) <= p_accept(replace(draft, **{sign: False}), PRIOR)


@settings(deadline=None)
@given(draft=drafts)
def test_what_is_useless_is_never_accepted(draft):
    found = verdict(replace(draft, faults=("invalid_json",)), PRIOR, 0.0)
    assert (found.is_accepted, found.p, found.why) == (False, 0.0, "invalid_json")


@settings(deadline=None)
@given(draft=drafts, accept=st.floats(0, 1))
def test_a_verdict_fits_into_a_header_and_its_word_into_a_metric(draft, accept):
    found = verdict(draft, PRIOR, accept)
    assert 0 <= found.p <= 1
    assert found.words.isascii()
    assert found.words.isprintable()
    assert found.why in {*features(draft), "logprobs", "empty", "weak"}


def test_each_feature_has_its_weight():
    assert features(Evidence()).keys() == Weights.model_fields.keys()


def test_the_weightiest_sign_comes_first():
    draft = Evidence(score=0.2, is_truncated=True, is_refusal=True)
    assert verdict(draft, PRIOR, 0.7).words == "p 0.04 < 0.70 refusal truncated"


def test_half_a_measurement_is_none():
    assert p_accept(Evidence(mean_logprob=-1.0), PRIOR) == p_accept(Evidence(), PRIOR)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "much"])
def test_a_weight_that_is_no_number_is_refused(value):
    with pytest.raises(ValidationError, match="refusal"):
        Weights(refusal=value)


def test_drafts_that_agree_are_worth_more_and_those_that_do_not_less():
    unsure = Evidence(score=0.2, mean_logprob=-1.0, low_logprob=-1.0)
    none, all_, alone = (p_accept(replace(unsure, agreement=one), Weights()) for one in (0.0, 1.0, None))
    assert none < alone < all_


@pytest.mark.parametrize("sign", ["is_refusal", "is_truncated", "is_looping", "is_other_language"])
def test_that_all_of_them_give_no_answer_speaks_for_none(sign):
    bad = replace(Evidence(score=0.2), **{sign: True})
    assert p_accept(replace(bad, agreement=1.0), Weights()) == p_accept(bad, Weights())
