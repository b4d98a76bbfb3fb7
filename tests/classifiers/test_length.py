"""Length: longer is harder, and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.classifiers.length import INTERCEPT, SLOPE, Length, score_of
from weighbridge.classifiers.minilm import SHIPPED


@given(shorter=st.integers(0, 10**7), more=st.integers(1, 10**7))
def test_longer_is_harder(shorter, more):
    assert 0 < score_of(shorter) < score_of(shorter + more) < 1


def test_only_the_length_counts():
    one, other = Length().assess(["Prove that pi is irrational", "a" * 27])
    assert one == other


def test_the_constants_are_those_of_the_manifest():
    fitted = json.loads((SHIPPED / "manifest.json").read_text())["length_baseline"]
    assert pytest.approx((fitted["slope"], fitted["intercept"]), abs=0.001) == (SLOPE, INTERCEPT)
