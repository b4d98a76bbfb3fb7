"""Drafts that were judged: what was seen of each and what it was worth, and the weights of the evidence from that."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighbridge.classifiers.evaluation.labelled import stem_of
from weighbridge.classifiers.evaluation.metrics import Floats
from weighbridge.drafts.agreement import agreement, likenesses
from weighbridge.drafts.judging import evidence_of
from weighbridge.drafts.reading import Draft, Reading, beginning_of
from weighbridge.learning import files
from weighbridge.learning.files import LARGE, SMALL, BadFile, Placed
from weighbridge.learning.labels import prompt_of
from weighbridge.policies.evidence import Evidence, Weights, features, p_accept
from weighbridge.units import estimated_tokens
from weighbridge.wire import usage_of

_RIDGE = 2.0  # how strongly the weights are held to where they were: for each unit of variance ...
_LEAST_RIDGE = 0.5  # ... and for what hardly ever differs
_SIGNS = ("refusal", "truncated", "unfinished", "repetition", "looping", "other_language")
_STEPS = 100


@dataclass(frozen=True)
class Drafts:
    """One entry per draft. prompt: "" where unknown. small, large: what both answers were worth, 0..1.

    beginning: what a stream shows before its verdict; None where that is the whole, or where nobody noted it.
    """

    prompt: Sequence[str]
    evidence: Sequence[Evidence]
    small: Floats
    large: Floats
    stem: NDArray[np.str_]
    beginning: Sequence[Evidence | None] = ()

    def __len__(self) -> int:
        return len(self.evidence)

    def __getitem__(self, which: NDArray[np.bool_]) -> "Drafts":
        places = np.flatnonzero(which).tolist()
        return Drafts(
            prompt=[self.prompt[i] for i in places],
            evidence=[self.evidence[i] for i in places],
            small=self.small[which],
            large=self.large[which],
            stem=self.stem[which],
            beginning=[self.beginning[i] for i in places] if self.beginning else (),
        )

    @property
    def has_beginnings(self) -> bool:
        return any(self.beginning)

    @property
    def streamed(self) -> "Drafts":
        """As streams show them."""
        seen = [begun or whole for begun, whole in zip(self.beginning or self.evidence, self.evidence, strict=True)]
        return replace(self, evidence=seen, beginning=())

    @property
    def both(self) -> "Drafts":
        """Whole, and once more as streams show them where that is less."""
        if not self.has_beginnings:
            return self
        less = self.streamed[np.array([begun is not None for begun in self.beginning])]
        return Drafts(
            prompt=[*self.prompt, *less.prompt],
            evidence=[*self.evidence, *less.evidence],
            small=np.concatenate([self.small, less.small]),
            large=np.concatenate([self.large, less.large]),
            stem=np.concatenate([self.stem, less.stem]),
        )

    @property
    def good_enough(self) -> Floats:
        """1 less what a draft falls short by, 0..1."""
        worth: Floats = 1 - np.clip(self.large - self.small, 0, 1)
        return worth

    @property
    def unscored(self) -> list[int]:
        """Those whose classifier's score is missing, and could be had."""
        return [i for i, evidence in enumerate(self.evidence) if evidence.score is None and self.prompt[i]]

    def scored(self, scores: Mapping[int, float | None]) -> "Drafts":
        """With the classifier's scores of some."""
        evidence = [replace(e, score=scores[i]) if i in scores else e for i, e in enumerate(self.evidence)]
        begun = [e and replace(e, score=evidence[i].score) for i, e in enumerate(self.beginning)]
        return replace(self, evidence=evidence, beginning=begun)

    def halves(self) -> tuple["Drafts", "Drafts"]:
        """To fit on, and to measure and promise on. Rows of one question stay on one side."""
        stems = np.unique(self.stem)
        first = np.isin(self.stem, np.random.default_rng(0).permutation(stems)[: len(stems) // 2])
        return self[first], self[~first]

    def p(self, weights: Weights) -> Floats:
        return np.array([p_accept(evidence, weights) for evidence in self.evidence], dtype=np.float64)


def from_file(path: Path) -> Drafts:
    """Raises BadFile, which names the first rows that are wrong."""
    read = files.sample(path, ())
    rows: list[tuple[str, Evidence, float, float, Evidence | None]] = []
    problems: list[str] = []
    for placed in read.rows:
        try:
            if not placed.row.get("failed"):
                rows.append(_row(placed))
        except BadFile as error:
            problems.append(str(error))
    files.all_of(problems, path)
    if not rows:
        raise BadFile(f"{path} holds no draft: every row of it failed when it was made")
    prompts, evidence, small, large, beginning = zip(*rows, strict=True)
    stems = [stem_of(prompt) if prompt else f"row {i}" for i, prompt in enumerate(prompts)]
    return Drafts(
        prompt=list(prompts),
        evidence=list(evidence),
        small=np.array(small, dtype=np.float64),
        large=np.array(large, dtype=np.float64),
        stem=np.array(stems, dtype=object).astype(str),
        beginning=list(beginning),
    )


def fitted(drafts: Drafts, start: Weights) -> Weights:
    """The most likely weights, held to where they start by a ridge: what no draft shows stays as it was.

    Newton's method on the log-likelihood of the logistic, whose targets may lie between 0 and 1, as Platt's do. Faults
    are not fitted: they discard a draft whatever else is said for it.
    """
    sound = [i for i, evidence in enumerate(drafts.evidence) if not evidence.faults]
    names = list(Weights.model_fields)
    rows = [features(drafts.evidence[i]) for i in sound]
    x = np.array([[row[name] for name in names] for row in rows], dtype=np.float64).reshape(len(rows), len(names))
    before = np.array([getattr(start, name) for name in names], dtype=np.float64)
    found = _newton(x, drafts.good_enough[sound], before)
    # A few rows may say that a refusal is a good sign. It is none.
    most = [0.0 if name in _SIGNS else float("inf") for name in names]
    return Weights(**{n: round(min(float(w), m), 3) for n, w, m in zip(names, found, most, strict=True)})


def _newton(x: Floats, y: Floats, before: Floats) -> Floats:
    ridge = np.maximum(_RIDGE * x.var(axis=0), _LEAST_RIDGE) if len(x) else np.full(len(before), _RIDGE)

    def loss(weights: Floats) -> float:
        odds = x @ weights
        return float((np.logaddexp(0, odds) - y * odds).sum() + (ridge * (weights - before) ** 2).sum() / 2)

    weights = before.copy()
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (p - y) + ridge * (weights - before)
        step = np.linalg.solve((x.T * (p * (1 - p))) @ x + np.diag(ridge), slope)
        size = 1.0
        while size > 1e-6 and loss(weights - size * step) > loss(weights):
            size /= 2
        weights = weights - size * step
        if float(np.abs(size * step).max()) < 1e-8:
            break
    return weights


def _row(placed: Placed) -> tuple[str, Evidence, float, float, Evidence | None]:
    known = placed.get("prompt") is not None or placed.get("messages") is not None
    prompt = prompt_of(placed) if known else ""
    worth = files.number(placed, SMALL if placed.get(SMALL) is not None else "score")
    large = files.number(placed, LARGE) if placed.get(LARGE) is not None else 1.0
    begun = placed.get("beginning")
    if begun is not None and not isinstance(begun, Mapping):
        raise BadFile(f"{placed.place}: `beginning` must be an object like `evidence`, or null")
    seen = None if begun is None else evidence_from(begun, f"{placed.place}: beginning")
    return prompt, _evidence(placed, prompt), worth, large, seen


def _evidence(placed: Placed, prompt: str) -> Evidence:
    """As it was written down, or as it can be read from the answer's text."""
    given = placed.get("evidence")
    if given is None and isinstance(answer := placed.get("small_answer"), str):
        return evidence_of(Draft(answer, finish_reason="stop"), {}, prompt, None)
    if not isinstance(given, Mapping):
        raise BadFile(f"{placed.place}: there is neither `evidence`, an object, nor `small_answer`")
    return evidence_from(given, placed.place)


def evidence_from(given: Mapping[str, Any], place: str) -> Evidence:
    """Raises BadFile with what is wrong."""
    known = {field.name: field for field in fields(Evidence)}
    if unknown := given.keys() - known.keys():
        raise BadFile(f"{place}: evidence: {sorted(unknown)[0]!r} is not one of {', '.join(known)}")
    made: dict[str, Any] = {}
    for name, value in given.items():
        if name == "faults":
            if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
                raise BadFile(f"{place}: evidence: faults must be a list of words")
            made[name] = tuple(value)
        elif name.startswith("is_"):
            if not isinstance(value, bool):
                raise BadFile(f"{place}: evidence: {name} must be true or false")
            made[name] = value
        else:
            made[name] = _number(value, name, place)
    return Evidence(**{name: value for name, value in made.items() if value is not None})


def _number(value: object, name: str, place: str) -> float | None:
    low, high = (-float("inf"), 0.0) if name.endswith("logprob") else (0.0, 1.0)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        bounds = "at most 0" if high == 0 else "from 0 to 1"
        raise BadFile(f"{place}: evidence: {name} is {str(value)[:40]!r}; it must be a number {bounds}, or null")
    return float(value)


def shown_by(
    answers: Sequence[Mapping[str, Any]], asked: Mapping[str, Any], prompt: str, hold_tokens: int
) -> tuple[Evidence, Evidence | None]:
    """What a whole answer shows of its own worth, and what its beginning does, where a stream is judged by that.

    answers: the draft, and further ones of the same ask.
    """
    wholes = [_draft_of(answer) for answer in answers]
    begun = [beginning_of(w, hold_tokens, _tokens_of(a)) for w, a in zip(wholes, answers, strict=True)]
    whole = _evidence_among(wholes, asked, prompt)
    if begun[0] is None:
        return whole, None
    return whole, _evidence_among([b or w for b, w in zip(begun, wholes, strict=True)], asked, prompt)


def _evidence_among(drafts: Sequence[Draft], asked: Mapping[str, Any], prompt: str) -> Evidence:
    """Of the first, beside the others."""
    first, *others = drafts
    return replace(evidence_of(first, asked, prompt, None), agreement=agreement(likenesses(first, others)))


def _draft_of(answer: Mapping[str, Any]) -> Draft:
    reading = Reading()
    reading.whole(answer)
    return next(iter(reading.drafts.values()))


def _tokens_of(answer: Mapping[str, Any]) -> int:
    usage = usage_of(answer.get("usage"))
    return usage.output_tokens if usage else estimated_tokens(len(_draft_of(answer).text))


def as_fields(evidence: Evidence) -> dict[str, Any]:
    """As it is written into a row."""
    return asdict(evidence)
