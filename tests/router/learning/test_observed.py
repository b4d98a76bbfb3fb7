"""Labels from the ledger: verdicts, shadows and signs, each told apart."""

import json
from typing import Any

import pytest
from bookkeeping import NOON, Written, entry, remote

from weighbridge.learning.files import BadFile
from weighbridge.learning.observed import SIGNED, UNSIGNED, from_ledger
from weighbridge.ledger.notes import Shadowed, Sign

PAIRS = {"auto": ("local", "remote")}


def body(text: str) -> str:
    return json.dumps({"messages": [{"role": "user", "content": text}]})


def shadow(**changes: Any) -> Shadowed:
    return Shadowed("1", NOON, "auto", "small", "local", "remote", 0.5, 1.0, "judge j")._replace(**changes)


def sign(request_id: str) -> Sign:
    return Sign(request_id, "repeated", "auto", "local", "local")


def test_a_shadow_says_what_both_answers_are_worth() -> None:
    ledger = Written(
        given=(), given_shadows=(shadow(prompt="why?", task="code"), shadow(request_id="2", body=body("how?")))
    )
    found = from_ledger(ledger, PAIRS)
    assert list(found.labels.prompt) == ["why?", "how?"]
    assert (found.labels.small.tolist(), found.labels.large.tolist()) == ([0.5, 0.5], [1.0, 1.0])
    assert found.labels.source.tolist() == ["shadow, judge j"] * 2
    assert found.labels.domain.tolist() == ["code", ""]


def test_shadows_without_text_verdict_or_models_of_today_teach_nothing_and_say_so() -> None:
    unjudged = shadow(request_id="2", prompt="x", small_worth=None, large_worth=None)
    older = shadow(request_id="3", prompt="x", small="former")
    ledger = Written(given=(), given_shadows=(shadow(), unjudged, older))
    with pytest.raises(BadFile, match=r"1 shadows were judged, but their texts were not kept.*keep_texts = true") as no:
        from_ledger(ledger, PAIRS)
    assert "1 shadows are about other models" in str(no.value)


def test_of_one_request_a_shadow_goes_before_a_verdict() -> None:
    given = (entry(request_id="1", feedback=0.0, prompt=body("why?")),)
    found = from_ledger(Written(given=given, given_shadows=(shadow(prompt="why?"),)), PAIRS)
    assert found.labels.small.tolist() == [0.5]


def test_signs_are_weak_labels_and_only_where_asked_for() -> None:
    given = (
        entry(request_id="0", prompt=body("before the first sign")),
        entry(request_id="1", prompt=body("signed")),
        entry(request_id="2", prompt=body("unsigned")),
        entry(request_id="3", prompt=body("rated"), feedback=1.0),
        remote(request_id="4", prompt=body("large")),
    )
    ledger = Written(given=given, given_signs=(sign("1"), sign("3")))
    plain = from_ledger(ledger, PAIRS)
    assert list(plain.labels.prompt) == ["rated"]
    found = from_ledger(ledger, PAIRS, implicit=True)
    labels = dict(zip(found.labels.prompt, found.labels.small.tolist(), strict=True))
    assert labels == {"rated": 1.0, "signed": SIGNED, "unsigned": UNSIGNED}
    assert found.labels.source.tolist() == ["feedback", "sign", "sign"]
    assert "Both are guesses" in found.notes[-1]
