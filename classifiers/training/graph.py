"""A BERT as an ONNX graph for one text: int8 weights, the operators that onnxruntime runs fastest, pooling inside.

Written node by node. An exported graph computes shapes, transposes and masks that one text does not need, and what
onnxruntime fuses at loading is not always faster: SkipLayerNormalization takes thrice the time of Add and
LayerNormalization.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
Pooling = Literal["mean", "first"]

ACTIVATIONS = {
    "gelu": ("Gelu", "com.microsoft"),
    "gelu_new": ("FastGelu", "com.microsoft"),
    "gelu_pytorch_tanh": ("FastGelu", "com.microsoft"),
    "relu": ("Relu", ""),
}

_OPSET, _IR = 17, 8
_FUSED = "com.microsoft"  # onnxruntime's own operators


def bert(  # noqa: PLR0913  # what a BERT's config says, by name
    weights: Mapping[str, Array],
    *,
    layers: int,
    heads: int,
    epsilon: float,
    activation: str = "gelu",
    shared: Sequence[str] = (),
    pooling: Pooling = "mean",
) -> bytes:
    """The model file: input_ids (1, tokens) to embedding (1, size). weights: as transformers' BertModel names them.

    An `embeddings_project` in them goes from the size of the embeddings to that of the layers. shared: for each layer
    the prefix of the weights that it shares with others; without it each has its own.
    """
    graph = Graph(weights, epsilon, activation)
    states = graph.embedded()
    if "embeddings_project.weight" in weights:
        states = graph.dense("embeddings_project", states)
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}."
        states = graph.layer(prefix, states, heads, shared[layer] if shared else prefix)
    return graph.pooled(states, pooling)


class Graph:
    """Nodes and tensors so far. Each method adds some and returns the name of their output."""

    def __init__(self, weights: Mapping[str, Array], epsilon: float, activation: str = "gelu") -> None:
        self.weights = weights
        self._epsilon = epsilon
        self._activation = ACTIVATIONS[activation]
        self._size = weights["embeddings.word_embeddings.weight"].shape[1]  # of what was computed last
        self._nodes: list[Any] = []
        self._tensors: dict[str, Any] = {}

    def pooled(self, states: str, pooling: Pooling) -> bytes:
        """The file, whose end takes one vector of what was found for the tokens, of length 1."""
        if pooling == "mean":
            vector = self.node("ReduceMean", [states], axes=[1], keepdims=0)
        else:
            vector = self.node("Gather", [states, self.tensor("first", np.array(0, np.int64))], axis=1)
        self.node("LpNormalization", [vector], ["embedding"], axis=1, p=2)
        return self._file(self._size)

    def _file(self, size: int) -> bytes:
        given = helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, [1, "tokens"])
        found = helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, [1, size])
        graph = helper.make_graph(self._nodes, "encoder", [given], [found], list(self._tensors.values()))
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="weighbridge")
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def node(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str] = (), *, domain: str = "", **attributes: Any
    ) -> str:
        named = list(outputs) or [f"{kind}.{len(self._nodes)}"]
        self._nodes.append(helper.make_node(kind, list(inputs), named, domain=domain, **attributes))
        return named[0]

    def tensor(self, name: str, content: Array) -> str:
        """By its name; one that is there already is the same."""
        if name not in self._tensors:
            self._tensors[name] = numpy_helper.from_array(np.ascontiguousarray(content), name)
        return name

    def embedded(self) -> str:
        """What each token means, plus where it stands."""
        return self.normed("embeddings.LayerNorm", self.node("Add", [self.words(), self.here()]))

    def words(self) -> str:
        """What each token means."""
        table, scale, zero = in_bytes(self.weights["embeddings.word_embeddings.weight"])
        rows = self.node("Gather", [self.tensor("words", table), "input_ids"])
        return self.node("DequantizeLinear", [rows, self.tensor("words.s", scale), self.tensor("words.z", zero)])

    def here(self) -> str:
        """Where each token stands. All are of the first kind, where there are kinds."""
        places = _rounded(self.weights["embeddings.position_embeddings.weight"])
        if "embeddings.token_type_embeddings.weight" in self.weights:
            places = places + _rounded(self.weights["embeddings.token_type_embeddings.weight"])[0]
        count = self.node("Shape", ["input_ids"], start=1, end=2)
        first = self.tensor("zero", np.zeros(1, np.int64))
        return self.node("Slice", [self.tensor("places", places), first, count])

    def layer(self, prefix: str, states: str, heads: int, weights: str | None = None) -> str:
        """weights: the prefix of its weights, where it is not its own."""
        own = prefix if weights is None else weights
        attended = self._attended(prefix + "attention.self.", states, heads, own + "attention.self.")
        added = self.node("Add", [self.dense(own + "attention.output.dense", attended), states])
        states = self.normed(own + "attention.output.LayerNorm", added)
        added = self.node("Add", [self.widened(own, states), states])
        return self.normed(own + "output.LayerNorm", added)

    def widened(self, prefix: str, states: str) -> str:
        """Through the wide part of a layer and back."""
        kind, domain = self._activation
        wide = self.node(kind, [self.dense(prefix + "intermediate.dense", states)], domain=domain)
        return self.dense(prefix + "output.dense", wide)

    def _attended(self, prefix: str, states: str, heads: int, own: str) -> str:
        """Query, key and value in one product."""
        parts = ("query", "key", "value")
        matrix, scales = per_column(np.concatenate([self.weights[f"{own}{part}.weight"].T for part in parts], 1))
        bias = np.concatenate([self.weights[f"{own}{part}.bias"] for part in parts])
        values, scale, zero = (f"{prefix}states{end}" for end in ("", ".s", ".z"))
        self.node("DynamicQuantizeLinear", [states], [values, scale, zero])
        inputs = [values, self.tensor(own + "w", matrix), self.tensor(own + "b", bias), scale]
        inputs += [self.tensor(own + "s", scales), "", zero]  # "": no mask
        inputs += [self.tensor(own + "z", np.zeros_like(scales, np.int8))]
        return self.node("QAttention", inputs, domain=_FUSED, num_heads=heads)

    def dense(self, name: str, states: str) -> str:
        matrix, scales = per_column(self.weights[name + ".weight"].T)
        self._size = len(scales)
        bias = self.tensor(name + ".b", self.weights[name + ".bias"])
        inputs = [states, self.tensor(name + ".w", matrix), self.tensor(name + ".s", scales), "", bias]
        return self.node("DynamicQuantizeMatMul", inputs, domain=_FUSED)

    def normed(self, name: str, states: str) -> str:
        inputs = [states, *(self.tensor(name + end, self.weights[name + end]) for end in (".weight", ".bias"))]
        return self.node("LayerNormalization", inputs, axis=-1, epsilon=self._epsilon)


def per_column(matrix: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rounded to seven bits with a scale for each column.

    One scale for a whole matrix costs a fifth of the cosine. Seven bits of eight, because processors without VNNI add
    two products in sixteen bits, which full-range weights overflow: so a text gets the same score on either kind of
    machine.
    """
    scales = np.abs(matrix).max(0) / np.float32(64)
    scales[scales == 0] = 1
    return np.clip(np.rint(matrix / scales), -64, 64).astype(np.int8), scales.astype(np.float32)


def in_bytes(table: Array) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """A table of embeddings rounded to bytes: with the scale, and the byte that means zero."""
    least, most = min(table.min(), np.float32(0)), max(table.max(), np.float32(0))
    scale = np.float32((most - least) / np.float32(255))
    zero = np.uint8(round(float(-least / scale)))
    return np.clip(np.rint(table / scale) + zero, 0, 255).astype(np.uint8), np.array(scale), np.array(zero)


def _rounded(table: Array) -> NDArray[np.float32]:
    """What is left of a table after rounding: the heads were fitted on embeddings made so."""
    values, scale, zero = in_bytes(table)
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32)
