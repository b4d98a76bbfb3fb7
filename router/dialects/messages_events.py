"""Chunks of a chat completion as events of the Messages API. Pure.

Anthropic's blocks come one after the other, and a closed one stays closed. Chat's calls carry an index and may come
mixed. So the first block that is not whole is sent as it comes, and what belongs behind it waits for it.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weighbridge.dialects.messages_answer import (
    calls_in,
    function_of,
    input_of,
    matched_of,
    opening,
    reasoning_of,
    spare_call_id,
    stop_reason_of,
    usage_fields,
    words_of,
)
from weighbridge.units import Usage
from weighbridge.wire import usage_of

Event = dict[str, Any]

_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


@dataclass(slots=True)
class _Block:
    """One block on its way.

    at: the index that chat counts the call by. unsent: what the client has not seen of it. sent: what it has.
    """

    kind: str
    at: object = None
    call_id: str = ""
    name: str = ""
    unsent: str = ""
    sent: list[str] = field(default_factory=list)
    is_open: bool = False

    @property
    def can_open(self) -> bool:
        return self.kind != "tool_use" or bool(self.name)

    @property
    def said(self) -> str:
        return "".join(self.sent) + self.unsent

    @property
    def is_whole(self) -> bool:
        """Whether nothing more can come, given that another block has begun. Text has no index to come back by."""
        return self.kind != "tool_use" or (self.can_open and _is_object(self.said))

    def start(self, spare_id: str) -> dict[str, Any]:
        if self.kind == "tool_use":
            return {"type": "tool_use", "id": self.call_id or spare_id, "name": self.name, "input": {}}
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        return {"type": "text", "text": ""}

    def take(self) -> dict[str, str]:
        """The delta for what is unsent."""
        text, self.unsent = self.unsent, ""
        self.sent.append(text)
        kind, name = _DELTAS[self.kind]
        return {"type": kind, name: text}


def _is_object(arguments: str) -> bool:
    return arguments.rstrip().endswith("}") and input_of(arguments) is not None


class MessageEvents:
    """One stream. input_tokens: the estimate to begin with; the upstream's own count comes at the end."""

    def __init__(self, *, message_id: str, model: str, stop_sequences: list[str], input_tokens: int) -> None:
        self._message_id = message_id
        self._model = model
        self._stop_sequences = stop_sequences
        self._input_tokens = input_tokens
        self._has_begun = False
        self._blocks: deque[_Block] = deque()  # the first may be open
        self._calls: list[_Block] = []  # those sent already too
        self._index = 0
        self._finish_reason: object = None
        self._matched: str | None = None
        self._has_calls = self._refused = False
        self._usage: Usage | None = None

    def of(self, chunk: Mapping[str, Any]) -> list[Event]:
        """The events that one chunk becomes."""
        events = [] if self._has_begun else [self._start(chunk)]
        self._usage = usage_of(chunk.get("usage")) or self._usage
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, Mapping) and not choice.get("index"):  # Messages has one answer only
                self._hear(choice)
        return events + self._sent(is_last=False)

    def end(self) -> list[Event]:
        """What ends the message: no chunk follows."""
        events = [] if self._has_begun else [self._start({})]
        events += self._sent(is_last=True)
        stop_reason = stop_reason_of(
            self._finish_reason, has_calls=self._has_calls, refused=self._refused, matched=self._matched
        )
        delta = {"stop_reason": stop_reason, "stop_sequence": self._matched}
        usage = usage_fields(self._usage) or {"output_tokens": 0}
        return [*events, {"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]

    def _start(self, chunk: Mapping[str, Any]) -> Event:
        self._has_begun = True
        # Clients that show how full the context is read the input from here, so it must not be nothing.
        usage = {"input_tokens": self._input_tokens, "output_tokens": 0}
        nothing_yet: Event = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return {"type": "message_start", "message": {**opening(chunk, self._message_id, self._model), **nothing_yet}}

    def _hear(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            self._say("thinking", reasoning_of(delta))
            self._say("text", words_of(delta))
            self._refused |= bool(delta.get("refusal"))
            for call in calls_in(delta):
                self._call(call)
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        self._matched = matched_of(choice, self._stop_sequences) or self._matched

    def _say(self, kind: str, text: str) -> None:
        if not text:
            return
        if not self._blocks or self._blocks[-1].kind != kind:
            self._blocks.append(_Block(kind))
        self._blocks[-1].unsent += text

    def _call(self, call: Mapping[str, Any]) -> None:
        name, arguments = function_of(call)
        call_id = call["id"] if isinstance(call.get("id"), str) else ""
        block = self._known(call.get("index"), call_id)
        if block is None or _is_another(block, call_id, name, arguments):
            block = _Block("tool_use", at=call.get("index"))
            self._calls.append(block)
            self._blocks.append(block)
        block.call_id = block.call_id or call_id
        block.name = block.name or name
        block.unsent += arguments

    def _known(self, at: object, call_id: str) -> _Block | None:
        """The call that a fragment belongs to: the one of its id, or the latest of its index, or the latest."""
        latest_first = self._calls[::-1]
        by_id = next((block for block in latest_first if call_id and block.call_id == call_id), None)
        return by_id or next((block for block in latest_first if at is None or block.at == at), None)

    def _sent(self, *, is_last: bool) -> list[Event]:
        """What can be told now, in order. With the last chunk heard, all of it."""
        events: list[Event] = []
        while self._blocks:
            head = self._blocks[0]
            if head.can_open:
                events += self._progress(head)
            if not (is_last or (len(self._blocks) > 1 and head.is_whole)):
                break
            self._blocks.popleft()
            if head.is_open:  # a call without a name is none
                events += self._close(head)
        return events

    def _progress(self, block: _Block) -> list[Event]:
        events: list[Event] = []
        if not block.is_open:
            block.is_open = True
            self._has_calls |= block.kind == "tool_use"
            start = block.start(spare_call_id(self._message_id, self._index))
            events.append({"type": "content_block_start", "index": self._index, "content_block": start})
        if block.unsent:
            events.append({"type": "content_block_delta", "index": self._index, "delta": block.take()})
        return events

    def _close(self, block: _Block) -> list[Event]:
        signature = {"type": "signature_delta", "signature": ""}
        signed = {"type": "content_block_delta", "index": self._index, "delta": signature}
        stop = {"type": "content_block_stop", "index": self._index}
        self._index += 1
        return [signed, stop] if block.kind == "thinking" else [stop]


def _is_another(block: _Block, call_id: str, name: str, arguments: str) -> bool:
    """Whether a fragment begins a call of its own, at an index that another one has.

    Some servers count every call as 0; some give each fragment a new id, but the name only to the first.
    """
    if not name or not block.name:
        return False
    if call_id and block.call_id:
        return call_id != block.call_id
    return bool(arguments) and _is_object(block.said)
