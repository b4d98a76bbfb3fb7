"""Cues: an ask that names its task in so many words, before or behind what is pasted into it."""

import json
from pathlib import Path

import pytest

from weighbridge.classifiers import cues
from weighbridge.classifiers.cues import task_of

OWN_PROMPTS = Path(cues.__file__).parent / "training" / "everyday.jsonl"

PASTED = "The council agreed on Monday. Extract of the minutes: translate, summarise and rewrite were all said.\n" * 30

NAMED = {
    "Summarise this in two sentences:": "summarization",
    "Could you please give me a short summary of the text below?": "summarization",
    "TL;DR": "summarization",
    "Fasse das in einem Satz zusammen.": "summarization",
    "Translate this into German.": "translation",
    'How do you say "good luck" in French?': "translation",
    "Übersetze den folgenden Text ins Englische.": "translation",
    "Extract every date from the text.": "extraction",
    "List all the names mentioned in the text.": "extraction",
    "Classify the sentiment of this review.": "classification",
    "Is this email positive or negative?": "classification",
    "Please rewrite this so that it sounds friendlier.": "rewriting",
    "Fix the spelling.": "rewriting",
    "Hi there! Can you proofread this?": "rewriting",
    "Write a short poem about rain.": "creative_writing",
    "Suggest a name for my boat": "creative_writing",
    "Make a packing list for two days in Berlin": "planning",
    "Plan a dinner for two.": "planning",
    "Prove that there are infinitely many primes.": "reasoning",
    "What is 12 * 7?": "reasoning",
    "How do I sort a list in Python?": "code",
}


@pytest.mark.parametrize(("ask", "task"), NAMED.items())
def test_an_ask_that_names_its_task_is_taken_at_its_word(ask, task):
    assert task_of(ask) == task


@pytest.mark.parametrize(("ask", "task"), NAMED.items())
def test_a_long_text_pasted_before_or_behind_it_changes_nothing(ask, task):
    assert task_of(f"{ask}\n\n{PASTED}What follows is left out.") == task
    assert task_of(f"Minutes of a meeting\n{PASTED}\n\n{ask}") == task


@pytest.mark.parametrize(
    "ask",
    [
        "",
        "What is the capital of France?",
        "Let f(x) = 3x + 1 for every real x.",
        "Who wrote the first translation of the Bible into German?",
        "Good morning. Could you look at what I sent you?",
        "What did the bank plan to do about the notes?",
        "Translate this and summarise it.\n\nSummarise it in French.",  # two tasks
    ],
)
def test_an_ask_that_names_none_or_several_is_left_to_the_embedding(ask):
    assert task_of(ask) is None


def test_they_are_right_as_often_as_they_say_on_our_own_prompts():
    rows = [json.loads(line) for line in OWN_PROMPTS.read_text(encoding="utf-8").splitlines()]
    right = [named == row["task"] for row in rows if (named := task_of(row["text"]))]
    assert len(right) > 200
    assert sum(right) / len(right) >= cues.PRECISION


def test_a_greeting_is_a_chat_where_it_is_all_there_is():
    assert task_of("Hey there, how are you?") == "chat"
    assert task_of("Hey there!\n\nTranslate this into French.") == "translation"
    assert task_of("Thanks!\nWho wrote Faust?") is None


def test_what_is_asked_for_goes_before_the_language_that_a_program_is_in():
    assert task_of("Summarise what this Python script does:\n\ndef f(x): return x") == "summarization"
    assert task_of("What does it return?\n\ndef f(x): return x") == "code"


def test_a_long_line_is_read_at_its_ends_only():
    assert task_of("word " * 100_000 + "translate this") is None
