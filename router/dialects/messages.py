"""`/v1/messages`: Anthropic's language, which most local servers do not speak."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import uuid4

import orjson

from weighbridge.dialects.base import Dialect, Fields, Translation, expect, expect_model
from weighbridge.dialects.messages_answer import message_of
from weighbridge.dialects.messages_blocks import UNREADABLE
from weighbridge.dialects.messages_count import count_tokens
from weighbridge.dialects.messages_events import MessageEvents
from weighbridge.dialects.messages_request import chat_request, json_schema_of
from weighbridge.errors import BadRequest, WeighbridgeError
from weighbridge.streaming import Relay, TypedRelay
from weighbridge.units import Usage

_ROLES = ("user", "assistant", "system")
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_COUNTS = (*_INPUT, "output_tokens")


class Messages(Dialect):
    """Anthropic's Messages. Chat servers are spoken to through chat completions."""

    path: ClassVar[str] = "/messages"

    def check(self, fields: Fields) -> None:
        check_count(fields)
        if fields.get("max_tokens") is None:
            raise BadRequest("`max_tokens` is required: the most tokens that the answer may have.", param="max_tokens")
        expect(fields, "max_tokens", int, "a whole number")
        if fields["max_tokens"] < 0:  # 0 fills the cache without an answer
            raise BadRequest("`max_tokens` must not be negative.", param="max_tokens")
        expect(fields, "stream", bool, "true or false")

    def messages(self, fields: Fields) -> Sequence[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        if fields.get("system"):
            told.append({"role": "system", "content": fields["system"]})
        for message in fields["messages"]:
            told += _as_chat(message)
        return told

    def output_limit(self, fields: Fields) -> int:
        return int(fields.get("max_tokens") or 0)

    def wants_json_schema(self, fields: Fields) -> bool:
        return json_schema_of(fields) is not None

    def is_answer(self, answer: Fields) -> bool:
        return answer.get("type") == "message"

    def usage_of(self, answer: Fields) -> Usage | None:
        usage = answer.get("usage")
        return _counted(usage) if isinstance(usage, Mapping) else None

    def relay(self, fields: Fields) -> Relay:
        return TypedRelay(last=frozenset({"message_stop"}), usage=_Meter().read)

    def translation(self, fields: Fields) -> Translation:
        try:
            return _ThroughChat(fields)
        except RecursionError:  # the input of a call is written as text, which takes one level more than to read it
            raise BadRequest("The body is nested too deeply.") from None

    def error_body(self, error: WeighbridgeError) -> dict[str, Any]:
        kind = _ERROR_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
        # Claude Code makes its context smaller when it reads these words.
        too_long = "prompt is too long: " if error.code == "context_length_exceeded" else ""
        return {"type": "error", "error": {"type": kind, "message": f"{too_long}{error.message}"}}

    def error_headers(self, error: WeighbridgeError) -> Mapping[str, str]:
        # Without it Claude Code tries again for ever (litellm#37754).
        return {"anthropic-ratelimit-unified-status": "rejected"} if error.status == 429 else {}

    def error_event(self, error: WeighbridgeError) -> bytes:
        return b"event: error\ndata: %b\n\n" % orjson.dumps(self.error_body(error))


MESSAGES = Messages()


class _ThroughChat(Translation):
    """One request through chat completions."""

    def __init__(self, fields: Fields) -> None:
        self.chat = chat_request(fields)
        self._known: dict[str, Any] = {
            "message_id": f"msg_{uuid4().hex}",
            "model": str(fields["model"]),
            "stop_sequences": fields.get("stop_sequences") or [],
            "input_tokens": count_tokens(fields),
        }
        self._events = MessageEvents(**self._known)

    def answer(self, completion: Fields) -> dict[str, Any]:
        return message_of(completion, **self._known)

    def events(self, chunk: Fields) -> list[dict[str, Any]]:
        return self._events.of(chunk)

    def end(self) -> list[dict[str, Any]]:
        return self._events.end()


class _Meter:
    """The usage of one stream: counts are sums so far, and each event may name only some of them."""

    def __init__(self) -> None:
        self._counts: dict[str, Any] = {}

    def read(self, event: Mapping[str, Any], known: Usage | None) -> Usage | None:
        said = event.get("message") if event.get("type") == "message_start" else event
        usage = said.get("usage") if isinstance(said, Mapping) else None
        if not isinstance(usage, Mapping):
            return known
        self._counts |= {name: usage[name] for name in _COUNTS if usage.get(name) is not None}
        # What a message begins with is no count of its answer, and no answer has no tokens at all.
        is_final = event.get("type") == "message_delta" and self._counts.get("output_tokens")
        return _counted(self._counts) if is_final else known


def check_count(fields: Fields) -> None:
    """What `/v1/messages/count_tokens` needs, and an answer too."""
    expect_model(fields)
    for name in ("thinking", "output_config", "metadata", "tool_choice"):
        expect(fields, name, dict, "an object")
    expect(fields, "system", (str, list), "a string or an array of blocks")
    _check_objects(fields.get("system"), "system")
    _check_tools(fields)
    stop_sequences = fields.get("stop_sequences") or []
    if not isinstance(stop_sequences, list) or not all(isinstance(text, str) for text in stop_sequences):
        raise BadRequest("`stop_sequences` must be an array of strings.", param="stop_sequences")
    _check_messages(fields.get("messages"))


def _check_tools(fields: Fields) -> None:
    expect(fields, "tools", list, "an array")
    _check_objects(fields.get("tools"), "tools")
    for at, tool in enumerate(fields.get("tools") or ()):
        kind = tool.get("type")
        if kind is not None and not isinstance(kind, str):
            raise BadRequest(f"`tools[{at}].type` must be a string.", param=f"tools[{at}].type")
        if kind in {None, "custom"}:
            _expect_string(tool, "name", f"tools[{at}]")


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` must be an array with at least one message.", param="messages")
    _check_objects(messages, "messages")
    for at, message in enumerate(messages):
        if message.get("role") not in _ROLES:
            param = f"messages[{at}].role"
            raise BadRequest(f"`{param}` must be user or assistant.", param=param)
        content, param = message.get("content"), f"messages[{at}].content"
        if not isinstance(content, str | list):
            raise BadRequest(f"`{param}` must be a string or an array of blocks.", param=param)
        _check_objects(content, param)
        for i, block in enumerate(content if isinstance(content, list) else ()):
            _check_block(block, f"{param}[{i}]")
    if not any(message["content"] for message in messages):
        raise BadRequest("`messages` has no content: every message is empty.", param="messages")


def _check_block(block: Mapping[str, Any], at: str) -> None:
    _expect_string(block, "type", at)
    if block["type"] == "text":
        _expect_string(block, "text", at)
    if block["type"] == "tool_use":
        for name in ("id", "name"):
            _expect_string(block, name, at)
        if not isinstance(block.get("input") or {}, dict):
            raise BadRequest(f"`{at}.input` must be an object.", param=f"{at}.input")
    if block["type"] == "tool_result":
        _expect_string(block, "tool_use_id", at)
        _check_objects(block.get("content"), f"{at}.content")


def _check_objects(value: object, at: str) -> None:
    """Where it is an array, each item is an object."""
    for i, item in enumerate(value if isinstance(value, list) else ()):
        if not isinstance(item, dict):
            raise BadRequest(f"`{at}[{i}]` must be an object.", param=f"{at}[{i}]")


def _expect_string(holder: Mapping[str, Any], name: str, at: str) -> None:
    if not isinstance(holder.get(name), str):
        raise BadRequest(f"`{at}.{name}` must be a string.", param=f"{at}.{name}")


def _as_chat(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A message with what tools say and what they were asked apart from the words, as chat has it."""
    role, content = message["role"], message["content"]
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    others = UNREADABLE | {"tool_use", "tool_result"}
    said: dict[str, Any] = {"role": role, "content": [block for block in content if block["type"] not in others]}
    calls = [
        {"id": block["id"], "type": "function", "function": {"name": block["name"]}}
        for block in content
        if block["type"] == "tool_use"
    ]
    if calls:
        said["tool_calls"] = calls
    results = [
        {"role": "tool", "tool_call_id": block["tool_use_id"], "content": block.get("content")}
        for block in content
        if block["type"] == "tool_result"
    ]
    # The results last: whoever looks at the end sees that a model waits for them.
    return [said, *results] if said["content"] or calls else results


def _counted(usage: Mapping[str, Any]) -> Usage | None:
    """None where the counts make no sense. Input is all that was read, from a cache or not."""
    counts = [usage.get(name) or 0 for name in _COUNTS]
    if not all(type(count) is int and count >= 0 for count in counts) or not any(counts):
        return None
    *read, written = counts
    return Usage(sum(read), written, usage.get("cache_read_input_tokens") or 0)
