"""A draft read from a chat answer, or from its chunks as they come. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(slots=True)
class Call:
    """A tool call as far as it has come."""

    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Draft:
    """One choice of an answer.

    finish_reason: None while it is on its way. refusal: the server's own word for one. has_media: sound or pictures.
    """

    text: str = ""
    calls: dict[int, Call] = field(default_factory=dict)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str | None = None
    refusal: bool = False
    has_media: bool = False

    @property
    def is_whole(self) -> bool:
        return self.finish_reason is not None

    def said(self, delta: Mapping[str, Any]) -> bool:
        """Add a message, or a piece of one. Whether it holds anything of the answer itself."""
        text, refusal = delta.get("content"), delta.get("refusal")
        calls = [call for call in _list(delta.get("tool_calls")) if isinstance(call, Mapping)]
        if isinstance(older := delta.get("function_call"), Mapping):
            calls.append({"function": older})
        self.has_media |= bool(delta.get("audio") or delta.get("images"))
        if isinstance(text, str):
            self.text += text
        if isinstance(refusal, str) and refusal:
            self.text += refusal
            self.refusal = True
        for at, call in enumerate(calls):
            self._called(call, at)
        return bool(text or refusal or calls or self.has_media)

    def _called(self, call: Mapping[str, Any], at: int) -> None:
        index = call.get("index")
        known = self.calls.setdefault(index if isinstance(index, int) else at, Call())
        function = call.get("function") or call.get("custom")
        if isinstance(function, Mapping):
            name, arguments = function.get("name"), function.get("arguments")
            known.name += name if isinstance(name, str) else ""
            known.arguments += arguments if isinstance(arguments, str) else ""


def beginning_of(draft: Draft, tokens: int, of: int) -> Draft | None:
    """What a stream has shown of a whole draft after so many of its tokens; None where that is all of it.

    of: how many there are, where their log-probabilities do not count them.
    """
    whole = len(draft.logprobs) or of
    if whole <= tokens or draft.calls:
        return None
    return Draft(draft.text[: round(len(draft.text) * tokens / whole)], logprobs=draft.logprobs[:tokens])


class Reading:
    """All choices of one answer."""

    def __init__(self) -> None:
        self.drafts: dict[int, Draft] = {}
        self.pieces = 0  # chunks that hold something of the answer, or the tokens that their logprobs count
        self.has_begun = False  # something came that is no mere opening: thoughts, too

    def whole(self, answer: Mapping[str, Any]) -> None:
        """A whole `chat.completion`."""
        for at, choice in enumerate(_list(answer.get("choices"))):
            if isinstance(choice, Mapping):
                self._add(at, choice, choice.get("message"))
                draft = self.drafts[_index(choice, at)]
                draft.finish_reason = draft.finish_reason or "stop"

    def chunk(self, chunk: Mapping[str, Any]) -> None:
        """One `chat.completion.chunk`."""
        for at, choice in enumerate(_list(chunk.get("choices"))):
            if isinstance(choice, Mapping):
                self._add(at, choice, choice.get("delta"))

    def event(self, event: bytes) -> None:
        """One event of a stream, if it is a chunk; what is none is for the relay to judge."""
        try:
            fields = orjson.loads(event)
        except orjson.JSONDecodeError:
            return
        if isinstance(fields, dict):
            self.chunk(fields)

    @property
    def is_whole(self) -> bool:
        return bool(self.drafts) and all(draft.is_whole for draft in self.drafts.values())

    def _add(self, at: int, choice: Mapping[str, Any], said: object) -> None:
        draft = self.drafts.setdefault(_index(choice, at), Draft())
        tokens = _logprobs(choice.get("logprobs"))
        draft.logprobs += tokens
        if isinstance(said, Mapping):
            is_answer = draft.said(said)
            self.pieces += max(len(tokens), 1) if is_answer else 0
            self.has_begun |= is_answer or any(v for k, v in said.items() if k not in {"role", "content"})
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            draft.finish_reason = reason


def _logprobs(given: object) -> Sequence[float]:
    """The log-probabilities of the tokens of an answer or a chunk; none where there are none."""
    content = given.get("content") if isinstance(given, Mapping) else None
    found = (token.get("logprob") for token in _list(content) if isinstance(token, Mapping))
    return [float(one) for one in found if isinstance(one, int | float) and one <= 0]


def _index(choice: Mapping[str, Any], at: int) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else at


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
