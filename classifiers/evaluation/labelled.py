"""Labels: prompts of somebody's own traffic, and what the answers of the small and the large model were worth."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weighbridge.classifiers.evaluation.metrics import Floats, group_ids

LEAST = 50  # different prompts; below that no interval says anything


_STEM_CHARS = 400
_WORD = re.compile(r"\w+")
# Where the answers to choose from begin: "A) ...", "(a) ...", "A. ...", at the start of a line.
_OPTIONS = re.compile(r"^\s*\(?[Aa][.):]\s", re.MULTILINE)


class TooLittle(ValueError):
    """Labels from which nothing can be learnt or measured; the message says why, and what would help."""


@dataclass(frozen=True)
class Labels:
    """One entry per row.

    prompt: what is scored, the last genuine ask. small, large: 0..1. stem: rows that share one are one question, and
    never on both sides of a split. domain, source: "" where unknown. small_cost, large_cost: USD, None where some row
    does not have them.
    """

    prompt: Sequence[str]
    small: Floats
    large: Floats
    stem: NDArray[np.str_]
    domain: NDArray[np.str_]
    source: NDArray[np.str_]
    small_cost: Floats | None = None
    large_cost: Floats | None = None

    def __len__(self) -> int:
        return len(self.prompt)

    def __getitem__(self, which: NDArray[np.bool_]) -> "Labels":
        def some(column: Floats | None) -> Floats | None:
            return None if column is None else column[which]

        return Labels(
            prompt=[self.prompt[i] for i in np.flatnonzero(which).tolist()],
            small=self.small[which],
            large=self.large[which],
            stem=self.stem[which],
            domain=self.domain[which],
            source=self.source[which],
            small_cost=some(self.small_cost),
            large_cost=some(self.large_cost),
        )

    @property
    def groups(self) -> NDArray[np.int64]:
        return group_ids(self.stem.tolist())

    @property
    def shortfall(self) -> Floats:
        """What the score means: by how much the small model's answer falls short, 0..1."""
        return np.clip(self.large - self.small, 0, 1)

    @property
    def falls_short(self) -> NDArray[np.float64]:
        """1 where it does. A hair's breadth between two graded answers is not a failure."""
        return (self.large - self.small > 0.1).astype(np.float64)

    @property
    def one_per_stem(self) -> NDArray[np.bool_]:
        """The first row of each question: what is drawn alike and independently."""
        first = np.zeros(len(self), dtype=bool)
        first[np.unique(self.stem, return_index=True)[1]] = True
        return first

    def check(self) -> None:
        """Raises TooLittle where there is nothing to learn."""
        stems = len(set(self.stem.tolist()))
        if stems < LEAST:
            rows = f"{len(self):,} rows" + (f" with {stems:,} different prompts" if stems < len(self) else "")
            raise TooLittle(f"{rows} are too few: {LEAST} different prompts are the least, 300 make it worth while")
        gap = self.large - self.small
        if float(np.ptp(gap)) == 0:
            how = "as good as" if gap[0] == 0 else "better than" if gap[0] > 0 else "worse than"
            raise TooLittle(
                f"in every row the large model's answer is {how} the small one's by the same score ({gap[0]:g}), so"
                " there is nothing to tell apart: label prompts of both kinds"
            )
        if float(np.ptp(self.falls_short)) == 0:
            which = "every" if self.falls_short[0] else "no"
            raise TooLittle(
                f"the small model's answer falls short in {which} row, so there is nothing to tell apart: label prompts"
                " of both kinds"
            )


def stem_of(prompt: str) -> str:
    """What two prompts share that ask the same: their words, whatever the case, the marks and the options below."""
    options = _OPTIONS.search(prompt)
    asked = prompt[: options.start()] if options and options.start() > 0 else prompt
    folded = unicodedata.normalize("NFKC", asked[: 4 * _STEM_CHARS]).casefold()
    return " ".join(_WORD.findall(folded))[:_STEM_CHARS] or prompt[:_STEM_CHARS]


def parted(labels: Labels, held_out: float, seed: int = 0) -> NDArray[np.bool_]:
    """Which rows are held out: about that share, whole questions only, the same rows each time."""
    ids = labels.groups
    order = np.random.default_rng(seed).permutation(ids.max() + 1)
    out: NDArray[np.bool_] = (order < round(held_out * len(order)))[ids]
    return out
