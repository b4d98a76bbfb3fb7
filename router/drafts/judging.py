"""From a draft and what was asked to the evidence, and to the verdict on it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from weighbridge.drafts import shape, signs
from weighbridge.drafts.agreement import agreement, bounds, likenesses
from weighbridge.drafts.reading import Draft, Reading
from weighbridge.policies.base import Verification
from weighbridge.policies.evidence import Evidence, Verdict, verdict

_LIMITS = ("max_tokens", "max_completion_tokens")
_READ = 20_000  # characters of a draft that are looked at


def evidence_of(draft: Draft, asked: Mapping[str, Any], ask: str, score: float | None) -> Evidence:
    """asked: the fields of the chat request. ask: what of it was scored. score: None where there is none."""
    text = draft.text[-_READ:]
    is_prose = bool(text.strip()) and not draft.calls and not asked.get("response_format")
    is_limited = any(asked.get(name) for name in _LIMITS)
    mean, low = _spread(draft.logprobs)
    return Evidence(
        score=score,
        mean_logprob=mean,
        low_logprob=low,
        is_refusal=draft.refusal or draft.finish_reason == "content_filter" or (is_prose and signs.refuses(draft.text)),
        # Where the client set the limit, the large model would run into it too.
        is_truncated=draft.finish_reason == "length" and not is_limited,
        is_unfinished=is_prose and draft.finish_reason == "stop" and signs.breaks_off(text),
        repetition=signs.repeated(text) if is_prose else 0.0,
        is_looping=signs.loops(text),
        is_other_language=is_prose and signs.is_other_language(ask, draft.text),
        is_beginning=not draft.is_whole,
        faults=shape.faults_of(draft, asked),
    )


def judged(  # noqa: PLR0913, PLR0917  # a draft, how it is judged, and what was asked
    reading: Reading,
    verification: Verification,
    asked: Mapping[str, Any],
    ask: str,
    score: float | None,
    others: Sequence[Draft] = (),
) -> Verdict:
    """Of several choices the worst one counts. others: further drafts of the same ask."""
    verdicts = [
        _verdict(evidence_of(draft, asked, ask, score), verification, agreement(likenesses(draft, others)))
        for draft in reading.drafts.values() or (Draft(),)
    ]
    return min(verdicts, key=lambda one: (one.is_accepted, one.p))


def is_settled(  # noqa: PLR0913, PLR0917  # as above
    reading: Reading,
    verification: Verification,
    asked: Mapping[str, Any],
    ask: str,
    score: float | None,
    others: Sequence[Draft],
    left: int,
) -> bool:
    """Whether the verdict is the same whatever so many further drafts will say."""
    draft = next(iter(reading.drafts.values()), Draft())
    evidence, known = evidence_of(draft, asked, ask, score), likenesses(draft, others)
    possible = {agreement(known), *bounds(known, left)}
    return len({_verdict(evidence, verification, one).is_accepted for one in possible}) == 1


def _verdict(evidence: Evidence, verification: Verification, agreed: float | None) -> Verdict:
    return verdict(replace(evidence, agreement=agreed), verification.weights, verification.accept)


def _spread(logprobs: Sequence[float]) -> tuple[float | None, float | None]:
    """The mean, and what a tenth of the tokens lie below."""
    if not logprobs:
        return None, None
    return sum(logprobs) / len(logprobs), sorted(logprobs)[len(logprobs) // 10]
