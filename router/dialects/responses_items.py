"""The items of a Response while they grow: each says what its opening, every addition and its closing send."""

from abc import ABC, abstractmethod
from typing import Any

import orjson

from weighbridge.dialects.responses_freeform import FreeformReader
from weighbridge.dialects.responses_tools import Tool

Event = dict[str, Any]


class Item(ABC):
    """One item of the output. fields: as it stands now; whole once it is closed."""

    def __init__(self, index: int, fields: dict[str, Any]) -> None:
        self.fields = fields
        self._at = {"item_id": fields["id"], "output_index": index}
        self._index = index

    def open(self) -> list[Event]:
        return [{"type": "response.output_item.added", "output_index": self._index, "item": _copy(self.fields)}]

    def close(self, status: str) -> list[Event]:
        """What still has to be said, then the whole item."""
        events = self._finish()
        self.fields["status"] = status
        return [*events, {"type": "response.output_item.done", "output_index": self._index, "item": _copy(self.fields)}]

    @abstractmethod
    def _finish(self) -> list[Event]: ...

    def _event(self, kind: str, **more: Any) -> Event:
        return {"type": f"response.{kind}", **self._at, **more}


def _copy(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, list) else value for name, value in fields.items()}


class Reasoning(Item):
    """What the model thought. As a summary: that is what Codex and the AI SDK show."""

    def __init__(self, index: int, token: str) -> None:
        super().__init__(index, {"id": f"rs_{token}", "type": "reasoning", "status": "in_progress", "summary": []})
        self._texts: list[str] = []

    def open(self) -> list[Event]:
        part = {"type": "summary_text", "text": ""}
        return [*super().open(), self._event("reasoning_summary_part.added", summary_index=0, part=part)]

    def add(self, text: str) -> list[Event]:
        self._texts.append(text)
        return [self._event("reasoning_summary_text.delta", summary_index=0, delta=text)]

    def _finish(self) -> list[Event]:
        text = "".join(self._texts)
        part = {"type": "summary_text", "text": text}
        self.fields["summary"] = [part]
        return [
            self._event("reasoning_summary_text.done", summary_index=0, text=text),
            self._event("reasoning_summary_part.done", summary_index=0, part=part),
        ]


class Speech(Item):
    """A message: parts of text, and of refusal."""

    def __init__(self, index: int, token: str) -> None:
        fields = {"id": f"msg_{token}", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        super().__init__(index, fields)
        self._part: dict[str, Any] = {}  # the open one
        self._texts: list[str] = []

    def say(self, text: str, logprobs: list[dict[str, Any]]) -> list[Event]:
        events = self.begin("output_text")
        self._texts.append(text)
        self._part["logprobs"] += logprobs
        short = [_without_bytes(logprob) for logprob in logprobs]
        return [*events, self._in_part("output_text.delta", delta=text, logprobs=short)]

    def refuse(self, text: str) -> list[Event]:
        events = self.begin("refusal")
        self._texts.append(text)
        return [*events, self._in_part("refusal.delta", delta=text)]

    def annotate(self, annotation: dict[str, Any]) -> list[Event]:
        events = self.begin("output_text")
        known: list[dict[str, Any]] = self._part["annotations"]
        known.append(annotation)
        added = self._in_part("output_text.annotation.added", annotation_index=len(known) - 1, annotation=annotation)
        return [*events, added]

    def begin(self, kind: str) -> list[Event]:
        """A part of that kind, where it is not open already."""
        if self._part.get("type") == kind:
            return []
        events = self._finish()
        self._part = {"type": kind, "refusal": ""} if kind == "refusal" else _empty_text()
        self._texts = []
        return [*events, self._in_part("content_part.added", part=_copy(self._part))]

    def _finish(self) -> list[Event]:
        if not self._part:
            return []
        part, text = self._part, "".join(self._texts)
        if part["type"] == "refusal":
            part["refusal"] = text
            said = self._in_part("refusal.done", refusal=text)
        else:
            part["text"] = text
            short = [_without_bytes(logprob) for logprob in part["logprobs"]]
            said = self._in_part("output_text.done", text=text, logprobs=short)
        events = [said, self._in_part("content_part.done", part=part)]
        self.fields["content"].append(part)
        self._part = {}
        return events

    def _in_part(self, kind: str, **more: Any) -> Event:
        return self._event(kind, content_index=len(self.fields["content"]), **more)


def _empty_text() -> dict[str, Any]:
    return {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def _without_bytes(logprob: dict[str, Any]) -> dict[str, Any]:
    """As events carry it, bytes left to the final part."""
    top = [{"token": one["token"], "logprob": one["logprob"]} for one in logprob["top_logprobs"]]
    return {"token": logprob["token"], "logprob": logprob["logprob"], "top_logprobs": top}


class Call(Item):
    """A call of a function, its arguments as they come."""

    def __init__(self, index: int, token: str, call_id: str, tool: Tool) -> None:
        super().__init__(index, self._first(token, call_id, tool))
        self.call_id = call_id
        self._texts: list[str] = []

    def add(self, fragment: str) -> list[Event]:
        self._texts.append(fragment)
        return [self._event("function_call_arguments.delta", delta=fragment)]

    def _first(self, token: str, call_id: str, tool: Tool) -> dict[str, Any]:
        fields = {"id": f"fc_{token}", "type": "function_call", "status": "in_progress", "call_id": call_id}
        named = {"name": tool.name, "arguments": ""}
        return fields | named | ({"namespace": tool.namespace} if tool.namespace else {})

    def _finish(self) -> list[Event]:
        # Some models send nothing for "no arguments"; clients parse what they get as JSON.
        events = [] if "".join(self._texts).strip() else self.add("{}")
        text = self.fields["arguments"] = "".join(self._texts)
        return [*events, self._event("function_call_arguments.done", name=self.fields["name"], arguments=text)]


class CustomCall(Call):
    """A call of a custom tool: free text, taken out of the arguments that carry it."""

    def __init__(self, index: int, token: str, call_id: str, tool: Tool) -> None:
        super().__init__(index, token, call_id, tool)
        self._reader = FreeformReader()

    def add(self, fragment: str) -> list[Event]:
        return self._delta(self._reader.read(fragment))

    def close(self, status: str) -> list[Event]:
        return super().close("completed")  # the only status that clients know for it

    def _first(self, token: str, call_id: str, tool: Tool) -> dict[str, Any]:
        fields = {"id": f"ctc_{token}", "type": "custom_tool_call", "status": "in_progress", "call_id": call_id}
        return fields | {"name": tool.name, "input": ""} | ({"namespace": tool.namespace} if tool.namespace else {})

    def _finish(self) -> list[Event]:
        events = self._delta(self._reader.end())
        text = self.fields["input"] = "".join(self._texts)
        return [*events, self._event("custom_tool_call_input.done", input=text)]

    def _delta(self, text: str) -> list[Event]:
        if not text:
            return []
        self._texts.append(text)
        return [self._event("custom_tool_call_input.delta", delta=text)]


class SearchCall(Call):
    """A call of the search for tools, which the client runs. Its arguments are an object, and have no events."""

    def add(self, fragment: str) -> list[Event]:
        self._texts.append(fragment)
        return []

    def _first(self, token: str, call_id: str, tool: Tool) -> dict[str, Any]:
        fields = {"id": f"tsc_{token}", "type": "tool_search_call", "status": "in_progress", "call_id": call_id}
        return fields | {"execution": "client", "arguments": {}}

    def _finish(self) -> list[Event]:
        text = "".join(self._texts)
        try:
            self.fields["arguments"] = orjson.loads(text or "{}")
        except orjson.JSONDecodeError:
            self.fields["arguments"] = {"query": text}
        return []


CALLS: dict[str, type[Call]] = {"function": Call, "custom": CustomCall, "tool_search": SearchCall}
