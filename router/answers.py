"""What an answer says, as text: of a whole one or of a stream, in each of the APIs that generate. Pure.

Calls of tools are part of it, each as a line: a judge can compare them, and nothing is called here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from weighbridge.dialects.base import Dialect, Fields
from weighbridge.dialects.chat import CHAT
from weighbridge.dialects.completions import COMPLETIONS
from weighbridge.dialects.messages import MESSAGES
from weighbridge.dialects.messages_answer import calls_in, words_of
from weighbridge.dialects.responses import RESPONSES

READABLE: frozenset[Dialect] = frozenset({CHAT, COMPLETIONS, MESSAGES, RESPONSES})

Call = tuple[str, str]  # its name and its arguments


def text_of_whole(dialect: Dialect, body: bytes) -> str:
    """Of a whole answer of a readable dialect; empty where it says nothing."""
    return _read(dialect, orjson.loads(body))


def text_of_stream(dialect: Dialect, parts: Sequence[bytes]) -> str:
    """Of a stream, as it was sent to the client."""
    events = list(_events(b"".join(parts)))
    if dialect is RESPONSES:
        whole = [event["response"] for event in events if isinstance(event.get("response"), dict)]
        return _read(dialect, whole[-1]) if whole else ""
    if dialect is MESSAGES:
        return _message(_blocks(events))
    choices = [choice for event in events for choice in _first_choices(event)]
    if dialect is COMPLETIONS:
        return "".join(choice["text"] for choice in choices if isinstance(choice.get("text"), str))
    deltas = [delta for choice in choices if isinstance(delta := choice.get("delta"), dict)]
    return _joined("".join(map(words_of, deltas)), _calls_of_deltas(deltas))


def _read(dialect: Dialect, answer: Fields) -> str:
    if dialect is MESSAGES:
        return _message(_objects(answer.get("content")))
    if dialect is RESPONSES:
        return _response(_objects(answer.get("output")))
    choice = next(iter(_first_choices(answer)), {})
    if dialect is COMPLETIONS:
        return str(choice.get("text") or "")
    said = choice.get("message")
    return _joined(words_of(said), map(_call, calls_in(said))) if isinstance(said, dict) else ""


def _message(blocks: Iterable[Mapping[str, Any]]) -> str:
    found = list(blocks)
    words = "".join(str(block.get("text") or "") for block in found if block.get("type") == "text")
    calls = [_named(block.get("name"), block.get("input")) for block in found if block.get("type") == "tool_use"]
    return _joined(words, calls)


def _response(items: Iterable[Mapping[str, Any]]) -> str:
    found = list(items)
    parts = [part for item in found if item.get("type") == "message" for part in _objects(item.get("content"))]
    words = "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)
    calls = [item for item in found if str(item.get("type")).endswith("_call")]
    return _joined(words, (_named(call.get("name"), call.get("arguments") or call.get("input")) for call in calls))


def _blocks(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The content blocks of a message that came in events."""
    blocks: dict[Any, dict[str, Any]] = {}
    for event in events:
        at, delta = event.get("index"), event.get("delta")
        if event.get("type") == "content_block_start" and isinstance(event.get("content_block"), dict):
            blocks[at] = dict(event["content_block"])
        elif event.get("type") == "content_block_delta" and isinstance(delta, dict) and at in blocks:
            block = blocks[at]
            if isinstance(delta.get("text"), str):
                block["text"] = f"{block.get('text') or ''}{delta['text']}"
            if isinstance(delta.get("partial_json"), str):
                block["input"] = f"{block.get('input') or ''}{delta['partial_json']}"
    return list(blocks.values())


def _calls_of_deltas(deltas: Iterable[Mapping[str, Any]]) -> Iterable[Call]:
    calls: dict[Any, Call] = {}
    for call in (call for delta in deltas for call in calls_in(delta)):
        name, arguments = calls.get(call.get("index"), ("", ""))
        more_name, more = _call(call)
        calls[call.get("index")] = (name + more_name, arguments + more)
    return calls.values()


def _call(call: Mapping[str, Any]) -> Call:
    function = call.get("function")
    return _named(function.get("name"), function.get("arguments")) if isinstance(function, dict) else ("", "")


def _named(name: object, arguments: object) -> Call:
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode() if arguments else ""
    return name if isinstance(name, str) else "", text


def _joined(words: str, calls: Iterable[Call]) -> str:
    return "\n".join(filter(None, [words.strip(), *(f"[calls {name}({arguments})]" for name, arguments in calls)]))


def _first_choices(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (choice for choice in _objects(answer.get("choices")) if not choice.get("index"))


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def _events(sent: bytes) -> Iterator[dict[str, Any]]:
    """The objects in a stream of events. Ours have their data on lines that begin with `data: `."""
    for event in sent.split(b"\n\n"):
        lines = [line[6:] for line in event.split(b"\n") if line.startswith(b"data: ")]
        data = b"\n".join(lines)
        if data.startswith(b"{"):
            found = orjson.loads(data)
            if isinstance(found, dict):
                yield found
