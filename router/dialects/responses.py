"""`/v1/responses`: OpenAI's API of items and typed events. Codex speaks nothing else."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import uuid4

import orjson

from weighbridge.dialects.base import Dialect, Fields, Translation, expect, expect_at_least_one, expect_model
from weighbridge.dialects.responses_events import Events
from weighbridge.dialects.responses_input import conversation
from weighbridge.dialects.responses_request import chat_request
from weighbridge.dialects.responses_tools import Toolbox
from weighbridge.errors import BadRequest, WeighbridgeError
from weighbridge.streaming import Relay, TypedRelay
from weighbridge.units import Usage

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})
_REMEMBERED = ("prompt", "previous_response_id", "conversation")  # where the input may be known already


class Responses(Dialect):
    """OpenAI's Responses."""

    path: ClassVar[str] = "/responses"
    keeps_answers: ClassVar[bool] = True

    def check(self, fields: Fields) -> None:
        expect_model(fields)
        for name in ("stream", "background", "store", "parallel_tool_calls"):
            expect(fields, name, bool, "true or false")
        expect_at_least_one(fields, "max_output_tokens")
        for name in ("instructions", "previous_response_id"):
            expect(fields, name, str, "a string")
        for name in ("text", "reasoning", "prompt", "metadata"):
            expect(fields, name, dict, "an object")
        for name in ("tools", "include"):
            expect(fields, name, list, "an array")
        expect(fields, "tool_choice", (str, dict), "a string or an object")
        expect(fields, "conversation", (str, dict), "a string or an object")
        _check_format(fields.get("text") or {})
        _check_objects(fields.get("tools") or [], "tools")
        _check_input(fields)

    def messages(self, fields: Fields) -> Sequence[Mapping[str, Any]]:
        return conversation(fields)

    def output_limit(self, fields: Fields) -> int:
        return int(fields.get("max_output_tokens") or 0)

    def wants_json_schema(self, fields: Fields) -> bool:
        form = (fields.get("text") or {}).get("format") or {}
        return bool(form.get("type") == "json_schema")

    def is_answer(self, answer: Fields) -> bool:
        return answer.get("object") == "response" or isinstance(answer.get("output"), list)

    def usage_of(self, answer: Fields) -> Usage | None:
        usage = answer.get("usage")
        if not isinstance(usage, dict):
            return None
        details = usage.get("input_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        counts = (usage.get("input_tokens"), usage.get("output_tokens", 0), cached or 0)
        if not all(type(count) is int and count >= 0 for count in counts):
            return None
        return Usage(*counts)  # type: ignore[arg-type]  # just checked

    def relay(self, fields: Fields) -> Relay:
        return TypedRelay(last=_LAST, usage=self._merged)

    def goes_on_from(self, fields: Fields) -> str | None:
        return fields.get("previous_response_id") or None

    def kept_id(self, answer: Fields) -> str | None:
        kept = answer.get("id")
        return kept if isinstance(kept, str) and answer.get("store") is not False else None

    def translation(self, fields: Fields) -> Translation:
        return ResponsesTranslation(fields, token=uuid4().hex, now_s=int(time.time()))

    def error_event(self, error: WeighbridgeError) -> bytes:
        """As OpenAI sends it, nested, which is what its SDKs raise on; and flat, as its reference has it.

        How many events went before is not known here, and clients refuse an event without a number.
        """
        nested = self.error_body(error)["error"]
        code = nested["code"] or nested["type"]
        flat = {"type": "error", "sequence_number": 0, "code": code, "message": nested["message"]}
        return b"event: error\ndata: %b\n\n" % orjson.dumps({**flat, "param": nested["param"], "error": nested})

    def _merged(self, event: Fields, known: Usage | None) -> Usage | None:
        response = event.get("response")
        return (self.usage_of(response) if isinstance(response, dict) else None) or known


RESPONSES = Responses()


class ResponsesTranslation(Translation):
    """Responses at a server of chat completions. token: what the ids of the answer are made of."""

    def __init__(self, fields: Fields, *, token: str, now_s: int) -> None:
        toolbox = Toolbox(fields)
        self.chat = chat_request(fields, toolbox)
        self._events = Events(fields, toolbox, token=token, now_s=now_s)

    def answer(self, completion: Fields) -> dict[str, Any]:
        return self._events.whole(completion)

    def events(self, chunk: Fields) -> list[dict[str, Any]]:
        return self._events.take(chunk)

    def end(self) -> list[dict[str, Any]]:
        return self._events.end()


def _check_format(text: Fields) -> None:
    form = text.get("format")
    if form is not None and not isinstance(form, dict):
        raise BadRequest("`text.format` must be an object.", param="text.format")


def _check_input(fields: Fields) -> None:
    given = fields.get("input")
    if not given and any(fields.get(name) for name in _REMEMBERED):
        return
    if given is None:
        raise BadRequest("`input` is missing: a string or an array of items.", param="input")
    if not isinstance(given, str | list):
        raise BadRequest("`input` must be a string or an array of items.", param="input")
    if not given:
        raise BadRequest("`input` is empty.", param="input")
    if isinstance(given, list):
        _check_objects(given, "input")
        for i, item in enumerate(given):
            _check_item(item, f"input[{i}]")


def _check_item(item: Fields, at: str) -> None:
    kind, content = item.get("type"), item.get("content")
    if kind is not None and not isinstance(kind, str):
        raise BadRequest(f"`{at}.type` must be a string.", param=f"{at}.type")
    if kind not in (None, "message"):
        return
    if not isinstance(item.get("role"), str):
        if kind is None and isinstance(item.get("id"), str):
            return  # an item_reference by its id alone
        raise BadRequest(f"`{at}.role` must be a string.", param=f"{at}.role")
    if content is not None and not isinstance(content, str | list):
        raise BadRequest(f"`{at}.content` must be a string or an array of parts.", param=f"{at}.content")
    if isinstance(content, list):
        _check_objects(content, f"{at}.content")


def _check_objects(values: Sequence[object], at: str) -> None:
    for i, value in enumerate(values):
        if not isinstance(value, dict):
            raise BadRequest(f"`{at}[{i}]` must be an object.", param=f"{at}[{i}]")
