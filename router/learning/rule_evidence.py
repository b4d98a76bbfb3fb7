"""Whether a rule would have matched a request of the past: yes, no, or what the ledger kept does not tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from weighbridge.asks import whole_text
from weighbridge.learning.labels import ask_of
from weighbridge.ledger.base import Entry
from weighbridge.policies import conditions
from weighbridge.policies.conditions import Condition
from weighbridge.policies.facts import Facts
from weighbridge.policies.rules import Rule
from weighbridge.policies.when import Every, Not, Some, parse

_OF_THE_ROW = (conditions.Model, conditions.Key)
_OF_TOKENS = (conditions.TokensOver, conditions.TokensUnder)
_OF_THE_SCORE = (conditions.ScoreOver, conditions.ScoreUnder, conditions.Task)
_OF_THE_BODY = (conditions.Keyword, conditions.Regex, conditions.Pii, conditions.Language, conditions.HasTools)


class NotKept(Exception):
    """The ledger did not keep what would tell; the message says what that is."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a request. Headers, pictures and schemas are never kept."""

    facts: Facts
    has_body: bool
    has_tokens: bool
    is_scored: bool

    def tells(self, leaf: Condition) -> bool:
        """What is known is enough to ask it."""
        if isinstance(leaf, _OF_THE_ROW):
            return True
        if isinstance(leaf, _OF_TOKENS):
            return self.has_tokens
        if isinstance(leaf, _OF_THE_SCORE):
            return self.is_scored
        return isinstance(leaf, _OF_THE_BODY) and self.has_body


class Rules:
    """The rules of a config, asked about requests that the gateway served under the rules of another.

    A rule that both have needs no facts: the ledger says which one decided, so those before it did not match.
    """

    def __init__(self, before: Sequence[Rule], after: Sequence[Rule]) -> None:
        self._before = {rule.name: (place, rule) for place, rule in enumerate(before)}
        self._after = [(rule, parse(rule.when)) for rule in after if rule.then.decides]

    def decider(self, entry: Entry, score: float | None, task: str | None) -> Rule | None:
        """The first that would have matched and decided. Raises NotKept where that cannot be told."""
        known: Known | None = None
        for rule, condition in self._after:
            found = self._on_record(rule, entry)
            if found is None:
                known = known or _known(entry, score, task)
                found = holds(condition, known)
            if found is None:
                raise NotKept(f"what the rule {rule.name!r} reads")
            if found:
                return rule
        return None

    def _on_record(self, rule: Rule, entry: Entry) -> bool | None:
        place, same = self._before.get(rule.name, (0, None))
        if same != rule:
            return None
        if entry.rule == rule.name:
            return True
        decided, decider = self._before.get(entry.rule or "", (None, None))
        if entry.rule is None or (decider and not decider.then.decides):
            return False  # none of them decided
        return False if decided is not None and place < decided else None


def holds(condition: Condition, known: Known) -> bool | None:
    """Kleene's logic: what is not known matters only where it could turn the answer."""
    if isinstance(condition, Not):
        inside = holds(condition.value, known)
        return None if inside is None else not inside
    if isinstance(condition, Every | Some):
        found = [holds(part, known) for part in condition.value]
        turns = isinstance(condition, Some)
        if turns in found:
            return turns
        return None if None in found else not turns
    return condition.holds(known.facts) if known.tells(condition) else None


def _known(entry: Entry, score: float | None, task: str | None) -> Known:
    fields = _fields(entry.prompt)
    facts = Facts(
        text=whole_text(fields) if fields is not None else "",
        ask=ask_of(entry.prompt) if entry.prompt else "",
        tokens=entry.input_tokens or 0,
        model=entry.model_asked,
        key=entry.caller,
        has_tools=bool(fields and (fields.get("tools") or fields.get("functions"))),
        score=score,
        task=task,
    )
    return Known(facts, fields is not None, entry.input_tokens is not None, score is not None)


def _fields(stored: str | None) -> dict[str, Any] | None:
    """A stored body; None where there is none."""
    try:
        found = orjson.loads(stored or "")
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
