"""The chat request as the gateway needs it. What it does not need is the upstream's to judge."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from weighbridge.asks import whole_text
from weighbridge.errors import BadRequest
from weighbridge.units import estimated_tokens
from weighbridge.wire import Body

DEFAULT_OUTPUT_TOKENS = 4096  # the worst case that a reservation assumes where the request names no limit


@dataclass(frozen=True)
class ChatRequest:
    """One request on its way.

    received_s: monotonic seconds; created_at: UTC; headers: names in lower case.
    """

    request_id: str
    body: Body
    caller: str
    headers: Mapping[str, str]
    received_s: float
    created_at: datetime

    @property
    def model(self) -> str:
        return str(self.body.fields["model"])

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.body.fields["messages"]
        return messages

    @property
    def is_stream(self) -> bool:
        return bool(self.body.fields.get("stream"))

    @property
    def wants_usage(self) -> bool:
        """Whether the client itself asked for a usage chunk at the end of its stream."""
        return bool((self.body.fields.get("stream_options") or {}).get("include_usage"))

    @cached_property
    def text_length(self) -> int:
        """Its characters, without pictures and sound, which are not read as text."""
        if ";base64," in self.body.text:
            return len(whole_text(self.body.fields))
        return len(self.body.text)

    @property
    def estimated_input_tokens(self) -> int:
        return estimated_tokens(self.text_length)

    @property
    def asked_output_tokens(self) -> int:
        """The limit that the request itself sets, or 0."""
        fields = self.body.fields
        return int(fields.get("max_completion_tokens") or fields.get("max_tokens") or 0)

    @property
    def most_output_tokens(self) -> int:
        """The most that it can generate, over all its choices."""
        return (self.asked_output_tokens or DEFAULT_OUTPUT_TOKENS) * int(self.body.fields.get("n") or 1)


def check_chat(fields: Mapping[str, Any]) -> None:
    """Refuse a body that no upstream could answer. BadRequest names the field. None stands for absent throughout."""
    model = fields.get("model")
    if not isinstance(model, str) or not model.strip():
        raise BadRequest('`model` must be a string: a route such as "auto", or an upstream\'s name.', param="model")
    for name in ("stream", "logprobs"):
        _expect(fields, name, bool, "true or false")
    for name in ("max_tokens", "max_completion_tokens", "n"):
        _expect(fields, name, int, "a whole number")
        if fields.get(name) is not None and fields[name] < 1:
            raise BadRequest(f"`{name}` must be at least 1.", param=name)
    _expect(fields, "stream_options", dict, "an object")
    _expect(fields, "tools", list, "an array")
    if fields.get("stream_options") and not fields.get("stream"):
        raise BadRequest("`stream_options` is allowed only with `stream`: true.", param="stream_options")
    _check_messages(fields.get("messages"))


def _expect(fields: Mapping[str, Any], name: str, kind: type, words: str) -> None:
    value = fields.get(name)
    if value is not None and type(value) is not kind:
        raise BadRequest(f"`{name}` must be {words}.", param=name)


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list):
        raise BadRequest("`messages` must be an array of messages.", param="messages")
    if not messages:
        raise BadRequest("`messages` must hold at least one message.", param="messages")
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise BadRequest(f"`messages[{i}]` must be an object.", param=f"messages[{i}]")
        if not isinstance(message.get("role"), str):
            raise BadRequest(f"`messages[{i}].role` must be a string.", param=f"messages[{i}].role")
        content = message.get("content")
        if content is not None and not isinstance(content, str | list):
            param = f"messages[{i}].content"
            raise BadRequest(f"`{param}` must be a string or an array of parts.", param=param)
        if isinstance(content, list):
            _check_parts(content, f"messages[{i}].content")
    if not any(_says_something(message) for message in messages):
        raise BadRequest("`messages` has no content: every message is empty.", param="messages")


def _check_parts(parts: list[object], at: str) -> None:
    for i, part in enumerate(parts):
        if not isinstance(part, dict):
            raise BadRequest(f"`{at}[{i}]` must be an object.", param=f"{at}[{i}]")


def _says_something(message: Mapping[str, Any]) -> bool:
    return bool(message.get("content") or message.get("tool_calls") or message.get("function_call"))
