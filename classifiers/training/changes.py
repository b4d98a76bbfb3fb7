"""Changes of our own prompts that the head learns to look through: what they add says nothing of the work.

None of the words here is in `evaluation/robustness.py`, which measures whether that was learnt.
"""

import random
from collections.abc import Callable

Change = Callable[[str, str], str]

_NOUNS = tuple(
    """
    apple chair cloud pillow engineer hammer island letter camel donkey brick violin spoon mirror ladder pepper
    rocket shadow tunnel window-sill blanket cabin dolphin feast giraffe helmet insect jungle koala lemon museum
    notebook ocean parrot quilt raincoat sandal turtle umbrella vase wagon xylophone yoghurt zebra cobalt amber
    running cheerful gently beside purple often blew swiftly copperplate hollow mild
    """.split()  # noqa: SIM905  # a list of words reads better as words
)
_LEARNED = tuple(
    """
    axiom corollary integral manifold gradient Hamiltonian Lagrangian entropy tensor variance likelihood posterior
    regression causality heuristic invariant polynomial NP-hard scheduler mutex replication sharding latency
    compiler cipher tort fiduciary arbitration statute oncology prognosis etiology kinase polymerase isotope
    derivatives hedging arbitrage amortisation epistemology hermeneutics dialectic phenomenology
    """.split()  # noqa: SIM905
)
_BOASTS = (
    "You are a world-class scientist.",
    "This needs the smartest model there is.",
    "Only an expert with decades of experience can answer the following.",
    "This is a very hard question that requires multi-step reasoning and deep domain knowledge.",
    "Answer with maximum rigour, accuracy and depth.",
    "URGENT AND COMPLEX:",
    "Do not use a small model for this.",
    "I am writing my doctoral thesis and need perfection.",
)
_BELITTLED = (
    "This is easy.",
    "Just a quick little question, nothing hard.",
    "A child could answer this.",
    "Small models can do this, no need for a big one.",
)
_CHATTER = (
    "Hope you had a good start into the day. The coffee here is finally working again.",
    "My dog has been barking since six and the neighbours are at it too.",
    "We are back from holiday and the garden looks like a jungle, but the tomatoes made it.",
    "Sorry for the late message, the train was full and I had no signal for an hour.",
    "It is raining again. I will bake a cake this afternoon and call my aunt.",
)
_SIGNS = "#$%&*+-/<=>?@[]^_{|}~;:!()"


def _nouns_before(prompt: str, rng: random.Random) -> str:
    return f"{' '.join(rng.choices(_NOUNS, k=rng.randint(5, 14)))} {prompt}"


def _learned_before(prompt: str, rng: random.Random) -> str:
    return f"{' '.join(rng.choices(_LEARNED, k=rng.randint(4, 12)))} {prompt}"


def _signs_before(prompt: str, rng: random.Random) -> str:
    return f"{''.join(rng.choices(_SIGNS, k=rng.randint(8, 40)))} {prompt}"


def _boast_before(prompt: str, rng: random.Random) -> str:
    return f"{' '.join(rng.sample(_BOASTS, rng.randint(1, 2)))} {prompt}"


def _belittled(prompt: str, rng: random.Random) -> str:
    return f"{rng.choice(_BELITTLED)} {prompt}"


def _chatter_round(prompt: str, rng: random.Random) -> str:
    chatter = " ".join(rng.choices(_CHATTER, k=rng.choice((1, 2, 8))))
    return f"{chatter} {prompt}" if rng.random() < 0.5 else f"{prompt}\n\n{chatter}"


def _misspelt(prompt: str, rng: random.Random) -> str:
    letters = list(prompt)
    for _ in range(max(1, len(letters) // 40)):
        if len(letters) > 3:
            place = rng.randrange(1, len(letters) - 1)
            letters[place], letters[place - 1] = letters[place - 1], letters[place]
    return "".join(letters)


def _by_chance(change: Callable[[str, random.Random], str]) -> Change:
    def apply(prompt: str, seed: str) -> str:
        return change(prompt, random.Random(seed))  # noqa: S311  # no secret hangs on it

    return apply


# By name; each gets the prompt and a seed.
CHANGES: dict[str, Change] = {
    "nouns": _by_chance(_nouns_before),
    "learned": _by_chance(_learned_before),
    "signs": _by_chance(_signs_before),
    "boast": _by_chance(_boast_before),
    "belittled": _by_chance(_belittled),
    "chatter": _by_chance(_chatter_round),
    "misspelt": _by_chance(_misspelt),
}
