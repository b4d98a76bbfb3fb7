"""The encoder's graph, on a small BERT of the test's own beside the same arithmetic in numpy."""

import math

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("onnx")

from weighbridge.classifiers.training import graph  # after the skip

SIZE, WIDE, LAYERS, HEADS, WORDS, PLACES = 64, 128, 2, 4, 50, 24
EPSILON = 1e-12


@pytest.fixture(scope="module")
def weights():
    draw = np.random.default_rng(3)

    def some(*shape, spread=1.0):
        return draw.normal(0, spread, shape).astype(np.float32)

    shapes = {f"embeddings.{name}_embeddings.weight": (count, SIZE) for name, count in KINDS.items()}
    dense = {"attention.output.dense": (SIZE, SIZE), "intermediate.dense": (WIDE, SIZE), "output.dense": (SIZE, WIDE)}
    dense |= {f"attention.self.{part}": (SIZE, SIZE) for part in ("query", "key", "value")}
    norms = ["embeddings.LayerNorm"]
    found = {name: some(*shape) for name, shape in shapes.items()}
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        norms += [prefix + "attention.output.LayerNorm", prefix + "output.LayerNorm"]
        for name, shape in dense.items():
            found[f"{prefix}{name}.weight"] = some(*shape, spread=shape[1] ** -0.5)
            found[f"{prefix}{name}.bias"] = some(shape[0], spread=0.1)
    for name in norms:
        found[f"{name}.weight"], found[f"{name}.bias"] = 1 + some(SIZE, spread=0.1), some(SIZE, spread=0.1)
    return found


KINDS = {"word": WORDS, "position": PLACES, "token_type": 2}


def normed(w, name, x):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) * w[name + ".weight"] + w[name + ".bias"]


def dense(w, name, x):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def attended(w, prefix, x):
    query, key, value = (
        dense(w, prefix + part, x).reshape(len(x), HEADS, -1).swapaxes(0, 1) for part in ("query", "key", "value")
    )
    weights = np.exp(query @ key.swapaxes(1, 2) / math.sqrt(SIZE // HEADS))
    return (weights / weights.sum(-1, keepdims=True) @ value).swapaxes(0, 1).reshape(len(x), SIZE)


def embedding(w, tokens):
    """The same model in plain numpy."""
    words, places, kinds = (w[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
    x = normed(w, "embeddings.LayerNorm", words[tokens] + places[: len(tokens)] + kinds[0])
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        out = dense(w, prefix + "attention.output.dense", attended(w, prefix + "attention.self.", x))
        x = normed(w, prefix + "attention.output.LayerNorm", out + x)
        wide = dense(w, prefix + "intermediate.dense", x)
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = normed(w, prefix + "output.LayerNorm", dense(w, prefix + "output.dense", wide) + x)
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_the_graph_computes_what_a_bert_does(weights):
    session = onnxruntime.InferenceSession(graph.bert(weights, layers=LAYERS, heads=HEADS, epsilon=EPSILON))
    for tokens in ([7], [1, 2, 3], list(range(PLACES))):
        found = session.run(None, {"input_ids": np.array([tokens])})[0][0]
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
        assert found @ embedding(weights, tokens) > 0.99


def test_the_same_weights_give_the_same_file(weights):
    files = [graph.bert(weights, layers=LAYERS, heads=HEADS, epsilon=EPSILON) for _ in range(2)]
    assert files[0] == files[1]


def test_a_column_is_rounded_by_its_own_scale_to_seven_bits():
    matrix = np.array([[1.0, 0.001, 0], [-0.5, -0.002, 0]], dtype=np.float32)
    values, scales = graph.per_column(matrix)
    assert values.tolist() == [[64, 32, 0], [-32, -64, 0]]
    assert np.allclose(values * scales, matrix)


def test_a_table_in_bytes_keeps_zero():
    table = np.array([[-1.0, 0.0], [0.5, 3.0]], dtype=np.float32)
    values, scale, zero = graph.in_bytes(table)
    assert values[0, 1] == zero
    assert np.allclose((values.astype(np.float32) - zero) * scale, table, atol=float(scale))
