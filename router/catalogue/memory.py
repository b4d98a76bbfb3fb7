"""How much memory a model needs: its weights, the context that it keeps, and a margin for the server itself."""

from dataclasses import dataclass

from weighbridge.catalogue.entries import PRECISIONS, Model, Precision

GB = 1_000_000_000
# llama.cpp's Q4_K_M and Q8_0 keep scales beside the weights: their files hold about 5 and 8.5 bits per parameter.
BITS: dict[Precision, float] = {"int4": 5.0, "int8": 8.5, "fp16": 16.0}
# What Llama 3.1 8B keeps for a token; for models whose shape no source gives.
CACHE_BYTES_PER_TOKEN = 131_072
MARGIN_BYTES = GB // 2  # for buffers and the server itself; a rule of thumb, not a measurement
_CACHE_VALUE_BYTES = 2


@dataclass(frozen=True, slots=True)
class Weights:
    """What the weights weigh. is_published: a source gives the file's size; else it follows from the parameters."""

    size_bytes: int
    is_published: bool


def weights(model: Model, precision: Precision) -> Weights:
    """The weights at a precision."""
    if published := model.file_bytes.get(precision):
        return Weights(published.value, is_published=True)
    return Weights(round(model.size * BITS[precision] / 8), is_published=False)


def cache_bytes(model: Model, tokens: int) -> int:
    """What the context takes when it is full, kept at 16 bits. An upper bound: some models keep less of it."""
    if model.shape is None:
        return CACHE_BYTES_PER_TOKEN * tokens
    shape = model.shape.value
    return 2 * shape.layers * shape.key_value_heads * shape.head_size * _CACHE_VALUE_BYTES * tokens


def needed_bytes(model: Model, precision: Precision, tokens: int) -> int:
    """Everything together."""
    return weights(model, precision).size_bytes + cache_bytes(model, tokens) + MARGIN_BYTES


def best_precision(model: Model, tokens: int, memory_bytes: int) -> Precision | None:
    """The finest that fits; None where not even the coarsest does."""
    fitting = [p for p in PRECISIONS if needed_bytes(model, p, tokens) <= memory_bytes]
    return fitting[-1] if fitting else None


def fitting_window(model: Model, memory_bytes: int) -> int | None:
    """The largest window, doubled from 4,096 tokens up to the model's own, that fits at int4."""
    tokens, fitting = 4096, None
    while model.window and tokens <= model.window and needed_bytes(model, "int4", tokens) <= memory_bytes:
        tokens, fitting = tokens * 2, tokens
    if fitting and fitting < (model.window or 0) and needed_bytes(model, "int4", model.window or 0) <= memory_bytes:
        return model.window
    return fitting
