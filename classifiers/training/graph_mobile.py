"""A MobileBERT as an ONNX graph for one text: narrow layers between bottlenecks, and neighbours read together."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from weighbridge.classifiers.training.graph import Array, Graph, Pooling


@dataclass(frozen=True, slots=True)
class Shape:
    """What a MobileBERT's config says of it.

    shares_keys: queries and keys have a bottleneck of their own. narrow_values: all of attention goes through the
    bottleneck. has_norms: it norms its layers; else it only scales and shifts.
    """

    layers: int
    heads: int
    epsilon: float
    activation: str
    feed_forwards: int
    has_bottleneck: bool
    shares_keys: bool
    narrow_values: bool
    reads_neighbours: bool
    has_norms: bool


def mobilebert(weights: Mapping[str, Array], shape: Shape, pooling: Pooling = "mean") -> bytes:
    """The model file, as `graph.bert` gives one. weights: as transformers' MobileBertModel names them."""
    graph = _Mobile(weights, shape)
    states = graph.embedded()
    for layer in range(shape.layers):
        states = graph.bottled(f"encoder.layer.{layer}.", states)
    return graph.pooled(states, pooling)


class _Mobile(Graph):
    def __init__(self, weights: Mapping[str, Array], shape: Shape) -> None:
        super().__init__(weights, shape.epsilon, shape.activation)
        self._shape = shape

    def words(self) -> str:
        """Each word with those beside it, brought to the width of the states."""
        words = super().words()
        if self._shape.reads_neighbours:
            one_more = self.tensor("pads", np.array([0, 1, 0, 0, 1, 0], np.int64))
            padded = self.node("Pad", [words, one_more])
            words = self.node("Concat", [self._cut(padded, 2, 1 << 40), words, self._cut(padded, 0, -2)], axis=2)
        wide = self.weights["embeddings.position_embeddings.weight"].shape[1]
        narrow = self.weights["embeddings.word_embeddings.weight"].shape[1]
        if self._shape.reads_neighbours or narrow != wide:
            words = self.dense("embeddings.embedding_transformation", words)
        return words

    def _cut(self, padded: str, begin: int, end: int) -> str:
        bounds = [self.tensor(f"at.{at}", np.array([at], np.int64)) for at in (begin, end, 1)]
        return self.node("Slice", [padded, *bounds])

    def bottled(self, prefix: str, states: str) -> str:
        asked, values, narrow = self._inputs(prefix, states)
        attended = self._looked(prefix + "attention.self.", asked, values)
        added = self.node("Add", [self.dense(prefix + "attention.output.dense", attended), narrow])
        found = self.normed(prefix + "attention.output.LayerNorm", added)
        for i in range(self._shape.feed_forwards - 1):
            found = self._fed(f"{prefix}ffn.{i}.", found)
        found = self._fed(prefix, found)
        if not self._shape.has_bottleneck:
            return found
        wide = self.dense(prefix + "output.bottleneck.dense", found)
        return self.normed(prefix + "output.bottleneck.LayerNorm", self.node("Add", [wide, states]))

    def _inputs(self, prefix: str, states: str) -> tuple[str, str, str]:
        """What queries and keys, what values and what the layer itself are made from."""
        if not self._shape.has_bottleneck:
            return states, states, states
        narrow = self._narrowed(prefix + "bottleneck.input.", states)
        if self._shape.narrow_values:
            return narrow, narrow, narrow
        if self._shape.shares_keys:
            return self._narrowed(prefix + "bottleneck.attention.", states), states, narrow
        return states, states, narrow

    def _narrowed(self, prefix: str, states: str) -> str:
        return self.normed(prefix + "LayerNorm", self.dense(prefix + "dense", states))

    def _looked(self, prefix: str, asked: str, values: str) -> str:
        """Attention over parts of several widths, which the product for all three at once does not take."""
        parts = [self.dense(prefix + part, x) for part, x in (("query", asked), ("key", asked), ("value", values))]
        return self.node("MultiHeadAttention", parts, domain="com.microsoft", num_heads=self._shape.heads)

    def _fed(self, prefix: str, states: str) -> str:
        return self.normed(prefix + "output.LayerNorm", self.node("Add", [self.widened(prefix, states), states]))

    def normed(self, name: str, states: str) -> str:
        if self._shape.has_norms:
            return super().normed(name, states)
        scaled = self.node("Mul", [states, self.tensor(name + ".weight", self.weights[name + ".weight"])])
        return self.node("Add", [scaled, self.tensor(name + ".bias", self.weights[name + ".bias"])])
