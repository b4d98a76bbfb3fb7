"""`weighbridge calibrate --drafts`: what evidence counts for, and which drafts are good enough for a promise."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import typer

from weighbridge.classifiers.evaluation import metrics
from weighbridge.classifiers.evaluation.labelled import LEAST, TooLittle
from weighbridge.classifiers.evaluation.metrics import Interval
from weighbridge.classifiers.evaluation.promise import GRID, Promise, promise
from weighbridge.cli.calibrate import Chosen, Wanted, print_chosen
from weighbridge.cli.evaluate import refused, scores_of
from weighbridge.config import Config, load
from weighbridge.learning.activation import cascade_change
from weighbridge.learning.drafts import Drafts, fitted, from_file
from weighbridge.policies.cascade import Cascade
from weighbridge.policies.evidence import Weights

_HAIR = 1e-9  # a draft exactly at `accept` is accepted


def run(  # noqa: PLR0913  # the verb's options, by name
    path: Path, drafts: Path, wanted: Wanted, *, route: str | None, write: bool, as_json: bool
) -> bool:
    """Print the weights, `accept`, and the change of the config, and make it where asked. Raises Unusable.

    False where no `accept` keeps the promise.
    """
    if wanted.quality is None or wanted.remote_share is not None or wanted.budget is not None:
        raise typer.BadParameter("drafts are accepted for a promise: name --quality, and no share or budget")
    config = load(path, os.environ)
    name = (route or next(iter(config.routes))).lower()
    if name not in config.routes:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(config.routes)}", param_hint="--route")
    policy = config.routes[name].policy
    if not isinstance(policy, Cascade):
        message = f'the policy of {name} verifies no drafts: set policy = {{ use = "cascade" }} first'
        raise typer.BadParameter(message, param_hint="--route")
    with refused():
        weights, chosen = _chosen(config, policy, from_file(drafts), wanted)
    accept = chosen.threshold
    change = None if accept is None else cascade_change(path, name, accept, weights.model_dump())
    if change and write:
        change.write()
    print_chosen(chosen, change, is_written=write, as_json=as_json, name="accept")
    return accept is not None


def _chosen(config: Config, policy: Cascade, drafts: Drafts, wanted: Wanted) -> tuple[Weights, Chosen]:
    assert wanted.quality is not None  # noqa: S101  # the caller looked
    if len(set(drafts.stem.tolist())) < 2 * LEAST:
        raise TooLittle(
            f"{len(drafts):,} drafts are too few: {2 * LEAST} of different asks are the least, half to fit on"
        )
    drafts, threshold = _scored(config, policy, drafts)
    to_fit, held_out = drafts.halves()
    weights = fitted(to_fit.both, Weights())
    # Where streams show less than the whole, the promise holds for both: by the one that takes more.
    ways = (held_out, held_out.streamed) if held_out.has_beginnings else (held_out,)
    kept = min((_kept(way, weights, threshold, wanted) for way in ways), key=lambda found: found.threshold)
    measured = _measured(held_out, policy.weights, weights)
    told = {name: asdict(interval) for name, interval in measured.items()}
    facts: dict[str, Any] = {"drafts_fitted": len(to_fit), "drafts_held_out": len(held_out), **told}
    facts |= {"weights": weights.model_dump(), "quality_promised": kept.quality_promised, "kept": kept.kept}
    facts |= {"confidence": kept.confidence, "quality": kept.quality, "best": kept.best}
    # At 0 nothing would be verified, faults neither.
    accept = max(float(GRID[1]), 1 - kept.threshold) if kept.is_kept else None
    return weights, Chosen(accept, _sentence(kept, accept, wanted, measured), facts)


def _kept(drafts: Drafts, weights: Weights, threshold: float, wanted: Wanted) -> Promise:
    """The promise for drafts that show this much."""
    assert wanted.quality is not None  # noqa: S101  # the caller looked
    at_once = np.array([e.score is not None and e.score >= threshold for e in drafts.evidence])
    return promise(
        np.where(at_once, 1.0, np.clip(1 - drafts.p(weights) - _HAIR, 0, 1)),
        drafts.small,
        drafts.large,
        quality=wanted.quality,
        confidence=wanted.confidence,
        over=wanted.over,
    )


def _scored(config: Config, policy: Cascade, drafts: Drafts) -> tuple[Drafts, float]:
    """With scores where the asks are there, and the threshold that is in force."""
    places = drafts.unscored
    if not places and policy.threshold is not None:
        return drafts, policy.threshold
    classifier = config.make_classifier()
    if places:
        scores, abstained = scores_of(classifier, [drafts.prompt[i] for i in places])
        told = zip(places, scores.tolist(), abstained.tolist(), strict=True)
        drafts = drafts.scored({i: None if is_unsure else score for i, score, is_unsure in told})
    usual = classifier.thresholds.get("balanced", 0.5)
    return drafts, usual if policy.threshold is None else policy.threshold


def _measured(held_out: Drafts, before: Weights, after: Weights) -> dict[str, Interval]:
    good = held_out.good_enough
    found: dict[str, Interval] = {}
    for name, weights in (("", after), ("_before", before)):
        p = held_out.p(weights)
        measures = {f"auroc{name}": metrics.auroc, f"ece{name}": metrics.ece}
        found |= metrics.bootstrap_all(measures, p, good, groups=metrics.group_ids(held_out.stem.tolist()))
    return found


def _sentence(kept: Promise, accept: float | None, wanted: Wanted, measured: dict[str, Interval]) -> str:
    asked = f"{wanted.quality:.1%} of the large model's quality with {wanted.confidence:.0%} confidence"
    rank = (
        f"on {kept.labels:,} drafts that nothing was fitted on P(accept) has an AUROC of {measured['auroc']} and an ECE"
        f" of {measured['ece']}; with the weights in use {measured['auroc_before']} and {measured['ece_before']}"
    )
    if accept is None:
        best = f"; the best is {kept.best:.1%}" if 0 < kept.best < kept.quality_promised else ""
        return f"cannot promise {asked} with {kept.labels:,} drafts{best}; {rank}"
    return (
        f"accept {accept:g} keeps {asked}: {kept.kept:.1%} of the drafts are accepted, and the answers are worth"
        f" {kept.quality:.1%} of the large model's there; {rank}"
    )
