"""Evidence: what a draft shows of its own worth, and the one logistic that makes a probability of it. Pure."""

from dataclasses import dataclass
from math import exp, log

from pydantic import BaseModel, ConfigDict

_SUREST = 0.01  # a score nearer to 0 or 1 than this says no more
_LEAST_LOGPROB = -20.0  # what is rarer is as rare


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a draft. None is unknown.

    score: the classifier's, of the ask. mean_logprob, low_logprob: of its tokens, the mean and the tenth percentile.
    is_truncated: it ran into the end of its window, not of a limit that the client set. is_unfinished: it ends in the
    middle of a sentence. repetition: the share of its four-word runs that were there before, 0..1. is_looping: it ends
    in the same words over and over. is_other_language: not the one that was asked in. agreement: how far further drafts
    say the same, 0..1; None where there are none. is_beginning: no more of it was seen than that. faults: what makes it
    useless whatever else is said for it, as words.
    """

    score: float | None = None
    mean_logprob: float | None = None
    low_logprob: float | None = None
    is_refusal: bool = False
    is_truncated: bool = False
    is_unfinished: bool = False
    repetition: float = 0.0
    is_looping: bool = False
    is_other_language: bool = False
    agreement: float | None = None
    is_beginning: bool = False
    faults: tuple[str, ...] = ()


class Weights(BaseModel):
    """What each piece of evidence adds to the log-odds that a draft is good enough.

    The defaults are a prior, not measured on anybody's traffic; `weighbridge calibrate --drafts` fits them.
    score: for each unit of the classifier's log-odds. no_score, no_logprobs: where there are none. mean_logprob,
    low_logprob: for each nat. sampled: where there are further drafts. agreement: times the share of them that say the
    same. The others: where it is so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bias: float = 2.3
    score: float = -0.8
    no_score: float = -0.2
    mean_logprob: float = 1.5
    low_logprob: float = 0.4
    no_logprobs: float = -1.1
    refusal: float = -3.0
    truncated: float = -2.5
    unfinished: float = -1.0
    repetition: float = -4.0
    looping: float = -4.0
    other_language: float = -3.0
    sampled: float = -1.5
    agreement: float = 3.0
    beginning: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a draft. p: P(accept). why: the one word that tells most. words: the whole, for a header."""

    is_accepted: bool
    p: float
    why: str
    words: str


def features(evidence: Evidence) -> dict[str, float]:
    """The evidence as numbers, by the names of their weights."""
    score, mean, low = evidence.score, evidence.mean_logprob, evidence.low_logprob
    is_measured = mean is not None and low is not None
    # Drafts that all refuse, or all go round in circles, agree as well: that is no answer.
    is_none = evidence.is_refusal or evidence.is_truncated or evidence.is_looping or evidence.is_other_language
    agreed = None if is_none else evidence.agreement
    return {
        "bias": 1.0,
        "score": 0.0 if score is None else _log_odds(score),
        "no_score": float(score is None),
        "mean_logprob": max(_LEAST_LOGPROB, mean or 0.0) if is_measured else 0.0,
        "low_logprob": max(_LEAST_LOGPROB, low or 0.0) if is_measured else 0.0,
        "no_logprobs": float(not is_measured),
        "refusal": float(evidence.is_refusal),
        "truncated": float(evidence.is_truncated),
        "unfinished": float(evidence.is_unfinished),
        "repetition": evidence.repetition,
        "looping": float(evidence.is_looping),
        "other_language": float(evidence.is_other_language),
        "sampled": float(agreed is not None),
        "agreement": agreed or 0.0,
        "beginning": float(evidence.is_beginning),
    }


def p_accept(evidence: Evidence, weights: Weights) -> float:
    """The probability that the draft is good enough. A fault leaves none."""
    if evidence.faults:
        return 0.0
    odds = sum(getattr(weights, name) * value for name, value in features(evidence).items())
    return 1 / (1 + exp(-max(-700.0, min(700.0, odds))))


def verdict(evidence: Evidence, weights: Weights, accept: float) -> Verdict:
    """Whether a draft is good enough, in words too."""
    p = p_accept(evidence, weights)
    is_accepted = not evidence.faults and p >= accept
    shown = evidence.faults or _telling(evidence, weights)
    sign = ">=" if is_accepted else "<"
    return Verdict(is_accepted, p, shown[0] if shown else "weak", " ".join([f"p {p:.2f} {sign} {accept:.2f}", *shown]))


def _telling(evidence: Evidence, weights: Weights) -> tuple[str, ...]:
    """What speaks against it, the weightiest first."""
    found = features(evidence)
    told = ("refusal", "truncated", "unfinished", "repetition", "looping", "other_language")
    against = {name: getattr(weights, name) * found[name] for name in told}
    if evidence.mean_logprob is not None:
        measured = ("mean_logprob", "low_logprob")
        against["logprobs"] = sum(getattr(weights, n) * found[n] for n in measured) - weights.no_logprobs
    against["disagreement"] = sum(getattr(weights, n) * found[n] for n in ("sampled", "agreement"))
    return tuple(sorted((name for name, odds in against.items() if odds < -_NOTABLE), key=lambda name: against[name]))


_NOTABLE = 0.5  # log-odds


def _log_odds(score: float) -> float:
    kept = min(1 - _SUREST, max(_SUREST, score))
    return log(kept / (1 - kept))
