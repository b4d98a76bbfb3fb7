"""A request of the Messages API in terms of chat completions. Pure.

What chat has no words for is dropped where the answer stands without it (caching, thinking of earlier turns, context
management), and refused where it does not.
"""

import json
from collections.abc import Iterable, Mapping
from itertools import chain, groupby
from typing import Any

from weighbridge.dialects.messages_blocks import Block, Part, blocks_of, content_of, joined, parts_of, text_of
from weighbridge.dialects.messages_tools import tool_settings
from weighbridge.errors import BadRequest

Message = dict[str, Any]

_SAME = ("model", "max_tokens", "temperature", "top_p", "top_k", "stream")
_LONGEST_USER = 64  # characters; OpenAI refuses a longer `user`, and Claude Code sends one
# The words for effort that every chat server with reasoning knows.
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_ELSEWHERE = "The result is in the next message."


def chat_request(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a chat completion request. BadRequest where there is no putting it so."""
    if fields["max_tokens"] == 0:
        raise BadRequest("Only Anthropic fills its cache without an answer: `max_tokens` must be at least 1.",
                         param="max_tokens", code="not_supported")  # fmt: skip
    chat = {name: fields[name] for name in _SAME if fields.get(name) is not None}
    chat["messages"] = _messages(fields)
    wanted = {
        "stop": fields.get("stop_sequences") or None,
        "user": _user(fields.get("metadata")),
        "reasoning_effort": _effort(fields),
        "response_format": _response_format(fields),
        **tool_settings(fields),
    }
    return chat | {name: value for name, value in wanted.items() if value is not None}


def json_schema_of(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema that the answer must fit, in the present place or the one of the beta."""
    config = fields.get("output_config")
    for wanted in ((config or {}).get("format"), fields.get("output_format")):
        if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
            schema = wanted.get("schema")
            return schema if isinstance(schema, Mapping) else {}
    return None


def _messages(fields: Mapping[str, Any]) -> list[Message]:
    messages: list[Message] = []
    system = [text_of(fields.get("system"))]
    turns = [(role, _merged(turn)) for role, turn in groupby(fields["messages"], key=_speaker)]
    if turns and turns[0][0] == "system":
        system.append(text_of(turns.pop(0)[1]))
    if told := "\n\n".join(filter(None, system)):
        messages.append({"role": "system", "content": told})
    for role, blocks in _without_late_system(turns):
        messages += _assistant(blocks) if role == "assistant" else _user_turn(blocks)
    return messages


def _speaker(message: Mapping[str, Any]) -> str:
    return str(message["role"])


def _merged(turn: Iterable[Mapping[str, Any]]) -> list[Block]:
    """Consecutive messages of one speaker are one turn, so that no result of a tool stands behind other words."""
    return list(chain.from_iterable(blocks_of(message.get("content")) for message in turn))


def _without_late_system(turns: list[tuple[str, list[Block]]]) -> list[tuple[str, list[Block]]]:
    """Later words of the system's as reminders in the user's turn: many chat templates take them at the start only."""
    heard: list[tuple[str, list[Block]]] = []
    for role, blocks in turns:
        if role == "system":
            reminder = f"<system-reminder>\n{text_of(blocks)}\n</system-reminder>"
            role, blocks = "user", [{"type": "text", "text": reminder}]  # noqa: PLW2901
        if heard and heard[-1][0] == role:
            heard[-1][1].extend(blocks)
        else:
            heard.append((role, list(blocks)))
    return heard


def _assistant(blocks: list[Block]) -> list[Message]:
    # An answer is one text, which tools and thoughts may interrupt; it goes back as it was written.
    text = "".join(part["text"] for part in parts_of(b for b in blocks if b.get("type") == "text"))
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    if not text and not calls:
        return []
    message: Message = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = calls
    return [message]


def _call(block: Block) -> dict[str, Any]:
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    return {"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": arguments}}


def _user_turn(blocks: list[Block]) -> list[Message]:
    """The tools' results first, for they must follow the calls at once; then what they show, and what the user says."""
    messages: list[Message] = []
    shown: list[Part] = []
    for block in blocks:
        if block.get("type") == "tool_result":
            text, media = _result(block)
            messages.append({"role": "tool", "tool_call_id": block["tool_use_id"], "content": text})
            shown += media
    said = parts_of(block for block in blocks if block.get("type") != "tool_result")
    if shown or said:
        messages.append({"role": "user", "content": content_of(shown + said)})
    return messages


def _result(block: Block) -> tuple[str, list[Part]]:
    """A tool's result as text, and what of it is no text: a `tool` message may hold text only."""
    parts = parts_of(blocks_of(block.get("content")))
    text = joined(parts)
    media = [part for part in parts if part["type"] != "text"]
    if block.get("is_error") is True and not text.lower().startswith(("error", "<tool_use_error>")):
        text = f"Error: {text}"
    if media:
        text = f"{text}\n\n{_ELSEWHERE}" if text else _ELSEWHERE
        media = [{"type": "text", "text": f"Result of {block['tool_use_id']}:"}, *media]
    return text, media


def _user(metadata: object) -> str | None:
    user = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    return user[:_LONGEST_USER] if isinstance(user, str) and user else None


def _effort(fields: Mapping[str, Any]) -> str | None:
    """How hard to think, where the client says so. Left out it is the model's own choice, as `adaptive` has it."""
    thinking, config = fields.get("thinking") or {}, fields.get("output_config") or {}
    if thinking.get("type") == "disabled":
        return None
    effort = config.get("effort")
    if isinstance(effort, str):
        return _EFFORTS.get(effort)
    budget = thinking.get("budget_tokens")
    if thinking.get("type") != "enabled" or not isinstance(budget, int):
        return None
    return "low" if budget < 4_096 else "medium" if budget < 16_384 else "high"


def _response_format(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    schema = json_schema_of(fields)
    if schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
