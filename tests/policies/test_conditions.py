"""Conditions: each with what makes it hold, and what is refused when it is loaded."""

# ruff: noqa: RUF001 - other scripts are meant
import pytest
from pydantic import ValidationError

from weighbridge.policies.conditions import CONDITIONS
from weighbridge.policies.facts import Facts

# A value, facts for which the condition holds, and facts for which it does not.
EXAMPLES = {
    "tokens_over": (10, Facts("", tokens=11), Facts("", tokens=10)),
    "tokens_under": (10, Facts("", tokens=9), Facts("", tokens=10)),
    "keyword": (["falcon"], Facts("Project Falcon."), Facts("falconry")),
    "regex": (r"(?i)case-\d{4}", Facts("see CASE-1234"), Facts("see case-12")),
    "pii": (["email", "iban"], Facts("a@example.com"), Facts("nobody")),
    "header": ({"X-Data-Class": "private"}, Facts("", headers={"x-data-class": "Private"}), Facts("")),
    "model": ("auto", Facts("", model="Auto"), Facts("", model="gpt-5")),
    "key": (["alice", "bob"], Facts("", key="bob"), Facts("", key="eve")),
    "has_tools": (True, Facts("", has_tools=True), Facts("")),
    "has_image": (True, Facts("", has_image=True), Facts("")),
    "has_json_schema": (False, Facts(""), Facts("", has_json_schema=True)),
    "language": (["de", "fr"], Facts("", ask="Wie spät ist es?"), Facts("", ask="asdf")),
    "task": (["code"], Facts("", task="code"), Facts("", task="chat")),
    "score_over": (0.5, Facts("", score=0.6), Facts("", score=0.5)),
    "score_under": (0.5, Facts("", score=0.4), Facts("", score=0.5)),
}


def condition(name, value):
    return CONDITIONS[name](value=value)


def test_every_condition_has_an_example():
    assert set(EXAMPLES) == set(CONDITIONS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_holds_where_it_should_and_only_there(name):
    value, facts, others = EXAMPLES[name]
    assert condition(name, value).holds(facts)
    assert not condition(name, value).holds(others)


@pytest.mark.parametrize("name", ["score_over", "score_under", "task"])
def test_without_the_classifier_nothing_is_known(name):
    value = ["code"] if name == "task" else 0.5
    assert not condition(name, value).holds(Facts(""))


@pytest.mark.parametrize(
    ("word", "text", "holds"),
    [
        ("falcon", "The FALCON has landed", True),
        ("falcon", "falcons", False),
        ("project falcon", "Project\n  Falcon", True),
        ("c++", "I like C++.", True),
        ("c++", "I like C++11", True),
        (".net", "use .NET here", True),
        ("straße", "STRASSE 5", True),
        ("秘密", "これは秘密です", True),
        ("ความลับ", "นี่คือความลับนะ", True),
        ("geheim", "g\u200beh\u00adeim", True),
        ("secret", "s\u0435cret", True),
        ("секрет", "Это СЕКРЕТ!", True),
        ("secret", "ｓｅｃｒｅｔ", True),
        ("secret", "s%65cret", True),
    ],
)
def test_a_keyword_is_a_whole_word_in_any_case(word, text, holds):
    assert condition("keyword", [word]).holds(Facts(text)) is holds


def test_a_regex_sees_the_text_as_it_came_and_as_it_reads():
    assert condition("regex", "\u200b").holds(Facts("a\u200bb"))
    assert condition("regex", "^ab$").holds(Facts("a\u200bb"))


def test_every_header_of_the_table_is_needed_and_a_star_is_any_value():
    both = condition("header", {"x-a": "1", "X-B": "*"})
    assert both.holds(Facts("", headers={"x-a": " 1 ", "x-b": "whatever"}))
    assert not both.holds(Facts("", headers={"x-a": "1"}))
    assert not both.holds(Facts("", headers={"x-a": "2", "x-b": ""}))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("tokens_over", -1, "greater than or equal to 0"),
        ("tokens_over", "5", "valid integer"),
        ("tokens_under", True, "valid integer"),
        ("keyword", "word", "tuple"),
        ("keyword", [], "at least 1"),
        ("keyword", ["  "], "blank"),
        ("regex", "(", r"'\(' is not a regular expression"),
        ("regex", "", "at least 1"),
        ("pii", ["emial"], "did you mean email"),
        ("pii", [], "at least 1"),
        ("header", {}, "at least 1"),
        ("header", {"x-a": 3}, "valid string"),
        ("model", 3, "valid"),
        ("key", [], "at least 1"),
        ("has_tools", "yes", "valid boolean"),
        ("has_tools", 1, "valid boolean"),
        ("language", ["klingon"], "is not a language"),
        ("task", [], "at least 1"),
        ("score_over", 1.5, "less than or equal to 1"),
        ("score_under", -0.1, "greater than or equal to 0"),
        ("score_over", float("nan"), "than or equal to"),
        ("score_over", True, "valid number"),
    ],
)
def test_nonsense_is_refused(name, value, problem):
    with pytest.raises(ValidationError, match=problem):
        condition(name, value)
