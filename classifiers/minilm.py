"""MiniLM: the learned classifier. A sentence embedding (int8 ONNX), a few counts, and a small calibrated head.

It needs onnxruntime, tokenizers and numpy, no torch, and no network: everything is in one artefact folder.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from weighbridge.classifiers import features, head, window
from weighbridge.classifiers.artefacts import ArtefactError, Manifest, read_files, read_manifest
from weighbridge.classifiers.base import Assessment, Classifier

SHIPPED = Path(__file__).parent / "artefact"

ENCODER, TOKENIZER, HEAD = "encoder.onnx", "tokenizer.json", "head.npz"

# What the marks around every text are called in the tokenizer's vocabulary.
_OPENING, _CLOSING = "[CLS]", "[SEP]"


class MiniLM(Classifier):
    """Thread-safe: concurrent calls run side by side, each on `threads` threads.

    artefact: the folder of an artefact; None is the one that is shipped.
    time_limit_s: how long a request may wait for its score; the gateway keeps it, not the classifier.
    """

    artefact: str | None = None
    threads: int = Field(default=1, ge=1, le=64)
    time_limit_s: float = Field(default=0.5, gt=0)

    _manifest: Manifest = PrivateAttr()
    _tokenizer: Any = PrivateAttr()
    _marks: tuple[int, int] = PrivateAttr()
    _session: Any = PrivateAttr()
    _head: head.Head = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        folder = Path(self.artefact) if self.artefact is not None else SHIPPED
        self._manifest = read_manifest(folder)
        contents = read_files(folder, self._manifest, (ENCODER, TOKENIZER, HEAD))
        self._tokenizer, self._marks = _tokenizer(folder / TOKENIZER, contents[TOKENIZER])
        self._head = _head(folder / HEAD, contents[HEAD], self._manifest)
        self._session = _session(folder / ENCODER, contents[ENCODER], self._manifest, self.threads)

    def assess(self, texts: Sequence[str]) -> list[Assessment]:
        """One assessment per text, the same whatever stands beside it.

        The encoder sees one text at a time. Its int8 arithmetic takes its scale from the whole batch, so a padded batch
        would make a score depend on its neighbours, and it is hardly faster.
        """
        ends = [window.ends_of(text) for text in texts]
        rows = zip(texts, ends, self.tokens_of(ends), strict=True)
        return [self._assess(features.count(end, len(text)), tokens) for text, end, tokens in rows]

    @property
    def thresholds(self) -> Mapping[str, float]:
        return MappingProxyType({name: point.threshold for name, point in self._manifest.thresholds.items()})

    @property
    def version(self) -> str:
        return self._manifest.version

    def tokens_of(self, ends: Sequence[str]) -> list[list[int]]:
        """What the encoder reads of each text, marks included."""
        opening, closing = self._marks
        # The batch call lets other threads run meanwhile; the one for a single text does not.
        encodings = self._tokenizer.encode_batch_fast(list(ends), add_special_tokens=False)
        size = self._manifest.window_tokens - 2
        return [[opening, *window.ends_of_tokens(encoding.ids, size), closing] for encoding in encodings]

    def embed(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        ids = np.array([tokens], dtype=np.int64)
        embedding: NDArray[np.float32] = self._session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
        return embedding

    def _assess(self, counts: NDArray[np.float32], tokens: Sequence[int]) -> Assessment:
        verdict = self._head.judge(self.embed(tokens), counts)
        known = verdict.task_probability >= self._manifest.task_minimum
        task = self._manifest.tasks[verdict.task] if known else None
        return Assessment(verdict.score, task, verdict.task_probability)


def _tokenizer(path: Path, content: bytes) -> tuple[Any, tuple[int, int]]:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except Exception as error:  # noqa: BLE001  # the Rust side raises nothing narrower
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


def _session(path: Path, content: bytes, manifest: Manifest, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that wait do not burn the processor that the gateway needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        probe = np.array([[0, 0]], dtype=np.int64)
        embedding = session.run(None, {"input_ids": probe, "attention_mask": np.ones_like(probe)})[0]
    except Exception as error:  # noqa: BLE001  # onnxruntime's exceptions have no public base
        raise ArtefactError(path, "is not the encoder that this release runs") from error
    if embedding.shape != (1, manifest.embedding_size) or not np.isfinite(embedding).all():
        raise ArtefactError(path, f"gives {embedding.shape}, wanted {(1, manifest.embedding_size)} finite numbers")
    return session
