"""The Response object: what the client asked, what the model said as items, and the usage in Responses' words."""

from collections.abc import Sequence
from typing import Any

from weighbridge.dialects.base import Fields
from weighbridge.wire import usage_of

# What a Response repeats of its request, and what stands there where the request says nothing.
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def opening(fields: Fields, *, response_id: str, created_at: int, model: str) -> dict[str, Any]:
    """A Response that has only just begun."""
    text, reasoning = fields.get("text") or {}, fields.get("reasoning") or {}
    echoed = {name: default if fields.get(name) is None else fields[name] for name, default in _ECHOED.items()}
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **reasoning},
        "service_tier": fields.get("service_tier") or "auto",
        "store": False,
        "text": {**text, "format": text.get("format") or {"type": "text"}},
        "usage": None,
        **echoed,
    }


def ending(begun: Fields, output: Sequence[Fields], *, finish: str, usage: object, completed_at: int) -> dict[str, Any]:
    """The same Response once it is whole, or cut at a limit."""
    reason = _INCOMPLETE.get(finish)
    return {
        **begun,
        "status": status_of(finish),
        "completed_at": None if reason else completed_at,
        "incomplete_details": {"reason": reason} if reason else None,
        "output": list(output),
        "usage": response_usage(usage),
    }


def status_of(finish: str) -> str:
    return "incomplete" if finish in _INCOMPLETE else "completed"


def response_usage(usage: object) -> dict[str, Any] | None:
    """The usage of a chat completion in Responses' words; None where it makes no sense. Nothing is counted anew."""
    known = usage_of(usage)
    if known is None or not isinstance(usage, dict):
        return None
    written = _count(usage.get("prompt_tokens_details"), "cache_write_tokens")
    total = usage.get("total_tokens")
    return {
        "input_tokens": known.input_tokens,
        "input_tokens_details": {"cached_tokens": known.cached_tokens, "cache_write_tokens": written},
        "output_tokens": known.output_tokens,
        "output_tokens_details": {
            "reasoning_tokens": _count(usage.get("completion_tokens_details"), "reasoning_tokens")
        },
        "total_tokens": total if type(total) is int and total >= 0 else known.input_tokens + known.output_tokens,
    }


def _count(details: object, name: str) -> int:
    count = details.get(name) if isinstance(details, dict) else None
    return count if type(count) is int and count >= 0 else 0
