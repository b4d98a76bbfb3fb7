"""Labels: prompts, and what the answers of both models were worth; and those of a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from weighbridge.asks import extract
from weighbridge.classifiers.evaluation.labelled import Labels, stem_of
from weighbridge.learning import files
from weighbridge.learning.files import LARGE, MESSAGES, PROMPT, SMALL, BadFile, Placed
from weighbridge.learning.judging import exact_match


@dataclass(frozen=True, slots=True)
class Label:
    """One prompt, and what both answers were worth, 0..1. source: who says so."""

    prompt: str
    small: float
    large: float
    domain: str = ""
    source: str = "file"
    small_cost_usd: float | None = None
    large_cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Labels, and what is to be said about them, in sentences."""

    labels: Labels
    notes: list[str]


def from_file(path: Path, most: int = files.MOST_ROWS) -> Found:
    """Raises BadFile, which names the first rows that are wrong."""
    read = files.sample(path, (PROMPT,), most)
    scored = (SMALL, LARGE)
    if read.rows[0].get("reference") is None or read.rows[0].get("small_answer") is None:
        files.check_columns(path, read.rows[0], scored)
    problems: list[str] = []
    labels: list[Label] = []
    usable = [placed for placed in read.rows if not placed.row.get("failed")]
    for placed in usable:
        try:
            labels.append(_label(placed))
        except BadFile as error:
            problems.append(str(error))
    files.all_of(problems, path)
    if not labels:
        raise BadFile(f"{path} holds no label: every row of it failed when it was made")
    notes = []
    if len(usable) < len(read.rows):
        notes.append(f"{len(read.rows) - len(usable):,} rows that could not be labelled are left out.")
    if read.total > len(read.rows):
        notes.append(f"{path} has {read.total:,} rows: a random {len(read.rows):,} of them are used.")
    return found_of(labels, notes)


def prompt_of(placed: Placed) -> str:
    """What is scored of a row: its prompt, or the last genuine ask of its messages."""
    given = placed.get(MESSAGES)
    if isinstance(given, str) and given.lstrip().startswith("["):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError:
            raise BadFile(f"{placed.place}: messages is not a JSON list of chat messages") from None
    text = extract(given if given is not None else placed.get(PROMPT))
    if not text.strip():
        where = "prompt" if given is None else "messages"
        raise BadFile(f"{placed.place}: {where} holds no text of a user")
    return text


def _label(placed: Placed) -> Label:
    if placed.get(SMALL) is None and placed.get("reference") is not None and placed.get("small_answer") is not None:
        reference = str(placed.get("reference"))
        small, large = (
            exact_match(str(placed.get(name) or ""), reference) for name in ("small_answer", "large_answer")
        )
        source = "exact match"
    else:
        small, large = files.number(placed, SMALL), files.number(placed, LARGE)
        source = str(placed.get("source") or "file")
    return Label(
        prompt=prompt_of(placed),
        small=small,
        large=large,
        domain=str(placed.get("domain") or "")[:80],
        source=source[:80],
        small_cost_usd=_cost(placed, "small_cost_usd"),
        large_cost_usd=_cost(placed, "large_cost_usd"),
    )


def _cost(placed: Placed, name: str) -> float | None:
    """Money as the weight of a row in a measure: a float is enough for that, and none is billed by it."""
    value = placed.get(name)
    if value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found < float("inf"):
        raise BadFile(f"{placed.place}: {name} is {str(value)[:40]!r}; it must be an amount in USD, or be left out")
    return found


def ask_of(stored: str) -> str:
    """What is scored of a request that the ledger kept."""
    return extract(_messages(stored))


def _messages(stored: str) -> Any:
    """What the user said in a stored body; the text itself where it is none."""
    try:
        body = orjson.loads(stored)
    except orjson.JSONDecodeError:
        return stored
    if not isinstance(body, Mapping):
        return stored
    return body.get("messages") or body.get("input") or body.get("prompt")


def found_of(labels: Sequence[Label], notes: list[str]) -> Found:
    """Labels as columns, with what is to be said about them."""
    found = as_columns(labels)
    repeated = len(found) - len(set(found.stem.tolist()))
    if repeated:
        notes.append(f"{repeated:,} rows repeat a question; all rows of one question stay on one side of every split.")
    return Found(found, notes)


def as_columns(labels: Sequence[Label]) -> Labels:
    def costs(name: str) -> Any:
        values = [getattr(label, name) for label in labels]
        return None if None in values else np.array(values, dtype=np.float64)

    return Labels(
        prompt=[label.prompt for label in labels],
        small=np.array([label.small for label in labels], dtype=np.float64),
        large=np.array([label.large for label in labels], dtype=np.float64),
        stem=np.array([stem_of(label.prompt) for label in labels], dtype=object).astype(str),
        domain=np.array([label.domain for label in labels], dtype=object).astype(str),
        source=np.array([label.source for label in labels], dtype=object).astype(str),
        small_cost=costs("small_cost_usd"),
        large_cost=costs("large_cost_usd"),
    )
