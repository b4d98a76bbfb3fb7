"""What the head is fitted on: public outcomes of many models per question, and everyday asks of our own.

Only rows whose licence lets the weights be shipped are fitted on. The others may be read for development figures.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weighbridge.classifiers.training.changes import CHANGES

Floats = NDArray[np.float64]

EVERYDAY = Path(__file__).parent / "everyday.jsonl"
OWN = "everyday"
CHANGED = "everyday, changed"  # the same prompts with something round them that changes no difficulty

# What we take the shortfall of a small model to be on prompts of our own, where nobody has measured it.
SHORTFALL = {"easy": 0.03, "medium": 0.35, "hard": 0.92}

# Where the public datasets are brought to, and how far; our own prompts keep the levels that they were given.
LEVEL, SPREAD, LEVELLED = 0.5, 0.3, 0.7

# The held-out part: of the public rows one of the given splits, of our own one stem in five.
HELD_OUT_SPLIT = 4
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Source:
    """One public dataset. small: the models whose mean failure is the difficulty of a question."""

    name: str
    licence: str
    origin: str
    use: Literal["train", "development"]
    weight: float = 0.0
    small: tuple[str, ...] = ()


SOURCES = (
    Source(
        "mmlupro",
        "Apache-2.0 (outcomes), MIT (questions)",
        "TIGER-AI-Lab/MMLU-Pro f418b116",
        "train",
        1.0,
        (
            "Phi-3-mini-4k-instruct",
            "Meta-Llama-3_1-8B-Instruct",
            "Meta-Llama-3_1-8B",
            "Meta-Llama-3-8B",
            "mathstral-7B",
            "gemma-7b",
            "Mistral-7B-Instruct-v0.1",
            "Mistral-7B-Instruct-v0.2",
            "Mistral-7B-v0.1",
            "Mistral-7B-v0.2-hf",
            "Qwen1.5-7B-Chat",
            "Yi-6B",
            "Yi-6b-Chat",
        ),
    ),
    Source("routellm_mmlu", "Apache-2.0 (outcomes), MIT (questions)", "lm-sys/RouteLLM 0b64fdaf", "train", 1.0),
    Source(
        "zeroeval_mathl5",
        "Apache-2.0 (outcomes), MIT (questions)",
        "WildEval/ZeroEval 8c1485ed",
        "train",
        2.0,
        (
            "gemma-2-2b-it",
            "gemma-2-9b-it",
            "Meta-Llama-3-8B-Instruct",
            "Meta-Llama-3.1-8B-Instruct",
            "Phi-3-mini-4k-instruct",
            "Phi-3.5-mini-instruct",
            "Yi-1.5-9B-Chat",
            "Qwen2-7B-Instruct",
            "Qwen2.5-3B-Instruct",
            "Qwen2.5-7B-Instruct",
        ),
    ),
    Source("bfcl_v1", "the results have no licence file", "HuanzhiMao/BFCL-Result b4adfc9b", "development"),
    Source("routerbench_part", "the mirror has no licence file", "shuhao02/RouterDC 0e63989c", "development"),
)
OWN_WEIGHT, CHANGED_WEIGHT = 5.0, 1.5

# The domains of the public questions that say what kind of work they are.
_REASONING = re.compile(r"math|algebra|formal_logic|physics|statistics|econometrics")


@dataclass(frozen=True)
class Rows:
    """Prompts and how well they were answered. Everything has one entry per prompt.

    fold: 0..4, by stem. stem: the same for what is the same question. held_out: not to be fitted or calibrated on.
    small, large: 0..1, the score of the pair's two models. difficulty: 0..1, the mean failure of many small models.
    level: "easy", "medium" or "hard" for prompts of our own, else "". task: "" where unknown.
    """

    prompt: list[str]
    dataset: NDArray[np.str_]
    fold: NDArray[np.int64]
    stem: NDArray[np.str_]
    held_out: NDArray[np.bool_]
    weight: Floats
    small: Floats
    large: Floats
    difficulty: Floats
    level: NDArray[np.str_]
    task: NDArray[np.str_]

    def __getitem__(self, which: NDArray[np.bool_]) -> "Rows":
        kept = {name: getattr(self, name)[which] for name in Rows.__dataclass_fields__ if name != "prompt"}
        return Rows(prompt=[self.prompt[i] for i in np.flatnonzero(which)], **kept)

    @property
    def own(self) -> NDArray[np.bool_]:
        is_own: NDArray[np.bool_] = np.isin(self.dataset, (OWN, CHANGED))
        return is_own

    @property
    def shortfall(self) -> Floats:
        """What the score means: the large model is right where the small one is not. Our own prompts have it given."""
        return np.where(self.own, self.difficulty, np.clip(self.large - self.small, 0, 1))

    @property
    def target(self) -> Floats:
        """What the head is fitted to.

        Half of it is the gap, which ranks best where it was measured; the other half difficulty for many small models,
        with and without the questions that the large model misses too, which carries further to what is new. Most of
        what sets one dataset apart from another is taken off: it is the models that were asked and how, and a head that
        has to explain it learns less of what makes a question hard.
        """
        gap = np.where(self.own, self.difficulty, self.large - self.small)
        missed = np.where(self.own, self.difficulty, self.difficulty * self.large)
        mixed: Floats = 0.5 * gap + 0.25 * missed + 0.25 * self.difficulty
        for name in np.unique(self.dataset[~self.own]):
            here = self.dataset == name
            alike = LEVEL + SPREAD * (mixed[here] - mixed[here].mean()) / max(1e-6, float(mixed[here].std()))
            mixed[here] = LEVELLED * alike + (1 - LEVELLED) * mixed[here]
        return mixed


def load(data: Path | None, use: tuple[str, ...] = ("train",), everyday: Path = EVERYDAY) -> Rows:
    """The rows of the sources with one of these uses, and our own. Without `data` our own alone."""
    frames = [_everyday(everyday), _changed(everyday)]
    if data is not None:
        pairs = pd.read_parquet(data / "pairs.parquet")
        frames += [_public(data, pairs, source) for source in SOURCES if source.use in use]
    return _rows(pd.concat(frames, ignore_index=True))


def load_any(data: Path) -> Rows:
    """The public rows of a folder alone, those of sources that are not known here too."""
    pairs = pd.read_parquet(data / "pairs.parquet")
    known = {source.name: source for source in SOURCES}
    names = sorted(set(pairs["dataset"].astype(str)))
    sources = [known.get(name, Source(name, "", "", "development", 1.0)) for name in names]
    return _rows(pd.concat([_public(data, pairs, source) for source in sources], ignore_index=True))


def _rows(table: pd.DataFrame) -> Rows:
    return Rows(
        prompt=table["prompt"].astype(str).tolist(),
        dataset=table["dataset"].to_numpy(dtype=str),
        fold=table["fold"].to_numpy(dtype=np.int64),
        stem=table["stem"].to_numpy(dtype=str),
        held_out=table["held_out"].to_numpy(dtype=bool),
        weight=table["weight"].to_numpy(dtype=np.float64),
        small=table["small"].to_numpy(dtype=np.float64),
        large=table["large"].to_numpy(dtype=np.float64),
        difficulty=table["difficulty"].to_numpy(dtype=np.float64),
        level=table["level"].to_numpy(dtype=str),
        task=table["task"].to_numpy(dtype=str),
    )


def _everyday(path: Path) -> pd.DataFrame:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    folds = [int(hashlib.sha256(line["stem"].encode()).hexdigest(), 16) % FOLDS for line in lines]
    given = [SHORTFALL[line["difficulty"]] for line in lines]
    return pd.DataFrame(
        {
            "prompt": [line["text"] for line in lines],
            "dataset": OWN,
            "fold": folds,
            "stem": [line["stem"] for line in lines],
            "held_out": [fold == 0 for fold in folds],
            "weight": OWN_WEIGHT,
            "small": [1 - shortfall for shortfall in given],
            "large": 1.0,
            "difficulty": given,
            "level": [line["difficulty"] for line in lines],
            "task": [line["task"] for line in lines],
        }
    )


def _changed(path: Path) -> pd.DataFrame:
    """What surrounds a prompt says nothing of its level; rows that say so. Never held out to be measured on."""
    plain = _everyday(path)
    rows = plain[~plain["held_out"]].reset_index(drop=True)
    copies = [
        rows.assign(prompt=[change(prompt, f"{name}{i}") for i, prompt in enumerate(rows["prompt"])])
        for name, change in CHANGES.items()
    ]
    return pd.concat(copies, ignore_index=True).assign(dataset=CHANGED, weight=CHANGED_WEIGHT)


def _public(data: Path, pairs: pd.DataFrame, source: Source) -> pd.DataFrame:
    rows = pairs[pairs["dataset"].astype(str) == source.name]
    domains = rows["domain"].astype(str)
    return pd.DataFrame(
        {
            "prompt": rows["prompt"].astype(str),
            "dataset": source.name,
            "fold": rows["split"],
            "stem": rows["stem"].astype(str),
            "held_out": rows["split"] == HELD_OUT_SPLIT if source.use == "train" else True,
            "weight": source.weight,
            "small": rows["weak_score"],
            "large": rows["strong_score"],
            "difficulty": _difficulty(data, rows, source),
            "level": "",
            "task": ["reasoning" if _REASONING.search(domain) else "" for domain in domains],
        }
    )


def _difficulty(data: Path, rows: pd.DataFrame, source: Source) -> pd.Series:
    """The mean failure of the small models; of the pair's small one where only two models were asked."""
    if not source.small or not (data / f"{source.name}_scores.parquet").is_file():
        return 1 - rows["weak_score"]
    scores = pd.read_parquet(data / f"{source.name}_scores.parquet")
    scores = scores[scores["model"].isin(source.small)]
    means = scores.groupby(scores["query_id"].astype(str))["score"].mean()
    return (1 - rows["query_id"].astype(str).map(means)).fillna(1 - rows["weak_score"])
