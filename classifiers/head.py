"""Head: from an embedding and a few counts to a calibrated score and a task. Plain numpy, a few microseconds.

The score is the mean of several small networks with one hidden layer, put through a logistic calibration. The task is a
softmax over the embedding.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weighbridge.classifiers import features

Array = NDArray[np.float32]

_MAX_UNPACKED_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    score: float
    task: int
    task_probability: float


@dataclass(frozen=True, slots=True)
class Head:
    """D = embedding size, L = lexical features, M = networks, H = hidden units, T = tasks.

    lexical_mean, lexical_scale: (L,), so that each count has mean 0 and spread 1 where it was fitted.
    hidden_w (D + L, M * H), hidden_b (M * H,), output_w (M * H,), output_b (): the networks side by side.
    calibration: (slope, intercept) of the logistic curve from the networks' mean to the score.
    task_w (D, T), task_b (T,).
    """

    lexical_mean: Array
    lexical_scale: Array
    hidden_w: Array
    hidden_b: Array
    output_w: Array
    output_b: Array
    calibration: Array
    task_w: Array
    task_b: Array

    def judge(self, embedding: Array, counts: Array) -> Verdict:
        """Score one text. Pure."""
        logits = self.task_logits(embedding)
        weights = np.exp(logits - logits.max())
        task = int(weights.argmax())
        score = 1 / (1 + math.exp(-self.evidence(embedding, counts)))
        return Verdict(score, task, float(weights[task] / weights.sum()))

    def evidence(self, embedding: Array, counts: Array) -> float:
        """The log-odds that the small model falls short."""
        lexical = np.clip((counts - self.lexical_mean) / self.lexical_scale, -4, 4)
        hidden = np.tanh(np.concatenate([embedding, lexical]) @ self.hidden_w + self.hidden_b)
        raw = float(hidden @ self.output_w + self.output_b)
        slope, intercept = self.calibration
        return min(30.0, max(-30.0, float(slope) * raw + float(intercept)))

    def task_logits(self, embedding: Array) -> Array:
        logits: Array = embedding @ self.task_w + self.task_b
        return logits


def expected_shapes(embedding_size: int, hidden: int, tasks: int) -> Mapping[str, tuple[int, ...]]:
    lexical = len(features.NAMES)
    return {
        "lexical_mean": (lexical,),
        "lexical_scale": (lexical,),
        "hidden_w": (embedding_size + lexical, hidden),
        "hidden_b": (hidden,),
        "output_w": (hidden,),
        "output_b": (),
        "calibration": (2,),
        "task_w": (embedding_size, tasks),
        "task_b": (tasks,),
    }


def write(head: Head) -> bytes:
    """The head as an .npz; the same head gives the same bytes."""
    buffer = io.BytesIO()
    arrays = {name: np.asarray(getattr(head, name), np.float32, order="C") for name in Head.__slots__}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read(content: bytes, embedding_size: int, tasks: int) -> Head:
    """The head of an .npz, with every shape and number checked. ValueError says what is wrong."""
    arrays = _unpacked(content)
    hidden = arrays["hidden_b"].shape[0] if arrays.get("hidden_b", np.zeros(())).ndim == 1 else 0
    for name, shape in expected_shapes(embedding_size, hidden, tasks).items():
        if name not in arrays:
            raise ValueError(f"{name} is missing")
        if arrays[name].dtype != np.float32 or arrays[name].shape != shape:
            raise ValueError(f"{name} is {arrays[name].dtype}{arrays[name].shape}, wanted float32{shape}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    if not (arrays["lexical_scale"] > 0).all() or arrays["calibration"][0] <= 0:
        raise ValueError("lexical_scale and the slope of the calibration must be above 0")
    return Head(**{name: arrays[name] for name in Head.__slots__})


def _unpacked(content: bytes) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED_BYTES:
                raise ValueError("unpacks to more than a head may have")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, EOFError, OSError, KeyError) as error:
        raise ValueError(f"is not an .npz ({type(error).__name__})") from error
