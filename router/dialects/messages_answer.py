"""A chat completion as an answer of the Messages API, whole. Pure."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn

from weighbridge.errors import Failed
from weighbridge.units import Usage
from weighbridge.wire import usage_of

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
}


def message_of(
    completion: Mapping[str, Any], *, message_id: str, model: str, stop_sequences: list[str], input_tokens: int
) -> dict[str, Any]:
    """The `message` for a `chat.completion`.

    message_id, model: where the completion has none. input_tokens: what to say where the upstream counted nothing.
    """
    choices = completion.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    said = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(said, Mapping):
        raise Failed("The upstream's answer has no message.", code="upstream_malformed")
    calls = _calls(said, message_id)
    matched = matched_of(choice, stop_sequences)
    return {
        **opening(completion, message_id, model),
        "content": [*_words(said), *calls],
        "stop_reason": stop_reason_of(
            choice.get("finish_reason"), has_calls=bool(calls), refused=bool(said.get("refusal")), matched=matched
        ),
        "stop_sequence": matched,
        "usage": usage_fields(usage_of(completion.get("usage"))) or {"input_tokens": input_tokens, "output_tokens": 0},
    }


def opening(answer: Mapping[str, Any], message_id: str, model: str) -> dict[str, Any]:
    """What a message is before it says anything, from a completion or from the first chunk of one."""
    own_id, own_model = answer.get("id"), answer.get("model")
    return {
        "id": f"msg_{own_id.removeprefix('chatcmpl-')}" if isinstance(own_id, str) and own_id else message_id,
        "type": "message",
        "role": "assistant",
        "model": own_model if isinstance(own_model, str) and own_model else model,
    }


def usage_fields(usage: Usage | None) -> dict[str, int] | None:
    """As Anthropic counts: what was read from a cache is no part of `input_tokens`."""
    if usage is None:
        return None
    cached = min(usage.cached_tokens, usage.input_tokens)
    return {
        "input_tokens": usage.input_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens,
    }


def stop_reason_of(finish_reason: object, *, has_calls: bool, refused: bool, matched: str | None) -> str:
    """Local servers say "stop" after a call, or "tool_calls" without one: what was said decides."""
    reason = _STOP_REASONS.get(finish_reason, "end_turn") if isinstance(finish_reason, str) else "end_turn"
    if refused and reason == "end_turn":
        return "refusal"
    if reason in {"end_turn", "tool_use"}:
        return "tool_use" if has_calls else "stop_sequence" if matched is not None else "end_turn"
    return reason


def matched_of(choice: Mapping[str, Any], stop_sequences: list[str]) -> str | None:
    """Which stop sequence ended the answer, where the server tells: vLLM does."""
    matched = choice.get("stop_reason")
    return matched if isinstance(matched, str) and matched in stop_sequences else None


def reasoning_of(said: Mapping[str, Any]) -> str:
    """What the model thought, by its older name or the newer one of vLLM's."""
    for name in ("reasoning_content", "reasoning"):
        if isinstance(said.get(name), str) and said[name]:
            return str(said[name])
    return ""


def words_of(said: Mapping[str, Any]) -> str:
    """The text of a message or a delta. Some servers send it in parts, and a refusal has a place of its own."""
    content = said.get("content")
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        content = "".join(text for text in texts if isinstance(text, str))
    text = content if isinstance(content, str) else ""
    refusal = said.get("refusal")
    return text + refusal if isinstance(refusal, str) else text


def calls_in(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The calls of a message or a delta, the older single `function_call` among them."""
    calls = said.get("tool_calls")
    found = [call for call in calls if isinstance(call, Mapping)] if isinstance(calls, list) else []
    older = said.get("function_call")
    return [*found, {"function": older}] if isinstance(older, Mapping) else found


def function_of(call: Mapping[str, Any]) -> tuple[str, str]:
    """Name and arguments of a call. Some local servers send the arguments as an object."""
    function = call.get("function")
    if not isinstance(function, Mapping):
        return "", ""
    name, arguments = function.get("name"), function.get("arguments")
    if isinstance(arguments, Mapping):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return name if isinstance(name, str) else "", arguments if isinstance(arguments, str) else ""


def input_of(arguments: str) -> dict[str, Any] | None:
    """The object that a call's arguments are; None where they are none (yet)."""
    try:
        found = json.loads(arguments, parse_constant=_no_number, parse_float=_number)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _words(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    thought, text = reasoning_of(said), words_of(said)
    thinking = [{"type": "thinking", "thinking": thought, "signature": ""}] if thought else []
    return [*thinking, {"type": "text", "text": text}] if text else [*thinking]


def spare_call_id(message_id: str, at: int) -> str:
    """For a call whose server gave it none."""
    return f"toolu_{message_id.removeprefix('msg_')}_{at}"


def _calls(said: Mapping[str, Any], message_id: str) -> list[dict[str, Any]]:
    blocks = []
    for at, call in enumerate(calls_in(said)):
        name, arguments = function_of(call)
        if name:
            own_id = call.get("id") if isinstance(call.get("id"), str) else None
            call_id = own_id or spare_call_id(message_id, at)
            blocks.append({"type": "tool_use", "id": call_id, "name": name, "input": input_of(arguments) or {}})
    return blocks


def _number(digits: str) -> float:
    number = float(digits)
    return number if isfinite(number) else _no_number(digits)


def _no_number(digits: str) -> NoReturn:
    raise ValueError(digits)
