"""Tools of the Messages API as functions of chat completions. Pure.

The client's own tools go over, and of Anthropic's those that the client runs and whose input is known. What a server
of Anthropic's would run cannot be had from a chat server; it is left out while other tools remain.
"""

from collections.abc import Mapping
from typing import Any

from weighbridge.errors import BadRequest

Schema = dict[str, Any]

_BASH: Schema = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "description": "The bash command to run."},
        "restart": {"type": "boolean", "description": "Restart the shell instead of running a command."},
    },
}
_EDITOR: Schema = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
        "path": {"type": "string", "description": "Absolute path of a file or a folder."},
        "file_text": {"type": "string", "description": "For create: what the file is to hold."},
        "old_str": {"type": "string", "description": "For str_replace: the text to replace; it must occur once."},
        "new_str": {"type": "string", "description": "For str_replace: what stands there instead."},
        "insert_line": {"type": "integer", "description": "For insert: the line after which; 0 is the beginning."},
        "insert_text": {"type": "string", "description": "For insert: the text."},
        "view_range": {"type": "array", "items": {"type": "integer"}, "description": "For view: first and last line."},
    },
    "required": ["command", "path"],
}
# By how their type begins; a date follows.
_ANTHROPICS: Mapping[str, tuple[str, Schema]] = {
    "bash_2": ("Run a command in a bash shell that lives on from call to call.", _BASH),
    "text_editor_2": ("View, create and edit text files.", _EDITOR),
}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def tool_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`tools`, `tool_choice` and `parallel_tool_calls`, where there are tools."""
    offered = fields.get("tools") or []
    tools = [function for tool in offered if (function := _function(tool))]
    if not tools:
        if offered:  # without them the model could only make up what they would have found
            raise BadRequest(
                "The upstream has only chat completions, and none of the `tools` can be had there.",
                param="tools",
                code="not_supported",
            )
        return {}
    settings: dict[str, Any] = {"tools": tools}
    choice = fields.get("tool_choice") or {}
    if choice:
        settings["tool_choice"] = _choice(choice, {tool["function"]["name"] for tool in tools})
    if choice.get("disable_parallel_tool_use") is True:
        settings["parallel_tool_calls"] = False
    return settings


def _function(tool: Mapping[str, Any]) -> dict[str, Any] | None:
    """None for what only a server of Anthropic's can run."""
    kind, name = tool.get("type") or "custom", tool.get("name")
    if not isinstance(name, str):
        return None
    if kind == "custom":
        function = {"name": name, "description": tool.get("description"), "strict": tool.get("strict")}
        function["parameters"] = tool.get("input_schema") or {"type": "object", "properties": {}}
        return _as_tool(function)
    for prefix, (description, schema) in _ANTHROPICS.items():
        if kind.startswith(prefix):
            return _as_tool({"name": name, "description": description, "parameters": schema})
    return None


def _as_tool(function: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}


def _choice(choice: Mapping[str, Any], names: set[str]) -> str | dict[str, Any]:
    kind = choice.get("type")
    if kind == "tool":
        name = choice.get("name")
        if not isinstance(name, str) or name not in names:
            raise BadRequest(
                "`tool_choice.name` must be one of the tools, and one that a chat server can be offered.",
                param="tool_choice.name",
                code="not_supported",
            )
        return {"type": "function", "function": {"name": name}}
    if isinstance(kind, str) and kind in _CHOICES:
        return _CHOICES[kind]
    raise BadRequest("`tool_choice.type` must be auto, any, tool or none.", param="tool_choice.type")
