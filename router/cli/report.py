"""`weighbridge report`: what the traffic cost and how long it took, as a table, JSON, CSV or a page."""

import os
import shutil
import sys
from pathlib import Path

import typer

from weighbridge.config import load
from weighbridge.energy import Footprint
from weighbridge.reports.render import FORMATS, Format, render
from weighbridge.reports.report import DIMENSIONS, Report
from weighbridge.reports.report import report as made

_PIPE_COLUMNS = 120


def run(  # noqa: PLR0913  # the verb's options, by name
    path: Path,
    *,
    since: str | None,
    until: str | None,
    by: str | None,
    form: str,
    output: Path | None,
    drift: bool = False,
) -> None:
    """Print the report, or write it to a file. Raises BadParameter for an option that makes no sense."""
    if form not in FORMATS:
        raise typer.BadParameter(f"{form!r} is not one of {', '.join(FORMATS)}", param_hint="--format")
    if by is not None and by not in DIMENSIONS:
        raise typer.BadParameter(f"{by!r} is not one of {', '.join(DIMENSIONS)}", param_hint="--by")
    config = load(path, os.environ)
    try:
        footprint = Footprint.of(config.energy, config.upstreams)
        found = made(config.ledger, since, until, by, with_drift=drift, footprint=footprint)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since / --until") from None
    _show(found, form, output)


def _show(found: Report, form: Format, output: Path | None) -> None:
    if output is None:
        # A pipe gets the width of a wide terminal, and no colours.
        is_terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_terminal else _PIPE_COLUMNS
        typer.echo(render(found, form, width=width, is_terminal=is_terminal).rstrip("\n"))
        return
    text = render(found, form, width=_PIPE_COLUMNS)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        typer.echo(f"{output} cannot be written: {error.strerror}; --output names another file.", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"Wrote {output}.")
