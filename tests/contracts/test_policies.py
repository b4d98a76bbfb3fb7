"""What every policy on the shelf holds to. A new file there is tested here as it stands."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from weighbridge import plugins
from weighbridge.classifiers.base import Assessment
from weighbridge.policies.base import Policy, Reason, Situation

SHELF = "weighbridge.policies"
# The arguments that a policy cannot do without.
ARGUMENTS = {"always": [{"upstream": "small"}, {"upstream": "large"}]}

POLICIES = [
    plugins.build(SHELF, name, arguments, Policy)
    for name in plugins.implementations(SHELF, Policy)
    for arguments in ARGUMENTS.get(name, [{}])
]

shares = st.floats(0, 1)
assessments = st.none() | st.builds(Assessment, shares, st.none() | st.text(), shares, st.booleans())
situations = st.builds(
    Situation,
    small=st.just("small one"),
    large=st.just("large one"),
    threshold=shares,
    assessment=assessments,
    forced=st.booleans(),
)

every_policy = pytest.mark.parametrize("policy", POLICIES, ids=repr)


def test_the_shelf_has_its_policies():
    assert {"always", "cascade", "threshold"} <= set(plugins.implementations(SHELF, Policy))


@every_policy
@given(situation=situations)
def test_every_situation_has_a_decision(policy, situation):
    decision = policy.decide(situation)
    assert decision.upstream in {"small one", "large one"}
    assert decision.upstream not in decision.fallbacks
    assert set(decision.fallbacks) <= {"small one", "large one"}
    assert len(decision.fallbacks) == len(set(decision.fallbacks))
    assert decision.reason in get_args(Reason)
    assert decision.threshold is None or 0 <= decision.threshold <= 1


@every_policy
@given(situation=situations)
def test_the_same_situation_has_the_same_decision(policy, situation):
    assert policy.decide(situation) == policy.decide(situation)


@every_policy
@given(situation=situations)
def test_the_words_of_a_decision_fit_into_a_header(policy, situation):
    decision = policy.decide(situation)
    line = f"{decision.reason} {decision.detail}"
    assert line.isascii()
    assert line.isprintable()


@every_policy
def test_an_unknown_key_is_refused(policy):
    with pytest.raises(ValidationError, match="no_such_key"):
        type(policy).model_validate({**policy.model_dump(), "no_such_key": 1})


@every_policy
def test_a_policy_cannot_be_changed(policy):
    for name in type(policy).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(policy, name, None)
