"""`weighbridge fit`: a head of one's own, from labels that are there or are made, measured before it is used."""

import asyncio
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import typer

from weighbridge.access import ANYONE
from weighbridge.classifiers.evaluation.table import plain
from weighbridge.classifiers.minilm import SHIPPED
from weighbridge.cli.calibrate import show_change
from weighbridge.cli.console import console, print_finding, print_json
from weighbridge.cli.evaluate import config_of, found_in, refused, show, show_notes
from weighbridge.config import Config
from weighbridge.dialects.chat import CHAT
from weighbridge.errors import WeighbridgeError
from weighbridge.learning import files as rows_in
from weighbridge.learning.activation import artefact_change
from weighbridge.learning.calls import Model
from weighbridge.learning.encoders import write_base
from weighbridge.learning.labels import Found, from_file
from weighbridge.learning.making import Ask, CannotGoOn, How, Made, Maker, asks_of
from weighbridge.planning import Planner
from weighbridge.policies.cascade import Cascade
from weighbridge.prices import price_list
from weighbridge.schemas import Request
from weighbridge.units import NanoUsd, as_usd, usd_per_mtok
from weighbridge.wire import parse

STARTER = "starter"
_FEW = 300


@dataclass(frozen=True, slots=True)
class Making:
    """How labels are made. prompts: a file, or `starter`. path: where the labels go."""

    prompts: str
    path: Path
    max_usd: str
    judge: str | None
    check: str | None
    ask: bool
    route: str | None


@dataclass(frozen=True, slots=True)
class Fitting:
    """What becomes of a fit. output: the folder; None is one by its own name. force: use it though it is no better.

    encoder: another one than the base's, by its folder or name.
    """

    base: Path | None
    encoder: str | None
    output: Path | None
    held_out: float | None
    activate: bool
    force: bool


def run(  # noqa: PLR0913  # the verb's options, by name
    path: Path,
    labels: Path | None,
    fitting: Fitting,
    *,
    from_the_ledger: bool,
    implicit: bool = False,
    making: Making | None,
    as_json: bool,
) -> bool:
    """Fit, print the table, write the artefact, and put it to use where asked. False where it is not worth using.

    Raises Unusable.
    """
    if sum((labels is not None, from_the_ledger, making is not None)) != 1:
        raise typer.BadParameter("name a file of labels, --from-ledger, or --make-labels PROMPTS")
    if fitting.base and fitting.encoder:
        raise typer.BadParameter("an artefact to build on brings its own encoder", param_hint="--encoder")
    if implicit and not from_the_ledger:
        raise typer.BadParameter("signs are in the ledger: name --from-ledger, too", param_hint="--implicit")
    config = config_of(path, is_needed=from_the_ledger or making is not None or fitting.activate)
    say = _to_stderr if as_json else typer.echo
    if making is not None:
        assert config is not None  # noqa: S101  # it was needed
        labels = making.path
        _show_made(_made(config, making, say), labels, say)
    found = from_file(labels) if labels is not None else found_in(None, config, implicit=implicit)
    with refused(), _base_of(fitting, say) as base:
        return _fit(path, config, found, fitting, base, say=say, as_json=as_json)


@contextmanager
def _base_of(fitting: Fitting, say: Callable[[str], None]) -> Iterator[Path]:
    """The folder of the artefact to build on; of an encoder of the user's own one is made first."""
    if fitting.encoder is None:
        yield fitting.base or SHIPPED
        return
    with TemporaryDirectory(prefix="weighbridge-") as scratch:
        with redirect_stdout(sys.stderr):  # the libraries tell how far they are
            write_base(fitting.encoder, Path(scratch), cache=cache_folder(), say=say)
        yield Path(scratch)


def _fit(  # noqa: PLR0913  # the labels, and what becomes of them
    path: Path,
    config: Config | None,
    found: Found,
    fitting: Fitting,
    on: Path,
    *,
    say: Callable[[str], None],
    as_json: bool,
) -> bool:
    from weighbridge.classifiers.training import own  # noqa: PLC0415  # it loads scikit-learn, which takes a second

    base = own.open_base(on)
    if not as_json:
        show_notes(found.notes)
        if len(found.labels) < _FEW:
            print_finding(console(), "warn", "", f"{_FEW} labels and more make the gap between the models learnable.")
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # training tells how far it is
        fitted = own.fit_own(found.labels, base, cache=cache_folder(), held_out=fitting.held_out, say=say)
    out = fitting.output or Path("artefacts") / fitted.version
    own.write(fitted, base, out)
    is_worth_it = fitted.comparison.beats_shuffled
    use = fitting.activate and (is_worth_it or fitting.force)
    change = artefact_change(path, config.classifier.use, out) if config else None
    if change and use:
        change.write()
    if as_json:
        facts = {"version": fitted.version, "artefact": str(out), "rows_fitted": len(fitted.fitted)}
        more = {"rows_held_out": fitted.held_out, "notes": found.notes, "activated": bool(change) and use}
        print_json(plain({**facts, **more, **fitted.comparison.as_fields(), "diff": change.diff if change else None}))
        return is_worth_it
    show(fitted.comparison)
    say("Each row was scored by a head that had not seen its question." + _held_out(fitted.held_out))
    say(f"Wrote {out} ({fitted.version}).")
    if not is_worth_it and not fitting.force:
        say("It is not put to use: on these labels it is no better than chance. --force does all the same.")
    elif change:
        show_change(change, is_written=use, how="--activate writes it")
        _warn_of_thresholds(config)
    return is_worth_it


def _held_out(rows: int) -> str:
    if rows:
        return f" Nothing was fitted on {rows:,} of them: `weighbridge calibrate --quality` can use those."
    return " All of them were fitted on: a promise of quality needs other labels, or --hold-out 0.25."


def _warn_of_thresholds(config: Config | None) -> None:
    for name, route in (config.routes if config else {}).items():
        threshold = getattr(route.policy, "threshold", None)
        if threshold is not None:
            words = f"its threshold {threshold:g} was chosen for another score: see `weighbridge calibrate`"
            print_finding(console(), "warn", f"route {name}", words)


def cache_folder() -> Path:
    """Where embeddings are kept for the next run: in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weighbridge" / "embeddings"


def _to_stderr(sentence: str) -> None:
    typer.echo(sentence, err=True)


def _made(config: Config, making: Making, say: Callable[[str], None]) -> Made:
    """Make labels. Money first: what is said of it is checked before anything is called."""
    try:
        cap = NanoUsd(int(usd_per_mtok(making.max_usd) * 1_000_000_000))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-usd") from None
    name = (making.route or next(iter(config.routes))).lower()
    if name not in config.routes:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(config.routes)}", param_hint="--route")
    route = config.routes[name]
    if making.judge in {route.small, route.large}:
        say(f"{making.judge} judges its own answers; models prefer those, so a third one judges better.")
    how = How(
        check=making.check,
        judge=_model(config, making.judge) if making.judge else None,
        ask_user=_ask_user if making.ask else None,
    )
    models = (_model(config, route.small), _model(config, route.large))
    cascade = route.policy if isinstance(route.policy, Cascade) else Cascade()
    maker = Maker(making.path, *models, how, cap, say, cascade.hold_tokens, cascade.samples)
    asks = asks_of(_prompts(making.prompts))
    return asyncio.run(maker.make(asks, _reach(config, name)))


def _prompts(source: str) -> list[rows_in.Placed]:
    if source != STARTER:
        return rows_in.sample(Path(source), ("prompt",)).rows
    with as_file(files("weighbridge.demo") / "prompts.jsonl") as path:
        return rows_in.sample(path, ("prompt",)).rows


def _model(config: Config, name: str) -> Model:
    if name not in config.upstreams:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(config.upstreams)}", param_hint="--judge")
    upstream = config.upstreams[name]
    price = price_list({name: upstream})[name]
    if price is None:
        raise CannotGoOn(
            f"what {name} ({upstream.model}) costs is not known, so no cap would hold: set input_usd_per_mtok and"
            f" output_usd_per_mtok in [upstreams.{name}]"
        )
    return Model(name, upstream, price)


def _reach(config: Config, name: str) -> Callable[[Ask], Awaitable[bool]]:
    """Whether a prompt may go to both models of a route: rules and fences hold here as they do in the gateway."""
    planner = Planner(config, None, None)
    wanted = {config.routes[name].small, config.routes[name].large}

    async def may(ask: Ask) -> bool:
        try:
            body = parse(orjson.dumps({"model": name, "messages": list(ask.messages)}))
            CHAT.check(body.fields)
            request = Request(ask.key, CHAT, body, ANYONE, {}, time.monotonic(), datetime.now(UTC))
            plan = await planner.plan(request)
        except WeighbridgeError:
            return False
        return wanted <= plan.reach.keys()

    return may


def _ask_user(prompt: str, small: str, large: str) -> str | None:
    """Show both answers in random order, unnamed; ask which solve it."""
    order = ["first", "second"]
    random.shuffle(order)
    texts = {"first": small, "second": large}
    typer.echo(f"\n{'=' * 60}\n{prompt}\n\n--- A ---\n{texts[order[0]]}\n\n--- B ---\n{texts[order[1]]}\n")
    while True:
        said = typer.prompt("Which solve it? a, b, (t) both, (n)either, (s)kip").strip().lower()[:1]
        if said in {"a", "b"}:
            return order["ab".index(said)]
        if said in {"t", "n", "s"}:
            return {"t": "both", "n": "neither", "s": None}[said]


def _show_made(made: Made, path: Path, say: Callable[[str], None]) -> None:
    spent = as_usd(made.spent_nano_usd)
    say(
        f"{path}: {made.labelled + made.known:,} labels ({made.labelled:,} new), {made.failed:,} failed, ${spent} spent"
    )
    if made.is_capped:
        say(f"Stopped at the cap with {made.left:,} prompts left: a higher --max-usd goes on from here.")
