"""What a model needs: published where a source says it, else by a formula that is written down."""

import pytest

from weighbridge.catalogue.entries import catalogue
from weighbridge.catalogue.memory import (
    BITS,
    CACHE_BYTES_PER_TOKEN,
    GB,
    MARGIN_BYTES,
    best_precision,
    cache_bytes,
    fitting_window,
    needed_bytes,
    weights,
)

MODELS = catalogue()


def test_a_published_size_goes_before_a_computed_one() -> None:
    assert weights(MODELS["phi-4-mini"], "int4").is_published
    computed = weights(MODELS["phi-4-mini"], "int8")
    assert (computed.size_bytes, computed.is_published) == (3_800_000_000 * 8.5 / 8, False)


def test_the_bits_of_the_formula_are_those_of_published_files() -> None:
    for name in ("smollm-1.7b", "lfm2-350m"):
        for precision, fact in MODELS[name].file_bytes.items():
            assert fact.value * 8 / MODELS[name].size == pytest.approx(BITS[precision], rel=0.06)


def test_the_context_takes_what_the_shape_says() -> None:
    # 32 layers, 8 heads of 128 values, a key and a value each, 2 bytes.
    assert cache_bytes(MODELS["llama-3.1-8b"], 1) == 2 * 32 * 8 * 128 * 2 == CACHE_BYTES_PER_TOKEN
    assert MODELS["qwen3.5-9b"].shape is None
    assert cache_bytes(MODELS["qwen3.5-9b"], 10) == 10 * CACHE_BYTES_PER_TOKEN


def test_the_finest_precision_that_fits_is_chosen() -> None:
    model = MODELS["llama-3.2-3b"]
    for precision in ("int4", "int8", "fp16"):
        assert best_precision(model, 4096, needed_bytes(model, precision, 4096)) == precision
    assert best_precision(model, 4096, needed_bytes(model, "int4", 4096) - 1) is None


def test_the_window_is_as_large_as_the_memory_allows() -> None:
    model = MODELS["qwen3-4b"]
    assert fitting_window(model, 100 * GB) == 40_960
    assert fitting_window(model, needed_bytes(model, "int4", 16_384)) == 16_384
    assert fitting_window(model, MARGIN_BYTES) is None
    assert fitting_window(MODELS["qwen2-0.5b"], 100 * GB) is None
