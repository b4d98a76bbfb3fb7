"""Reading prompts as a head sees them, with the engine that serves, and remembering what was read."""

import hashlib
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighbridge.classifiers import asides, features, window
from weighbridge.classifiers.head import Inputs
from weighbridge.classifiers.minilm import ENCODER, TOKENIZER, Encoder

__all__ = ["EMBEDDING_SIZE", "LAYERS", "WINDOW_TOKENS", "Inputs", "ends_of", "inputs_of", "open_encoder", "read"]

Singles = NDArray[np.float32]

# Of six. The others turn what these know into likeness of meaning, which is not what a head asks for: on public
# outcomes it ranks as well without them, in half of the time (benchmarks/layers.py).
LAYERS = 3
WINDOW_TOKENS = 128
EMBEDDING_SIZE = 384

_SAY_EVERY = 2000  # prompts


def open_encoder(artefact: Path) -> Encoder:
    contents = {name: (artefact / name).read_bytes() for name in (ENCODER, TOKENIZER)}
    return Encoder(artefact, contents, window_tokens=WINDOW_TOKENS, size=EMBEDDING_SIZE)


def read(prompts: list[str], encoder: Encoder, cache: Path | None = None, threads: int = 2) -> Inputs:
    """Embed with the engine that serves. cache: a folder that remembers embeddings of this very encoder."""
    ends = [ends_of(prompt) for prompt in prompts]
    known = _remembered(cache)
    keys = [hashlib.sha256(end.encode()).hexdigest() for end in ends]
    missing = list({key: end for key, end in zip(keys, ends, strict=True) if key not in known}.items())

    def embed(item: tuple[str, str]) -> Singles:
        return encoder.embed(encoder.tokens_of([item[1]])[0])

    with ThreadPoolExecutor(threads) as pool:
        for done, (item, embedding) in enumerate(zip(missing, pool.map(embed, missing), strict=True), 1):
            known[item[0]] = embedding
            if done % _SAY_EVERY == 0:
                print(f"  embedded {done:,} of {len(missing):,}", flush=True)
    if cache and missing:
        cache.mkdir(parents=True, exist_ok=True)
        whole = cache / f"embeddings.{os.getpid()}.npz"
        np.savez(whole, allow_pickle=False, keys=list(known), values=np.array(list(known.values())))
        whole.replace(cache / "embeddings.npz")  # who stops in the middle leaves the one before
    return inputs_of(np.array([known[key] for key in keys], np.float32).reshape(len(keys), -1), prompts)


def ends_of(prompt: str) -> str:
    """What of a prompt the encoder is given, as the classifier gives it."""
    return window.ends_of(asides.without(prompt))


def inputs_of(embedding: Singles, prompts: list[str]) -> Inputs:
    """Embeddings that are known already, with what is counted in their prompts."""
    asks = [asides.without(prompt) for prompt in prompts]
    seen = [features.both(window.ends_of(ask), len(ask)) for ask in asks]
    counts = np.array([counts for counts, _ in seen], np.float32).reshape(len(prompts), len(features.NAMES))
    return Inputs(embedding, counts, [words for _, words in seen])


def _remembered(cache: Path | None) -> dict[str, Singles]:
    if cache is None or not (cache / "embeddings.npz").is_file():
        return {}
    try:
        with (cache / "embeddings.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(zip(arrays["keys"].tolist(), arrays["values"], strict=True))
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError):
        return {}  # damaged: it is made anew
