"""Encoders of five architectures, from a folder in Hugging Face's layout to a graph of ours that serves.

MiniLM and TinyBERT are BERTs. DistilBERT and ELECTRA are, under other names; ALBERT repeats its layers; MobileBERT has
bottlenecks. Torch and transformers read the weights and are not needed afterwards.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from weighbridge.classifiers.training import graph, graph_mobile
from weighbridge.classifiers.training.graph import Array, Pooling

ARCHITECTURES = ("albert", "bert", "distilbert", "electra", "mobilebert")

_VOCABULARIES = ("tokenizer.json", "vocab.txt", "spiece.model")
_LICENCE = re.compile(r"^license:\s*['\"]?([^\s'\"]+)", re.MULTILINE)


class CannotExport(ValueError):
    """A folder that holds no encoder which we can serve; the message says why, and what would do."""


@dataclass(frozen=True)
class Encoder:
    """An encoder as transformers reads it. size: of its embedding. positions: the longest text that it reads."""

    folder: Path
    model: Any
    pooling: Pooling

    @property
    def architecture(self) -> str:
        return str(self.model.config.model_type)

    @property
    def size(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def positions(self) -> int:
        return int(self.model.config.max_position_embeddings)

    @property
    def parameters(self) -> int:
        """Those that are used: the pooler, which is not, does not count."""
        return sum(p.numel() for name, p in self.model.named_parameters() if not name.startswith("pooler"))

    @property
    def licence(self) -> str | None:
        """What the folder's card says of it; None is unknown."""
        card = self.folder / "README.md"
        found = _LICENCE.search(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
        return found[1] if found else None


def opened(folder: Path) -> Encoder:
    """Raises CannotExport."""
    kind = _kind(folder)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, report = AutoModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        first = str(error).strip().partition("\n")[0]
        raise CannotExport(f"{folder}: the weights of this {kind} cannot be read: {first}") from error
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if missing:
        raise CannotExport(f"{folder}: {len(missing)} of its weights are missing, such as {missing[0]}")
    if getattr(model.config, "position_embedding_type", "absolute") != "absolute":
        raise CannotExport(f"{folder}: its positions are relative, which our graphs do not know")
    return Encoder(folder, model.eval(), _pooling(folder))


def _kind(folder: Path) -> str:
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise CannotExport(f"{folder}: no config.json of a model in Hugging Face's layout is in it") from error
    if kind not in ARCHITECTURES:
        raise CannotExport(
            f"{folder}: is of the architecture {kind!r}; what can be served is {', '.join(ARCHITECTURES)}"
        )
    return str(kind)


def _pooling(folder: Path) -> Pooling:
    """As sentence-transformers wrote it down; the mean, which does well for any encoder, where nobody did."""
    try:
        said = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "mean"
    is_first = said.get("pooling_mode_cls_token") or said.get("pooling_mode") == "cls"
    return "first" if is_first else "mean"


def as_onnx(encoder: Encoder) -> bytes:
    """The model file. Raises CannotExport where the architecture is known and this kind of it is not."""
    config = encoder.model.config
    activation = getattr(config, "activation", None) or config.hidden_act
    if activation not in graph.ACTIVATIONS:
        raise CannotExport(f"{encoder.folder}: its activation is {activation!r}, not {', '.join(graph.ACTIVATIONS)}")
    weights = {name: tensor.float().numpy() for name, tensor in encoder.model.state_dict().items()}
    return _WRITERS[encoder.architecture](weights, config, activation, encoder.pooling)


def _bert(weights: Mapping[str, Array], config: Any, activation: str, pooling: Pooling) -> bytes:
    return graph.bert(
        weights,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        epsilon=config.layer_norm_eps,
        activation=activation,
        pooling=pooling,
    )


_OF_DISTILBERT = {
    "transformer.layer.": "encoder.layer.",
    ".attention.q_lin": ".attention.self.query",
    ".attention.k_lin": ".attention.self.key",
    ".attention.v_lin": ".attention.self.value",
    ".attention.out_lin": ".attention.output.dense",
    ".sa_layer_norm": ".attention.output.LayerNorm",
    ".ffn.lin1": ".intermediate.dense",
    ".ffn.lin2": ".output.dense",
    ".output_layer_norm": ".output.LayerNorm",
}


def _distilbert(weights: Mapping[str, Array], config: Any, activation: str, pooling: Pooling) -> bytes:
    return graph.bert(
        _renamed(weights, _OF_DISTILBERT),
        layers=config.n_layers,
        heads=config.n_heads,
        epsilon=1e-12,
        activation=activation,
        pooling=pooling,
    )


_OF_ALBERT = {
    "encoder.embedding_hidden_mapping_in": "embeddings_project",
    "encoder.albert_layer_groups.": "group.",
    ".albert_layers.": ".layer.",
    ".attention.query": ".attention.self.query",
    ".attention.key": ".attention.self.key",
    ".attention.value": ".attention.self.value",
    ".attention.dense": ".attention.output.dense",
    ".attention.LayerNorm": ".attention.output.LayerNorm",
    ".full_layer_layer_norm": ".output.LayerNorm",
    ".ffn_output.": ".output.dense.",
    ".ffn.": ".intermediate.dense.",
}


def _albert(weights: Mapping[str, Array], config: Any, activation: str, pooling: Pooling) -> bytes:
    shared = list(_albert_layers(config))
    return graph.bert(
        _renamed(weights, _OF_ALBERT),
        layers=len(shared),
        heads=config.num_attention_heads,
        epsilon=config.layer_norm_eps,
        activation=activation,
        shared=shared,
        pooling=pooling,
    )


def _albert_layers(config: Any) -> Iterator[str]:
    for layer in range(config.num_hidden_layers):
        group = int(layer / (config.num_hidden_layers / config.num_hidden_groups))
        yield from (f"group.{group}.layer.{inner}." for inner in range(config.inner_group_num))


def _mobilebert(weights: Mapping[str, Array], config: Any, activation: str, pooling: Pooling) -> bytes:
    shape = graph_mobile.Shape(
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        epsilon=config.layer_norm_eps,
        activation=activation,
        feed_forwards=config.num_feedforward_networks,
        has_bottleneck=config.use_bottleneck,
        shares_keys=config.key_query_shared_bottleneck,
        narrow_values=config.use_bottleneck_attention,
        reads_neighbours=config.trigram_input,
        has_norms=config.normalization_type == "layer_norm",
    )
    return graph_mobile.mobilebert(weights, shape, pooling)


def _renamed(weights: Mapping[str, Array], names: Mapping[str, str]) -> dict[str, Array]:
    found = {}
    for name, tensor in weights.items():
        for old, new in names.items():
            name = name.replace(old, new)  # noqa: PLW2901  # one after the other
        found[name] = tensor
    return found


_WRITERS: Mapping[str, Callable[[Mapping[str, Array], Any, str, Pooling], bytes]] = {
    "albert": _albert,
    "bert": _bert,
    "distilbert": _distilbert,
    "electra": _bert,
    "mobilebert": _mobilebert,
}


def tokenizer_of(folder: Path) -> str:
    """Its tokenizer.json, made where there is none, without truncation and padding. Raises CannotExport."""
    if not any((folder / name).is_file() for name in _VOCABULARIES):  # transformers would make an empty one
        raise CannotExport(f"{folder}: has no tokenizer; one of {', '.join(_VOCABULARIES)} is needed")
    try:
        made = AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str()
    except (OSError, ValueError, AttributeError, KeyError, ImportError) as error:
        raise CannotExport(f"{folder}: no tokenizer that the fast library reads is in it") from error
    fields = json.loads(made)
    fields["truncation"] = fields["padding"] = None
    known = {token["content"] for token in fields.get("added_tokens", ())}
    if not {"[CLS]", "[SEP]"} <= known:
        raise CannotExport(f"{folder}: its tokenizer has no [CLS] and [SEP]")
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"


def reference(encoder: Encoder, tokens: list[int]) -> Array:
    """The embedding in fp32, as transformers computes it."""
    ids = torch.tensor([tokens])
    with torch.inference_mode():
        states = encoder.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].numpy()
    vector = states.mean(0) if encoder.pooling == "mean" else states[0]
    found: Array = vector / np.linalg.norm(vector)
    return found
