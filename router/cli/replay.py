"""`weighbridge replay`: what a span of requests would have cost, taken and been worth, had something been otherwise."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer

from weighbridge.classifiers.base import Classifier
from weighbridge.cli.evaluate import refused
from weighbridge.config import Config, load
from weighbridge.errors import WeighbridgeError
from weighbridge.learning.costing import costing
from weighbridge.learning.deciding import Asked, Decider
from weighbridge.learning.replaying import Trial, medians_of, replayed, times_of, with_threshold
from weighbridge.planning import Planner
from weighbridge.reports.replay import Replay
from weighbridge.reports.replay_page import page, png, svg
from weighbridge.reports.replay_words import as_json as json_of
from weighbridge.reports.replay_words import table
from weighbridge.reports.report import parse_since

_PIPE_COLUMNS = 120


@dataclass(frozen=True, slots=True)
class Otherwise:
    """What is tried in place of what the config says; None of it replays the config as it is."""

    threshold: float | None = None
    policy: Path | None = None
    prices: Path | None = None
    artefact: Path | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """Files to write."""

    html: Path | None = None
    svg: Path | None = None
    png: Path | None = None


def run(path: Path, since: str | None, otherwise: Otherwise, outputs: Outputs, *, as_json: bool) -> None:
    """Print the replay, and write its pictures. Raises Unusable and CannotOpen."""
    now = datetime.now(UTC)
    try:
        begin = parse_since(since, now) if since else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    config = load(path, os.environ)
    tried = load(otherwise.policy, os.environ) if otherwise.policy else config
    if otherwise.threshold is not None:
        tried = with_threshold(tried, otherwise.threshold)
    times_s = times_of(config.ledger, begin, now)
    with refused():
        trial = _trial(config, tried, otherwise, medians_of(times_s))
    found = replayed(config.ledger, trial, times_s, begin, now)
    _show(found, as_json=as_json)
    if outputs.html:
        _write(outputs.html, page(found), as_json=as_json)
    if outputs.svg:
        _draw(outputs.svg, svg(found), as_json=as_json)
    if outputs.png:
        _draw(outputs.png, png(found), as_json=as_json)


def _trial(before: Config, after: Config, otherwise: Otherwise, median_s: Mapping[str, float]) -> Trial:
    scorer = _scorer(before, after, otherwise.artefact)
    thresholds = scorer.thresholds if scorer else after.make_classifier().thresholds if after.needs_classifier else {}
    decider = Decider(before, after, asked=_asked(after), thresholds=thresholds, is_scored_anew=scorer is not None)
    return Trial(after, decider, costing(before, after, otherwise.prices, median_s), scorer)


def _scorer(before: Config, after: Config, artefact: Path | None) -> Classifier | None:
    """Who scores anew. The ledger's scores do for the classifier that gave them."""
    if artefact is not None:
        from weighbridge.classifiers.minilm import MiniLM  # noqa: PLC0415  # only where it is asked for

        return MiniLM(artefact=str(artefact))
    return after.make_classifier() if after.needs_classifier and after.classifier != before.classifier else None


def _asked(config: Config) -> Asked:
    planner = Planner(config, None, None)

    def asked(model: str) -> float | str | None:
        try:
            return planner.target(model).threshold
        except WeighbridgeError:
            return None  # its dialect lets clients name models of others

    return asked


def _show(found: Replay, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json_of(found))
        return
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else _PIPE_COLUMNS
    typer.echo(table(found, width=width, is_terminal=is_terminal).rstrip("\n"))


def _draw(output: Path, drawing: str | bytes | None, *, as_json: bool) -> None:
    if drawing is None:
        typer.echo(f"{output} is not written: no score decides anything in this span.", err=True)
        raise typer.Exit(1)
    _write(output, drawing, as_json=as_json)


def _write(output: Path, content: str | bytes, *, as_json: bool) -> None:
    try:
        output.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        typer.echo(f"{output} cannot be written: {error.strerror}.", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"Wrote {output}.", err=as_json)
