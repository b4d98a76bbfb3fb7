"""The table of docs/faults.md, from the tests that play the faults: which generate.py puts between its marks.

A test names its row at the head of its docstring (`U6: ...`), or in a call `fault("U6", "name", ...)` of a table.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
ROW = re.compile(r"([UASRPCX])(\d+): (.*)", re.DOTALL)
HEAD = "| row | what fails, and what is expected | test |\n| --- | --- | --- |\n"


def table(_: str) -> str:
    """Every fault that a test plays, in the order of the rows."""
    rows = sorted(set(_rows()), key=lambda row: ("UASRPCX".index(row[0][0]), int(row[0][1:]), row[1:]))
    return HEAD + "".join(f"| {number} | {what} | `{test}` |\n" for number, what, test in rows)


def _rows() -> Iterator[tuple[str, str, str]]:
    for path in sorted(TESTS.rglob("test_*.py")):
        place = path.relative_to(TESTS.parent).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found = ROW.match(ast.get_docstring(node) or "")
                if found:
                    yield f"{found[1]}{found[2]}", " ".join(found[3].split()), f"{place}::{node.name}"
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "fault" and len(node.args) > 1:
                number, name = (ast.literal_eval(argument) for argument in node.args[:2])
                yield number, name, place
