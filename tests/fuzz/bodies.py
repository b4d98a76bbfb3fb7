"""Bodies that nobody would send on purpose: good ones, changed at any place, in structure and then in bytes."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

LOOK = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
PICTURE = "data:image/png;base64,iVBORw0KGgo="
ASK = [{"role": "user", "content": "What is the capital of France?"}]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

GOOD: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        {"model": "auto", "messages": ASK},
        {
            "model": "auto",
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "developer", "content": [{"type": "text", "text": "Very."}], "name": "ann"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}},
                        {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
                        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "Hm."},
                {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "a wall"}]},
            ],
            "tools": [LOOK],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "max_completion_tokens": 50,
            "temperature": 0.5,
            "seed": 7,
            "n": 2,
            "stop": ["END"],
            "logit_bias": {"50256": -100},
            "metadata": {"a": "b"},
            "user": "u",
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
        },
        {"model": "auto", "messages": ASK, "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 9},
        {"model": "router-mf-0.4", "messages": ASK, "stream": True, "functions": [{"name": "f", "parameters": {}}]},
    ],
    "/v1/completions": [
        {"model": "auto", "prompt": "Once upon", "max_tokens": 9, "suffix": "end", "echo": False, "logprobs": 2},
        {"model": "auto", "prompt": ["one", "two"], "n": 1, "best_of": 2, "stream": True, "stop": "\n"},
        {"model": "local", "prompt": [1, 2, 3], "stream": False},
        {"model": "chat", "prompt": "Once upon", "stream": True, "stream_options": {"include_usage": True}},
    ],
    "/v1/embeddings": [
        {"model": "local", "input": "one", "encoding_format": "float", "user": "u"},
        {"model": "remote", "input": ["one", "two"], "encoding_format": "base64", "dimensions": 8},
        {"model": "local", "input": [[1, 2], [3]]},
    ],
    "/v1/responses": [
        {"model": "auto", "input": "What is the capital of France?", "instructions": "Be short.", "store": False},
        {
            "model": "chat",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Look"}]},
                {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"at": "it"}'},
                {"type": "function_call_output", "call_id": "c", "output": "a wall"},
                {"type": "custom_tool_call", "call_id": "d", "name": "patch", "input": "x"},
                {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "y"}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
            ],
            "tools": [
                {"type": "function", "name": "look", "parameters": SCHEMA, "strict": False},
                {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
                {"type": "web_search", "filters": {"allowed_domains": ["example.com"]}},
                {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f", "parameters": {}}]},
            ],
            "tool_choice": {"type": "function", "name": "look"},
            "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}, "verbosity": "low"},
            "reasoning": {"effort": "low", "summary": "auto"},
            "max_output_tokens": 50,
            "metadata": {"a": "b"},
            "include": ["reasoning.encrypted_content"],
            "client_metadata": {"x": "y"},
        },
        {"model": "chat", "input": "hi", "stream": True, "parallel_tool_calls": False},
        {"model": "auto", "input": "hi", "stream": True, "truncation": "auto"},
    ],
    "/v1/messages": [
        {"model": "auto", "max_tokens": 50, "messages": ASK},
        {
            "model": "auto",
            "max_tokens": 50,
            "system": [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}},
                        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
                        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "it"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_1",
                            "content": [{"type": "text", "text": "a wall"}],
                            "is_error": False,
                        }
                    ],
                },
            ],
            "tools": [
                {"name": "look", "description": "Look", "input_schema": SCHEMA},
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
            ],
            "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
            "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
            "stop_sequences": ["END"],
            "metadata": {"user_id": "u"},
            "temperature": 0.5,
            "top_k": 40,
        },
        {"model": "auto", "max_tokens": 50, "messages": ASK, "stream": True},
    ],
    "/v1/messages/count_tokens": [{"model": "auto", "messages": ASK, "system": "Be short."}],
}

Path = tuple[str | int, ...]


def paths(value: Any, above: Path = ()) -> list[Path]:
    """Every place in a body, the containers before what they hold."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(path for key, inner in inside for path in paths(inner, (*above, key)))]


_EACH = [(at, seed, paths(seed)[1:]) for at, seeds in GOOD.items() for seed in seeds]
# The more places a body has, the more often it is taken: what is wrong at the top is refused at once.
_SEEDS = [entry for entry in _EACH for _ in range(1 + len(entry[2]) // 8)]

# What may stand anywhere instead. Text of JSON, because Python cannot hold all of it.
_ODD = [
    "null", "true", "false", "0", "-1", "1", "-0.0", "1e-400", "2.5", "1e3", "100000000", "9007199254740993",
    "-9223372036854775809", "18446744073709551616", "1" + "0" * 400,
    '""', '" "', '"x"', '"auto"', '"local"', '"remote"', '"chat"', '"auto:quality"', '"user"', '"assistant"', '"tool"',
    '"text"', '"json_schema"', '"function"', '"required"', '"\\u0000"', '"\\ud83c\\udf09"', '"\u2028\U0001f309"',
    '"data:image/png;base64,"', '"http://127.0.0.1:1/x"', '"' + "a" * 5000 + '"', '"[DONE]"', '"{\\"a\\": [1"',
    '"\\r\\ndata: x\\r\\n\\r\\n"',
    "[]", "{}", "[[]]", "[null]", "[{}]", '[""]', "[1]", '{"": ""}',
    '{"type": "text"}', '{"type": null}', '{"type": 1}',
    '{"type": []}', '{"type": {}}',
    '{"type": "text", "text": null}', '{"type": "text", "text": {}}', '{"type": "tool_use"}', '{"role": "user"}',
    '{"role": "user", "content": "x"}', '{"role": "nobody", "content": "x"}', '{"type": "nothing known"}',
    '{"type": "function"}', '{"type": "function", "function": null}', '{"type": "custom"}',
    '{"type": "item_reference"}',
    "[" * 60 + "]" * 60, "[" * 390 + "]" * 390, '{"a":' * 390 + "1" + "}" * 390, f"[{'1,' * 2000}1]",
]  # fmt: skip
# What no JSON may hold, or what is too much of it.
_BROKEN = [
    "1e400", "NaN", "-Infinity", "9" * 4400, '"\\ud800"', '"\\udfff\\ud800"', '{"a": 1, "a": 2}',
    "[" * 450 + "]" * 450, "[" * 950 + "]" * 950, "[" * 1500 + "]" * 1500, '{"a":' * 1500 + "1" + "}" * 1500,
    "{", "]", ",", "'x'", "undefined", "01", "1.", "+1", ".5", '"\t"', '"\\x"', "/**/1",
]  # fmt: skip
_NAMES = [
    *sorted({str(key) for _, __, places in _SEEDS for *_, key in places if isinstance(key, str)}),
    "", "x", "__proto__", "\u0000", "functions", "function_call", "thinking", "previous_response_id", "prompt",
    "conversation", "background", "item_reference", "logprobs", "audio", "modalities", "prediction",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Odd:
    """A piece of JSON text, to be written as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Body:
    """Where to send it, and what."""

    path: str
    raw: bytes


Change = Callable[[Any, Path], None]


def _at(body: Any, path: Path) -> Any:
    for key in path:
        body = body[key]
    return body


def _changed(seed: Any, places: list[Path], changes: list[tuple[str, int, int, int]]) -> Any:
    """The seed after a few changes, each of them: what to do, where, and with what."""
    body = deepcopy(seed)
    for kind, place, odd, name in changes:
        *above, key = places[place % len(places)]
        try:
            holder = _at(body, tuple(above))
            _change(body, holder, key, kind, odd, name)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return body


def _change(body: Any, holder: Any, key: Any, kind: str, odd: int, name: int) -> None:
    if not isinstance(holder, dict | list):
        return
    new = Odd(_BROKEN[odd % len(_BROKEN)] if odd % 20 == 0 else _ODD[odd % len(_ODD)])
    match kind:
        case "replace":
            holder[key] = new
        case "remove":
            del holder[key]
        case "add":
            holder[_NAMES[name % len(_NAMES)]] = new
        case "add at the top":
            body[_NAMES[name % len(_NAMES)]] = new
        case "rename":
            holder[_NAMES[name % len(_NAMES)]] = holder.pop(key)
        case "repeat":
            holder[key] = [holder[key]] * (1 + odd % 5)
        case "wrap":
            holder[key] = {_NAMES[name % len(_NAMES)]: holder[key]}
        case "graft":  # another part of the same body
            places = paths(body)
            holder[key] = deepcopy(_at(body, places[odd % len(places)]))


def written(value: Any) -> str:
    if isinstance(value, Odd):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))}: {written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def _bitten(raw: bytes, bites: list[tuple[str, int, int]]) -> bytes:
    """The bytes after a few accidents."""
    spoilt = bytearray(raw)
    for kind, place, value in bites:
        at = place % (len(spoilt) + 1)
        match kind:
            case "flip" if at < len(spoilt):
                spoilt[at] ^= 1 << value % 8
            case "insert":
                spoilt[at:at] = _BYTES[value % len(_BYTES)]
            case "cut":
                del spoilt[at:]
            case "drop":
                del spoilt[at : at + 1 + value % 8]
            case "double":
                spoilt[at:at] = spoilt[max(0, at - value) : at]
    return bytes(spoilt)


_BYTES = [
    b"\x00",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xf4\x90\x80\x80",
    b'"',
    b"\\",
    b"{",
    b"[",
    b",",
    b"\r\n",
]
_STRUCTURE = (
    *("replace", "replace", "replace", "replace", "remove", "add"),
    *("add at the top", "rename", "repeat", "wrap", "graft"),
)
_ACCIDENTS = ("flip", "insert", "cut", "drop", "double")

# One number says all of one change: each draw of Hypothesis costs more than what is done with it.
_SAYS_ONE = st.integers(0, (1 << 48) - 1)


def _change_of(number: int) -> tuple[str, int, int, int]:
    number, kind = divmod(number, len(_STRUCTURE))
    number, place = divmod(number, 1 << 12)
    name, odd = divmod(number, 1 << 12)
    return _STRUCTURE[kind], place, odd, name


def _bite_of(number: int) -> tuple[str, int, int]:
    number, kind = divmod(number, len(_ACCIDENTS))
    value, place = divmod(number, 1 << 16)
    return _ACCIDENTS[kind], place, value % 256


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """One body: always changed in structure, and one in four in its bytes too."""
    says, *changes = draw(st.lists(_SAYS_ONE, min_size=2, max_size=5))
    path, seed, places = _SEEDS[says % len(_SEEDS)]
    text = written(_changed(seed, places, [_change_of(number) for number in changes]))
    raw = text.encode("utf-8", "surrogatepass")
    accident = says // len(_SEEDS)
    return Body(path, _bitten(raw, [_bite_of(accident // 4)]) if accident % 4 == 3 else raw)
