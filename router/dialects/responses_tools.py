"""The tools of a Responses request as chat completions take them, and the way back from a call's name to its tool.

Functions pass. Custom tools become functions of one string. The members of a namespace become functions that carry its
name. Tools that OpenAI runs itself (`web_search`, `mcp`, ...) are left out: a chat server cannot run them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from weighbridge.dialects.base import Fields
from weighbridge.dialects.responses_freeform import PARAMETERS
from weighbridge.errors import BadRequest

NOT_SUPPORTED = "not_supported"

_LONGEST_NAME = 64
_TOP = "functions"  # the namespace that stands for none
_BRINGS_TOOLS = ("additional_tools", "tool_search_output")
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool by the name that the client gave it."""

    kind: Literal["function", "custom", "tool_search"]
    name: str
    namespace: str | None = None


class Toolbox:
    """All tools of one request."""

    def __init__(self, fields: Fields) -> None:
        self._functions: dict[str, dict[str, Any]] = {}
        self._tools: dict[str, Tool] = {}
        for tool, namespace in _declared(fields):
            self._add(tool, namespace)

    def tool(self, name: str) -> Tool:
        """What the client knows by the name that the model called."""
        return self._tools.get(name) or Tool("function", name)

    def chat_fields(self, fields: Fields) -> dict[str, Any]:
        """The tools, the choice among them, and whether several may be called at once."""
        choice = fields.get("tool_choice")
        names = list(self._functions)
        if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
            # Chat servers rarely know the form; offering only those tools says the same.
            names = [name for name in names if self._is_allowed(name, choice.get("tools"))]
            choice = choice.get("mode", "auto")
        if isinstance(choice, dict):
            choice = self._named(choice)
        if not names:
            if choice == "required":
                raise BadRequest(
                    "`tool_choice` asks for a call, and no tool is left that the chosen upstream can call.",
                    param="tool_choice",
                    code=NOT_SUPPORTED,
                )
            return {}
        given = {"tool_choice": choice, "parallel_tool_calls": fields.get("parallel_tool_calls")}
        return {
            "tools": [{"type": "function", "function": self._functions[name]} for name in names],
            **{name: value for name, value in given.items() if value is not None},
        }

    def _add(self, tool: Fields, namespace: Fields | None) -> None:
        known = _known(tool, namespace)
        if known is None:
            return
        name = visible_name(known.namespace, known.name)
        if self._tools.setdefault(name, known) != known:
            raise BadRequest(f"`tools` holds two tools that are both called {name!r}.", param="tools")
        self._functions.setdefault(name, _function(tool, known, namespace))

    def _named(self, choice: Fields) -> dict[str, Any]:
        kind, name = choice.get("type"), choice.get("name")
        if kind not in ("function", "custom") or not isinstance(name, str):
            raise BadRequest(
                f"`tool_choice` asks for a {str(kind)[:40]} tool, which the chosen upstream cannot run.",
                param="tool_choice",
                code=NOT_SUPPORTED,
            )
        name = visible_name(_text(choice.get("namespace")), name)
        if name not in self._tools:
            raise BadRequest(f"`tool_choice` names {name!r}, which is not among `tools`.", param="tool_choice")
        return {"type": "function", "function": {"name": name}}

    def _is_allowed(self, name: str, allowed: object) -> bool:
        tool = self._tools[name]
        for one in allowed if isinstance(allowed, list) else ():
            if not isinstance(one, dict):
                continue
            if one.get("type") == "namespace" and one.get("name") == tool.namespace:
                return True
            if visible_name(_text(one.get("namespace")), str(one.get("name"))) == name:
                return True
        return False


def visible_name(namespace: str | None, name: str) -> str:
    """What the model calls a tool: its namespace goes in front, for functions of chat completions have none."""
    if not namespace or namespace == _TOP:
        return name
    whole = f"{namespace}{'' if namespace.endswith('__') else '__'}{name}"
    if len(whole) <= _LONGEST_NAME:
        return whole
    return f"{whole[: _LONGEST_NAME - 9]}_{sha256(whole.encode()).hexdigest()[:8]}"


def _declared(fields: Fields) -> Iterator[tuple[Fields, Fields | None]]:
    """Each tool with its namespace: those of the request, and those that came later as items of the input."""
    later = [item for item in _objects(fields.get("input")) if item.get("type") in _BRINGS_TOOLS]
    for tools in (fields.get("tools"), *(item.get("tools") for item in later)):
        for tool in _objects(tools):
            if tool.get("type") == "namespace":
                yield from ((inner, tool) for inner in _objects(tool.get("tools")))
            else:
                yield tool, None


def _objects(tools: object) -> Iterator[Mapping[str, Any]]:
    return (tool for tool in (tools if isinstance(tools, list) else ()) if isinstance(tool, dict))


def _known(tool: Fields, namespace: Fields | None) -> Tool | None:
    kind, name = tool.get("type"), _text(tool.get("name"))
    within = _text(namespace.get("name")) if namespace else None
    within = None if within == _TOP else within
    if kind == "function" and name:
        return Tool("function", name, within)
    if kind == "custom" and name:
        return Tool("custom", name, within)
    if kind == "tool_search" and tool.get("execution") == "client":
        return Tool("tool_search", "tool_search")
    return None


def _function(tool: Fields, known: Tool, namespace: Fields | None) -> dict[str, Any]:
    description = _text(tool.get("description")) or (_text(namespace.get("description")) if namespace else None)
    function: dict[str, Any] = {"name": visible_name(known.namespace, known.name)}
    if known.kind == "custom":
        return {**function, "description": _freeform_description(description, tool), "parameters": PARAMETERS}
    if description:
        function["description"] = description
    function["parameters"] = tool.get("parameters") or _NO_PARAMETERS
    if isinstance(tool.get("strict"), bool):
        function["strict"] = tool["strict"]
    return function


def _freeform_description(description: str | None, tool: Fields) -> str:
    lines = [description] if description else []
    lines.append("Give the raw input of this tool as the string argument `input`.")
    form = tool.get("format")
    if isinstance(form, dict) and isinstance(form.get("definition"), str):
        lines.append(f"The input must match this {form.get('syntax', '')} grammar:\n{form['definition']}")
    return "\n\n".join(lines)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
