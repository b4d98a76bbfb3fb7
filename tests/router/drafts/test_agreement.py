"""What further drafts have in common with the first one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.drafts.agreement import agreement, bounds, likenesses, rouge_l
from weighbridge.drafts.reading import Call, Draft


def whole(text: str) -> Draft:
    return Draft(text, finish_reason="stop")


def beginning(text: str) -> Draft:
    return Draft(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris", "paris."),
        ("**42**", "42"),
        ("1,000", "1000"),
        ("3.0", "3"),
        ("We add them, so the answer is 12.", "Seven and five.\nAnswer: 12"),
        (r"Hence \boxed{x+1}", r"So it is \boxed{x+1}."),
        ("Paris", "The capital of France is Paris."),
        ("The capital of France, as everybody knows, is Paris", "Paris"),
        ('{"a": 1, "b": [2]}', '{"b":[2],"a":1}'),
        ("B", "(B)"),
    ],
)
def test_answers_that_come_to_the_same_agree(one, other):
    assert likenesses(whole(one), [whole(other)]) == [1.0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris", "Lyon"),
        ("41", "42"),
        ("Paris", "The capital of France is Lyon, and always was."),
        ("Thus the answer is 12.", "Thus the answer is 13."),
        ('{"a": 1}', '{"a": 2}'),
        ("[1]", "[2]"),
        ("Half of 12 is 6, so the answer is 6.", "We have 6 twice, so the answer is 12."),
    ],
)
def test_answers_that_come_to_something_else_do_not(one, other):
    assert likenesses(whole(one), [whole(other)]) == [0.0]


def test_long_answers_agree_as_far_as_their_words_do():
    one = "The bridge was built in 1890 by the engineers of the railway company"
    near = "The bridge was built in 1891 by engineers of the railway company"
    far = "Nobody knows when that thing over the river came to be there at all"
    close, distant = likenesses(whole(one), [whole(near), whole(far)])
    assert 0.8 < close < 1
    assert distant < 0.3


def test_calls_agree_in_their_names_and_values():
    def calling(name: str, arguments: str) -> Draft:
        return Draft(calls={0: Call(name, arguments)}, finish_reason="tool_calls")

    first = calling("f", '{"a": 1, "b": 2}')
    others = [calling("f", '{"b":2,"a":1}'), calling("f", '{"a": 1}'), calling("g", '{"a": 1, "b": 2}'), whole("Hm.")]
    assert likenesses(first, others) == [1.0, 0.0, 0.0, 0.0]


def test_beginnings_are_compared_as_far_as_both_have_come():
    assert likenesses(beginning("one two three four"), [beginning("One two"), whole("one, two, three")]) == [1.0, 1.0]
    assert likenesses(beginning("one two three four"), [beginning("five six")]) == [0.0]


def test_of_no_further_drafts_nothing_is_known():
    assert agreement([]) is None
    assert agreement([1.0, 0.0]) == 0.5


shares = st.floats(0, 1)


@given(st.lists(shares, max_size=4), st.lists(shares, max_size=4))
def test_what_comes_later_stays_within_the_bounds(known, later):
    if later:
        low, high = bounds(known, len(later))
        found = agreement([*known, *later])
        assert found is not None
        assert low - 1e-9 <= found <= high + 1e-9


words = st.lists(st.sampled_from("abcd"), max_size=12)


@given(words, words)
def test_the_overlap_is_that_of_the_longest_common_subsequence(one, other):
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, mine in enumerate(one):
        for j, theirs in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if mine == theirs else max(table[i][j + 1], table[i + 1][j])
    expected = 2 * table[-1][-1] / (len(one) + len(other)) if one or other else 1.0
    assert rouge_l(one, other) == pytest.approx(expected)


@given(st.text(), st.text())
def test_any_two_texts_can_be_compared(one, other):
    for first in (whole(one), beginning(one)):
        for second in (whole(other), beginning(other)):
            assert 0 <= likenesses(first, [second])[0] <= 1
