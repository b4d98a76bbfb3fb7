"""Sessions: which requests belong together, so that a tool loop stays with the model that began it. Pure.

A key is a digest of what the turns of one conversation share; no text can be read from it. Where the client sends an
id of its own that tells conversations apart, otherwise their first words do.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weighbridge.asks import extract
from weighbridge.schemas import Request

_ID_HEADERS = ("x-weighbridge-session", "x-session-id", "session_id", "x-litellm-session-id", "helicone-session-id")
_TOOL_ROLES = frozenset({"tool", "function"})
# What only the model that wrote it can read: sent to another one the request is refused.
_SIGNATURES = ('"signature"', '"encrypted_content"', '"thought_signature"', '"thoughtSignature"', '"reasoning_details"')


def loop_key(request: Request, route: str) -> str:
    """The turns that answer one ask: all of a tool loop."""
    return _digest("loop", request.caller, route, _conversation(request), request.ask)


def conversation_key(request: Request, route: str) -> str:
    """All turns of one conversation."""
    return _digest("conversation", request.caller, route, _conversation(request))


def response_key(caller: str, response_id: str) -> str:
    """A stored response, which only the upstream that made it knows, and only its caller may ask for."""
    return _digest("response", caller, response_id)


def is_in_tool_loop(messages: Sequence[Mapping[str, Any]]) -> bool:
    """The last word is a tool's: a model waits for what it asked for."""
    return bool(messages) and messages[-1].get("role") in _TOOL_ROLES


def is_signed(request: Request) -> bool:
    """The history holds what only the model that wrote it can read."""
    return any(mark in request.body.text for mark in _SIGNATURES)


def may_go_on(request: Request) -> bool:
    """Whether a later turn may have to come back to the model that answers this one."""
    fields = request.body.fields
    return bool(fields.get("tools") or fields.get("functions") or fields.get("thinking") or fields.get("reasoning"))


def keys(request: Request, route: str, kept_id: str | None, *, is_new: bool) -> list[str]:
    """Under which keys to remember where this request was answered. is_new: no earlier turn has done it."""
    found = [response_key(request.caller, kept_id)] if kept_id else []
    if is_new and may_go_on(request):
        found += [loop_key(request, route), conversation_key(request, route)]
    return found


def named(request: Request) -> str:
    """The id that the client itself gives the conversation, or nothing."""
    return next((value for name in _ID_HEADERS if (value := request.headers.get(name))), "")


def _conversation(request: Request) -> str:
    return named(request) or next(_user_asks(request.messages), "")


def _user_asks(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the user asked, first to last, each without a harness's words: those change from turn to turn."""
    return (ask for message in messages if message.get("role") == "user" and (ask := extract([message])))


def _digest(*parts: str) -> str:
    whole = "\x1f".join(parts).encode(errors="replace")
    return hashlib.blake2b(whole, digest_size=16).hexdigest()
