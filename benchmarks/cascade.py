"""Whether a cascade keeps its promise, and what it saves, on simulated drafts whose worth is known.

    python benchmarks/cascade.py [--quality 0.95] [--confidence 0.95] [--resplits N] [--json]

No model answers here. Each ask has a hidden difficulty; the classifier's score sees it dimly, the small model's answer
is good or bad by it and by chance, and the draft shows signs that good and bad ones have with different odds. So the
truth is known, and the figures hold for this world only: they test the machinery, not any model.

Again and again 1,000 asks become labels and 5,000 others the traffic. The cascade fits its weights on half of the
labels and takes the `accept` that promises the quality on the other half, as `weighbridge calibrate --drafts` does.
Routing by the prompt alone takes the threshold that promises it on all 1,000. A promise is broken where the traffic's
answers are worth less than promised, relative to always-large. Cost is in parts of always-large; a draft costs
SMALL_COST of a large answer, a discarded one too. With `samples = 3` there are two more where what they say can change
the verdict; each says the same as the first with a probability of 0.75 on average where that is good, and of 0.38 where
it is bad, which is assumed, not measured. Beside the promised operating points stand those that reach the very
quality on the traffic in hindsight: equal quality, so that only the cost differs. Intervals hold 95 % of the resplits,
that of the broken ones is exact (Clopper and Pearson).

Streams are judged by their beginnings: of three in five drafts less is seen than the whole. It shows no truncation, no
end in the middle, no loop, half of the faults, and the log-probabilities of fewer tokens. "Streams" are judged so, once
with weights and `accept` from whole drafts alone, as they are where nobody notes the beginnings, and once from both.

Ends with 1 where a promise is broken too often, or the cascade does not cost less than both at equal quality.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from promise import binomial

from weighbridge.classifiers.evaluation import metrics
from weighbridge.classifiers.evaluation.metrics import Floats
from weighbridge.classifiers.evaluation.promise import promise, tuned
from weighbridge.learning.drafts import Drafts, fitted
from weighbridge.policies.evidence import Evidence, Weights, features

ASKS, LABELS = 6_000, 1_000
SMALL_COST = 0.06  # of a large answer's, for each draft
LONG = 0.6  # the share of drafts of which a stream shows less than the whole before its verdict
FURTHER = 2  # drafts beside the first, where they are made


@dataclass(frozen=True)
class Row:
    """One way to answer. broken: the share of resplits in which it fell short of the promise; None without one."""

    name: str
    broken: tuple[float, float, float] | None
    small_share: tuple[float, float, float]
    quality: tuple[float, float, float]
    cost: tuple[float, float, float]


def world(rng: np.random.Generator) -> Drafts:
    """Drafts with what is known of them, and what both answers are worth."""
    hard = rng.normal(0, 1.4, ASKS)
    good = rng.random(ASKS) < 1 / (1 + np.exp(1.8 * hard - 0.9))
    large = rng.random(ASKS) < 0.95
    score = 1 / (1 + np.exp(-(hard + rng.normal(0, 1.6, ASKS))))  # dim: an AUROC of about 0.75
    mean = np.minimum(-0.01, rng.normal(np.where(good, -0.28, -0.5), 0.16))
    low = np.minimum(mean, rng.normal(np.where(good, -1.2, -1.9), 0.7))

    def sign(if_good: float, if_bad: float) -> Floats:
        return (rng.random(ASKS) < np.where(good, if_good, if_bad)).astype(float)

    signs = list(zip(
        sign(0.004, 0.07), sign(0.004, 0.03), sign(0.02, 0.08), sign(0.002, 0.03), sign(0.003, 0.02), sign(0, 0.05),
        rng.beta(1, np.where(good, 30, 12)), rng.random(ASKS) < 0.9, strict=True,
    ))  # fmt: skip
    same = rng.beta(np.where(good, 4.5, 1.5), np.where(good, 1.5, 2.5))
    agreement = rng.binomial(FURTHER, same) / FURTHER
    evidence = [
        Evidence(
            score=float(score[i]),
            mean_logprob=float(mean[i]) if has_logprobs else None,
            low_logprob=float(low[i]) if has_logprobs else None,
            is_refusal=bool(refusal),
            is_truncated=bool(truncated),
            is_unfinished=bool(unfinished),
            repetition=float(repetition),
            is_looping=bool(looping),
            is_other_language=bool(language),
            agreement=float(agreement[i]),
            faults=("invalid_json",) if fault else (),
        )
        for i, (refusal, truncated, unfinished, looping, language, fault, repetition, has_logprobs) in enumerate(signs)
    ]
    stems = np.array([f"ask {i}" for i in range(ASKS)])
    beginning = [begun_of(rng, one) if rng.random() < LONG else None for one in evidence]
    return Drafts([""] * ASKS, evidence, good.astype(float), large.astype(float), stems, beginning)


def begun_of(rng: np.random.Generator, whole: Evidence) -> Evidence:
    """What the first tokens of a long draft show."""
    seen = replace(whole, is_beginning=True, is_truncated=False, is_unfinished=False, is_looping=False, repetition=0.0)
    if rng.random() < 0.5:
        seen = replace(seen, faults=())
    if whole.mean_logprob is None or whole.low_logprob is None:
        return seen
    mean = min(-0.01, whole.mean_logprob + float(rng.normal(0, 0.12)))
    return replace(seen, mean_logprob=mean, low_logprob=min(mean, whole.low_logprob + float(rng.normal(0, 0.5))))


class Seen:
    """Drafts as numbers, once: P(accept) for many weights is then one product. The same as `Drafts.p`."""

    def __init__(self, drafts: Drafts) -> None:
        self._names = list(Weights.model_fields)
        found = [features(evidence) for evidence in drafts.evidence]
        self._x = np.array([[row[name] for name in self._names] for row in found])
        self._is_sound = np.array([not evidence.faults for evidence in drafts.evidence])

    def p(self, weights: Weights) -> Floats:
        odds = self._x @ np.array([getattr(weights, name) for name in self._names])
        return self._is_sound / (1 + np.exp(-odds))


def agreeing(drafts: Drafts, agreement: float | None) -> Drafts:
    """The same drafts, had those beside them said so; None is without any."""
    return replace(
        drafts,
        evidence=[replace(evidence, agreement=agreement) for evidence in drafts.evidence],
        beginning=[evidence and replace(evidence, agreement=agreement) for evidence in drafts.beginning],
    )


def answered(
    score: Floats, drafts: Drafts, threshold: float, *, is_drafted: bool, further: Floats | float = 0.0
) -> tuple[float, float, float]:
    """The share that stays small, the quality relative to always-large, and the cost. score: high goes to the large.

    further: how many drafts there are beside the first.
    """
    sent = score >= threshold
    quality = np.where(sent, drafts.large, drafts.small).mean() / drafts.large.mean()
    cost = sent.mean() + SMALL_COST * (1 + np.mean(further) if is_drafted else 1 - sent.mean())
    return float(1 - sent.mean()), float(quality), float(cost)


Measured = dict[str, tuple[float, float, float]]


def undecided(possible: list[Floats], threshold: float) -> Floats:
    """How many further drafts are made: none where the verdict is the same whatever they say."""
    verdicts = [value >= threshold for value in possible]
    return FURTHER * np.any([verdict != verdicts[0] for verdict in verdicts], axis=0).astype(float)


def resplits(drafts: Drafts, given: argparse.Namespace) -> Iterator[tuple[Measured, dict[str, float]]]:
    rng = np.random.default_rng(1)
    quality, confidence = given.quality, given.confidence
    prompt_only = np.array([e.score for e in drafts.evidence])
    once = agreeing(drafts, None)
    seen, seen_once, seen_begun = Seen(drafts), Seen(once), Seen(once.streamed)
    seen_possible = [seen_once, *(Seen(agreeing(drafts, said)) for said in (0.0, 1.0))]
    prior = seen_once.p(Weights())
    for _ in range(given.resplits):
        order = rng.permutation(ASKS)
        fit, hold, rest = (np.isin(np.arange(ASKS), part) for part in np.split(order, [LABELS // 2, LABELS]))
        weights = fitted(once[fit], Weights())
        p = seen_once.p(weights)
        of_three = fitted(drafts[fit], Weights())
        p_of_three = seen.p(of_three)
        of_both = fitted(once[fit].both, Weights())
        possible = [1 - one.p(of_three) for one in seen_possible]
        labels, traffic, over = fit | hold, drafts[rest], int(rest.sum())
        made: Measured = {}
        ways = {
            "by the prompt": (prompt_only, labels, False),
            "cascade, prior weights": (1 - prior, labels, True),
            "cascade, fitted": (1 - p, hold, True),
            "cascade of 3 drafts, fitted": (1 - p_of_three, hold, True),
        }
        for name, (value, known, is_drafted) in ways.items():
            columns = (value[known], drafts.small[known], drafts.large[known])
            kept = promise(*columns, quality=quality, confidence=confidence, over=over)
            best = tuned(value[rest], traffic.small, traffic.large, quality=quality)
            for at, kind in ((kept.threshold or 0.0, ""), (best, ", in hindsight")):
                further = undecided([one[rest] for one in possible], at) if "3 drafts" in name else 0.0
                made[name + kind] = answered(value[rest], traffic, at, is_drafted=is_drafted, further=further)
        columns = (drafts.small[hold], drafts.large[hold])
        accepts = [
            promise(1 - value[hold], *columns, quality=quality, confidence=confidence, over=over).threshold
            for value in (p, seen_once.p(of_both), seen_begun.p(of_both))
        ]
        for name, used, at in (("whole drafts", weights, accepts[0]), ("both", of_both, min(accepts[1:]))):
            value = 1 - seen_begun.p(used)[rest]
            made[f"streams, fitted on {name}"] = answered(value, traffic, at, is_drafted=True)
        told = {
            "auroc": metrics.auroc(p[rest], traffic.good_enough),
            "ece": metrics.ece(p[rest], traffic.good_enough),
            "auroc, 3 drafts": metrics.auroc(p_of_three[rest], traffic.good_enough),
            "auroc, prior": metrics.auroc(prior[rest], traffic.good_enough),
            "ece, prior": metrics.ece(prior[rest], traffic.good_enough),
            "auroc, prompt": metrics.auroc(1 - prompt_only[rest], traffic.good_enough),
        }
        yield made, told


def spread(values: list[float]) -> tuple[float, float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(np.mean(values)), float(low), float(high)


def rows_of(made: list[Measured], quality: float) -> list[Row]:
    rows = [Row("always large", None, (0, 0, 0), (1, 1, 1), (1, 1, 1))]
    for name in sorted(made[0], key=lambda name: ("hindsight" in name, name)):
        small, reached, cost = (list(column) for column in zip(*(one[name] for one in made), strict=True))
        broken = sum(one < quality for one in reached)
        share = (broken / len(made), *binomial(broken, len(made)))
        promised = None if "hindsight" in name else share
        rows.append(Row(name, promised, spread(small), spread(reached), spread(cost)))
    return rows


def table(rows: list[Row]) -> str:
    def shown(value: tuple[float, float, float] | None) -> str:
        return "-" if value is None else f"{value[0]:.1%} ({value[1]:.1%}-{value[2]:.1%})"

    head = (
        "| | promise broken (exact 95 % interval) | stays small | quality of always-large's | cost of always-large's |"
    )
    body = [f"| {r.name} | {' | '.join(map(shown, (r.broken, r.small_share, r.quality, r.cost)))} |" for r in rows]
    return "\n".join([head, "|---" * 5 + "|", *body])


def cheaper(made: list[Measured], one: str, other: str) -> tuple[float, float, float]:
    """By how much of always-large's cost, at equal quality."""
    return spread([each[f"{other}, in hindsight"][2] - each[f"{one}, in hindsight"][2] for each in made])


def pays_below(made: Measured) -> float:
    """What a draft may cost, as a part of a large answer, for the further ones to pay at equal quality."""
    three, one = (made[f"{name}, in hindsight"] for name in ("cascade of 3 drafts, fitted", "cascade, fitted"))
    spared = three[0] - one[0]
    return spared * SMALL_COST / (three[2] - one[2] + spared)


def missed(rows: list[Row], made: list[Measured], confidence: float) -> list[str]:
    # Those fitted on whole drafts are there to show what that costs.
    promised = [r for r in rows if r.broken and not r.name.endswith("whole drafts")]
    found = [f"{r.name}: promise broken too often" for r in promised if r.broken and r.broken[0] > 1 - confidence]
    name = "cascade, fitted, in hindsight"
    for other in ("by the prompt, in hindsight", None):
        gaps = [one[name][2] - (one[other][2] if other else 1.0) for one in made]
        if spread(gaps)[2] >= 0:
            found.append(f"at equal quality no cheaper than {other or 'always large'}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", type=float, default=0.95)
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--resplits", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    drafts = world(np.random.default_rng(0))
    made, told = (list(column) for column in zip(*resplits(drafts, given), strict=True))
    rows = rows_of(made, given.quality)
    failed = missed(rows, made, given.confidence)
    figures = {name: spread([one[name] for one in told]) for name in told[0]}
    gap = cheaper(made, "cascade, fitted", "by the prompt")
    lift = cheaper(made, "cascade of 3 drafts, fitted", "cascade, fitted")
    pays = spread([pays_below(one) for one in made])
    if given.json:
        told = {"p_accept": figures, "cheaper": gap, "lift": lift, "pays_below": pays, "missed": failed}
        print(json.dumps({"rows": [vars(r) for r in rows], **told}))
        return bool(failed)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"{now}  {given.quality:.0%} of quality, {given.confidence:.0%} confidence, {given.resplits:,} resplits\n")
    print(table(rows), "\n")
    for name, (value, low, high) in figures.items():
        print(f"{name}: {value:.3f} ({low:.3f}-{high:.3f})")
    print(f"cheaper than by the prompt at equal quality: {gap[0]:.3f} ({gap[1]:.3f}-{gap[2]:.3f}) of always-large")
    print(f"three drafts instead of one, at equal quality: {lift[0]:.3f} ({lift[1]:.3f}-{lift[2]:.3f}) cheaper")
    print(f"they pay where a draft costs less than {pays[0]:.3f} ({pays[1]:.3f}-{pays[2]:.3f}) of a large answer")
    for what in failed:
        print(f"goal missed: {what}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
