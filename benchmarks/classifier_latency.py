"""How long a decision takes: cut, tokenise, encode, count and judge one prompt, on one core, by length in tokens.

    python benchmarks/classifier_latency.py [--weights DIR] [--data DIR] [--json]

Ends with 1 when a goal is missed. The goals are for a processor with int8 dot products (AVX512-VNNI or later); the
output names what this one has, and what of each decision the encoder takes, the two timed in turn. With `--weights` it
also compares scores and embeddings with the fp32 reference.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

GOALS_MS = {16: 2.0, 32: 3.5, 64: 6.0, 128: 12.0}
ROUNDS = 60
WORDS = """
    time people way water day part place work week case point number group problem fact house area money story
    month study book word issue side kind head service friend father power hour game line member law car city name
    team
""".split()  # noqa: SIM905  # a list of words reads better as words


def prompts(classifier: object, tokens: int) -> Iterator[str]:
    """Texts of exactly so many tokens, marks included; no two alike."""
    draw = random.Random(tokens)
    encoder = classifier._encoder  # type: ignore[attr-defined]  # to count, we look inside
    while True:
        text = " ".join(draw.choices(WORDS, k=tokens - 2))
        if len(encoder.tokens_of([text])[0]) == tokens:
            yield text


def quantiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return {
        "p50_ms": round(cuts[49] * 1e3, 2),
        "p95_ms": round(cuts[94] * 1e3, 2),
        "least_ms": round(min(seconds) * 1e3, 2),
    }


def timed(classifier: object, tokens: int) -> dict[str, float]:
    source = prompts(classifier, tokens)
    encoder = classifier._encoder  # type: ignore[attr-defined]  # as above
    for _ in range(5):
        classifier.assess([next(source)])  # type: ignore[attr-defined]
    seconds, alone = [], []
    for _ in range(ROUNDS):
        text = next(source)
        read = encoder.tokens_of([text])[0]
        began = perf_counter()
        encoder.embed(read)
        encoded = perf_counter()
        classifier.assess([text])  # type: ignore[attr-defined]
        seconds.append(perf_counter() - encoded)
        alone.append(encoded - began)
    return {**quantiles(seconds), "encoder_ms": quantiles(alone)["p50_ms"]}


def long_inputs(classifier: object) -> dict[str, float]:
    """One call each: however long the text, the time is bounded."""
    found = {}
    for name, text in (("100 kB", "word " * 20_000), ("1 MB", "word " * 200_000), ("10 MB", "word " * 2_000_000)):
        began = perf_counter()
        classifier.assess([text])  # type: ignore[attr-defined]
        found[name] = round((perf_counter() - began) * 1e3, 1)
    return found


def head_alone(classifier: object) -> float:
    """Microseconds for counting and judging a prompt of 64 words, without the encoder."""
    import numpy as np  # noqa: PLC0415

    from weighbridge.classifiers import features  # noqa: PLC0415

    text, embedding = " ".join(WORDS[:40]), np.full(384, 384**-0.5, dtype=np.float32)
    began = perf_counter()
    for _ in range(500):
        classifier._head.judge(embedding, *features.both(text, len(text)))  # type: ignore[attr-defined]
    return round((perf_counter() - began) / 500 * 1e6, 1)


def agreement(folder: Path, data: Path | None) -> dict[str, float]:
    """Scores and embeddings beside sentence-transformers in fp32, on held-out prompts."""
    import numpy as np  # noqa: PLC0415

    from weighbridge.classifiers.head import Inputs, scores  # noqa: PLC0415
    from weighbridge.classifiers.minilm import SHIPPED, MiniLM  # noqa: PLC0415
    from weighbridge.classifiers.training import dataset, embed, export, weights  # noqa: PLC0415
    from weighbridge.classifiers.training.build import spearman  # noqa: PLC0415

    rows = dataset.load(data)
    rows = rows[rows.held_out]
    rows = rows[np.isin(np.arange(len(rows.prompt)), np.random.default_rng(1).permutation(len(rows.prompt))[:400])]
    encoder, head = embed.open_encoder(SHIPPED), MiniLM()._head
    served = embed.read(rows.prompt, encoder, threads=1)
    exact = export.reference(weights.find(folder, folder), encoder.tokens_of([embed.ends_of(p) for p in rows.prompt]))
    both = [scores(head, inputs) for inputs in (served, Inputs(exact, served.counts, served.words))]
    cosine = (exact * served.embedding).sum(1)
    return {
        "prompts": len(rows.prompt),
        "spearman": round(spearman(*both), 4),
        "cosine_mean": round(float(cosine.mean()), 4),
        "cosine_least": round(float(cosine.min()), 4),
        "largest_score_difference": round(float(np.abs(both[0] - both[1]).max()), 3),
    }


def processor() -> dict[str, object]:
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next(
        (line.partition(": ")[2] for line in info.splitlines() if line.startswith("model name")), platform.processor()
    )
    return {"name": name, "int8_dot_products": any(flag in info for flag in ("vnni", "amx_int8", "asimddp"))}


def measure(weights: Path | None, data: Path | None) -> dict[str, object]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    began = perf_counter()
    from weighbridge.classifiers.minilm import MiniLM  # noqa: PLC0415

    imported = perf_counter()
    classifier = MiniLM()
    loaded = perf_counter()
    found: dict[str, object] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "artefact": classifier.version,
        "import_s": round(imported - began, 3),
        "load_s": round(loaded - imported, 3),
        "by_tokens": {tokens: timed(classifier, tokens) for tokens in (8, 16, 32, 64, 128)},
        "long_inputs_ms": long_inputs(classifier),
        "head_alone_us": head_alone(classifier),
    }
    if weights is not None:
        found["agreement_with_fp32"] = agreement(weights, data)
    return found


def show(found: dict[str, object]) -> None:
    print(f"{found['at']}  {found['processor']}  artefact {found['artefact']}")
    print(f"import {found['import_s']} s, load {found['load_s']} s; head alone {found['head_alone_us']} microseconds")
    print(f"{'tokens':>7} {'p50 ms':>8} {'p95 ms':>8} {'least':>8} {'goal':>6} {'encoder':>8}")
    for tokens, row in found["by_tokens"].items():  # type: ignore[attr-defined]
        measured = (
            f"{tokens:>7} {row['p50_ms']:>8} {row['p95_ms']:>8} {row['least_ms']:>8} {GOALS_MS.get(tokens, ''):>6}"
        )
        print(f"{measured} {row['encoder_ms']:>8}")
    print("one call, ms:", found["long_inputs_ms"])
    if "agreement_with_fp32" in found:
        print("beside the fp32 reference:", found["agreement_with_fp32"])


def missed(found: dict[str, object]) -> list[str]:
    rows = found["by_tokens"]
    late = [
        f"{n} tokens: p50 {rows[n]['p50_ms']} ms > {goal}" for n, goal in GOALS_MS.items() if rows[n]["p50_ms"] > goal
    ]  # type: ignore[index]
    if found["load_s"] > 0.5:  # type: ignore[operator]
        late.append(f"load {found['load_s']} s > 0.5")
    agreed = found.get("agreement_with_fp32")
    if isinstance(agreed, dict) and agreed["spearman"] < 0.99:
        late.append(f"Spearman {agreed['spearman']} < 0.99")
    return late


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a folder with the model, for the comparison with fp32")
    parser.add_argument("--data", type=Path, help="public outcomes; without them the comparison is on our own prompts")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.weights, given.data)
    problems = missed(found)
    print(json.dumps({**found, "missed": problems}, indent=1)) if given.json else show(found)
    if problems and not given.json:
        print("goals missed:", "; ".join(problems))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
