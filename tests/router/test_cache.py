"""Which answers are kept, for whom, for how long, and what has to make room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from weighbridge.cache import Cache, Caching, Kept, key_of, size_of
from weighbridge.units import Usage

ASKER = ("ann", "/chat/completions", "auto", "remote", "", "", "")
CHAT = {"model": "auto", "temperature": 0, "messages": [{"role": "user", "content": "What is 17 times 4?"}]}
SMALL = Kept("remote", (b"{}",), Usage(3, 4))


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def cache(clock: Clock | None = None, **table: object) -> Cache:
    return Cache(Caching(**table), clock or Clock())


def look(it: Cache, asker=ASKER, control="", *, is_generated=True, **fields):
    return it.look(asker, {**CHAT, **fields}, control, is_generated=is_generated)


def kept(it: Cache, what: Kept = SMALL, **fields) -> str:
    key = look(it, **fields).key
    it.keep(key, what)
    return key


def test_the_very_same_request_gets_the_very_same_answer():
    it = cache()
    assert look(it).verdict == "miss"
    kept(it)
    assert look(it)[::2] == ("hit", SMALL)


@pytest.mark.parametrize("i", range(len(ASKER)))
def test_nobody_gets_what_was_said_to_somebody_else_or_on_another_way(i):
    it = cache()
    kept(it)
    asker = (*ASKER[:i], "other", *ASKER[i + 1 :])
    assert look(it, asker).verdict == "miss"


def test_names_that_run_together_are_still_two_names():
    assert key_of(("ab", "c"), CHAT) != key_of(("a", "bc"), CHAT)


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 0.0},
        {"seed": 1},
        {"seed": 2**63},
        {"seed": 2**63 + 1},
        {"top_p": 0.1},
        {"top_p": 0.10000000000000002},
        {"max_tokens": 5},
        {"n": True},
        {"n": 1},
        {"tools": []},
        {"user": "ann"},
        {"messages": [{"role": "user", "content": "What is 17 times 4? "}]},
        {"model": "AUTO"},
        {"an_unknown_field": None},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
    ],
    ids=str,
)
def test_whatever_differs_is_another_request(changed):
    others = [key_of(ASKER, CHAT), *(key_of(ASKER, {**CHAT, "n": n}) for n in (2, "1"))]
    assert key_of(ASKER, {**CHAT, **changed}) not in others


def test_the_order_of_names_and_a_stream_that_is_off_change_nothing():
    key = key_of(ASKER, CHAT)
    assert key_of(ASKER, dict(reversed(CHAT.items()))) == key
    assert key_of(ASKER, {**CHAT, "stream": False}) == key
    assert key_of(ASKER, {**CHAT, "stream": None, "stream_options": None}) == key


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def _typed(value: object) -> object:
    """Python takes 1, 1.0 and True for the same; JSON does not, nor 0.0 for -0.0."""
    if isinstance(value, dict):
        return {name: _typed(inner) for name, inner in value.items()}
    return [_typed(inner) for inner in value] if isinstance(value, list) else (type(value), repr(value))


@given(JSON, JSON)
def test_two_bodies_have_one_key_only_where_they_are_one(one, other):
    keys = [key_of(ASKER, {"x": value}) for value in (one, other)]
    assert (keys[0] == keys[1]) == (_typed(one) == _typed(other))


def test_what_is_drawn_by_lot_is_kept_only_where_everything_is():
    it = cache()
    for temperature in (None, 0.7, 1, "0"):
        assert look(it, temperature=temperature)[:2] == ("bypass", None)
    assert look(cache(when="always"), temperature=0.7).verdict == "miss"
    assert look(it, temperature=None, is_generated=False).verdict == "miss"


@pytest.mark.parametrize("control", ["no-cache", "No-Cache", "max-age=0, no-cache"])
def test_a_client_can_ask_for_a_new_answer_which_is_then_kept(control):
    it = cache()
    kept(it)
    verdict, key, found = look(it, control=control)
    assert (verdict, found) == ("bypass", None)
    it.keep(key, newer := Kept("remote", (b"newer",), None))
    assert look(it, control="max-age=0").kept == newer


def test_a_client_can_forbid_to_keep_its_answer():
    it = cache()
    kept(it)
    assert look(it, control="no-store") == ("bypass", None, None)


def test_an_answer_grows_old():
    clock = Clock()
    it = cache(clock, ttl_s=10)
    kept(it)
    clock.now_s = 9.9
    assert look(it).verdict == "hit"
    clock.now_s = 10
    assert look(it).verdict == "miss"


def test_what_nobody_asked_for_longest_makes_room():
    it = cache(max_mb=1)
    large = Kept("remote", (b"x" * 64_000,), None)
    keys = [kept(it, large, seed=i) for i in range(17)]
    assert len(set(keys)) == 17
    for i in range(17):
        verdict = look(it, seed=i).verdict
        assert verdict == ("miss" if i == 0 else "hit")
    look(it, seed=1)
    kept(it, large, seed=17)
    assert [look(it, seed=i).verdict for i in (1, 2, 17)] == ["hit", "miss", "hit"]


def test_one_answer_does_not_push_out_all_the_others():
    it = cache(max_mb=1)
    kept(it)
    kept(it, Kept("remote", (b"x" * it.largest,), None), seed=1)
    assert look(it, seed=1).verdict == "miss"
    assert look(it).verdict == "hit"


def test_many_answers_kept_twice_leave_the_size_as_it_is():
    it = cache(max_mb=1)
    for _ in range(100):
        kept(it, Kept("remote", (b"x" * 50_000,), None))
        kept(it, seed=1)
    assert look(it).verdict == look(it, seed=1).verdict == "hit"
    assert size_of([b"", b"x"]) > 1


def test_a_body_that_is_too_deep_to_be_written_is_not_looked_up():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert look(cache(), messages=deep)[:2] == ("bypass", None)
    while deep:  # taken apart, because Python would recurse
        deep = deep.pop()


@pytest.mark.parametrize("table", [{"ttl_s": 0}, {"max_mb": 0}, {"when": "sometimes"}, {"ttl": 5}])
def test_a_table_that_makes_no_sense_is_refused(table):
    with pytest.raises(ValidationError):
        Caching(**table)
