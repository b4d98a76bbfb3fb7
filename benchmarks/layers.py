"""After which layer of MiniLM to read it: how well heads on the states of each rank public outcomes (APGR, in-domain).

    python benchmarks/layers.py [--weights DIR] [--data DIR] [--cache DIR] [--only DATASET ...] [--json]

In fp32, so what int8 costs is not in it. Settings, splits and intervals are those of quality.py. Wants torch (the
`train` extra). Embedding takes minutes, and so does fitting for each layer. --cache keeps the states.
"""

import argparse
import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from quality import Study, labels_of, of_other_splits, study
from rig.routing import table
from sentence_transformers import SentenceTransformer

from weighbridge.classifiers.evaluation import comparison
from weighbridge.classifiers.head import Inputs
from weighbridge.classifiers.minilm import SHIPPED
from weighbridge.classifiers.training import embed, weights

LAYERS = (3, 4, 5, 6)
ROUNDS = 200


def states(model: torch.nn.Module, tokens: list[list[int]]) -> NDArray[np.float32]:
    """(N, layers, size): the mean over the tokens after each layer, of length 1."""
    found = np.zeros((len(tokens), len(LAYERS), model.config.hidden_size), np.float32)  # type: ignore[union-attr]
    with torch.inference_mode():
        for i, row in enumerate(tokens):
            ids = torch.tensor([row])
            after = model(ids, torch.ones_like(ids), torch.zeros_like(ids), output_hidden_states=True).hidden_states
            found[i] = torch.nn.functional.normalize(torch.stack([after[n][0].mean(0) for n in LAYERS]), dim=1).numpy()
    return found


def kept(cache: Path | None, model: torch.nn.Module, prompts: list[str]) -> NDArray[np.float32]:
    tokens = embed.open_encoder(SHIPPED).tokens_of([embed.ends_of(prompt) for prompt in prompts])
    if cache is None:
        return states(model, tokens)
    path = cache / f"{hashlib.sha256(repr((LAYERS, tokens)).encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        return np.load(path)
    found = states(model, tokens)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, found)
    return found


def rows_of(all_rows: Study, name: str, model: torch.nn.Module, cache: Path | None) -> list[tuple[str, ...]]:
    rows = all_rows.rows[all_rows.rows.dataset == name]
    after = kept(cache, model, rows.prompt)
    plain = embed.inputs_of(after[:, -1], rows.prompt)
    found = []
    for place, layer in enumerate(LAYERS):
        score = of_other_splits(rows, Inputs(np.ascontiguousarray(after[:, place]), plain.counts, plain.words))
        line = comparison.line("", labels_of(rows), score, float(np.median(score)), rounds=ROUNDS)
        found.append((name, str(layer), f"{len(score):,}", str(line.apgr)))
        print(f"{name}, layer {layer}: {line.apgr}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a folder with the model; fetched where not given")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="(default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="a folder that keeps the states")
    parser.add_argument("--only", nargs="*", metavar="DATASET", help="some of the datasets")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    all_rows = study(given.data, None, is_quick=False)
    with TemporaryDirectory() as scratch:
        folder = weights.find(given.weights, Path(scratch))
        model = SentenceTransformer(str(folder), device="cpu")[0].auto_model.eval()
    head = ("dataset", "after layer", "rows", "APGR")
    lines = [line for name in given.only or all_rows.names for line in rows_of(all_rows, name, model, given.cache)]
    if given.json:
        print(json.dumps([dict(zip(head, line, strict=True)) for line in lines], indent=1))
    else:
        print(f"{datetime.now(UTC).isoformat(timespec='seconds')}\n\n{table([head, *lines])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
