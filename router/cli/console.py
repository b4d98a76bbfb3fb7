"""What the verbs print with: text for people, JSON for programs, one mark for each finding."""

import json
from typing import Any, Literal

import typer
from rich.console import Console
from rich.text import Text

Status = Literal["ok", "warn", "fail"]

_MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "bold red"),
}


def console() -> Console:
    """Standard output. Soft wrap, so that a line in a pipe stays a line."""
    return Console(highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_finding(to: Console, status: Status, name: str, detail: str) -> None:
    """One line: a mark, what was looked at, what was found."""
    mark, style = _MARKS[status]
    to.print(Text.assemble((f"{mark:>5}  ", style), (f"{name}: " if name else "", "bold"), detail))
