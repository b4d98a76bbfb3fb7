"""`weighbridge reload`: check the file, then let the gateway that serves it read it again."""

import os
import signal
from pathlib import Path

import typer

from weighbridge.cli import pids
from weighbridge.config import load


def run(path: Path) -> bool:
    """False where no gateway serves the file. Raises ConfigError, and the gateway then keeps what it has."""
    load(path, os.environ)
    process = pids.serving(path)
    if process is None:
        typer.echo(f"No gateway of yours serves {path}: start one with `weighbridge serve --config {path}`.", err=True)
        return False
    os.kill(process, signal.SIGHUP)
    typer.echo(f"Process {process} reads {path} again; its log says whether it could.")
    return True
