"""Redaction: what is personal or secret gets a placeholder in the request, and its value back in the answer. Pure.

Placeholders are numbered in the order of the prompt, so the turns of a conversation that grows have the same ones, and
a provider's prompt cache still holds. What may hold such data where it cannot be replaced is a doubt.
"""

from collections.abc import Mapping
from typing import Any

from weighbridge.asks import whole_text
from weighbridge.dialects.base import Dialect, Fields, translated
from weighbridge.policies.detect import KINDS, Findings
from weighbridge.preprocess.base import Doubt, Prepared
from weighbridge.preprocess.placeholders import Placeholders
from weighbridge.preprocess.restore import Restore
from weighbridge.wire import Body

# As a prompt is put together; the rest of the body comes after it.
_PROMPT = ("system", "instructions", "tools", "functions", "messages", "input", "prompt")
# What servers read rather than models. It is left alone, and what is personal in it is a doubt.
_STRUCTURE = frozenset([
    "role", "type", "model", "id", "name", "object", "status", "signature", "encrypted_content", "media_type", "format",
    "headers", "authorization", "server_url", "url", "service_tier",
])  # fmt: skip
_PARTS = frozenset({"content", "output"})  # lists whose members say what they are
_READABLE = frozenset([
    "text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking", "tool_use", "tool_result",
    "message", "reasoning", "reasoning_text", "summary_text", "function_call", "function_call_output",
    "custom_tool_call", "custom_tool_call_output", "local_shell_call", "local_shell_call_output", "search_result",
    "server_tool_use", "web_search_tool_result", "web_search_result", "web_search_call", "mcp_tool_use",
    "mcp_tool_result", "mcp_call", "mcp_list_tools",
])  # fmt: skip


def redacted(body: Body, dialect: Dialect) -> Prepared:
    """The body without what is personal, and what puts it back. Raises Doubt."""
    fields = body.fields
    _refuse_the_unseen(fields, dialect)
    placeholders = Placeholders([body.text] if "\\" not in body.text else [body.text, whole_text(fields)])
    try:
        changed = _Walk(placeholders).body(fields)
    except RecursionError:
        raise Doubt("it is nested too deeply") from None
    left = Findings(whole_text(changed))
    for kind in KINDS:
        if kind in left:
            raise Doubt(f"it holds {kind} where it cannot be replaced")
    if not placeholders.counts:
        return Prepared(body)
    undo = Restore(placeholders, is_json=_answers_in_json(fields, dialect))
    return Prepared(translated(changed), undo, placeholders.counts)


def _refuse_the_unseen(fields: Fields, dialect: Dialect) -> None:
    """What was said where we cannot see it, and answers into which nothing can be put back."""
    if not dialect.is_scored:
        raise Doubt(f"an answer of {dialect.path} cannot be put right")
    if dialect.goes_on_from(fields) or fields.get("conversation"):
        raise Doubt("it goes on from an answer that the upstream keeps")
    modalities = fields.get("modalities")
    if isinstance(modalities, list) and set(map(str, modalities)) - {"text"}:
        raise Doubt("its answer is not text alone")


class _Walk:
    """Through one body. The new one shares with the old what has no text."""

    def __init__(self, placeholders: Placeholders) -> None:
        self._placeholders = placeholders

    def body(self, fields: Fields) -> dict[str, Any]:
        changed = dict(fields)  # keeps the order of the keys
        for key in sorted(fields, key=lambda key: _PROMPT.index(key) if key in _PROMPT else len(_PROMPT)):
            value = fields[key]
            if key in {"input", "prompt"} and isinstance(value, list):
                _require_texts(value)
            changed[key] = self._value(key, value, is_data=key == "metadata")
        return changed

    def _value(self, key: str, value: object, *, is_data: bool) -> object:
        """is_data: keys mean what somebody's tool makes of them, so none of them is structure."""
        if isinstance(value, str):
            return self._text(key, value, is_data=is_data)
        if isinstance(value, list):
            if key in _PARTS and not is_data:
                _require_readable(value)
            return [self._value(key, item, is_data=is_data) for item in value]
        if isinstance(value, dict):
            if value.get("type") == "base64":
                raise Doubt("it holds what is not text")
            is_data = is_data or key == "input"
            return {k: self._value(k, v, is_data=is_data) for k, v in value.items()}
        return value

    def _text(self, key: str, text: str, *, is_data: bool) -> str:
        if text.startswith("data:") and ";base64," in text[:200]:
            raise Doubt("it holds what is not text")
        if not is_data and (key in _STRUCTURE or key.endswith("_id")):
            return text
        if key == "arguments" and not is_data and text.lstrip()[:1] in {"{", "["}:
            return self._placeholders.hidden_in_json(text)
        return self._placeholders.hidden(text)


def _require_texts(items: list[Any]) -> None:
    """A prompt of tokens cannot be read, nor can what is only referred to."""
    if not all(isinstance(item, str | dict) for item in items):
        raise Doubt("it holds tokens in place of text")
    objects = [item for item in items if isinstance(item, dict)]
    _require_readable(
        [item if "type" in item or "role" not in item else {**item, "type": "message"} for item in objects]
    )


def _require_readable(parts: list[Any]) -> None:
    for part in parts:
        if isinstance(part, Mapping) and part.get("type") not in _READABLE:
            raise Doubt(f"it holds a part that cannot be read: {str(part.get('type'))[:40]}")


def _answers_in_json(fields: Fields, dialect: Dialect) -> bool:
    text = fields.get("text")
    form = fields.get("response_format") or (text.get("format") if isinstance(text, dict) else None)
    return dialect.wants_json_schema(fields) or (isinstance(form, dict) and form.get("type") == "json_object")
