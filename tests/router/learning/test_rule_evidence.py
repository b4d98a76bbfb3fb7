"""What the ledger tells of a rule: that it matched, that it did not, or nothing."""

import json

import pytest
from bookkeeping import entry

from weighbridge.learning.rule_evidence import NotKept, Rules
from weighbridge.policies.rules import Rule

BODY = json.dumps({"model": "auto", "tools": [{}], "messages": [{"role": "user", "content": "What is a tax return?"}]})


def rule(name: str, **when: object) -> Rule:
    return Rule.model_validate({"name": name, "when": when, "then": {"upstream": "remote"}})


def decider(after: list[Rule], before: tuple[Rule, ...] = (), score: float | None = 0.31, **of_entry: object) -> str:
    found = Rules(before, after).decider(entry(**of_entry), score, "code" if score is not None else None)
    return found.name if found else "none"


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        ({"model": "auto"}, True),
        ({"key": "team-b"}, False),
        ({"tokens_over": 300}, True),
        ({"score_over": 0.5}, False),
        ({"task": ["code"]}, True),
        ({"not": {"key": "team-a"}}, False),
        # What is not known does not matter where the rest says enough.
        ({"all": [{"header": {"x-a": "*"}}, {"key": "team-b"}]}, False),
        ({"any": [{"keyword": ["tax"]}, {"key": "team-a"}]}, True),
    ],
)
def test_a_new_rule_is_asked_of_the_row(when: dict[str, object], matches: bool) -> None:
    assert decider([rule("new", **when)]) == ("new" if matches else "none")


@pytest.mark.parametrize(
    "when",
    [
        {"keyword": ["tax"]},
        {"header": {"x-a": "*"}},
        {"has_tools": True},
        {"has_image": True},
        {"any": [{"pii": ["email"]}, {"key": "team-b"}]},
        {"not": {"language": ["de"]}},
    ],
)
def test_what_was_not_kept_is_not_guessed(when: dict[str, object]) -> None:
    with pytest.raises(NotKept, match="what the rule 'new' reads"):
        decider([rule("new", **when)])


def test_unknown_tokens_and_scores_are_not_guessed() -> None:
    with pytest.raises(NotKept):
        decider([rule("new", tokens_over=300)], input_tokens=None)
    with pytest.raises(NotKept):
        decider([rule("new", score_under=0.5)], score=None)


def test_a_stored_request_tells_what_it_says() -> None:
    assert decider([rule("new", keyword=["tax"])], prompt=BODY) == "new"
    assert decider([rule("new", has_tools=True)], prompt=BODY) == "new"
    assert decider([rule("new", language=["de"])], prompt=BODY) == "none"
    with pytest.raises(NotKept):
        decider([rule("new", header={"x-a": "*"})], prompt=BODY)


def test_the_record_tells_of_rules_that_stand_unchanged() -> None:
    rules = [rule("first", keyword=["a"]), rule("second", keyword=["b"]), rule("third", keyword=["c"])]
    assert decider(rules, tuple(rules), rule="second") == "second"
    assert decider(rules, tuple(rules), rule=None) == "none"
    # What comes after the rule that decided was never asked.
    with pytest.raises(NotKept, match="third"):
        decider([rules[0], rules[2]], tuple(rules), rule="second")
    changed = rule("first", keyword=["x"])
    with pytest.raises(NotKept, match="first"):
        decider([changed], tuple(rules), rule="first")


def test_a_rule_that_only_prepares_decides_nothing() -> None:
    step = Rule.model_validate({"name": "step", "when": {"key": "team-a"}, "then": {"preprocess": ["redact"]}})
    other = rule("other", keyword=["a"])
    assert decider([step, other], (step, other), rule="step") == "none"
