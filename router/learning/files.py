"""Files of prompts and labels, row by row: JSONL, CSV and parquet. Of a large file a sample is kept as it streams by.

What is wrong is said with file, line and remedy; nothing is guessed and nothing dropped in silence.
"""

import csv
import math
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from weighbridge.learning.refusals import Unusable

MOST_ROWS = 20_000  # more than that are sampled: they would cost minutes, and change little
_MANY_BYTES = 16_000_000  # of one line
_SHOWN = 5

PROMPT, MESSAGES, SMALL, LARGE = "prompt", "messages", "small_score", "large_score"
# What others call the same.
_ALSO = {
    SMALL: ("small", "weak_score"),
    LARGE: ("large", "strong_score"),
    PROMPT: ("text", "question"),
    "small_cost_usd": ("small_cost",),
    "large_cost_usd": ("large_cost",),
    "reference": ("reference_answer", "answer"),
}

Row = Mapping[str, Any]


class BadFile(Unusable):
    """A file that cannot be used; the message says where and why, and what to do."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A row, and where it stands, for messages."""

    place: str
    row: Row

    def get(self, name: str) -> Any:
        """A column by our name or one that others use; None where it is absent, empty or null."""
        for known in (name, *_ALSO.get(name, ())):
            value = self.row.get(known)
            if value is not None and value != "":
                return value
        return None


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows of a file, and how many it has. They are in the order of the file."""

    rows: list[Placed]
    total: int


def sample(path: Path, needed: tuple[str, ...], most: int = MOST_ROWS) -> Sample:
    """The rows of a file, or a random `most` of them, the same ones each time. needed: columns that must be there."""
    kept: list[tuple[int, Any]] = []
    total = 0
    rng = random.Random(0)  # noqa: S311  # a sample, no secret
    for total, raw in enumerate(_raw(path), 1):
        if len(kept) < most:
            kept.append((total, raw))
        elif (place := rng.randrange(total)) < most:
            kept[place] = (total, raw)
    if not kept:
        raise BadFile(f"{path} holds no rows")
    rows = [_parsed(path, number, raw) for number, raw in sorted(kept, key=lambda item: item[0])]
    check_columns(path, rows[0], needed)
    return Sample(rows, total)


def number(placed: Placed, name: str) -> float:
    """A score of a row, 0..1. BadFile says what is wrong with it."""
    value = placed.get(name)
    if isinstance(value, bool):
        return float(value)
    try:
        found = float(value)
    except (TypeError, ValueError):
        said = "is missing" if value is None else f"is {str(value)[:40]!r}"
        raise BadFile(f"{placed.place}: {name} {said}; it must be a number from 0 to 1") from None
    if math.isnan(found):
        raise BadFile(f"{placed.place}: {name} is NaN; label the row, or leave it out")
    if not 0 <= found <= 1:
        remedy = "divide by the best mark there is, so that scores run from 0 to 1"
        raise BadFile(f"{placed.place}: {name} is {found:g}, which is outside 0..1; {remedy}")
    return found


def all_of(problems: list[str], path: Path) -> None:
    """Raise BadFile with the first few problems, if there are any."""
    if problems:
        more = f"\n... and {len(problems) - _SHOWN:,} more in {path}" if len(problems) > _SHOWN else ""
        raise BadFile("\n".join(problems[:_SHOWN]) + more)


def check_columns(path: Path, first: Placed, needed: tuple[str, ...]) -> None:
    names = ", ".join(map(str, first.row)) or "none"
    if PROMPT in needed and first.get(PROMPT) is None and first.get(MESSAGES) is None:
        raise BadFile(f"{path}: there is no column `prompt` or `messages`; its columns are: {names}")
    missing = [n for n in needed if n != PROMPT and not any(k in first.row for k in (n, *_ALSO.get(n, ())))]
    if missing:
        what = " and ".join(f"`{name}`" for name in missing)
        raise BadFile(f"{path}: there is no column {what}; its columns are: {names}")


def _raw(path: Path) -> Iterator[Any]:
    """The rows unparsed, as cheaply as can be."""
    readers = {".jsonl": _lines, ".ndjson": _lines, ".csv": _records, ".parquet": _batches}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadFile(f"{path} is not .jsonl, .csv or .parquet; save it as one of these")
    try:
        yield from reader(path)
    except FileNotFoundError:
        raise BadFile(f"{path}: there is no such file") from None
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}") from None


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(_MANY_BYTES):
            if len(line) == _MANY_BYTES:
                raise BadFile(f"{path} has a line of more than {_MANY_BYTES:,} bytes; is it JSONL, one object a line?")
            if line.strip():
                yield line


def _records(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(min(_MANY_BYTES, sys.maxsize))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                row.pop(None, None)  # what stands beyond the last column
                yield row
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise BadFile(f"{path} is not valid CSV: {error}") from None


def _batches(path: Path) -> Iterator[dict[str, Any]]:
    """Read through pandas' engine where it is installed; it is no dependency of ours."""
    from weighbridge.classifiers.training.parquet import NotInstalled, NotParquet, rows_of  # noqa: PLC0415  # rarely

    try:
        yield from rows_of(path)
    except NotInstalled:
        remedy = 'pip install pyarrow (or "weighbridge[train]"), or save the file as .jsonl or .csv'
        raise BadFile(f"{path}: reading parquet needs pyarrow, which is not installed: {remedy}") from None
    except NotParquet as error:
        raise BadFile(f"{path} is not a parquet file ({error})") from None


def _parsed(path: Path, number: int, raw: Any) -> Placed:
    if isinstance(raw, Mapping):
        return Placed(f"{path}: row {number}", raw)
    try:
        row = orjson.loads(raw.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        if b"NaN" in raw or b"Infinity" in raw:
            raise BadFile(
                f"{path}: row {number} holds NaN, which is no score; label the row, or leave it out"
            ) from None
        raise BadFile(f"{path}: row {number} is not valid JSON ({error.msg}); write one object a line") from None
    if not isinstance(row, dict):
        raise BadFile(f"{path}: row {number} is no JSON object; write one object a line")
    return Placed(f"{path}: row {number}", row)
