"""Constant: the same score for all."""

import pytest
from pydantic import ValidationError

from weighbridge.classifiers.constant import Constant


def test_every_text_gets_the_same_score():
    assert [a.score for a in Constant(score=0.7).assess(["hi", "Prove it.", ""])] == [0.7] * 3


def test_the_version_names_the_score():
    assert Constant(score=0.7).version == "constant-0.7"


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_a_score_outside_0_to_1_is_refused(score):
    with pytest.raises(ValidationError):
        Constant(score=score)
