"""A Responses request put in terms of chat completions. What needs the memory of a server is refused by name."""

import json
from collections.abc import Iterator
from typing import Any

from weighbridge.dialects.base import Fields
from weighbridge.dialects.responses_input import Message, conversation
from weighbridge.dialects.responses_tools import NOT_SUPPORTED, Toolbox
from weighbridge.errors import BadRequest

# What only Responses has, or what is put in other words below. Everything else, known to us or not, goes on as it is.
_NOT_CHAT = frozenset({
    "background", "client_metadata", "context_management", "conversation", "include", "input", "instructions",
    "max_output_tokens", "max_tool_calls", "messages", "n", "parallel_tool_calls", "previous_response_id", "prompt",
    "reasoning", "store", "stream", "stream_options", "text", "tool_choice", "tools", "top_logprobs", "truncation",
})  # fmt: skip
_LOGPROBS = "message.output_text.logprobs"
_DETAILS = ("auto", "low", "high")
_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


def chat_request(fields: Fields, toolbox: Toolbox) -> dict[str, Any]:
    """The whole request. BadRequest names what a chat server cannot do."""
    _refuse_state(fields)
    kept = {name: value for name, value in fields.items() if name not in _NOT_CHAT and value is not None}
    return {
        **kept,
        "messages": list(_in_order(conversation(fields))),
        **toolbox.chat_fields(fields),
        **_text_fields(fields),
        **_limits(fields),
        **_streaming(fields),
    }


def _refuse_state(fields: Fields) -> None:
    if fields.get("previous_response_id"):
        raise BadRequest(
            "`previous_response_id` is not known here: the upstream that this request goes to keeps no responses. "
            "Send the whole conversation as `input`.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    for name in ("conversation", "background", "prompt"):
        if fields.get(name):
            raise _not_supported(f"`{name}`", name)
    items = fields.get("input")
    for i, item in enumerate(items if isinstance(items, list) else ()):
        kind = item.get("type")
        if kind == "item_reference" or (kind is None and "role" not in item and "id" in item):
            raise _not_supported("An `item_reference`", f"input[{i}]")
        if isinstance(kind, str) and "compaction" in kind:
            raise _not_supported(f"An item of type `{kind[:40]}`", f"input[{i}]")


def _not_supported(what: str, param: str) -> BadRequest:
    message = f"{what} needs a server that keeps state; the upstream that this request goes to keeps none."
    return BadRequest(message, param=param, code=NOT_SUPPORTED)


def _text_fields(fields: Fields) -> dict[str, Any]:
    """How the answer must look and how hard the model should think."""
    text, reasoning = fields.get("text") or {}, fields.get("reasoning") or {}
    form = text.get("format") or {}
    named = {"response_format": _response_format(form), "verbosity": text.get("verbosity")}
    named["reasoning_effort"] = reasoning.get("effort")
    return {name: value for name, value in named.items() if value is not None}


def _response_format(form: Fields) -> dict[str, Any] | None:
    kind = form.get("type")
    if kind == "json_schema":
        schema = {name: value for name, value in form.items() if name != "type" and value is not None}
        return {"type": kind, "json_schema": {"name": "response", **schema}}
    return None if kind in (None, "text") else dict(form)


def _limits(fields: Fields) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if fields.get("max_output_tokens") is not None:
        limits["max_completion_tokens"] = fields["max_output_tokens"]
    if fields.get("top_logprobs") or _LOGPROBS in (fields.get("include") or ()):
        limits["logprobs"] = True
        if fields.get("top_logprobs") is not None:
            limits["top_logprobs"] = fields["top_logprobs"]
    return limits


def _streaming(fields: Fields) -> dict[str, Any]:
    return {"stream": True, "stream_options": {"include_usage": True}} if fields.get("stream") else {}


def _in_order(messages: list[Message]) -> Iterator[Message]:
    """Messages with chat's own parts. Leading system messages become one: many chat templates allow no second."""
    leading = 0
    while leading < len(messages) and messages[leading]["role"] == "system":
        leading += 1
    if leading:
        texts = [_plain_text(message["content"]) for message in messages[:leading]]
        yield {"role": "system", "content": "\n\n".join(filter(None, texts))}
    shown: list[dict[str, Any]] = []
    for message in messages[leading:]:
        if message["role"] == "tool":
            result, pictures = _result(message)
            shown += pictures
            yield result
            continue
        if shown:
            yield {"role": "user", "content": shown}
            shown = []
        yield {**message, "content": _content(message["content"], message["role"])}
    if shown:
        yield {"role": "user", "content": shown}


def _result(message: Message) -> tuple[Message, list[dict[str, Any]]]:
    """A tool's result as text, and what of it is no text: chat takes that from a user only."""
    content = message["content"]
    if isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content):
        parts = [_part(part) for part in content]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        others = [part for part in parts if part["type"] != "text"]
        if others:
            texts.append("What it shows follows in the next message of the user.")
        return {**message, "content": "\n".join(texts)}, others
    if isinstance(content, dict) and isinstance(content.get("image_url"), str):  # a screenshot
        return _result({**message, "content": [{**content, "type": "input_image"}]})
    text = content if isinstance(content, str) else "" if content is None else json.dumps(content, ensure_ascii=False)
    return {**message, "content": text}, []


def _content(content: object, role: str) -> object:
    """Text as one string, which every chat server takes; parts only where something else is among them."""
    if not isinstance(content, list):
        return content
    if role != "user":
        return _plain_text(content) or None
    parts = [_part(part) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _plain_text(content: object) -> str:
    if isinstance(content, str):
        return content
    texts = [part.get("text") or part.get("refusal") for part in content] if isinstance(content, list) else []
    return "\n".join(text for text in texts if isinstance(text, str))


def _part(part: Fields) -> dict[str, Any]:
    """One part of a user's message. What is chat's already, or nobody's, stays as it is."""
    kind = part.get("type")
    if kind in _TEXTS:
        return {"type": "text", "text": str(part.get("text") or "")}
    if kind == "input_image":
        return {"type": "image_url", "image_url": _image(part)}
    if kind == "input_file":
        return {"type": "file", "file": _file(part)}
    if kind == "refusal":
        return {"type": "text", "text": str(part.get("refusal") or "")}
    return {"type": "text", "text": json.dumps(part, ensure_ascii=False)} if kind is None else dict(part)


def _image(part: Fields) -> dict[str, Any]:
    url, detail = part.get("image_url"), part.get("detail")
    if not isinstance(url, str):
        raise _not_supported("An image given by `file_id`", "input")
    if detail is None:
        return {"url": url}
    return {"url": url, "detail": detail if detail in _DETAILS else "high"}  # Codex asks for "original"


def _file(part: Fields) -> dict[str, Any]:
    if not isinstance(part.get("file_data"), str):
        raise _not_supported("A file given by `file_id` or `file_url`", "input")
    return {name: part[name] for name in ("file_data", "filename") if isinstance(part.get(name), str)}
