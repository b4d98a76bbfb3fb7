"""Signs of a bad answer: what is one, and what only looks like one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.drafts.signs import breaks_off, is_other_language, loops, refuses, repeated

PROSE = (
    "The weighbridge stands at the gate of the yard and weighs every cart that comes in, first full and then empty, so"
    " that the miller knows what he owes and the farmer what he is owed. It was built in the year of the flood"
)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "As an AI language model, I do not have opinions.",
        "I am unable to open links.",
        "I don't have access to real-time data.",
        "I cannot provide medical advice.",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Je ne peux pas vous aider.",
        "Lo siento, no puedo ayudar con eso.",
        "N\u00e3o posso ajudar com isso.",
    ],
)
def test_a_refusal_is_known_by_its_opening(text):
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "Paris.",
        "I can help with that: first, open the file.",
        "Sorry for the delay! Here is the letter you asked for.",
        "You cannot divide by zero, so the limit is taken instead.",
        PROSE * 3 + " I'm sorry, but I can't help, said the miller.",
    ],
)
def test_an_answer_is_no_refusal(text):
    assert not refuses(text)


@pytest.mark.parametrize("text", ["and so on " * 40, PROSE + " the same line again.\n" * 9, "blah" * 30])
def test_a_loop_at_the_end_is_found(text):
    assert loops(text)


@pytest.mark.parametrize(
    "text", ["", "no no no", PROSE, "| --- | --- | --- | --- | --- | --- |", "0, 0, 0, 0, 0, " * 9]
)
def test_what_is_no_loop_is_left_alone(text):
    assert not loops(text)


def test_repetition_is_a_share():
    assert repeated(PROSE) == 0
    assert repeated(PROSE + " " + PROSE) > 0.4
    assert repeated("no no no") == 0
    assert repeated("```\n" + "x = 1 + 1\n" * 40 + "```") == 0


@pytest.mark.parametrize("text", [PROSE, PROSE + ", and", "```python\nx = 1", PROSE.rpartition(" ")[0] + ","])
def test_an_end_in_the_middle_is_seen(text):
    assert breaks_off(text)


@pytest.mark.parametrize(
    "text", ["Paris", "42", PROSE + ".", PROSE + ".\n\n- one\n- two", PROSE + ":\n```\nx = 1\n```", PROSE + ".\n\nJane"]
)
def test_a_proper_end_is_one(text):
    assert not breaks_off(text)


def test_another_language_than_the_asks_is_seen():
    german = "Die Hauptstadt von Frankreich ist Paris, und das ist auch gut so."
    ask = "What is the capital of France?"
    assert is_other_language(ask, german)
    assert not is_other_language(ask, "The capital of France is Paris.")
    assert not is_other_language(ask, "Paris")
    assert not is_other_language("Translate this for me: what is the capital of France?", german)
    assert not is_other_language("What do you say when you greet someone in German?", german)
    assert not is_other_language("Paris?", german)


@settings(deadline=None)
@given(st.text(max_size=500), st.text(max_size=500))
def test_every_text_can_be_read(ask, text):
    refuses(text), loops(text), breaks_off(text), is_other_language(ask, text)
    assert 0 <= repeated(text) <= 1
