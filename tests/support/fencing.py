"""Private requests in every dress, before upstreams that fail in every way: what a fence has to stand."""

import base64
import json
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import PrivateAttr

from weighbridge.api import new_request_id
from weighbridge.attempts import Failure
from weighbridge.dialects.base import Dialect
from weighbridge.dialects.chat import CHAT
from weighbridge.dialects.completions import COMPLETIONS
from weighbridge.dialects.embeddings import EMBEDDINGS
from weighbridge.dialects.messages import MESSAGES
from weighbridge.dialects.opaque import Opaque
from weighbridge.dialects.responses import RESPONSES
from weighbridge.errors import BadRequest, Cut, Failed, Incapable, Limited, Refused, TimedOut, Unreachable
from weighbridge.gateway import Gateway
from weighbridge.parts import Parts
from weighbridge.schemas import Request
from weighbridge.sessions import conversation_key, loop_key
from weighbridge.upstreams.base import Completion, Forward, Stream, Upstream
from weighbridge.wire import Body

SECRETS = {
    "email": "jane.doe@example.com",
    "phone": "+49 30 901820",
    "credit_card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "secret": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
}
NAMES = ("auto", "auto:remote", "auto:quality", "auto:cost", "weighbridge/auto", "remote", "large-1", "router-mf-0.0")
FAULTS: tuple[Exception | None, ...] = (
    None,
    Unreachable("gone"),
    TimedOut("slow"),
    Failed("broken"),
    Failed("our key", code="upstream_auth"),
    Limited("slow down", retry_after_s=60),
    Cut("cut"),
    Incapable("cannot"),
    Refused("too long", status=400, type="invalid_request_error", param=None, code="context_length_exceeded"),
)
_ANSWER = {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "text": "hi"}]}


class Recorder(Upstream):
    """An upstream in memory: it fails as it is told, and counts what reaches it."""

    paths: ClassVar[frozenset[str]] = frozenset({CHAT.path, EMBEDDINGS.path, COMPLETIONS.path, "/moderations"})
    _reached: list[bytes] = PrivateAttr(default_factory=list)
    _fault: list[Exception | None] = PrivateAttr(default_factory=lambda: [None])

    @property
    def reached(self) -> list[bytes]:
        return self._reached

    def fails(self, fault: Exception | None) -> None:
        self._fault[0] = fault

    def serves(self, path: str) -> bool:
        return path in self.paths

    async def complete(self, body: Body, dialect: Dialect = CHAT) -> Completion:
        self._take(body.text.encode())
        return Completion(json.dumps({**_ANSWER, "data": []}).encode(), None)

    async def stream(self, body: Body, dialect: Dialect = CHAT) -> Stream:
        self._take(body.text.encode())
        return _Chunks()

    async def forward(self, sending: Forward) -> Stream:
        self._take(sending.body)
        return _Chunks()

    def _take(self, body: bytes) -> None:
        self._reached.append(body)
        if self._fault[0] is not None:
            raise self._fault[0]


class _Chunks(Stream):
    def __init__(self) -> None:
        choice = {"index": 0, "delta": {"content": "hi"}, "text": "hi", "finish_reason": "stop"}
        self._left = [json.dumps({"choices": [choice]}).encode(), b"[DONE]"]

    async def read(self) -> list[bytes]:
        left, self._left = self._left, []
        return left

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Case:
    """One private request. is_fenced_by_header: its text is harmless, and a header says that it is private."""

    dialect: Dialect
    fields: dict[str, Any]
    headers: dict[str, str]
    fault: Exception | None
    is_stream: bool
    dress: str


def case(chance: random.Random) -> Case:
    """Any of them, by chance."""
    kind = chance.choice(sorted(SECRETS))
    by_header = chance.random() < 0.1
    dress, said = ("a header", "hello") if by_header else _dressed(SECRETS[kind], chance)
    dialect = chance.choice((CHAT, CHAT, CHAT, MESSAGES, RESPONSES, COMPLETIONS, EMBEDDINGS, Opaque("/moderations")))
    fields = {"model": chance.choice(NAMES), **_fields(dialect, said, chance)}
    is_stream = dialect in (CHAT, MESSAGES, RESPONSES, COMPLETIONS) and chance.random() < 0.5
    if is_stream:
        fields["stream"] = True
    headers = {"x-data-class": "private"} if by_header else {}
    return Case(dialect, fields, headers, chance.choice(FAULTS), is_stream, f"{kind} as {dress}")


async def played(parts: Parts, one: Case) -> str:
    """How a case ended. A breaker that is open would hide the fault, so each begins with closed ones."""
    gateway: Gateway = parts.gateway
    for breaker in gateway._attempts.breakers.values():
        breaker.succeeded()
    body = Body(json.dumps(one.fields), one.fields)
    try:
        one.dialect.check(one.fields)
    except BadRequest:
        return "refused"
    now = datetime.now(UTC)
    request = Request(new_request_id(), one.dialect, body, "anyone", one.headers, time.monotonic(), now)
    # Its session was with the remote upstream until now.
    parts.ledger.remember([loop_key(request, "auto"), conversation_key(request, "auto")], "remote")
    try:
        if one.dialect.path == "/moderations":
            opened = await gateway.forward(request, Forward("POST", "/moderations", "application/json", b"{}"))
            [part async for part in opened.parts]
        elif one.is_stream:
            opened = await gateway.stream(request)
            [part async for part in opened.parts]
        else:
            await gateway.complete(request)
    except Failure:
        return "failed"
    return "answered"


def _dressed(secret: str, chance: random.Random) -> tuple[str, str]:
    """The secret in one of the forms that a reader, or a model, would still see through."""
    middle = len(secret) // 2
    forms = {
        "it is": secret,
        "full-width letters": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in secret),
        "letters with joiners between": "\u200d".join(secret),
        "letters with soft hyphens between": "\u00ad".join(secret),
        "base64": base64.b64encode(f"please use {secret} for this".encode()).decode(),
        "percent signs": "".join(f"%{b:02x}" for b in secret.encode()),
        "JSON within JSON": json.dumps(json.dumps({"value": secret})),
        "unicode escapes": "".join(f"\\u{ord(c):04x}" for c in secret),
        "HTML entities": "".join(f"&#{ord(c)};" for c in secret),
        "the end of a long text": "word " * 3000 + secret,
        "the middle of a long text": "word " * 1500 + secret + " word" * 1500,
        "bold for Markdown": f"**{secret}**",
        "a value in code": f'x = {{"k": "{secret}"}}  # {middle}',
    }
    name = chance.choice(sorted(forms))
    return name, forms[name]


def _fields(dialect: Dialect, said: str, chance: random.Random) -> dict[str, Any]:
    """The secret somewhere in a body of this dialect."""
    if dialect is COMPLETIONS:
        return {"prompt": chance.choice((said, ["harmless", said]))}
    if dialect is EMBEDDINGS:
        return {"input": chance.choice((said, ["harmless", said]))}
    if isinstance(dialect, Opaque):
        return {"input": said}
    if dialect is RESPONSES:
        return chance.choice(
            (
                {"input": said},
                {"input": "hello", "instructions": said},
                {"input": [{"role": "user", "content": [{"type": "input_text", "text": said}]}]},
                {
                    "input": [
                        {"role": "user", "content": "hello"},
                        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                        {"type": "function_call_output", "call_id": "c", "output": said},
                    ]
                },
            )
        )
    if dialect is MESSAGES:
        user = chance.choice((said, [{"type": "text", "text": said}]))
        return chance.choice(
            (
                {"max_tokens": 9, "messages": [{"role": "user", "content": user}]},
                {"max_tokens": 9, "system": said, "messages": [{"role": "user", "content": "hello"}]},
            )
        )
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"to": said})}}
    user = {"role": "user", "content": "hello"}
    return chance.choice(
        (
            {"messages": [{"role": "user", "content": said}]},
            {"messages": [{"role": "system", "content": said}, user]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": said}]}]},
            {"messages": [user, {"role": "assistant", "content": None, "tool_calls": [call]}]},
            {"messages": [user, {"role": "tool", "tool_call_id": "c", "content": said}], "tools": []},
            {"messages": [user], "tools": [{"type": "function", "function": {"name": "f", "description": said}}]},
            {"messages": [user], "metadata": {"note": said}},
            {"messages": [user], "user": said},
            {"messages": [{**user, "name": said[:64]}, {"role": "user", "content": said}]},
        )
    )
