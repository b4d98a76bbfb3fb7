"""The messages of a request of any dialect, as far as they are plain words of a user or of an assistant. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weighbridge.dialects.base import Fields

_TEXTS = frozenset({"text", "input_text", "output_text"})
_OF_A_PART = frozenset({"type", "text", "annotations", "logprobs"})
_OF_A_MESSAGE = frozenset({"role", "content", "type", "id", "status"})


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. texts: its text parts, by their places; None for a content that is one string.

    is_plain: nothing but words: no call of a tool or its result, no picture, no thought that is signed.
    """

    role: str
    texts: Mapping[int | None, str]
    is_plain: bool

    @property
    def text(self) -> str:
        return "\n\n".join(self.texts.values())


def turns_of(fields: Fields) -> tuple[str, list[Turn]]:
    """The key under which a request has its messages, and those. Without any the list is empty."""
    for key in ("messages", "input"):
        if isinstance(items := fields.get(key), list):
            turns = [_turn(item) for item in items]
            return key, [_after(items, i, turn) for i, turn in enumerate(turns)]
    return "messages", []


def with_text(item: Mapping[str, Any], place: int | None, text: str) -> dict[str, Any]:
    """A message with another text in that place."""
    if place is None:
        return {**item, "content": text}
    parts = [{**part, "text": text} if i == place else part for i, part in enumerate(item["content"])]
    return {**item, "content": parts}


def _turn(item: object) -> Turn:
    if not isinstance(item, dict):
        return Turn("", {}, is_plain=False)
    role, content = str(item.get("role", "")), item.get("content")
    is_plain = role in {"user", "assistant"} and item.keys() <= _OF_A_MESSAGE and item.get("type") in {None, "message"}
    if isinstance(content, str):
        return Turn(role, {None: content}, is_plain)
    if not isinstance(content, list):
        return Turn(role, {}, is_plain=False)
    texts: dict[int | None, str] = {}
    for i, part in enumerate(content):
        if isinstance(part, dict) and part.get("type") in _TEXTS and isinstance(part.get("text"), str):
            texts[i] = part["text"]
            is_plain = is_plain and part.keys() <= _OF_A_PART
        else:
            is_plain = False
    return Turn(role, texts, is_plain)


def _after(items: Sequence[object], i: int, turn: Turn) -> Turn:
    """What follows a model's reasoning belongs to it."""
    before = items[i - 1] if i else None
    if isinstance(before, dict) and before.get("type") == "reasoning":
        return Turn(turn.role, turn.texts, is_plain=False)
    return turn
