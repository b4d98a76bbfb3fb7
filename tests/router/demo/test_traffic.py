"""The sample prompts that ship with the package."""

import re
from collections import Counter

from weighbridge.demo.traffic import ANSWER_TOKENS, sample

HARD = {"proof", "design", "debugging", "legal", "medical", "finance", "plan", "analysis"}


def test_there_are_enough_prompts_and_none_twice():
    prompts = sample()
    assert len(prompts) >= 240
    assert len({re.sub(r"\W+", " ", p.text).strip().lower() for p in prompts}) == len(prompts)
    assert all(p.text == p.text.strip() != "" for p in prompts)


def test_every_kind_has_the_length_of_its_answers():
    kinds = Counter(p.kind for p in sample())
    assert kinds.keys() == ANSWER_TOKENS.keys()
    assert min(kinds.values()) >= 5


def test_about_two_thirds_are_easy():
    prompts = sample()
    easy = sum(p.kind not in HARD for p in prompts)
    assert 0.65 <= easy / len(prompts) <= 0.70


def test_they_do_not_begin_alike():
    beginnings = Counter(" ".join(p.text.split()[:3]).lower() for p in sample())
    assert beginnings.most_common(1)[0][1] <= 6


def test_some_are_in_other_languages():
    text = "\n".join(p.text for p in sample())
    for word in ("Bitte", "Résume", "¿", "请", "番号", "Vertaal", "Переведи"):
        assert word in text
