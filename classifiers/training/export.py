"""From the weights to an encoder that needs no torch: int8 ONNX with pooling and norm inside, and its tokenizer."""

import json
import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentence_transformers import SentenceTransformer

_OPSET = 17


def write_encoder(weights: Path, path: Path) -> None:
    """Export and quantise.

    Per channel, because one scale for a whole matrix costs a fifth of the cosine. In seven bits of eight, because
    processors without VNNI add two products in sixteen bits, which full-range weights overflow: so the same text gets
    the same score on either kind of machine.
    """
    with TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain.onnx"
        _export(weights, plain)
        logging.disable(logging.WARNING)  # it advises a pre-processing that changes nothing here
        quantize_dynamic(plain, path, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
        logging.disable(logging.NOTSET)


def _export(weights: Path, path: Path) -> None:
    ids = torch.tensor([[101, 7592, 2088, 102], [101, 7632, 102, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    names = {0: "batch", 1: "tokens"}
    with warnings.catch_warnings():
        # The exporter is the older one on purpose: it needs no further package, and its graph quantises well.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _pooled(weights),
            (ids, mask),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes={"input_ids": names, "attention_mask": names, "embedding": {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )


def _pooled(weights: Path) -> Any:
    """The model with mean pooling and norm inside, so that the graph gives the embedding itself."""
    reference = SentenceTransformer(str(weights), device="cpu", model_kwargs={"attn_implementation": "eager"})
    encoder = reference[0].auto_model.eval()

    class Pooled(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            kinds = torch.zeros_like(input_ids)
            states = self.encoder(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=kinds
            ).last_hidden_state
            kept = attention_mask.unsqueeze(-1).to(states.dtype)
            mean = (states * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, p=2, dim=1)

    return Pooled()


def write_tokenizer(weights: Path, path: Path) -> None:
    """The model's tokenizer without its truncation to 128 and its padding to 128."""
    tokenizer = json.loads((weights / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["truncation"] = tokenizer["padding"] = None
    path.write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def reference(weights: Path, tokens: list[list[int]]) -> NDArray[np.float32]:
    """The embeddings of sentence-transformers in fp32, for the same tokens."""
    model = SentenceTransformer(str(weights), device="cpu")
    rows = []
    with torch.inference_mode():
        for row in tokens:
            ids = torch.tensor([row])
            given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
            rows.append(model(given)["sentence_embedding"][0].numpy())
    return np.array(rows, dtype=np.float32)
