"""Writes the tables of keys in docs/ from the classes that read config.toml; the words in the last column are people's.

A table stands between `<!-- keys: module:Class -->` and `<!-- end -->`. Its keys, types and defaults come from the
code. A key that a table above it has already (a base class's, say) is left out. Between `<!-- models: NAME -->` and
its end stands a table of the catalogue, and after `<!-- faults: all -->` that of the faults which tests play.
`--check` changes nothing and fails where a table is stale or a key has no words.
"""

import argparse
import json
import re
import sys
import types
import typing
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import fault_tables
import model_tables
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

DOCS = Path(__file__).parent
TABLE = re.compile(r"(<!-- keys: (\S+):(\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
FAULTS = re.compile(r"(<!-- faults: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
MODELS = re.compile(r"(<!-- models: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
ROW = re.compile(r"^\| `([^`]+)` \|.*\| (.*?) *\|$", re.MULTILINE)
HEAD = "| key | what it may be | default | what it means |\n| --- | --- | --- | --- |\n"
WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true`, `false`",
    type(None): "nothing",
    object: "any",
}
ENDS = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}


def kind(annotation: Any) -> str:
    """A type in plain words."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    if origin is typing.Annotated:
        return kind(inner[0])
    if origin is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in inner)
    if origin in {types.UnionType, typing.Union}:
        # What may be left out says so by its default.
        return " or ".join(dict.fromkeys(kind(part) for part in inner if part is not type(None)))
    if origin in {tuple, list, frozenset, set}:
        return f"list of {kind(inner[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{json.dumps(member.value)}`" for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return "table" if origin is dict else "any"


def ends(field: FieldInfo) -> str:
    """The range that a number must lie in."""
    found = {name: getattr(limit, name) for limit in field.metadata for name in ENDS if hasattr(limit, name)}
    return " ".join(f"{words} {found[name]:g}" for name, words in ENDS.items() if name in found)


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value in (None, PydanticUndefined):
        return "none"
    if isinstance(value, BaseModel):
        return "see its table"
    return f"`{json.dumps(value)}`"


def table(cls: type[BaseModel], above: set[tuple[str, str]], words: dict[str, str]) -> str:
    """The rows of one class; what is above it already is left out."""
    rows = []
    for name, field in cls.model_fields.items():
        declared = next(base.__qualname__ for base in cls.__mro__ if name in vars(base).get("__annotations__", {}))
        if (declared, name) in above:
            continue
        above.add((declared, name))
        what = f"{kind(field.annotation)} {ends(field)}".strip()
        rows.append(f"| `{field.alias or name}` | {what} | {default(field)} | {words.get(field.alias or name, '')} |\n")
    return HEAD + "".join(rows) if rows else "No keys of its own.\n"


def renewed(text: str) -> str:
    """A document with its tables as the code has them now."""
    above: set[tuple[str, str]] = set()

    def one(found: re.Match[str]) -> str:
        start, module, name, old, end = found.groups()
        cls = getattr(import_module(module), name)
        return start + table(cls, above, dict(ROW.findall(old))) + end

    text = MODELS.sub(lambda found: found[1] + model_tables.table(found[2]) + found[4], text)
    text = FAULTS.sub(lambda found: found[1] + fault_tables.table(found[2]) + found[4], text)
    return TABLE.sub(one, text)


def stale(path: Path) -> list[str]:
    """What a document's tables lack."""
    text = path.read_text(encoding="utf-8")
    problems = [f"{path.name}: a table is stale; run `just docs`"] if renewed(text) != text else []
    for _, module, name, rows, _ in TABLE.findall(text):
        problems += [
            f"{path.name}: {module}:{name}: `{key}` has no words" for key, words in ROW.findall(rows) if not words
        ]
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a table is stale")
    check = parser.parse_args().check
    if not check:
        for path in DOCS.glob("*.md"):
            path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
    problems = [problem for path in sorted(DOCS.glob("*.md")) for problem in stale(path)]
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201  # a script's output
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
