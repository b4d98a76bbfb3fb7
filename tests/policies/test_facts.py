"""Facts: given once, worked out once."""

from weighbridge.classifiers.base import Assessment
from weighbridge.policies.facts import Facts


def test_what_was_worked_out_outlives_the_assessment():
    facts = Facts("write to john@example.com", ask="hi")
    assert "email" in facts.pii
    judged = facts.with_assessment(Assessment(0.7, task="code"))
    assert judged.pii is facts.pii
    assert (judged.score, judged.task) == (0.7, "code")
    assert (facts.score, facts.task) == (None, None)


def test_a_score_that_is_not_to_be_used_is_none():
    assert Facts("").with_assessment(Assessment(0.7, abstained=True)).score is None


def test_without_an_assessment_nothing_changes():
    assert Facts("x", tokens=3).with_assessment(None) == Facts("x", tokens=3)


def test_the_ask_alone_is_the_same_request_with_less_text():
    facts = Facts("system prompt, ask", ask="ask", tokens=9, has_tools=True, score=0.5)
    assert facts.of_ask == Facts("ask", ask="ask", tokens=9, has_tools=True, score=0.5)


def test_the_folded_text_has_no_case_and_no_disguise():
    assert Facts("Ｐｒｏｊｅｃｔ F\u200balcon").folded == "project falcon"  # noqa: RUF001


def test_the_language_is_that_of_the_ask():
    assert Facts("You are a helpful assistant.", ask="Wie spät ist es?").language == "de"
