"""The environment over the file: WEIGHBRIDGE_SECTION__KEY, for every key that the file can have."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from weighbridge.toml_lines import Key

PREFIX = "WEIGHBRIDGE_"

_OTHER = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True, slots=True)
class Override:
    """A value of the environment that stands in the place of the file's. text: as it came, before it was read."""

    variable: str
    key: Key
    text: str


class Misplaced(ValueError):
    """A variable that names no place in the file."""


def apply(data: dict[str, Any], environ: Mapping[str, str]) -> tuple[list[Override], list[str]]:
    """Put the environment's values into the data. What was put there, and the problems on the way.

    Only names with a section are ours: WEIGHBRIDGE_CONFIG and the like are not keys.
    """
    done, problems = [], []
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        try:
            key = _put(data, name.removeprefix(PREFIX).lower().split("__"), _value(text))
            done.append(Override(name, key, text))
        except Misplaced as error:
            problems.append(f"environment variable {name}: {error}")
    return done, problems


def _put(data: Any, parts: list[str], value: object) -> Key:
    if not all(parts):
        raise Misplaced("names no key: write WEIGHBRIDGE_SECTION__KEY")
    key: list[str | int] = []
    for part in parts[:-1]:
        name = _actual(data, part)
        key.append(name)
        data = data.setdefault(name, {}) if isinstance(data, dict) else data[name]
    key.append(_actual(data, parts[-1]))
    data[key[-1]] = value
    return tuple(key)


def _actual(data: Any, part: str) -> str | int:
    """The key that a part of a variable's name means: names of variables know neither case nor dashes."""
    if isinstance(data, list):
        if not part.isdecimal() or len(part) > 6 or int(part) >= len(data):
            raise Misplaced(f"{part!r} is not one of the {len(data)} entries there, which are counted from 0")
        return int(part)
    if not isinstance(data, dict):
        raise Misplaced(f"there is no table for {part!r} in the config file")
    return next((name for name in data if _OTHER.sub("_", name.lower()) == part), part)


def _value(text: str) -> object:
    """Read as the file would read it; plain text needs no quotes here."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, datetime | date | time) else value
