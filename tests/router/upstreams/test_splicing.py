"""Values changed deep inside a JSON text, and nothing else."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.upstreams.splicing import AS_STRING, REMOVED, Literally, spliced, text_at

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=25,
)


def paths(value, here=()):
    """Every place in a value but the root, deepest last."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in inner:
        yield (*here, name)
        yield from paths(child, (*here, name))


def changed(value, changes):
    """The same by hand, on Python's own objects."""
    value = copy.deepcopy(value)
    for path, new in changes.items():
        *way, last = path
        at = value
        for name in way:
            at = at[name]
        if new is REMOVED:
            at.pop(last, None)
        else:
            at[last] = new
    return value


@given(
    fields=st.dictionaries(st.text(), _VALUES, max_size=5),
    indent=st.sampled_from([None, 2]),
    ascii_only=st.booleans(),
    data=st.data(),
)
def test_what_is_named_changes_and_nothing_else(fields, indent, ascii_only, data):
    places = list(paths(fields))
    chosen = data.draw(st.lists(st.sampled_from(places), max_size=4, unique=True)) if places else []
    # A change inside something that is itself changed makes no sense.
    chosen = [p for p in chosen if not any(p != q and p[: len(q)] == q for q in chosen)]
    changes = {}
    for path in chosen:
        may_go = isinstance(path[-1], str)
        changes[path] = data.draw(st.sampled_from([REMOVED, "new"] if may_go else ["new"]))
    added = ("added by the test",)
    changes[added] = {"x": [1]}
    text = json.dumps(fields, indent=indent, ensure_ascii=ascii_only)
    result = spliced(text, changes)
    assert json.loads(result) == changed(fields, changes)
    assert spliced(text, {}) == text


def test_numbers_and_spaces_that_are_not_named_stay_to_the_letter():
    text = '{ "a":[ {"n": 1.50e+2 , "big":123456789012345678901234567890}, {"role" : "developer"} ] ,"t":0.10 }'
    expected = text.replace('"developer"', '"system"').replace(' ,"t":0.10', "")
    assert spliced(text, {("a", 1, "role"): "system", ("t",): REMOVED}) == expected


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ("a", '{"b":2,"c":3}'),
        ("b", '{"a":1,"c":3}'),
        ("c", '{"a":1,"b":2}'),
        ("ab", '{"c":3}'),
        ("bc", '{"a":1}'),
        ("ac", '{"b":2}'),
        ("abc", "{}"),
        ("z", '{"a":1,"b":2,"c":3}'),
    ],
)
def test_a_member_goes_with_its_comma(gone, left):
    assert spliced('{"a":1,"b":2,"c":3}', {(name,): REMOVED for name in gone}) == left


def test_a_member_is_added_where_all_others_go():
    assert spliced('{ "a":1 }', {("a",): REMOVED, ("b",): Literally("[1.0]")}) == '{ "b":[1.0] }'


def test_a_number_of_ten_thousand_digits_is_passed_over():
    text = '{"n":' + "9" * 10_000 + ',"a":1}'
    assert spliced(text, {("a",): 2}) == text.replace(":1}", ":2}")


def test_a_path_through_nothing_is_an_error():
    for path in [("a", "b"), ("c", "d"), ("l", 7), ("l", "x")]:
        with pytest.raises(KeyError):
            spliced('{"a":1,"l":[1]}', {path: 1})
    with pytest.raises(KeyError):
        text_at('{"a":1}', ("a", "b"))


def test_a_value_is_read_as_it_is_written():
    assert text_at(' {"a" : [1.0, {"b": {"x" :1e3 } }]}', ("a", 1, "b")) == '{"x" :1e3 }'


def test_a_value_becomes_a_string_of_its_own_text():
    assert json.loads(spliced('{"a":{"n": 1.50e+2}}', {("a",): AS_STRING})) == {"a": '{"n": 1.50e+2}'}
