"""A BERT as an ONNX graph for one text: int8 weights, the operators that onnxruntime runs fastest, pooling inside.

Written node by node. An exported graph computes shapes, transposes and masks that one text does not need, and what
onnxruntime fuses at loading is not always faster: SkipLayerNormalization takes thrice the time of Add and
LayerNormalization.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]

_OPSET, _IR = 17, 8
_FUSED = "com.microsoft"  # onnxruntime's own operators


def bert(weights: Mapping[str, Array], *, layers: int, heads: int, epsilon: float) -> bytes:
    """The model file: input_ids (1, tokens) to embedding (1, size). weights: as transformers' BertModel names them."""
    graph = _Graph(weights, epsilon)
    states = graph.embedded()
    for layer in range(layers):
        states = graph.layer(f"encoder.layer.{layer}.", states, heads)
    mean = graph.node("ReduceMean", [states], axes=[1], keepdims=0)
    graph.node("LpNormalization", [mean], ["embedding"], axis=1, p=2)
    return graph.file()


class _Graph:
    """Nodes and tensors so far. Each method adds some and returns the name of their output."""

    def __init__(self, weights: Mapping[str, Array], epsilon: float) -> None:
        self._weights = weights
        self._epsilon = epsilon
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def file(self) -> bytes:
        size = self._weights["embeddings.word_embeddings.weight"].shape[1]
        given = helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, [1, "tokens"])
        found = helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, [1, size])
        graph = helper.make_graph(self._nodes, "encoder", [given], [found], self._tensors)
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
        self._tensors.append(numpy_helper.from_array(np.ascontiguousarray(content), name))
        return name

    def embedded(self) -> str:
        """What each token means, plus where it stands."""
        table, scale, zero = in_bytes(self._weights["embeddings.word_embeddings.weight"])
        rows = self.node("Gather", [self.tensor("words", table), "input_ids"])
        words = self.node("DequantizeLinear", [rows, self.tensor("words.s", scale), self.tensor("words.z", zero)])
        kinds = _rounded(self._weights["embeddings.token_type_embeddings.weight"])
        places = _rounded(self._weights["embeddings.position_embeddings.weight"]) + kinds[0]
        count = self.node("Shape", ["input_ids"], start=1, end=2)
        first = self.tensor("zero", np.zeros(1, np.int64))
        here = self.node("Slice", [self.tensor("places", places), first, count])
        return self._normed("embeddings.LayerNorm", self.node("Add", [words, here]))

    def layer(self, prefix: str, states: str, heads: int) -> str:
        attended = self._attended(prefix + "attention.self.", states, heads)
        added = self.node("Add", [self._dense(prefix + "attention.output.dense", attended), states])
        states = self._normed(prefix + "attention.output.LayerNorm", added)
        wide = self.node("Gelu", [self._dense(prefix + "intermediate.dense", states)], domain=_FUSED)
        added = self.node("Add", [self._dense(prefix + "output.dense", wide), states])
        return self._normed(prefix + "output.LayerNorm", added)

    def _attended(self, prefix: str, states: str, heads: int) -> str:
        """Query, key and value in one product."""
        parts = ("query", "key", "value")
        matrix, scales = per_column(np.concatenate([self._weights[f"{prefix}{part}.weight"].T for part in parts], 1))
        bias = np.concatenate([self._weights[f"{prefix}{part}.bias"] for part in parts])
        values, scale, zero = (f"{prefix}states{end}" for end in ("", ".s", ".z"))
        self.node("DynamicQuantizeLinear", [states], [values, scale, zero])
        inputs = [values, self.tensor(prefix + "w", matrix), self.tensor(prefix + "b", bias), scale]
        inputs += [self.tensor(prefix + "s", scales), "", zero]  # "": no mask
        inputs += [self.tensor(prefix + "z", np.zeros_like(scales, np.int8))]
        return self.node("QAttention", inputs, domain=_FUSED, num_heads=heads)

    def _dense(self, name: str, states: str) -> str:
        matrix, scales = per_column(self._weights[name + ".weight"].T)
        bias = self.tensor(name + ".b", self._weights[name + ".bias"])
        inputs = [states, self.tensor(name + ".w", matrix), self.tensor(name + ".s", scales), "", bias]
        return self.node("DynamicQuantizeMatMul", inputs, domain=_FUSED)

    def _normed(self, name: str, states: str) -> str:
        inputs = [states, *(self.tensor(name + end, self._weights[name + end]) for end in (".weight", ".bias"))]
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
