"""What a changed prompt does to the side that it goes to."""

from collections.abc import Sequence

import pytest

from weighbridge.classifiers.base import Assessment, Classifier
from weighbridge.classifiers.constant import Constant
from weighbridge.classifiers.evaluation.robustness import CHANGES, as_markdown, pairs, robustness
from weighbridge.classifiers.length import Length

PROMPTS = [
    "What is the capital of France?",
    "Fix the typo: teh cat",
    "Prove that the square root of two is irrational.",
]
PADDING = [change.name for change in CHANGES if change.kind == "padding"]


class Shy(Classifier):
    """Knows short texts only."""

    def assess(self, texts: Sequence[str]) -> list[Assessment]:
        return [Assessment(0.1, abstained=len(text) > 60) for text in texts]


def test_a_constant_score_never_changes_sides():
    report = robustness(Constant(score=0.3), PROMPTS, 0.5)
    assert {flips.flipped.value for flips in report.changes} == {0.0}
    assert {gap.gap for gap in report.gaps} == {0.0}
    assert report.raised("gadget") == 0
    assert all(flips.lowered is None for flips in report.changes)  # none was on that side


def test_what_only_counts_characters_is_fooled_by_padding():
    report = robustness(Length(), PROMPTS, Length().assess(["x" * 60])[0].score)
    assert report.raised("padding") == 1.0
    assert report.raised("gadget") == 1.0
    assert next(flips for flips in report.changes if flips.name == "much small talk before").shift > 0


@pytest.mark.parametrize(("large", "raised"), [(True, 1.0), (False, 0.0)])
def test_an_abstention_counts_as_the_side_that_the_policy_takes(large, raised):
    report = robustness(Shy(), PROMPTS, 0.5, unsure_large=large)
    assert report.raised("padding") == raised


def test_what_is_taken_off_before_scoring_does_not_count():
    report = robustness(Length(), PROMPTS, 0.3, read=lambda text: text.rpartition("\n")[2])
    harness = next(flips for flips in report.changes if flips.kind == "harness")
    assert harness.flipped.value == 0


def test_the_changes_are_pure_and_keep_the_ask():
    for change in CHANGES:
        for prompt in (*PROMPTS, "", "a", "\U0001f600", "ab cd"):
            assert change.of(prompt) == change.of(prompt)
        if change.kind in {"padding", "harness", "plea", "gadget", "wording"} and change.name != "in capitals":
            assert PROMPTS[0] in change.of(PROMPTS[0])
    assert len({change.name for change in CHANGES}) == len(CHANGES)


def test_a_typo_leaves_most_letters():
    typos = next(change for change in CHANGES if change.name == "typos")
    assert typos.of(PROMPTS[2]) != PROMPTS[2]
    assert abs(len(typos.of(PROMPTS[2])) - len(PROMPTS[2])) <= 2


def test_the_pairs_ask_the_same_in_several_languages_and_dialects():
    kinds = {(pair.kind, pair.variant) for pair in pairs()}
    assert {"language", "dialect"} == {kind for kind, _ in kinds}
    assert len(kinds) >= 8
    assert all(pair.plain != pair.other for pair in pairs())


def test_no_prompts_are_no_changes():
    assert robustness(Constant(score=0.3), [], 0.5).changes == ()


def test_the_report_reads_as_two_tables():
    text = as_markdown(robustness(Constant(score=0.3), PROMPTS, 0.5))
    assert text.count("|---") == 6 + 7
    assert "expert words before" in text
