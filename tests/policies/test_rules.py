"""Rules: the first that matches, and one thing to do."""

import pytest
from pydantic import ValidationError

from weighbridge.policies.facts import Facts
from weighbridge.policies.rules import Rule

FENCE = Rule(name="private", when={"pii": ["email"]}, then={"fence": "local"})
TOOLS = Rule(name="tools", when={"has_tools": True}, then={"upstream": "remote"})
HARD = Rule(name="hard", when={"any": [{"score_over": 0.9}, {"task": ["code"]}]}, then={"upstream": "remote"})


def test_a_rule_says_what_must_be_worked_out_for_it():
    assert (FENCE.needs_text, FENCE.needs_score, FENCE.needs_task) == (True, False, False)
    assert (TOOLS.needs_text, TOOLS.needs_score, TOOLS.needs_task) == (False, False, False)
    assert (HARD.needs_text, HARD.needs_score, HARD.needs_task) == (False, True, True)
    assert HARD.tasks == {"code"}


def test_a_rule_over_the_ask_does_not_see_the_system_prompt():
    facts = Facts("You can prove things.\nhi", ask="hi")
    anywhere = Rule(name="a", when={"keyword": ["prove"]}, then={"upstream": "remote"})
    in_the_ask = Rule(name="b", when={"keyword": ["prove"]}, then={"upstream": "remote"}, over="ask")
    assert anywhere.matches(facts)
    assert not in_the_ask.matches(facts)
    assert in_the_ask.matches(Facts("", ask="Prove it"))
    assert not in_the_ask.needs_text


def test_a_fence_always_reads_the_whole_request():
    with pytest.raises(ValidationError, match="a fence reads the whole request"):
        Rule(name="x", when={"pii": ["email"]}, then={"fence": "local"}, over="ask")


@pytest.mark.parametrize(
    "then",
    [
        {},
        {"fence": "local", "deny": "no"},
        {"fence": "remote"},
        {"upstream": ""},
        {"deny": " "},
        {"denny": "no"},
        {"fence": None},
        {"preprocess": []},
        {"preprocess": ["redcat"]},
        {"preprocess": ["redact"], "fence": "local"},
        {"preprocess": ["redact"], "deny": "no"},
        {"upstream": "remote", "on_doubt": "refuse"},
    ],
)
def test_a_rule_does_exactly_one_thing(then):
    with pytest.raises(ValidationError, match="then"):
        Rule(name="x", when={"has_tools": True}, then=then)


@pytest.mark.parametrize(
    "change",
    [{"name": ""}, {"when": {}}, {"when": {"pi": ["email"]}}, {"wehn": {}}, {"over": "system"}, {"then": "deny"}],
)
def test_nonsense_is_refused_when_it_is_loaded(change):
    with pytest.raises(ValidationError):
        Rule.model_validate({"name": "x", "when": {"has_tools": True}, "then": {"deny": "no"}, **change})


def test_a_rule_that_only_prepares_decides_nothing():
    then = {"preprocess": ["redact"]}
    assert not Rule(name="x", when={"has_tools": True}, then=then).then.decides
    assert Rule(name="x", when={"has_tools": True}, then={**then, "upstream": "remote"}).then.decides
    assert FENCE.then.decides


def test_a_rule_that_redacts_reads_the_whole_request():
    with pytest.raises(ValidationError, match="redacts reads the whole request"):
        Rule(name="x", when={"pii": ["email"]}, then={"preprocess": ["redact"]}, over="ask")


@pytest.mark.parametrize("rule", [FENCE, TOOLS, HARD], ids=lambda rule: rule.name)
def test_a_rule_written_down_reads_as_the_same_rule(rule):
    again = Rule.model_validate(rule.model_dump())
    assert again.model_dump() == rule.model_dump()
    assert again.matches(Facts("john@example.com", has_tools=True, score=1)) is True
