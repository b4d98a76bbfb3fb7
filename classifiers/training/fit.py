"""Fitting the head: small networks that learn from the outcomes and from what a question's neighbours were like."""

import hashlib
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPRegressor

from weighbridge.classifiers import features, window
from weighbridge.classifiers.head import Head
from weighbridge.classifiers.minilm import ENCODER, TOKENIZER, Encoder
from weighbridge.classifiers.training.dataset import TASKS, Rows

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

WINDOW_TOKENS = 128
EMBEDDING_SIZE = 384

NETWORKS = 3
HIDDEN_UNITS = 64
EPOCHS = 15
PENALTY = 0.1
# Embeddings have length 1, so their numbers are small beside the counts: bring them to a similar spread.
EMBEDDING_SCALE = 0.5 * EMBEDDING_SIZE**0.5

NEIGHBOURS = 60
NEIGHBOUR_SHARPNESS = 10.0
# How much of what is learnt comes from the neighbours. One answer of one model is mostly noise.
SMOOTHING = 0.6
OWN_SMOOTHING = 0.2  # the levels of our own prompts are given, not measured


@dataclass(frozen=True)
class Inputs:
    """What the head sees of each prompt. embedding: (N, D). counts: (N, L)."""

    embedding: Singles
    counts: Singles

    def __getitem__(self, rows: NDArray[np.bool_]) -> "Inputs":
        return Inputs(self.embedding[rows], self.counts[rows])


def open_encoder(artefact: Path) -> Encoder:
    contents = {name: (artefact / name).read_bytes() for name in (ENCODER, TOKENIZER)}
    return Encoder(artefact, contents, window_tokens=WINDOW_TOKENS, size=EMBEDDING_SIZE)


def read(prompts: list[str], encoder: Encoder, cache: Path | None = None, threads: int = 2) -> Inputs:
    """Embed with the engine that serves. cache: a folder that remembers embeddings of this very encoder."""
    ends = [window.ends_of(prompt) for prompt in prompts]
    known = _remembered(cache)
    keys = [hashlib.sha256(end.encode()).hexdigest() for end in ends]
    missing = list({key: end for key, end in zip(keys, ends, strict=True) if key not in known}.items())

    def embed(item: tuple[str, str]) -> Singles:
        return encoder.embed(encoder.tokens_of([item[1]])[0])

    with ThreadPoolExecutor(threads) as pool:
        for done, (item, embedding) in enumerate(zip(missing, pool.map(embed, missing), strict=True), 1):
            known[item[0]] = embedding
            if done % 2000 == 0:
                print(f"  embedded {done:,} of {len(missing):,}", flush=True)
    if cache and missing:
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(cache / "embeddings.npz", allow_pickle=False, keys=list(known), values=np.array(list(known.values())))
    counts = [features.count(end, len(prompt)) for end, prompt in zip(ends, prompts, strict=True)]
    return Inputs(np.array([known[key] for key in keys], np.float32), np.array(counts, np.float32))


def _remembered(cache: Path | None) -> dict[str, Singles]:
    if cache is None or not (cache / "embeddings.npz").is_file():
        return {}
    with np.load(cache / "embeddings.npz", allow_pickle=False) as arrays:
        return dict(zip(arrays["keys"].tolist(), arrays["values"], strict=True))


def neighbours(inputs: Inputs, rows: Rows, target: Floats) -> Floats:
    """For each row the weighted mean target of its nearest rows in the other folds."""
    smooth = np.zeros(len(target))
    for fold in np.unique(rows.fold):
        here, there = rows.fold == fold, rows.fold != fold
        if not there.any():
            return target
        near = inputs.embedding[here] @ inputs.embedding[there].T
        count = min(NEIGHBOURS, int(there.sum()))
        nearest = np.argpartition(-near, count - 1, axis=1)[:, :count]
        pull = np.exp(NEIGHBOUR_SHARPNESS * np.take_along_axis(near, nearest, 1)) * rows.weight[there][nearest]
        smooth[here] = (pull * target[there][nearest]).sum(1) / pull.sum(1)
    return smooth


def fit(inputs: Inputs, rows: Rows) -> Head:
    """The head without its calibration."""
    mean = inputs.counts.mean(0)
    scale = inputs.counts.std(0) + 1e-6
    lexical = np.clip((inputs.counts - mean) / scale, -4, 4)
    seen = np.concatenate([inputs.embedding * EMBEDDING_SCALE, lexical], axis=1)
    share = np.where(rows.own, OWN_SMOOTHING, SMOOTHING)
    target = (1 - share) * rows.target + share * neighbours(inputs, rows, rows.target)
    networks = [_network(seen, target, rows.weight, seed) for seed in range(NETWORKS)]
    rescale = np.concatenate([np.full(inputs.embedding.shape[1], EMBEDDING_SCALE), np.ones(len(mean))])[:, None]
    task_w, task_b = _tasks(inputs, rows)
    return Head(
        lexical_mean=_single(mean),
        lexical_scale=_single(scale),
        hidden_w=_single(np.concatenate([n.coefs_[0] * rescale for n in networks], axis=1)),
        hidden_b=_single(np.concatenate([n.intercepts_[0] for n in networks])),
        output_w=_single(np.concatenate([n.coefs_[1][:, 0] for n in networks]) / NETWORKS),
        output_b=_single(np.mean([n.intercepts_[1][0] for n in networks])),
        calibration=_single([1.0, 0.0]),
        task_w=task_w,
        task_b=task_b,
    )


def _network(seen: Singles, target: Floats, weight: Floats, seed: int) -> MLPRegressor:
    network = MLPRegressor(
        hidden_layer_sizes=(HIDDEN_UNITS,),
        activation="tanh",
        alpha=PENALTY,
        batch_size=min(256, len(seen)),
        max_iter=EPOCHS,
        tol=0.0,
        n_iter_no_change=EPOCHS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # A fixed number of rounds is the point, so that nothing depends on when it would have stopped.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(seen, target, sample_weight=weight)
    return network


def _tasks(inputs: Inputs, rows: Rows) -> tuple[Singles, Singles]:
    """A softmax over the tasks, from our own prompts and the public ones whose domain says what they are."""
    known = rows.task != ""
    # All public rows together count as much as a fifth of our own: they know one task only.
    own, public = rows.own & known, ~rows.own & known
    weight = np.where(own, 1.0, 0.2 * own.sum() / max(1, public.sum()))
    model = LogisticRegression(C=30.0, max_iter=3000)
    model.fit(inputs.embedding[known].astype(np.float64), rows.task[known], sample_weight=weight[known])
    if list(model.classes_) != list(TASKS):
        raise ValueError(f"prompts for every task are needed, found {json.dumps(list(model.classes_))}")
    return _single(model.coef_.T), _single(model.intercept_)


def evidence(head: Head, inputs: Inputs) -> Floats:
    """The head over many rows: the calibrated log-odds."""
    return np.array([head.evidence(e, c) for e, c in zip(inputs.embedding, inputs.counts, strict=True)])


def scores(head: Head, inputs: Inputs) -> Floats:
    probability: Floats = 1 / (1 + np.exp(-evidence(head, inputs)))
    return probability


def _single(values: object) -> Singles:
    return np.asarray(values, dtype=np.float32, order="C")
