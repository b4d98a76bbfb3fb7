"""The model card of an artefact that was fitted to somebody's own labels."""

from collections.abc import Mapping
from dataclasses import dataclass

from weighbridge.classifiers.artefacts import OperatingPoint
from weighbridge.classifiers.evaluation.comparison import Comparison
from weighbridge.classifiers.evaluation.table import as_markdown, verdict

CARD = "MODEL_CARD.md"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a head was fitted on. sources: rows by where their labels came from."""

    base: str
    rows_fitted: int
    rows_held_out: int
    sources: Mapping[str, int]
    small_mean: float
    large_mean: float


def card(version: str, facts: Facts, comparison: Comparison, points: Mapping[str, OperatingPoint]) -> str:
    """The card as Markdown. No prompt is quoted in it."""
    how = f"{facts.rows_fitted + facts.rows_held_out:,} rows, each by a head that had not seen its question"
    if facts.rows_held_out:
        how += f"; nothing at all was fitted on {facts.rows_held_out:,} of them"
    rows = [f"| `{name}` | {point.threshold:.3f} | {point.chosen_for} |" for name, point in points.items()]
    return _CARD.format(
        version=version,
        base=facts.base,
        fitted=f"{facts.rows_fitted:,}",
        sources=", ".join(f"{n:,} from {name or 'a file'}" for name, n in facts.sources.items()),
        small=f"{facts.small_mean:.3f}",
        large=f"{facts.large_mean:.3f}",
        how=how,
        table=as_markdown(comparison.lines),
        domains=as_markdown(comparison.domains) if comparison.domains else "None of them has 30 rows.",
        verdict=verdict(comparison),
        points="\n".join(rows),
    )


_CARD = """# {version}

A head for the `minilm` classifier, fitted with `weighbridge fit` to somebody's own labels, on top of `{base}`: the same
encoder, another score. It knows one pair of models and one kind of traffic.

## What it was fitted on

{fitted} rows ({sources}). The small model's answers were worth {small} on average, the large one's {large}.

## How good it is

Measured on {how}. {verdict}

{table}

By domain:

{domains}

AUROC: does a prompt where the small model falls short score above one where it does not (0.5 is chance). ECE: how far
the score is from the frequency. APGR: the part of the gap between the models that is recovered, averaged over every
share of large calls (0.5 is a shuffled score); CPT50, CPT80: the share of large calls that recovers so much. Cost at
95 % and 98 % of the large model's quality: as a part of always-large, read off these rows' own curve. Large share and
quality (relative to always-large): at the threshold `balanced`; length and shuffled at the same share or cost. Lift:
quality above a shuffled score at the same cost, averaged over every operating point. In brackets 95 % intervals of a
bootstrap over questions.

## Thresholds

| name | score | chosen for |
|---|---|---|
{points}

A threshold that was chosen so is no promise. `weighbridge calibrate --quality 0.97 --confidence 0.95` chooses one that
is, from labels that were not fitted on.

## What it cannot do

It says nothing about other models and other traffic than the labels'. When the small or the large model changes, label
and fit again; `weighbridge eval --against` tells whether the new one is worse.
"""
