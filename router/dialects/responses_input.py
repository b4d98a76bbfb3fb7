"""The input of a Responses request as a conversation of chat messages. The parts of a message keep their types here.

Chat completions want the calls of a turn in one assistant message, and their results right behind it. Items come in
any order in between, so what would stand between a call and its result waits until the result is there.
"""

import json
from typing import Any

from weighbridge.dialects.base import Fields
from weighbridge.dialects.responses_freeform import wrapped
from weighbridge.dialects.responses_tools import visible_name

Message = dict[str, Any]

_SYSTEM = ("system", "developer")
_ABOUT_THE_CALL = {"id", "type", "status", "call_id", "caller"}


def conversation(fields: Fields) -> list[Message]:
    """Instructions first, then each item of the input in its place. What chat has no word for is left out."""
    so_far = _Conversation()
    instructions = fields.get("instructions")
    if isinstance(instructions, str) and instructions:
        so_far.say("system", instructions)
    items = fields.get("input")
    if isinstance(items, str):
        so_far.say("user", items)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            so_far.take(item)
    return so_far.end()


def text_of(arguments: object) -> str:
    """Arguments as the JSON text that they should be."""
    if isinstance(arguments, str):
        return arguments or "{}"
    return "{}" if arguments is None else json.dumps(arguments, ensure_ascii=False)


class _Conversation:
    """The messages so far; the calls whose results are still to come; what waits for them."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._pending: set[str] = set()
        self._waiting: list[Message] = []

    def end(self) -> list[Message]:
        self._give_up_waiting()
        return self._messages

    def take(self, item: Fields) -> None:
        kind = item.get("type") or "message"
        call_id = item.get("call_id") or item.get("id")
        if kind == "message":
            if isinstance(item.get("role"), str):
                self.say(item["role"], item.get("content"))
        elif kind.endswith("_output") and isinstance(call_id, str):
            self._result(call_id, _output_of(item))
        elif isinstance(item.get("call_id"), str) and (call := _call_of(item)):
            self._call(item["call_id"], *call)

    def say(self, role: str, content: object) -> None:
        role = "system" if role in _SYSTEM else role
        last = self._messages[-1] if self._messages else None
        if self._pending and not self._waiting and role == "assistant" and last and "tool_calls" in last:
            last["content"] = [*_parts(last["content"]), *_parts(content)]
        else:
            (self._waiting if self._pending else self._messages).append({"role": role, "content": content})

    def _call(self, call_id: str, name: str, arguments: str) -> None:
        if self._waiting:
            self._give_up_waiting()
        last = self._messages[-1] if self._messages else None
        if last is None or last["role"] != "assistant":
            last = {"role": "assistant", "content": None}
            self._messages.append(last)
        call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        last.setdefault("tool_calls", []).append(call)
        self._pending.add(call_id)

    def _result(self, call_id: str, content: object) -> None:
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
        self._pending.discard(call_id)
        if not self._pending:
            self._give_up_waiting()

    def _give_up_waiting(self) -> None:
        self._pending.clear()
        self._messages.extend(self._waiting)
        self._waiting = []


def _call_of(item: Fields) -> tuple[str, str] | None:
    """Name and arguments of any item that is a call with a result to come."""
    kind = str(item["type"])
    name = item.get("name")
    if kind in ("function_call", "custom_tool_call"):
        if not isinstance(name, str):
            return None
        namespace = item.get("namespace")
        name = visible_name(namespace if isinstance(namespace, str) else None, name)
        custom = kind == "custom_tool_call"
        return name, wrapped(str(item.get("input") or "")) if custom else text_of(item.get("arguments"))
    if kind == "tool_search_call":
        return "tool_search", text_of(item.get("arguments"))
    if kind.endswith("_call"):  # a shell, a patch, a computer: the client ran it, the model should know
        rest = {key: value for key, value in item.items() if key not in _ABOUT_THE_CALL}
        return kind.removesuffix("_call"), json.dumps(rest, ensure_ascii=False)
    return None


def _output_of(item: Fields) -> object:
    if item.get("type") == "tool_search_output":
        return json.dumps({"tools": _names(item.get("tools"))})
    return item.get("output")


def _names(tools: object) -> list[str]:
    return [name for tool in (tools if isinstance(tools, list) else ()) for name in _names_in(tool)]


def _names_in(tool: object) -> list[str]:
    if not isinstance(tool, dict):
        return []
    inner = tool.get("tools")
    if not isinstance(inner, list):
        return [str(tool.get("name"))]
    return [visible_name(str(tool.get("name")), str(one.get("name"))) for one in inner if isinstance(one, dict)]


def _parts(content: object) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "output_text", "text": content}] if content else []
    return content if isinstance(content, list) else []
