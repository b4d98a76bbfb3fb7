"""`weighbridge eval`: how good a classifier is on labels, whether it is worse than another, and how steady it is."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.table import Table

from weighbridge.asks import extract
from weighbridge.classifiers.artefacts import ArtefactError
from weighbridge.classifiers.base import Classifier
from weighbridge.classifiers.evaluation import known
from weighbridge.classifiers.evaluation.comparison import LENGTH, Comparison, compare
from weighbridge.classifiers.evaluation.labelled import Labels, TooLittle
from weighbridge.classifiers.evaluation.metrics import Floats
from weighbridge.classifiers.evaluation.regression import Change, Scored, changes
from weighbridge.classifiers.evaluation.robustness import Report, as_markdown, robustness
from weighbridge.classifiers.evaluation.table import COLUMNS, plain, verdict
from weighbridge.classifiers.length import score_of
from weighbridge.classifiers.minilm import MiniLM
from weighbridge.cli.console import console, print_finding, print_json
from weighbridge.config import Config, load
from weighbridge.learning.labels import Found, from_file
from weighbridge.learning.observed import from_ledger
from weighbridge.learning.refusals import Unusable

_TOGETHER = 32  # texts in one call
_MOST_ROBUST = 200  # every prompt is scored some thirty times
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """A classifier that is looked at. folder: its artefact, None where it has none. threshold: where it works."""

    classifier: Classifier
    folder: Path | None
    threshold: float
    unsure_large: bool = True


@dataclass(frozen=True, slots=True)
class Looks:
    """What is looked at. artefact: instead of the classifier in use. against: what it must not be worse than."""

    artefact: Path | None
    against: Path | None
    from_the_ledger: bool
    robust: bool


def run(path: Path, labels: Path | None, looks: Looks, *, as_json: bool) -> bool:
    """Print what was measured. False where the classifier is worse than the one that it is held against.

    Raises Unusable.
    """
    if labels is not None and looks.from_the_ledger:
        raise typer.BadParameter("name a file of labels, or --from-ledger")
    robust, against = looks.robust, looks.against
    wants_labels = labels is not None or looks.from_the_ledger or against is not None or not robust
    config = config_of(path, is_needed=wants_labels and labels is None)
    with refused():
        return _run(config, labels, looks, wants_labels=wants_labels, as_json=as_json)


def _run(config: Config | None, labels: Path | None, looks: Looks, *, wants_labels: bool, as_json: bool) -> bool:
    robust, against = looks.robust, looks.against
    measured = _measured(config, looks.artefact)
    old = Measured(MiniLM(artefact=str(against)), against, 0.0) if against else None
    said: dict[str, Any] = {"classifier": measured.classifier.version, "threshold": measured.threshold}
    found = None
    if wants_labels:
        found = _fresh(found_in(labels, config), [one for one in (measured, old) if one])
        said |= _on_labels(found, measured, old, as_json=as_json)
    if robust:
        prompts = list(found.labels.prompt)[:_MOST_ROBUST] if found else _sample()
        said["robustness"] = _on_changes(measured, prompts, as_json=as_json)
    if as_json:
        print_json(plain(said))
    return not said.get("is_worse", False)


@contextmanager
def refused() -> Iterator[None]:
    """What the classifiers' own refusals are called on the command line."""
    try:
        yield
    except (ArtefactError, TooLittle) as error:
        raise Unusable(str(error)) from error


def config_of(path: Path, *, is_needed: bool) -> Config | None:
    """The config; None where there is none and nothing hangs on it."""
    return load(path, os.environ) if is_needed or path.exists() else None


def found_in(labels: Path | None, config: Config | None, *, implicit: bool = False) -> Found:
    """Labels of a file, or of the ledger where none is named. implicit: mere signs, too."""
    if labels is not None:
        return from_file(labels)
    assert config is not None  # noqa: S101  # it is loaded where no file is named
    pairs = {name: (route.small, route.large) for name, route in config.routes.items()}
    return from_ledger(config.ledger, pairs, implicit=implicit)


def scores_of(classifier: Classifier, prompts: Sequence[str]) -> tuple[Floats, Floats]:
    """The score of each prompt, and where it abstains, 0 or 1."""
    parts = [prompts[i : i + _TOGETHER] for i in range(0, len(prompts), _TOGETHER)]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = [assessment for some in pool.map(classifier.assess, parts) for assessment in some]
    return np.array([a.score for a in found]), np.array([float(a.abstained) for a in found])


def _measured(config: Config | None, artefact: Path | None) -> Measured:
    if artefact is not None:
        own = MiniLM(artefact=str(artefact))
        return Measured(own, artefact, own.thresholds["balanced"])
    if config is None:
        shipped = MiniLM()
        return Measured(shipped, None, shipped.thresholds["balanced"])
    classifier = config.make_classifier()
    policy = next(iter(config.routes.values())).policy
    threshold = getattr(policy, "threshold", None)
    folder = config.classifier.options.get("artefact")
    return Measured(
        classifier,
        Path(folder) if folder else None,
        classifier.thresholds["balanced"] if threshold is None else threshold,
        getattr(policy, "when_unsure", "large") == "large",
    )


def _fresh(found: Found, classifiers: Sequence[Measured]) -> Found:
    """The rows that none of the classifiers was fitted on."""
    is_fresh = np.ones(len(found.labels), dtype=bool)
    for one in classifiers:
        if one.folder is not None:
            is_fresh &= known.fresh(found.labels, known.fitted_on(one.folder))
    notes = list(found.notes)
    if not is_fresh.all():
        left_out = int((~is_fresh).sum())
        notes.append(f"{left_out:,} rows are left out: a classifier that is measured here was fitted on them.")
        if not is_fresh.any():
            raise TooLittle(
                f"all {left_out:,} rows were fitted on, so they say nothing of how good it is: label others"
            )
    return Found(found.labels[is_fresh], notes)


def _on_labels(found: Found, measured: Measured, old: Measured | None, *, as_json: bool) -> dict[str, Any]:
    labels = found.labels
    labels.check()
    score, abstained = scores_of(measured.classifier, labels.prompt)
    by_length = np.array([score_of(len(prompt)) for prompt in labels.prompt])
    name = measured.classifier.version
    scores = {"this head": score, LENGTH: by_length}
    comparison = compare(labels, scores, measured.threshold, abstained=float(abstained.mean()))
    moved = _against(labels, Scored(name, score, measured.threshold), old) if old else []
    is_worse = any(change.is_worse for change in moved)
    if not as_json:
        show_notes(found.notes)
        console().print(f"Measured: {name}.")
        show(comparison)
        _show_changes(moved, old)
    fields = {"rows": len(labels), "notes": found.notes, **comparison.as_fields()}
    if old:
        fields["against"] = old.classifier.version
        fields["changes"] = [{**asdict(change), "is_worse": change.is_worse} for change in moved]
        fields["is_worse"] = is_worse
    return fields


def _against(labels: Labels, new: Scored, old: Measured) -> list[Change]:
    score, _ = scores_of(old.classifier, labels.prompt)
    return changes(labels, new, Scored(old.classifier.version, score, old.classifier.thresholds["balanced"]))


def _on_changes(measured: Measured, prompts: Sequence[str], *, as_json: bool) -> dict[str, Any]:
    report: Report = robustness(
        measured.classifier,
        prompts,
        measured.threshold,
        unsure_large=measured.unsure_large,
        read=lambda text: extract([{"role": "user", "content": text}]),
    )
    if not as_json:
        console().print(
            f"\nHow {len(prompts):,} prompts score when changed, at the threshold {measured.threshold:g}:\n"
        )
        console().print(as_markdown(report))
    return asdict(report)


def _sample() -> list[str]:
    """Prompts to change where no labels are given: those of the demo."""
    lines = (files("weighbridge.demo") / "prompts.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines][:_MOST_ROBUST]


def show_notes(notes: Sequence[str]) -> None:
    out = console()
    for note in notes:
        print_finding(out, "warn", "", note)


def show(comparison: Comparison) -> None:
    """The table with a column for each way to choose, the domains, and the verdict."""
    out = console()
    out.print(f"\nOn {comparison.head.rows:,} rows, at the threshold {comparison.threshold:g}:\n")
    table = _grid("", *(line.name for line in comparison.lines))
    for column, heading in COLUMNS.items():
        table.add_row(heading, *(_cell(getattr(line, column)) for line in comparison.lines))
    out.print(table)
    if comparison.domains:
        domains = _grid("domain", "rows", *(COLUMNS[column] for column in _OF_DOMAINS))
        for line in comparison.domains:
            domains.add_row(line.name[:24], f"{line.rows:,}", *(_cell(getattr(line, c)) for c in _OF_DOMAINS))
        out.print("\nBy domain:\n")
        out.print(domains)
    if comparison.abstained_share:
        out.print(f"It abstains on {comparison.abstained_share:.1%} of them.")
    print_finding(out, "ok" if comparison.beats_shuffled else "fail", "", verdict(comparison))


_OF_DOMAINS = ("auroc", "apgr", "cost_at_95", "large_share", "quality")


def _grid(first: str, *columns: str) -> Table:
    """A table without lines, narrow enough for eighty columns."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, collapse_padding=True)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column("\n".join(column.split(" ", 1)), justify="right", no_wrap=True)
    return table


def _cell(interval: Any) -> str:
    """A figure with its interval under it."""
    if interval is None or np.isnan(interval.value):
        return ""
    low, high = (f"{end:.3f}".replace("0.", ".", 1) for end in (interval.low, interval.high))
    return f"{interval.value:.3f}\n{low}-{high}"


def _show_changes(moved: Sequence[Change], old: Measured | None) -> None:
    if old is None:
        return
    out = console()
    out.print(f"\nAgainst {old.classifier.version}, on the same rows:")
    for change in moved:
        words = f"{change.old:.3f} -> {change.new:.3f}, change {change.change}"
        if change.is_better_high is None:
            print_finding(out, "warn" if change.change.high < 0 else "ok", change.measure, f"{words} (not judged)")
        else:
            print_finding(out, "fail" if change.is_worse else "ok", change.measure, words)
    worse = [change.measure for change in moved if change.is_worse]
    out.print(f"Worse beyond chance: {', '.join(worse)}." if worse else "Nothing is worse beyond chance.")
