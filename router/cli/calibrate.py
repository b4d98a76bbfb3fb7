"""`weighbridge calibrate`: a route's threshold for a share of large calls, a budget, or a promise of quality."""

import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import typer

from weighbridge.classifiers.evaluation import known
from weighbridge.classifiers.evaluation.labelled import LEAST, TooLittle
from weighbridge.classifiers.evaluation.promise import USEFUL, promise
from weighbridge.cli.console import console, print_finding, print_json
from weighbridge.cli.evaluate import found_in, refused, scores_of, show_notes
from weighbridge.config import Config, load
from weighbridge.learning.activation import Change, threshold_change
from weighbridge.learning.traffic import Point, budget_of, by_budget, by_share, traffic_of
from weighbridge.policies.base import Policy
from weighbridge.prices import price_list
from weighbridge.reports.report import parse_since
from weighbridge.units import as_usd


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the threshold is chosen for; one of the first three. over: further requests that a promise is to show on."""

    remote_share: float | None = None
    budget: str | None = None
    quality: float | None = None
    confidence: float = 0.95
    over: int | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A threshold, None where there is none to be had, and what was found, in words and for programs."""

    threshold: float | None
    sentence: str
    fields: dict[str, Any]


def run(  # noqa: PLR0913  # the verb's options, by name
    path: Path, labels: Path | None, wanted: Wanted, *, route: str | None, since: str | None, write: bool, as_json: bool
) -> bool:
    """Print the threshold and the change of the config, and make it where asked. False where there is none.

    Raises Unusable.
    """
    if sum(value is not None for value in (wanted.remote_share, wanted.budget, wanted.quality)) != 1:
        raise typer.BadParameter("name one of --remote-share, --budget and --quality")
    config = load(path, os.environ)
    name = (route or next(iter(config.routes))).lower()
    if name not in config.routes:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(config.routes)}", param_hint="--route")
    if "threshold" not in type(config.routes[name].policy).model_fields:
        raise typer.BadParameter(f"the policy of {name} has no threshold to set", param_hint="--route")
    if wanted.quality is not None:
        with refused():
            chosen = _promised(config, config.routes[name].policy, labels, wanted, as_json=as_json)
    else:
        chosen = _from_traffic(config, name, wanted, since)
    change = None if chosen.threshold is None else threshold_change(path, name, chosen.threshold)
    if change and write:
        change.write()
    print_chosen(chosen, change, is_written=write, as_json=as_json)
    return chosen.threshold is not None


def _from_traffic(config: Config, name: str, wanted: Wanted, since: str | None) -> Chosen:
    route, prices = config.routes[name], price_list(config.upstreams)
    try:
        begin = parse_since(since, datetime.now(UTC)) if since else None
        daily = budget_of(wanted.budget) if wanted.budget is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    traffic = traffic_of(
        config.ledger.entries(begin),
        route=name,
        classifier=config.make_classifier().version,
        small=prices[route.small],
        large=prices[route.large],
    )
    if daily is not None:
        point = by_budget(traffic, daily)
        spent = as_usd(round(point.daily_nano_usd or 0, -6))
        words = f"about ${spent} a day on traffic like the last {traffic.seconds / 86_400:.1f} days"
    else:
        point = by_share(traffic, wanted.remote_share or 0.0)
        words = f"of {len(traffic.scored):,} scored requests"
    sentence = f"threshold {point.threshold:g}: {point.large_share:.1%} go to the large model, {words}"
    return Chosen(point.threshold, sentence, _fields(point, len(traffic.scored)))


def _fields(point: Point, requests: int) -> dict[str, Any]:
    daily = None if point.daily_nano_usd is None else as_usd(point.daily_nano_usd)
    return {"large_share": point.large_share, "daily_usd": daily, "requests": requests}


def _promised(config: Config, policy: Policy, path: Path | None, wanted: Wanted, *, as_json: bool) -> Chosen:
    assert wanted.quality is not None  # noqa: S101  # the caller looked
    found = found_in(path, config)
    labels, notes = found.labels, list(found.notes)
    folder = config.classifier.options.get("artefact")
    is_fresh = known.fresh(labels, known.fitted_on(Path(folder)) if folder else frozenset())
    if not is_fresh.all():
        notes.append(f"{int((~is_fresh).sum()):,} rows are left out: the classifier was fitted on them.")
    labels = labels[is_fresh & labels.one_per_stem]
    if len(labels) < LEAST:
        raise TooLittle(
            f"{len(labels):,} labels that the classifier was not fitted on are too few: {LEAST} are the least;"
            " label others, or hold some back with `weighbridge fit --hold-out 0.25`"
        )
    if not as_json:
        show_notes(notes)
    score, abstained = scores_of(config.make_classifier(), labels.prompt)
    # Where it abstains no threshold decides: such a request goes where the policy says.
    # A cascade has the small one draft it, and of what verifying adds nothing is known here.
    unsure = 1.0 if getattr(policy, "when_unsure", "small") == "large" else 0.0
    score = np.where(abstained > 0, unsure, score)
    kept = promise(
        score, labels.small, labels.large, quality=wanted.quality, confidence=wanted.confidence, over=wanted.over
    )
    fields = {**asdict(kept), "notes": notes}
    asked = f"{wanted.quality:.1%} of the large model's quality with {wanted.confidence:.0%} confidence"
    if not kept.is_kept:
        if kept.best > 0 and kept.best < wanted.quality:
            best = f"the best I can promise is {kept.best:.1%}, with at least {USEFUL:.0%} of the requests kept small"
        else:
            best = "I can promise nothing with them but to send everything to the large model"
        return Chosen(None, f"cannot promise {asked} with {kept.labels:,} labels; {best}", fields)
    sentence = (
        f"threshold {kept.threshold:g} keeps {asked}, from {kept.labels:,} labels: {kept.kept:.1%} of them stay on the"
        f" small model, and the answers are worth {kept.quality:.1%} of the large model's there"
    )
    return Chosen(kept.threshold, sentence, fields)


def print_chosen(
    chosen: Chosen, change: Change | None, *, is_written: bool, as_json: bool, name: str = "threshold"
) -> None:
    """What was chosen, by its key's name, and the change of the config."""
    if as_json:
        diff = change.diff if change else None
        print_json({name: chosen.threshold, **chosen.fields, "diff": diff, "written": bool(change) and is_written})
        return
    out = console()
    print_finding(out, "ok" if change else "fail", "", chosen.sentence)
    if change is None:
        return
    show_change(change, is_written=is_written, how="--write writes it")


def show_change(change: Change, *, is_written: bool, how: str) -> None:
    """The change of a config, and whether it was made."""
    if not change.diff:
        typer.echo(f"{change.path} says so already.")
        return
    typer.echo(change.diff)
    wrote = f"Wrote {change.path}; `weighbridge reload` tells a gateway that runs."
    typer.echo(wrote if is_written else f"Nothing was written: {how}.")
