"""`/v1/chat/completions`: the language that every upstream speaks."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from weighbridge.dialects.base import Dialect, Fields, expect, expect_at_least_one, expect_model
from weighbridge.errors import BadRequest
from weighbridge.streaming import ChoiceRelay, Relay
from weighbridge.units import Usage
from weighbridge.wire import usage_of


class Chat(Dialect):
    """OpenAI's chat completions."""

    path: ClassVar[str] = "/chat/completions"

    def check(self, fields: Fields) -> None:
        expect_model(fields)
        for name in ("stream", "logprobs"):
            expect(fields, name, bool, "true or false")
        expect_at_least_one(fields, "max_tokens", "max_completion_tokens", "n")
        expect(fields, "tools", list, "an array")
        check_stream_options(fields)
        _check_messages(fields.get("messages"))

    def messages(self, fields: Fields) -> Sequence[dict[str, Any]]:
        messages: list[dict[str, Any]] = fields["messages"]
        return messages

    def output_limit(self, fields: Fields) -> int:
        return int(fields.get("max_completion_tokens") or fields.get("max_tokens") or 0)

    def choices(self, fields: Fields) -> int:
        return int(fields.get("n") or 1)

    def wants_json_schema(self, fields: Fields) -> bool:
        response_format = fields.get("response_format")
        return isinstance(response_format, dict) and response_format.get("type") == "json_schema"

    def is_answer(self, answer: Fields) -> bool:
        return isinstance(answer.get("choices"), list)

    def usage_of(self, answer: Fields) -> Usage | None:
        return usage_of(answer.get("usage"))

    def relay(self, fields: Fields) -> Relay:
        return ChoiceRelay(hide_usage=not wants_usage(fields))

    def stream_changes(self, fields: Fields) -> dict[str, Any]:
        return usage_asked(fields)


CHAT = Chat()


def wants_usage(fields: Fields) -> bool:
    """Whether the client itself asked for a usage chunk at the end of its stream."""
    return bool((fields.get("stream_options") or {}).get("include_usage"))


def usage_asked(fields: Fields) -> dict[str, Any]:
    """The change that asks a stream for its usage, where the client did not."""
    if wants_usage(fields):
        return {}
    return {"stream_options": {**(fields.get("stream_options") or {}), "include_usage": True}}


def check_stream_options(fields: Fields) -> None:
    """Refuse them where there is no stream, as OpenAI does."""
    expect(fields, "stream_options", dict, "an object")
    if fields.get("stream_options") and not fields.get("stream"):
        raise BadRequest("`stream_options` is allowed only with `stream`: true.", param="stream_options")


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
