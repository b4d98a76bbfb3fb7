"""Head: from an embedding, a few counts and the words to a calibrated score and a task, or to "I do not know".

The score is the sum of three small models, put through a logistic calibration: a weight for each word, a kernel machine
over a few hundred remembered prompts (its landmarks), and a hundred randomised trees. A head that was fitted to own
labels may lean on the one it was built on, its base. The landmarks also say what the head knows: it abstains where none
of them is near. Plain numpy, a fraction of a millisecond.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighbridge.classifiers import features

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Words = NDArray[np.int64]
Places = NDArray[np.int64]

TREE_DEPTH = 12  # at most
NEIGHBOURS = 5  # landmarks that must be near, on average

_AT_ONCE = 512  # rows; more would only take memory
_MAX_UNPACKED_BYTES = 100_000_000
_BASE = "base."


@dataclass(frozen=True, slots=True)
class Verdict:
    """task: its place in the manifest's list; -1 where the head knows none."""

    score: float
    task: int
    task_probability: float
    abstained: bool = False


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a head sees of some texts. embedding: (N, D), of length 1. counts: (N, L). words: one array per text."""

    embedding: Array
    counts: Array
    words: Sequence[Words]

    def __getitem__(self, rows: NDArray[np.bool_]) -> "Inputs":
        places = np.flatnonzero(rows)
        return Inputs(self.embedding[places], self.counts[places], [self.words[i] for i in places.tolist()])

    def __len__(self) -> int:
        return len(self.embedding)


@dataclass(frozen=True)
class Head:
    """What a head holds, by its shapes.

    D = embedding size, L = lexical features, B = word buckets, M = landmarks, P = projections, T = trees, S = nodes,
    K = tasks.

    lexical_mean, lexical_scale: (L,), so that each count has mean 0 and spread 1 where it was fitted.
    lexical_w: (L,); what a count adds by itself: a prior, such as that longer is harder.
    word_w, word_rarity: (B,); a text's words weigh as their rarity, which has length 1 in all.
    landmarks (M, D), landmark_counts (M, L), landmark_w (M,): exp(-width * squared distance), counts weighed.
    kernel: (width, weight of the counts).
    projection (D, P): the trees see the embedding through it, then the counts.
    tree_start (T,), node_feature (S,), node_number (S,), node_right (S,): trees one after the other, each from its root
        on in the order of a walk that goes left first. Up to the number is left, the next node; else so many nodes on.
        node_right is 0 at a leaf, whose number is added to the sum.
    bias (): the sum where all three say nothing.
    calibration: (slope, intercept) of the logistic curve from the sum to the score.
    support_floor (): the mean cosine of the nearest landmarks below which the head abstains.
    words_floor (): the share of a text's words that it has met below which it abstains.
    task_w (D, K), task_b (K,): K may be 0.
    base, base_w (): another head, whose log-odds are added to the sum so many times.
    """

    lexical_mean: Array
    lexical_scale: Array
    lexical_w: Array
    word_w: Array
    word_rarity: Array
    landmarks: Array
    landmark_counts: Array
    landmark_w: Array
    kernel: Array
    projection: Array
    tree_start: Places
    node_feature: Places
    node_number: Array
    node_right: Places
    bias: Array
    calibration: Array
    support_floor: Array
    words_floor: Array
    task_w: Array
    task_b: Array
    base_w: Array
    base: "Head | None" = None

    def judge(self, embedding: Array, counts: Array, words: Words) -> Verdict:
        """Score one text. Pure."""
        inputs = Inputs(embedding[None], counts[None], (words,))
        cosines = _cosines(self, inputs.embedding)
        score = float(_probability(_calibrated(self, _sum(self, inputs, cosines)))[0])
        abstained = bool(_unlike(self, inputs, cosines)[0])
        logits = embedding @ self.task_w + self.task_b
        if not len(logits):
            return Verdict(score, -1, 0.0, abstained)
        weights = np.exp(logits - logits.max())
        task = int(weights.argmax())
        return Verdict(score, task, float(weights[task] / weights.sum()), abstained)

    @cached_property
    def landmark_squares(self) -> Array:
        """(M,): the squared length of each landmark's counts."""
        found: Array = (self.landmark_counts * self.landmark_counts).sum(1)
        return found

    @cached_property
    def next_node(self) -> Places:
        """(2 S,): where each node leads, to the left and to the right; a leaf to itself."""
        here = np.arange(len(self.node_right))
        found: Places = np.stack([here + np.minimum(self.node_right, 1), here + self.node_right], axis=1).ravel()
        return found

    def lexical(self, counts: Array) -> Array:
        scaled: Array = np.clip((counts - self.lexical_mean) / self.lexical_scale, -4, 4)
        return scaled


def scores(head: Head, inputs: Inputs) -> Floats:
    """The probability that the small model falls short, for each text."""
    return _probability(evidence(head, inputs))


def evidence(head: Head, inputs: Inputs) -> Floats:
    """The same as log-odds."""
    return _calibrated(head, raw(head, inputs))


def raw(head: Head, inputs: Inputs) -> Floats:
    """The sum of the models before its calibration."""
    found = np.zeros(len(inputs))
    for start in range(0, len(inputs), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        some = Inputs(inputs.embedding[rows], inputs.counts[rows], inputs.words[rows])
        found[rows] = _sum(head, some, _cosines(head, some.embedding))
    return found


def _cosines(head: Head, embedding: Array) -> list[Array]:
    """(N, M), between each text and each landmark: of the head, then of its base."""
    own = embedding @ head.landmarks.T
    return [own] if head.base is None else [own, *_cosines(head.base, embedding)]


def _sum(head: Head, inputs: Inputs, cosines: Sequence[Array]) -> Floats:
    lexical = head.lexical(inputs.counts)
    total = float(head.bias) + _words(head, inputs.words) + lexical @ head.lexical_w
    total += _kernel(head, cosines[0], lexical) + _trees(head, inputs.embedding, lexical)
    if head.base is not None:
        total += float(head.base_w) * _calibrated(head.base, _sum(head.base, inputs, cosines[1:]))
    return total


def _calibrated(head: Head, total: Floats) -> Floats:
    slope, intercept = head.calibration.astype(np.float64)
    found: Floats = np.clip(slope * total + intercept, -30, 30)
    return found


def _probability(evidence: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-evidence))
    return found


def abstains(head: Head, inputs: Inputs) -> NDArray[np.bool_]:
    """Where a text is unlike all that the head was fitted on, or in words that it has hardly met."""
    return _unlike(head, inputs, _cosines(head, inputs.embedding))


def _unlike(head: Head, inputs: Inputs, cosines: Sequence[Array]) -> NDArray[np.bool_]:
    far: NDArray[np.bool_] = _nearness(cosines) < float(head.support_floor)
    return far | (known_words(head, inputs.words) < float(head.words_floor))


def known_words(head: Head, words: Sequence[Words]) -> Floats:
    """The share of each text's words that the head, or its base, has met; 0 where there is none."""
    found = np.zeros(len(words))
    for i, numbers in enumerate(words):
        single = numbers[: np.searchsorted(numbers, features.WORDS)]
        if len(single):
            met = head.word_rarity[single] > 0
            if head.base is not None:
                met |= head.base.word_rarity[single] > 0
            found[i] = met.mean()
    return found


def nearness(head: Head, embedding: Array) -> Floats:
    """The mean cosine of the nearest landmarks, of this head's or of its base's, whichever knows more."""
    return _nearness(_cosines(head, embedding))


def _nearness(cosines: Sequence[Array]) -> Floats:
    found: Floats = np.max([_of_nearest(each) for each in cosines], axis=0)
    return found


def _of_nearest(cosines: Array) -> Floats:
    count = min(NEIGHBOURS, cosines.shape[1])
    if not count:
        return np.full(len(cosines), -1.0)
    found: Floats = np.partition(cosines, -count, axis=1)[:, -count:].mean(1).astype(np.float64)
    return found


def _words(head: Head, words: Sequence[Words]) -> Floats:
    found = np.zeros(len(words))
    for i, known in enumerate(words):
        rarity = head.word_rarity[known]
        size = float(rarity @ rarity) ** 0.5
        if size > 0:
            found[i] = float(rarity @ head.word_w[known]) / size
    return found


def _kernel(head: Head, cosines: Array, lexical: Array) -> Floats:
    width, weight = head.kernel
    distance = 2 - 2 * cosines  # squared, since embeddings have length 1
    squares = (lexical * lexical).sum(1)[:, None] + head.landmark_squares - 2 * (lexical @ head.landmark_counts.T)
    found: Floats = np.exp(-width * (distance + weight * weight * squares)) @ head.landmark_w.astype(np.float64)
    return found


def _trees(head: Head, embedding: Array, lexical: Array) -> Floats:
    if not len(head.tree_start):
        return np.zeros(len(embedding))
    seen = np.concatenate([embedding @ head.projection, lexical], axis=1)
    width, rows = seen.shape[1], np.arange(len(seen))[:, None]
    cells, first = seen.ravel(), rows * width
    node = np.repeat(head.tree_start[None], len(seen), axis=0)
    for _ in range(TREE_DEPTH):
        above = cells[first + head.node_feature[node]] > head.node_number[node]
        node = head.next_node[2 * node + above]
    found: Floats = head.node_number[node].sum(1, dtype=np.float64)
    return found


# On disk.

# What is many is kept in half precision; fitting rounds it before it is used, so that nothing changes on the way.
_HALVES = ("word_w", "word_rarity", "landmarks", "landmark_counts", "projection")
_PLACES = ("tree_start", "node_feature", "node_right")
KEPT_AS: Mapping[str, Any] = dict.fromkeys(_HALVES, np.float16) | dict.fromkeys(_PLACES, np.int32)
ARRAYS = tuple(f.name for f in fields(Head) if f.name != "base")


def expected_shapes(sizes: Mapping[str, int]) -> Mapping[str, tuple[int, ...]]:
    """sizes: by the letters that Head describes its arrays with."""
    d, m, p, t, s, k = (sizes[letter] for letter in "DMPTSK")
    lexical, buckets = len(features.NAMES), features.WORD_BUCKETS
    return {
        "lexical_mean": (lexical,),
        "lexical_scale": (lexical,),
        "lexical_w": (lexical,),
        "word_w": (buckets,),
        "word_rarity": (buckets,),
        "landmarks": (m, d),
        "landmark_counts": (m, lexical),
        "landmark_w": (m,),
        "kernel": (2,),
        "projection": (d, p),
        "tree_start": (t,),
        "node_feature": (s,),
        "node_number": (s,),
        "node_right": (s,),
        "bias": (),
        "calibration": (2,),
        "support_floor": (),
        "words_floor": (),
        "task_w": (d, k),
        "task_b": (k,),
        "base_w": (),
    }


def write(head: Head) -> bytes:
    """The head as an .npz; the same head gives the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **_stored(head, ""))
    return buffer.getvalue()


def _stored(head: Head, prefix: str) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {
        prefix + name: np.asarray(getattr(head, name), _kept_as(name), order="C") for name in ARRAYS
    }
    return found if head.base is None else found | _stored(head.base, prefix + _BASE)


def read(content: bytes, embedding_size: int, tasks: int) -> Head:
    """The head of an .npz, with every shape and number checked. ValueError says what is wrong."""
    arrays = _unpacked(content)
    inner = {name.removeprefix(_BASE): array for name, array in arrays.items() if name.startswith(_BASE)}
    base = _checked(inner, embedding_size, tasks, None) if inner else None
    return _checked(arrays, embedding_size, tasks, base)


def _checked(arrays: Mapping[str, NDArray[Any]], embedding_size: int, tasks: int, base: Head | None) -> Head:
    lengths = {letter: _length(arrays, name) for letter, name in _LENGTHS.items()}
    sizes = {"D": embedding_size, "K": tasks, "P": _length(arrays, "projection", axis=1), **lengths}
    for name, shape in expected_shapes(sizes).items():
        if name not in arrays:
            raise ValueError(f"{name} is missing")
        if arrays[name].dtype != _kept_as(name) or arrays[name].shape != shape:
            wanted = f"{np.dtype(_kept_as(name))}{shape}"
            raise ValueError(f"{name} is {arrays[name].dtype}{arrays[name].shape}, wanted {wanted}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    if not (arrays["lexical_scale"] > 0).all() or arrays["calibration"][0] < 0:
        raise ValueError("lexical_scale must be above 0, and the slope of the calibration not below it")
    _check_trees(arrays, sizes["P"] + len(features.NAMES))
    return Head(**{name: arrays[name].astype(_used_as(name)) for name in ARRAYS}, base=base)


def _check_trees(arrays: Mapping[str, NDArray[Any]], width: int) -> None:
    """Every way through a tree leads on to a node that is there."""
    start, feature, right = arrays["tree_start"], arrays["node_feature"], arrays["node_right"]
    nodes = len(right)
    inside = bool((start >= 0).all() and (start < nodes).all() and (feature >= 0).all() and (feature < width).all())
    if not inside or (right < 0).any() or (np.arange(nodes) + right >= max(1, nodes)).any():
        raise ValueError("a tree points to what is not there")


_LENGTHS = {"M": "landmark_w", "T": "tree_start", "S": "node_number"}


def _kept_as(name: str) -> Any:
    return KEPT_AS.get(name, np.float32)


def _used_as(name: str) -> Any:
    return np.int64 if name in _PLACES else np.float32


def _length(arrays: Mapping[str, NDArray[Any]], name: str, axis: int = 0) -> int:
    shape = arrays[name].shape if name in arrays else ()
    return shape[axis] if len(shape) > axis else 0


def _unpacked(content: bytes) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED_BYTES:
                raise ValueError("unpacks to more than a head may have")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, EOFError, OSError, KeyError) as error:
        raise ValueError(f"is not an .npz ({type(error).__name__})") from error
