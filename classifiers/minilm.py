"""MiniLM: the learned classifier. A sentence embedding (int8 ONNX), a few counts, and a small calibrated head.

It needs onnxruntime, tokenizers and numpy, no torch, and no network: everything is in one artefact folder.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr
from tokenizers import Tokenizer

from weighbridge.classifiers import asides, cues, features, head, window
from weighbridge.classifiers.artefacts import ArtefactError, Manifest, read_files, read_manifest
from weighbridge.classifiers.base import Assessment, Classifier
from weighbridge.classifiers.wordpiece import WordPiece

SHIPPED = Path(__file__).parent / "artefact"

ENCODER, TOKENIZER, HEAD = "encoder.onnx", "tokenizer.json", "head.npz"

# What the marks around every text are called in the tokenizer's vocabulary.
_OPENING, _CLOSING = "[CLS]", "[SEP]"


class MiniLM(Classifier):
    """Thread-safe: concurrent calls run side by side, each on `threads` threads.

    artefact: the folder of an artefact; None is the one that is shipped.
    """

    artefact: str | None = None
    threads: int = Field(default=1, ge=1, le=64)

    _manifest: Manifest = PrivateAttr()
    _encoder: "Encoder" = PrivateAttr()
    _head: head.Head = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        folder = Path(self.artefact) if self.artefact is not None else SHIPPED
        self._manifest = manifest = read_manifest(folder)
        contents = read_files(folder, manifest, (ENCODER, TOKENIZER, HEAD))
        self._head = _head(folder / HEAD, contents[HEAD], manifest)
        self._encoder = Encoder(
            folder, contents, window_tokens=manifest.window_tokens, size=manifest.embedding_size, threads=self.threads
        )

    def assess(self, texts: Sequence[str]) -> list[Assessment]:
        """One assessment per text, the same whatever stands beside it.

        The encoder sees one text at a time. Its int8 arithmetic takes its scale from the whole batch, so a padded batch
        would make a score depend on its neighbours, and it is hardly faster.
        """
        asks = [asides.without(text) for text in texts]
        ends = [window.ends_of(ask) for ask in asks]
        rows = zip(asks, ends, self._encoder.tokens_of(ends), strict=True)
        return [self._assess(end, *features.both(end, len(ask)), tokens) for ask, end, tokens in rows]

    @property
    def thresholds(self) -> Mapping[str, float]:
        return MappingProxyType({name: point.threshold for name, point in self._manifest.thresholds.items()})

    @property
    def version(self) -> str:
        return self._manifest.version

    def _assess(
        self, text: str, counts: NDArray[np.float32], words: NDArray[np.int64], tokens: Sequence[int]
    ) -> Assessment:
        verdict = self._head.judge(self._encoder.embed(tokens), counts, words)
        known = verdict.task_probability >= self._manifest.task_minimum
        task = self._manifest.tasks[verdict.task] if known else None
        probability = verdict.task_probability
        if (named := cues.task_of(text)) in self._manifest.tasks:
            # Whoever names the task is believed before the embedding is.
            task, probability = named, max(cues.PRECISION, probability if task == named else 0.0)
        return Assessment(verdict.score, task, probability, verdict.abstained)


class Encoder:
    """From a text to its embedding. Training embeds with this very engine: what a head is fitted on is what it gets."""

    def __init__(
        self, folder: Path, contents: Mapping[str, bytes], *, window_tokens: int, size: int, threads: int = 1
    ) -> None:
        self._window_tokens = window_tokens
        self._tokenizer, self._marks = _tokenizer(folder / TOKENIZER, contents[TOKENIZER])
        self._words = WordPiece(self._encoded)
        self._session = _session(folder / ENCODER, contents[ENCODER], size, threads)

    def tokens_of(self, ends: Sequence[str]) -> list[list[int]]:
        """What is read of each text (already cut to its ends), marks included."""
        opening, closing = self._marks
        size = self._window_tokens - 2
        return [[opening, *window.ends_of_tokens(tokens, size), closing] for tokens in self._words.tokens_of(ends)]

    def _encoded(self, texts: list[str]) -> list[list[int]]:
        # The batch call lets other threads run meanwhile; the one for a single text does not.
        return [found.ids for found in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def embed(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        found = self._session.run(None, {"input_ids": np.array([tokens], dtype=np.int64)})
        embedding: NDArray[np.float32] = found[0][0]
        return embedding


def _tokenizer(path: Path, content: bytes) -> tuple[Any, tuple[int, int]]:
    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except Exception as error:  # the Rust side raises nothing narrower
        raise ArtefactError(path, "is not a tokenizer") from error
    # The model's own file may say to cut at 128 and to fill up to 128.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    opening, closing = tokenizer.token_to_id(_OPENING), tokenizer.token_to_id(_CLOSING)
    if opening is None or closing is None:
        raise ArtefactError(path, f"has no {_OPENING} and {_CLOSING}")
    return tokenizer, (opening, closing)


def _head(path: Path, content: bytes, manifest: Manifest) -> head.Head:
    try:
        return head.read(content, manifest.embedding_size, len(manifest.tasks))
    except ValueError as error:
        raise ArtefactError(path, str(error)) from error


def _session(path: Path, content: bytes, size: int, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The graph is written in the operators that run: what onnxruntime would fuse further is slower.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Threads that wait do not burn the processor that the gateway needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        embedding = session.run(None, {"input_ids": np.zeros((1, 2), dtype=np.int64)})[0]
    except Exception as error:  # onnxruntime's exceptions have no public base
        raise ArtefactError(path, "is not the encoder that this release runs") from error
    if embedding.shape != (1, size) or not np.isfinite(embedding).all():
        raise ArtefactError(path, f"gives {embedding.shape}, wanted {(1, size)} finite numbers")
    return session
