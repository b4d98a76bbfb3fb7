"""What a local model is asked to do for a step, and what becomes of its answers. Pure."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from weighbridge.dialects.base import translated
from weighbridge.preprocess.base import Doubt
from weighbridge.wire import Body

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask: what to do, and with which text. most_tokens: of its answer."""

    instruction: str
    text: str
    most_tokens: int

    def body(self) -> Body:
        """As a chat. The text is in a message of its own: it is not for the model to obey."""
        told = [{"role": "system", "content": self.instruction}, {"role": "user", "content": self.text}]
        return translated({"model": "", "messages": told, "temperature": 0, "max_tokens": self.most_tokens})


Answer = str | Doubt  # what a model said, or why that is of no use


class Work(ABC):
    """What a step has to do with one request. questions: in any order, each with an answer of its own."""

    questions: Sequence[Question]

    @abstractmethod
    def done(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The request's fields, with what was made of the answers. Raises Doubt."""


def said(completion: bytes) -> Answer:
    """The text of a whole chat completion, without what a model thought aloud."""
    try:
        choice = orjson.loads(completion)["choices"][0]
        text = choice["message"]["content"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return Doubt("no answer")
    if not isinstance(text, str):
        return Doubt("no answer")
    if choice.get("finish_reason") == "length":
        return Doubt("cut answer")
    return _THOUGHT.sub("", text).strip() or Doubt("empty answer")
