"""What a client does right after an answer is recorded as a sign of it, and as nothing more."""

import itertools
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from weighbridge.api import new_request_id
from weighbridge.config import load
from weighbridge.dialects.base import Dialect
from weighbridge.dialects.chat import CHAT
from weighbridge.dialects.messages import MESSAGES
from weighbridge.dialects.responses import RESPONSES
from weighbridge.ledger.notes import Sign
from weighbridge.parts import Parts, compose
from weighbridge.schemas import Request
from weighbridge.wire import Body

CONFIG = """
[upstreams.local]
use = "fencing:Recorder"
model = "small-1"
location = "local"
[classifier]
use = "constant"
[routes.auto]
small = "local"
large = "local"
[signals]
[ledger]
path = "LEDGER"
"""
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.replace("LEDGER", str(tmp_path / "ledger.db")))
    found = compose(load(path, {}), {})
    await found.aopen()
    yield found
    await found.aclose()


async def ask(
    parts: Parts,
    said: str = "why?",
    caller: str = "anyone",
    dialect: Dialect = CHAT,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> str:
    """Ask, and return the id of the request."""
    fields = {"model": "auto", "messages": [{"role": "user", "content": said}], **fields}
    body = Body(json.dumps(fields), fields)
    now = datetime.now(UTC)
    request = Request(new_request_id(), dialect, body, caller, headers or {}, time.monotonic(), now)
    await parts.gateway.complete(request)
    return request.request_id


async def signs(parts: Parts) -> list[tuple[str, str]]:
    """Once everything before is committed."""
    await parts.ledger.is_writable()
    return [(sign.request_id, sign.kind) for sign in parts.ledger.signs()]


async def test_the_very_same_request_again_is_a_regeneration_and_the_same_ask_a_repetition(parts: Parts) -> None:
    first = await ask(parts)
    second = await ask(parts)
    await ask(parts, "  WHY?  ", temperature=1)
    assert await signs(parts) == [(first, "regenerated"), (second, "repeated")]
    assert next(parts.ledger.signs()) == Sign(first, "regenerated", "auto", "local", "local")
    assert [entry.feedback for entry in parts.ledger.entries()] == [None] * 3


async def test_another_ask_another_caller_or_another_session_is_no_sign(parts: Parts) -> None:
    await ask(parts, headers={"x-session-id": "1"})
    await ask(parts, "how?")
    await ask(parts, caller="somebody else")
    await ask(parts, headers={"x-session-id": "2"})
    assert await signs(parts) == []


async def test_after_a_few_minutes_it_is_another_matter(parts: Parts) -> None:
    signals = parts.gateway._signals
    assert signals
    clock = itertools.count(0, 301)
    signals._now = lambda: float(next(clock))
    await ask(parts)
    await ask(parts)
    assert await signs(parts) == []


def files(folder: Path) -> list[Path]:
    return list(folder.glob("ledger.db*"))


def results(content: object) -> list[dict[str, Any]]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return [
        {"role": "user", "content": "why?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": content},
    ]


@pytest.mark.parametrize(
    ("content", "is_error"),
    [
        ("Error: no such file", True),
        ('{"error": "not found"}', True),
        ([{"type": "text", "text": "Traceback (most recent call last):"}], True),
        ("42", False),
        ("no error was found", False),
    ],
)
async def test_a_tool_that_fails_is_a_sign_of_the_answer_that_called_it(
    parts: Parts, content: object, is_error: bool
) -> None:
    first = await ask(parts, tools=TOOLS)
    await ask(parts, messages=results(content), tools=TOOLS)
    assert await signs(parts) == ([(first, "tool_error")] if is_error else [])


async def test_each_turn_of_a_loop_is_about_the_turn_before_it(parts: Parts) -> None:
    turns = [await ask(parts, tools=TOOLS)]
    turns += [await ask(parts, messages=results("Error: no"), tools=TOOLS) for _ in range(2)]
    assert await signs(parts) == [(turn, "tool_error") for turn in turns[:2]]


async def test_a_result_that_is_marked_as_an_error_is_one_in_messages_and_responses(parts: Parts) -> None:
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    asked = {"role": "user", "content": "why?"}
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]}
    block = {"type": "tool_result", "tool_use_id": "c", "content": "no", "is_error": True}
    more = {"dialect": MESSAGES, "max_tokens": 9, "tools": tools}
    first = await ask(parts, **more)
    await ask(parts, messages=[asked, use, {"role": "user", "content": [block]}], **more)
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "Error: no"}
    more = {"dialect": RESPONSES, "tools": [{"type": "function", "name": "f"}], "store": False}
    second = await ask(parts, input=[asked], headers={"x-session-id": "r"}, **more)
    await ask(parts, input=[asked, call, output], headers={"x-session-id": "r"}, **more)
    assert await signs(parts) == [(first, "tool_error"), (second, "tool_error")]


async def test_nothing_that_was_asked_can_be_found_in_memory_or_on_disk(parts: Parts, tmp_path: Path) -> None:
    await ask(parts, "a rare and telling word: xylophonist")
    await ask(parts, "a rare and telling word: xylophonist")
    assert len(await signs(parts)) == 1
    signals = parts.gateway._signals
    assert signals
    assert "xylophonist" not in repr(signals._seen)
    assert not any(b"xylophonist" in file.read_bytes() for file in files(tmp_path))


async def test_only_so_many_answers_are_remembered(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.signals._MOST", 2)
    for said in ("one", "two", "three", "one"):
        await ask(parts, said)
    assert await signs(parts) == []
