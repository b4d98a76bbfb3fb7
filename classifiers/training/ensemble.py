"""Fitting a head to questions on which both models' answers are known: from ten rows to some thousands.

Few rows can only say how hard a question is for the small model; from some hundreds on they say more: where the large
one does better, which is what a call of it buys. The three models are weighed by how well each ranks rows that it has
not seen; where a base is given its score is a fourth.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from weighbridge.classifiers import head as heads
from weighbridge.classifiers.head import Head, Inputs
from weighbridge.classifiers.training import models
from weighbridge.classifiers.training.embed import inputs_of
from weighbridge.classifiers.training.models import Fitting, Floats, Singles, single

LEAST_ROWS = 10
GAP_FROM, GAP_SHARE = 300, 0.8  # with so many rows the target is the gap, but for a fifth
FOLDS = 3  # each costs a fit
UNKNOWN_SHARE = 0.01  # of rows like those that were fitted on, which a head takes for unlike them
MOST_KNOWN = 0.5  # who has met half of the words of a text does not abstain for the others

# What is believed of each model before any row was seen, in rows: a model stays in play that a few rows speak against.
_BELIEF, _BELIEF_ROWS = 0.12, 100.0
_TRUST = (1.25, 0.4, 2.0)  # in words, landmarks, trees: the trees ranked best on everything that was tried
_BASE_ROWS = 150.0  # own rows from which on the base counts less than half

_OPTIONS = re.compile(r"\n\s*\(?[A-J][.):] ")
_NO_WORD = re.compile(r"[^\w]+")


@dataclass(frozen=True)
class Fitted:
    """unseen: the probability of each row from a head that was not fitted on its stem."""

    head: Head
    unseen: Floats


def fit_head(  # noqa: PLR0913  # two models' scores on some texts
    embeddings: Singles,
    texts: Sequence[str],
    small: Floats,
    large: Floats,
    *,
    base: Head | None = None,
    stems: Sequence[str] | None = None,
    seed: int = 0,
) -> Head:
    """A calibrated head for the pair that gave the scores. ValueError says why nothing can be fitted."""
    return fit_with_unseen(embeddings, texts, small, large, base=base, stems=stems, seed=seed).head


def fit_with_unseen(  # noqa: PLR0913  # as above
    embeddings: Singles,
    texts: Sequence[str],
    small: Floats,
    large: Floats,
    *,
    base: Head | None = None,
    stems: Sequence[str] | None = None,
    seed: int = 0,
) -> Fitted:
    small, large = np.asarray(small, np.float64), np.asarray(large, np.float64)
    check(embeddings, texts, small, large)
    inputs = inputs_of(np.asarray(embeddings, np.float32), list(texts))
    folds = folds_of(stems if stems is not None else [stem_of(text) for text in texts], seed)
    return fitted(inputs, small, large, folds, base=base, seed=seed)


def fitted(  # noqa: PLR0913  # as above, read already
    inputs: Inputs, small: Floats, large: Floats, folds: NDArray[np.int64], *, base: Head | None = None, seed: int = 0
) -> Fitted:
    """folds: of each row; rows of one fold are measured by models that were fitted on the others."""
    rows = Fitting(inputs, target_of(small, large), np.ones(len(small)))
    said = unseen(rows, folds, seed)
    weights = weighed(said, rows.target)
    if base is not None:
        base = base if base.base is None else base.base  # what was fitted on other labels of one's own is not built on
        weights *= 1 - _share_of_base(len(small))
    head, total = models.joined(models.fit(rows, seed), weights), said @ weights
    if base is not None:
        head, total = _leaning(head, total, base, inputs, rows.target)
    head = with_floors(head, inputs, folds)
    slope, intercept = logistic(total, np.clip(large - small, 0, 1), np.ones(len(small)))
    probability: Floats = 1 / (1 + np.exp(-np.clip(slope * total + intercept, -30, 30)))
    return Fitted(replace(head, calibration=single([slope, intercept])), probability)


def recalibrated(head: Head, inputs: Inputs, small: Floats, large: Floats) -> Head:
    """The head with the logistic curve that some labels of other traffic ask for; a hundred are enough."""
    slope, intercept = logistic(heads.raw(head, inputs), np.clip(large - small, 0, 1), np.ones(len(small)))
    return replace(head, calibration=single([slope, intercept]))


def check(embeddings: Singles, texts: Sequence[str], small: Floats, large: Floats) -> None:
    if not len(embeddings) == len(texts) == len(small) == len(large):
        raise ValueError("embeddings, texts and scores must be equally many")
    if len(texts) < LEAST_ROWS:
        raise ValueError(f"{len(texts)} rows are too few to fit a head; {LEAST_ROWS} is the least")
    for name, values in (("small", small), ("large", large)):
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"the scores of the {name} model must lie between 0 and 1")


def target_of(small: Floats, large: Floats) -> Floats:
    """What is fitted: the gap where there are rows enough, more of the small model's failure where there are not."""
    share = min(GAP_SHARE, GAP_SHARE * len(small) / GAP_FROM)
    found: Floats = share * (large - small) + (1 - share) * (1 - small)
    return found


def unseen(rows: Fitting, folds: NDArray[np.int64], seed: int = 0) -> Floats:
    """(N, 3): what each model says of rows in folds that it was not fitted on."""
    said = np.zeros((len(rows.target), 3))
    for fold in np.unique(folds):
        out = folds == fold
        if out.all():
            continue
        for place, model in enumerate(models.fit(rows[~out], seed)):
            said[out, place] = heads.raw(model, rows.inputs[out])
    return said


def weighed(said: Floats, target: Floats) -> Floats:
    """How many times each model counts: equally wide first, then by how well it ranks."""
    spread = said.std(0)
    found = np.zeros(said.shape[1])
    for place in np.flatnonzero(spread > 1e-9):
        found[place] = _TRUST[place] * _worth(said[:, place], target) / spread[place]
    return found


def _worth(said: Floats, target: Floats) -> float:
    """The correlation with the target, pulled towards what was believed before; never below 0."""
    x, y = said - said.mean(), target - target.mean()
    size = float(np.sqrt((x * x).mean() * (y * y).mean()))
    found = float((x * y).mean() / size) if size > 1e-12 else 0.0
    rows = len(target)
    return max(0.0, (rows * found + _BELIEF_ROWS * _BELIEF) / (rows + _BELIEF_ROWS))


def _leaning(head: Head, total: Floats, base: Head, inputs: Inputs, target: Floats) -> tuple[Head, Floats]:
    """The head with its base added."""
    theirs = heads.evidence(base, inputs)
    spread = float(theirs.std())
    share = _share_of_base(len(target)) * sum(_TRUST)
    times = share * _worth(theirs, target) / spread if spread > 1e-9 else 0.0
    leaning = replace(head, base=base, base_w=single(times), task_w=base.task_w, task_b=base.task_b)
    return leaning, total + times * theirs


def _share_of_base(rows: int) -> float:
    return _BASE_ROWS / (_BASE_ROWS + rows)


def with_floors(
    head: Head,
    inputs: Inputs,
    folds: NDArray[np.int64],
    groups: NDArray[np.bool_] | None = None,
    least_known: float = 0.0,
) -> Head:
    """The head that abstains where few rows are that it did not remember: so far off, or so few words that it has met.

    groups: rows that are of another kind than the rest; the lower of the two floors counts, so that neither is refused.
    least_known: the floor for words does not sink below it, whatever rows there are.
    """
    near, known = np.full(len(inputs), np.nan), np.full(len(inputs), np.nan)
    for fold in np.unique(folds):
        out = folds == fold
        if out.all():
            return head
        kept = models.chosen(np.ones(int((~out).sum())), len(head.landmarks))
        rarity = models.rarity_of([inputs.words[i] for i in np.flatnonzero(~out).tolist()])
        others = replace(head, landmarks=inputs.embedding[~out][kept], word_rarity=rarity)
        near[out] = heads.nearness(others, inputs.embedding[out])
        known[out] = heads.known_words(others, [inputs.words[i] for i in np.flatnonzero(out).tolist()])
    kinds = [np.ones(len(inputs), dtype=bool)] if groups is None else [groups, ~groups]
    floors = [min(float(np.quantile(x[kind], UNKNOWN_SHARE)) for kind in kinds if kind.any()) for x in (near, known)]
    words = min(max(floors[1], least_known), MOST_KNOWN)
    return replace(head, support_floor=single(floors[0]), words_floor=single(words))


def logistic(x: Floats, share: Floats, weight: Floats) -> tuple[float, float]:
    """The slope and intercept of a logistic curve; share: 0..1, how much of an event each row is.

    Half an event and half a non-event more, at the mean, keep a class of its own from running away; the slope is never
    below 0: a ranking that is worse than chance is not turned round, it is given up.
    """
    centre, spread = float(np.average(x, weights=weight)), float(x.std())
    scaled = (x - centre) / spread if spread > 1e-9 else np.zeros(len(x))
    values = np.concatenate([scaled, scaled, [0.0, 0.0]])[:, None]
    event = np.concatenate([np.ones(len(x)), np.zeros(len(x)), [1.0, 0.0]])
    model = LogisticRegression(C=10.0, max_iter=1000)
    model.fit(values, event, sample_weight=np.concatenate([weight * share, weight * (1 - share), [0.5, 0.5]]))
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0 or spread <= 1e-9:
        mean = (float((weight * share).sum()) + 0.5) / (float(weight.sum()) + 1.0)
        return 0.0, float(np.log(mean / (1 - mean)))
    return slope / spread, intercept - slope * centre / spread


def stem_of(text: str) -> str:
    """What makes two prompts the same question: letters and digits of it, without its options."""
    return _NO_WORD.sub(" ", _OPTIONS.split(text)[0].lower()).strip()[:200]


def folds_of(stems: Sequence[str], seed: int = 0) -> NDArray[np.int64]:
    """Folds of about equal size; rows of one stem are together."""
    _, place = np.unique(np.asarray(stems, dtype=object).astype(str), return_inverse=True)
    found: NDArray[np.int64] = (np.random.default_rng(seed).permutation(place.max() + 1) % FOLDS)[place]
    return found
