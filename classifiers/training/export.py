"""From the weights to an encoder that needs no torch: int8 ONNX with pooling and norm inside, and its tokenizer."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from weighbridge.classifiers.training import graph
from weighbridge.classifiers.training.embed import LAYERS


def write_encoder(weights: Path, path: Path) -> None:
    """Quantise and export. The same weights give the same file."""
    model = SentenceTransformer(str(weights), device="cpu")[0].auto_model
    config = model.config
    tensors = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    content = graph.bert(
        tensors,
        layers=LAYERS,
        heads=config.num_attention_heads,
        epsilon=config.layer_norm_eps,
    )
    path.write_bytes(content)


def write_tokenizer(weights: Path, path: Path) -> None:
    """The model's tokenizer without its truncation to 128 and its padding to 128."""
    tokenizer = json.loads((weights / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["truncation"] = tokenizer["padding"] = None
    path.write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def reference(weights: Path, tokens: list[list[int]]) -> NDArray[np.float32]:
    """The embeddings of sentence-transformers in fp32, for the same tokens, after the same layers."""
    model = SentenceTransformer(str(weights), device="cpu")
    encoder = model[0].auto_model.encoder
    encoder.layer = encoder.layer[:LAYERS]
    rows = []
    with torch.inference_mode():
        for row in tokens:
            ids = torch.tensor([row])
            given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
            rows.append(model(given)["sentence_embedding"][0].numpy())
    return np.array(rows, dtype=np.float32)
