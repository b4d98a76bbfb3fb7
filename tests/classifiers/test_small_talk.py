"""Small talk is known for what it is, and asks about the same things are not taken for it."""

import pytest

from weighbridge.classifiers.asides import without
from weighbridge.classifiers.small_talk import is_small_talk


@pytest.mark.parametrize(
    "sentence",
    [
        "Hi there!",
        "hey, how are you today?",
        "Hope you had a lovely weekend.",
        "It has been a long week and I am glad that the weekend is near.",
        "We went to the lake and had ice cream.",
        "can you believe this weather",
        "Sorry to bother you again.",
        "Thanks so much for your help yesterday!",
        "Anyway, here's my question.",
        "Have a great day!",
        "Kind regards",
        "😅",
    ],
)
def test_small_talk_is_known(sentence):
    assert is_small_talk(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "What is the weather like in Oslo in March?",
        "How do I say good morning in Spanish?",
        "Please write a thank-you card to my colleague.",
        "Suggest a name for my coffee shop.",
        "We prove that the series converges.",
        "I have 3 cats.",
        "My pod crashes after the upgrade.",
        "A thunderstorm passed over the mountains.",
        "I. Finding a minimum",
        "Guten Morgen, wie geht es dir?",
        "```",
        "",
    ],
)
def test_what_says_more_is_none(sentence):
    assert not is_small_talk(sentence)


ASK = "Prove that every bounded sequence of reals has a convergent subsequence."


@pytest.mark.parametrize(
    "talk",
    [
        "Good morning! I hope you slept well.",
        "ugh so tired today 😴",
        "It has been a long week and I am glad that the weekend is near. We went to the lake and had ice cream. " * 12,
        "Hello, my friend, long time no see. Anyway, here's my question:",
    ],
)
def test_small_talk_before_an_ask_is_taken_off(talk):
    assert without(f"{talk} {ASK}") == ASK


def test_small_talk_after_an_ask_is_taken_off():
    assert without(f"{ASK}\n\nThanks a lot, and have a nice evening!\nBest regards") == ASK


@pytest.mark.parametrize("text", ["hello, how are you?", "Thanks, that helped!", "Good night! Sleep well."])
def test_of_small_talk_alone_something_stays(text):
    assert without(text)
