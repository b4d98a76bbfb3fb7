"""Labels from the ledger: what users said, what shadows were judged to be worth, and, where asked for, mere signs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from weighbridge.learning import files
from weighbridge.learning.files import BadFile
from weighbridge.learning.labels import Found, Label, ask_of, found_of
from weighbridge.ledger.base import Entry, Ledger
from weighbridge.ledger.notes import Shadowed

Pairs = Mapping[str, tuple[str, str]]  # the small and the large upstream of each route

# What a small answer is taken to be worth that a sign speaks against, and one that none does. Guesses, and said to be.
SIGNED, UNSIGNED = 0.25, 0.75


@dataclass(slots=True)
class _Gathered:
    labels: list[Label] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def from_ledger(ledger: Ledger, pairs: Pairs, most: int = files.MOST_ROWS, *, implicit: bool = False) -> Found:
    """What can be learnt of the traffic. Raises BadFile where that is nothing, and says what is missing.

    implicit: take signs for weak labels, too.
    """
    entries = list(ledger.entries())
    found, known = _Gathered(), set[str]()
    _add_shadows(found, known, ledger, pairs)
    rated = [entry for entry in entries if entry.feedback is not None and _side(entry, pairs) is not None]
    large = [e.feedback for e in rated if _side(e, pairs) == "large" and e.feedback is not None]
    assumed = sum(large) / len(large) if large else 1.0
    _add_feedback(found, known, [e for e in rated if _side(e, pairs) == "small"], assumed, len(large))
    if implicit:
        small = [e for e in entries if _side(e, pairs) == "small" and e.end_reason == "ok"]
        _add_signs(found, known, small, {sign.request_id for sign in ledger.signs()}, assumed)
    if not found.labels:
        raise BadFile(" ".join([_what_is_missing(rated, ledger.store_prompts), *found.notes]))
    if len(found.labels) > most:
        found.notes.append(f"The last {most:,} of {len(found.labels):,} labels are used.")
    return found_of(found.labels[-most:], found.notes)


def _add_shadows(found: _Gathered, known: set[str], ledger: Ledger, pairs: Pairs) -> None:
    """Requests that both models answered: the only labels of the ledger that know what both were worth."""
    judged = [shadow for shadow in ledger.shadows() if shadow.small_worth is not None]
    ours = [shadow for shadow in judged if pairs.get(shadow.route) == (shadow.small, shadow.large)]
    labels = [label for shadow in ours if (label := _of_shadow(shadow))]
    known |= {shadow.request_id for shadow in ours}
    found.labels += labels
    if labels:
        found.notes.append(f"{len(labels):,} answers of both models were compared by shadows.")
    if len(labels) < len(ours):
        found.notes.append(
            f"{len(ours) - len(labels):,} shadows were judged, but their texts were not kept, so nothing can be learnt"
            " of them: set `keep_texts = true` in [routes.NAME.shadow], or `store_prompts = true` in [ledger]."
        )
    if len(ours) < len(judged):
        found.notes.append(f"{len(judged) - len(ours):,} shadows are about other models than the routes have now.")


def _of_shadow(shadow: Shadowed) -> Label | None:
    prompt = shadow.prompt or ask_of(shadow.body or "")
    if not prompt.strip() or shadow.small_worth is None or shadow.large_worth is None:
        return None
    source = f"shadow, {shadow.source}"
    return Label(prompt, shadow.small_worth, shadow.large_worth, shadow.task or "", source)


def _add_feedback(found: _Gathered, known: set[str], small: Sequence[Entry], assumed: float, large: int) -> None:
    labels = [
        Label(text, entry.feedback, assumed, entry.task or "", "feedback")
        for entry, text in _asks(small, known)
        if entry.feedback is not None
    ]
    known |= {entry.request_id for entry in small}
    found.labels += labels
    if labels:
        found.notes.append(
            f"{len(labels):,} answers of the small model have feedback and a stored prompt. The large model was not"
            f" asked the same: its answers are taken to be worth {assumed:.2f}, "
            + (f"the mean of the {large:,} that have feedback." if large else "since none of them has feedback.")
        )


def _add_signs(found: _Gathered, known: set[str], small: Sequence[Entry], signed: set[str], assumed: float) -> None:
    """From the first sign on: before it nobody may have looked for them."""
    first = next((i for i, entry in enumerate(small) if entry.request_id in signed), len(small))
    labels = [
        Label(text, SIGNED if entry.request_id in signed else UNSIGNED, assumed, entry.task or "", "sign")
        for entry, text in _asks(small[first:], known)
    ]
    found.labels += labels
    found.notes.append(
        f"{len(labels):,} answers of the small model are labelled by signs alone: {SIGNED} where the same was asked"
        f" again or a tool failed, {UNSIGNED} where not. Both are guesses."
    )


def _asks(entries: Sequence[Entry], known: set[str]) -> Iterator[tuple[Entry, str]]:
    """Those that are not known yet, with what they asked, where it was stored."""
    for entry in entries:
        if entry.request_id not in known and (text := ask_of(entry.prompt or "")).strip():
            yield entry, text


def _side(entry: Entry, pairs: Pairs) -> Literal["small", "large"] | None:
    """Which of its route's two models answered; None where neither did."""
    small, large = pairs.get((entry.route or "").lower(), (None, None))
    if entry.upstream is None or small == large:
        return None
    return "small" if entry.upstream == small else "large" if entry.upstream == large else None


def _what_is_missing(rated: Sequence[Entry], stores: bool) -> str:
    if not rated:
        return (
            "the ledger holds no feedback: POST /v1/feedback records what users think of an answer, 0..1;"
            " [routes.NAME.shadow] compares answers of both models by itself."
        )
    if not any(entry.prompt for entry in rated):
        turned_on = "they are stored from now on" if stores else "set `store_prompts = true` in [ledger]"
        return (
            f"{len(rated):,} answers have feedback, but their prompts were not stored, so nothing can be learnt:"
            f" {turned_on}."
        )
    return (
        "the ledger holds feedback on answers of the large model only, and what the small one's would have been"
        " worth is not known: `weighbridge fit --make-labels` asks both."
    )
