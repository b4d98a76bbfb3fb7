"""Always: one upstream, and the other behind it."""

import pytest
from pydantic import ValidationError

from weighbridge.classifiers.base import Assessment
from weighbridge.policies.always import Always
from weighbridge.policies.base import Decision, Situation


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_the_score_changes_nothing(score):
    situation = Situation("slm", "llm", 0.5, Assessment(score))
    assert Always(upstream="small").decide(situation) == Decision("slm", ("llm",), "always", "always small")
    assert Always(upstream="large").decide(situation) == Decision("llm", ("slm",), "always", "always large")


def test_the_classifier_is_not_asked():
    assert not Always(upstream="small").needs_score


@pytest.mark.parametrize("arguments", [{}, {"upstream": "medium"}])
def test_it_wants_one_of_the_two(arguments):
    with pytest.raises(ValidationError, match="upstream"):
        Always(**arguments)
