"""The three small models of a head, each fitted on its own: words, landmarks, trees. What they say is added up.

They are as different as three models on the same inputs can be, so their errors are too; the sum ranks better than any.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge

from weighbridge.classifiers import features
from weighbridge.classifiers.head import TREE_DEPTH, Head, Inputs, Words

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

WORD_PENALTY = 10.0
LEAST_SEEN = 3  # prompts that a word must be in
LANDMARKS = 1000
WIDTH, COUNT_WEIGHT, KERNEL_PENALTY = 1.0, 0.1, 3.0
PROJECTIONS = 40
TREES = 100
TREE_ROWS = 9000  # what a tree grows on at most: more would take minutes
LEAVES = 400  # about so many in a tree, where there are rows enough
LEAST_IN_LEAF = 3
SOME_FEATURES, MANY_ROWS = 0.3, 4000  # fewer rows want trees that are less alike


@dataclass(frozen=True)
class Fitting:
    """Rows to fit on. weight: how much each counts, 1 on average."""

    inputs: Inputs
    target: Floats
    weight: Floats

    def __getitem__(self, rows: NDArray[np.bool_]) -> "Fitting":
        weight = self.weight[rows]
        return Fitting(self.inputs[rows], self.target[rows], weight / weight.mean())


def fit(rows: Fitting, seed: int = 0) -> tuple[Head, Head, Head]:
    """Three heads, each with one of the models, that predict the target less its mean."""
    blank = empty(rows.inputs)
    centred = replace(rows, target=rows.target - np.average(rows.target, weights=rows.weight))
    return _words(blank, centred), _landmarks(blank, centred, seed), _trees(blank, centred, seed)


def empty(inputs: Inputs) -> Head:
    """A head without models, that says 0."""
    size, lexical = inputs.embedding.shape[1], len(features.NAMES)
    return Head(
        lexical_mean=single(inputs.counts.mean(0)),
        lexical_scale=single(inputs.counts.std(0) + 1e-3),
        lexical_w=single(np.zeros(lexical)),
        word_w=single(np.zeros(features.WORD_BUCKETS)),
        word_rarity=single(np.zeros(features.WORD_BUCKETS)),
        landmarks=single(np.zeros((0, size))),
        landmark_counts=single(np.zeros((0, lexical))),
        landmark_w=single(np.zeros(0)),
        kernel=single([WIDTH, COUNT_WEIGHT]),
        projection=single(np.zeros((size, 0))),
        tree_start=places([]),
        node_feature=places([]),
        node_number=single(np.zeros(0)),
        node_right=places([]),
        bias=single(0.0),
        calibration=single([1.0, 0.0]),
        support_floor=single(-1.0),
        words_floor=single(-1.0),
        task_w=single(np.zeros((size, 0))),
        task_b=single(np.zeros(0)),
        base_w=single(0.0),
    )


def joined(models: tuple[Head, Head, Head], weights: Floats) -> Head:
    """One head that adds up what the three say, so many times each."""
    words, landmarks, trees = models
    return replace(
        words,
        word_w=halved(words.word_w * weights[0]),
        landmarks=landmarks.landmarks,
        landmark_counts=landmarks.landmark_counts,
        landmark_w=single(landmarks.landmark_w * weights[1]),
        projection=trees.projection,
        tree_start=trees.tree_start,
        node_feature=trees.node_feature,
        node_number=single(np.where(trees.node_right == 0, weights[2], 1.0) * trees.node_number),
        node_right=trees.node_right,
        bias=single(sum(w * float(model.bias) for w, model in zip(weights, models, strict=True))),
    )


def _words(blank: Head, rows: Fitting) -> Head:
    """A ridge on which words occur, the rarer the heavier."""
    sizes = [len(words) for words in rows.inputs.words]
    places = np.concatenate([*rows.inputs.words, np.zeros(0, np.int64)])
    rarity = rarity_of(rows.inputs.words)
    values = rarity[places].astype(np.float64)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    size = np.sqrt(np.bincount(owner, values**2, minlength=len(sizes)))
    values /= np.maximum(size, 1e-12)[owner]
    table = csr_matrix((values, places, np.concatenate([[0], np.cumsum(sizes)])), (len(sizes), len(rarity)))
    model = Ridge(alpha=WORD_PENALTY, solver="sparse_cg", tol=1e-4)
    model.fit(table, rows.target, sample_weight=rows.weight)
    return replace(blank, word_rarity=rarity, word_w=halved(model.coef_), bias=single(model.intercept_))


def rarity_of(words: Sequence[Words]) -> Singles:
    """How much each word weighs: the rarer the more, and nothing where it was hardly met."""
    seen = np.bincount(np.concatenate([*words, np.zeros(0, np.int64)]), minlength=features.WORD_BUCKETS)
    return halved(np.where(seen >= LEAST_SEEN, np.log(max(2, len(words)) / (1.0 + seen)).clip(0.1), 0.0))


def _landmarks(blank: Head, rows: Fitting, seed: int) -> Head:
    """A kernel ridge whose solution is spanned by some of the rows (Williams and Seeger, NIPS 2000)."""
    picked = np.sort(chosen(rows.weight, LANDMARKS, seed))
    lexical = blank.lexical(rows.inputs.counts)
    landmarks, counts = halved(rows.inputs.embedding[picked]), halved(lexical[picked])
    between = _kernel(rows.inputs.embedding, lexical, landmarks, counts)
    among = _kernel(landmarks, counts, landmarks, counts)
    weighed = between * rows.weight[:, None]
    left = between.T @ weighed + KERNEL_PENALTY * (among + 1e-3 * np.eye(len(picked)))
    solution = np.linalg.solve(left, weighed.T @ rows.target)
    return replace(blank, landmarks=landmarks, landmark_counts=counts, landmark_w=single(solution))


def chosen(weight: Floats, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows by chance, the heavier the likelier."""
    rng = np.random.default_rng(seed)
    picked: NDArray[np.int64] = rng.choice(len(weight), min(count, len(weight)), replace=False, p=weight / weight.sum())
    return picked


def _kernel(embedding: Singles, counts: Singles, others: Singles, other_counts: Singles) -> Floats:
    distance = 2.0 - 2.0 * (embedding @ others.T)
    squares = (counts**2).sum(1)[:, None] + (other_counts**2).sum(1) - 2.0 * (counts @ other_counts.T)
    found: Floats = np.exp(-WIDTH * (distance + COUNT_WEIGHT**2 * squares)).astype(np.float64)
    return found


def _trees(blank: Head, rows: Fitting, seed: int) -> Head:
    """Extremely randomised trees on the main directions of the embeddings and on the counts (Geurts et al., 2006)."""
    count = min(PROJECTIONS, len(rows.target) // 5, rows.inputs.embedding.shape[1])
    projection = halved(PCA(count, random_state=seed).fit(rows.inputs.embedding).components_.T)
    seen = np.concatenate([rows.inputs.embedding @ projection, blank.lexical(rows.inputs.counts)], axis=1)
    model = ExtraTreesRegressor(
        n_estimators=TREES,
        max_depth=TREE_DEPTH,
        max_features=SOME_FEATURES if len(rows.target) < MANY_ROWS else 1.0,
        min_samples_leaf=max(LEAST_IN_LEAF, min(len(rows.target), TREE_ROWS) // LEAVES),
        bootstrap=len(rows.target) > TREE_ROWS,
        max_samples=TREE_ROWS if len(rows.target) > TREE_ROWS else None,
        random_state=seed,
        n_jobs=2,
    )
    model.fit(seen, rows.target, sample_weight=rows.weight)
    grown = [tree.tree_ for tree in model.estimators_]
    sizes = [tree.node_count for tree in grown]
    leaf = np.concatenate([tree.children_left < 0 for tree in grown])
    right = np.concatenate([tree.children_right - np.arange(tree.node_count) for tree in grown])
    value = np.concatenate([tree.value[:, 0, 0] for tree in grown]) / TREES
    return replace(
        blank,
        projection=projection,
        tree_start=places(np.cumsum([0, *sizes[:-1]])),
        node_feature=places(np.where(leaf, 0, np.concatenate([tree.feature for tree in grown]))),
        node_number=single(np.where(leaf, value, np.concatenate([tree.threshold for tree in grown]))),
        node_right=places(np.where(leaf, 0, right)),
    )


def places(values: object) -> NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)


def single(values: object) -> Singles:
    return np.asarray(values, dtype=np.float32, order="C")


def halved(values: object) -> Singles:
    """Rounded to what is kept on disk."""
    return single(np.asarray(values, dtype=np.float16))
