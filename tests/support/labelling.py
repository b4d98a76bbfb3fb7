"""Labels for the tests of fitting: everyday asks and expert work, of which the small model fails what it is told to."""

import json
from itertools import product
from pathlib import Path

import numpy as np

_EASY = ("Say hello to {}", "What does the word {} mean?", "Spell {}", "Translate {} into French", "Thanks, {}")
_HARD = (
    "Prove that every {} has a bounded limit",
    "Design a distributed consensus protocol for {}",
    "Analyse the legal liability of {} under three jurisdictions",
    "Derive the posterior of a Bayesian model for {} and justify each step",
    "Debug the deadlock in this concurrent queue for {}",
)
_THINGS = ("bread", "river", "engine", "teacher", "garden", "market", "winter", "bridge", "letter", "window")


def prompts() -> list[tuple[str, bool]]:
    """A hundred different ones, and whether they are hard."""
    easy = [(text.format(thing), False) for text, thing in product(_EASY, _THINGS)]
    hard = [(text.format(thing), True) for text, thing in product(_HARD, _THINGS)]
    return [row for pair in zip(easy, hard, strict=True) for row in pair]


def labels(path: Path, *, rows: int = 100, is_random: bool = False) -> Path:
    """Hard prompts fail on the small model, or whatever chance says. More than a hundred rows are numbered anew."""
    chance = np.random.default_rng(5)
    lines = []
    for i in range(rows):
        text, is_hard = prompts()[i % 100]
        prompt = text if i < 100 else f"{text} number {i}"
        fails = bool(chance.integers(0, 2)) if is_random else is_hard
        lines.append({"prompt": prompt, "small_score": 1 - fails, "large_score": 1, "domain": "work"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
