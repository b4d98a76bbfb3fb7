"""When: tables nest, and mistakes in them are named by their place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.policies.facts import Facts
from weighbridge.policies.when import MAX_NESTING, ConditionError, leaves_of, parse


def test_a_table_of_several_keys_wants_all_of_them():
    both = parse({"tokens_over": 5, "has_tools": True})
    assert both.holds(Facts("", tokens=6, has_tools=True))
    assert not both.holds(Facts("", tokens=6))
    assert not both.holds(Facts("", has_tools=True))


def test_any_all_and_not_nest():
    condition = parse({"any": [{"all": [{"has_image": True}, {"not": {"has_tools": True}}]}, {"model": "x"}]})
    assert condition.holds(Facts("", has_image=True))
    assert condition.holds(Facts("", model="x", has_tools=True))
    assert not condition.holds(Facts("", has_image=True, has_tools=True))


@pytest.mark.parametrize(
    ("table", "path", "problem"),
    [
        ({}, (), "is empty"),
        ({"any": []}, ("any",), "is empty"),
        ({"all": {"model": "x"}}, ("all",), "is not a list"),
        ({"any": [{}]}, ("any", 0), "is empty"),
        ({"any": ["email"]}, ("any", 0), "is not a table"),
        ({"not": [{"model": "x"}]}, ("not",), "is not a table"),
        ({"tokens_ovr": 5}, ("tokens_ovr",), "did you mean tokens_over"),
        ({"zzzz": 5}, ("zzzz",), "known are all, any, has_image"),
        (
            {"any": [{"model": "x"}, {"not": {"pii": ["email", "fone"]}}]},
            ("any", 1, "not", "pii", 1),
            "did you mean phone",
        ),
        ({"score_over": 7}, ("score_over",), r"less than or equal to 1 \(it is 7\)"),
        ({"keyword": "x"}, ("keyword",), "valid list"),
    ],
)
def test_a_mistake_is_named_by_its_place(table, path, problem):
    with pytest.raises(ConditionError, match=problem) as caught:
        parse(table)
    assert caught.value.path == path


def test_the_place_is_spelt_as_in_the_file():
    with pytest.raises(ConditionError, match=r"^any\[1\]\.not\.pii\[0\]: "):
        parse({"any": [{"model": "x"}, {"not": {"pii": ["fone"]}}]})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"pii": ["fone"]}, "pii[0]: 'fone'"),
        ({"has_tools": "maybe"}, "has_tools: Input should be a valid boolean (it is 'maybe')"),
        ({"pii": 5}, "pii: Input should be a valid list (it is 5)"),
        ({"pii": []}, "pii: List should have at least 1 item after validation, not 0 (it is [])"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(table, said):
    with pytest.raises(ConditionError) as caught:
        parse(table)
    assert str(caught.value).startswith(said)
    assert "Value error" not in str(caught.value)


def test_a_condition_that_is_no_table_has_no_place():
    with pytest.raises(ConditionError) as caught:
        parse([])
    assert not str(caught.value).startswith(":")


def test_nesting_has_an_end():
    table = {"has_tools": True}
    for _ in range(MAX_NESTING + 2):
        table = {"not": table}
    with pytest.raises(ConditionError, match="too deeply"):
        parse(table)


def test_a_condition_is_made_of_its_leaves():
    condition = parse({"any": [{"pii": ["email"], "has_tools": True}, {"not": {"score_over": 0.5}}]})
    assert [type(leaf).__name__ for leaf in leaves_of(condition)] == ["Pii", "HasTools", "ScoreOver"]


leaves = st.sampled_from(
    [
        {"has_tools": True},
        {"has_image": True},
        {"tokens_over": 5},
        {"model": "x"},
        {"score_over": 0.5},
        {"task": ["code"]},
    ]
)
tables = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda table: {"not": table}, inner),
        st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)
facts = st.builds(
    Facts,
    text=st.just(""),
    tokens=st.integers(0, 10),
    model=st.sampled_from(["x", "y"]),
    has_tools=st.booleans(),
    has_image=st.booleans(),
    score=st.none() | st.floats(0, 1),
    task=st.sampled_from([None, "code", "chat"]),
)


@given(st.lists(tables, min_size=1, max_size=4), facts)
def test_de_morgan_holds(parts, facts):
    assert parse({"not": {"any": parts}}).holds(facts) == parse({"all": [{"not": part} for part in parts]}).holds(facts)
    assert parse({"not": {"all": parts}}).holds(facts) == parse({"any": [{"not": part} for part in parts]}).holds(facts)


@given(tables, facts)
def test_not_not_is_nothing(table, facts):
    assert parse({"not": {"not": table}}).holds(facts) == parse(table).holds(facts)
