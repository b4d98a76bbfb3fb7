"""Responses by hand: chat chunks in, events out, and OpenAI's own models to judge them."""

from collections.abc import Iterable
from functools import cache
from typing import Any, get_args

import pydantic
from openai.types.responses import Response, ResponseOutputItem, ResponseStreamEvent
from scripted import chunk

from weighbridge.dialects.responses import RESPONSES, ResponsesTranslation

NOW_S = 1_700_000_100


def asking(**fields: Any) -> dict[str, Any]:
    """A request that passes."""
    request = {"model": "auto", "input": "What is the capital of France?", **fields}
    RESPONSES.check(request)
    return request


def translation(**fields: Any) -> ResponsesTranslation:
    return ResponsesTranslation(asking(**fields), token="t", now_s=NOW_S)


def chat_of(**fields: Any) -> dict[str, Any]:
    return translation(**fields).chat


def said(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return chunk("small-1", delta, finish, **fields)


def called(index: int, arguments: str = "", *, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    """A piece of a tool call."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    call = {"index": index, "function": function} | ({"id": call_id, "type": "function"} if call_id else {})
    return {"tool_calls": [call]}


def counted(**usage: Any) -> dict[str, Any]:
    return {**said({}), "choices": [], "usage": usage}


def events_of(chunks: Iterable[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    """Everything that these chunks become, valid by OpenAI's models and well ordered."""
    turned = translation(**fields)
    events = [event for one in chunks for event in turned.events(one)] + turned.end()
    for event in events:
        assert_valid(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def response_of(chunks: Iterable[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    return events_of(chunks, **fields)[-1]["response"]


def kinds(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def assert_valid(event: dict[str, Any]) -> None:
    _models(ResponseStreamEvent)[event["type"]].model_validate(event)
    if "response" in event:
        assert_valid_response(event["response"])
    if "item" in event:
        assert_valid_item(event["item"])


def assert_valid_response(response: dict[str, Any]) -> None:
    Response.model_validate(response)
    missing = {name for name, field in Response.model_fields.items() if field.is_required()} - response.keys()
    assert not missing
    for item in response["output"]:
        assert_valid_item(item)


def assert_valid_item(item: dict[str, Any]) -> None:
    _models(ResponseOutputItem)[item["type"]].model_validate(item)


@cache
def _models(union: Any) -> dict[str, type[pydantic.BaseModel]]:
    """The members of a union by the type that each stands for."""
    return {
        kind: model
        for model in get_args(get_args(union)[0])
        for kind in get_args(model.model_fields["type"].annotation)
    }
