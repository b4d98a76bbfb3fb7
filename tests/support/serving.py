"""A scripted server with the whole of OpenAI's API and Anthropic's messages, as far as clients look at it.

`ScriptedUpstream().always(serving("small-1"))` answers everything; queue `.then(calling(...))` for a tool call.
"""

import base64
import json
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from hashlib import sha256
from itertools import count
from typing import Any
from urllib.parse import unquote

from scripted import SENTENCE, Behaviour, Seen, chunk, completion, completion_body, raw_stream, respond

CREATED = 1_700_000_000
SPEECH = b"ID3\x04" + bytes(range(256)) * 8
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
_CALLS = count()  # no two calls have the same id, as some clients demand
USAGE = {"prompt_tokens": 12, "completion_tokens": 17, "total_tokens": 29}


class Refusal(Exception):
    """An answer that is an error, in OpenAI's shape."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}


@dataclass
class Server:
    """What the server knows. No models: it serves them all."""

    models: Sequence[str]
    key: str | None
    is_strict: bool
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)  # responses by their id
    numbers: Any = field(default_factory=lambda: count(1))


Handler = Callable[[Server, Seen, str], Behaviour]


def serving(*models: str, key: str | None = None, strict: bool = True) -> Behaviour:
    """Answer as the real servers do.

    models: the only ones there are. key: demanded of every request. strict: refuse what OpenAI refuses.
    """
    server = Server(models, key, strict)

    async def act(seen: Seen, writer: Any) -> None:
        path = unquote(seen.path.partition("?")[0]).removeprefix("/v1")
        try:
            behaviour = _routed(server, seen, path)
        except Refusal as refusal:
            behaviour = respond(refusal.status, _error_body(path, refusal))
        await behaviour(seen, writer)

    return act


def calling(*calls: tuple[str, dict[str, Any]]) -> Behaviour:
    """A chat answer that calls these functions, as a whole or in pieces."""

    async def act(seen: Seen, writer: Any) -> None:
        fields = seen.json
        answer = completion_body(fields["model"], "", (12, 17))
        entries = [
            {"id": f"call_{next(_CALLS)}", "type": "function", "function": {"name": n, "arguments": json.dumps(given)}}
            for n, given in calls
        ]
        answer["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": entries}
        answer["choices"][0]["finish_reason"] = "tool_calls"
        streamed = _stream(_pieces(fields["model"], entries), fields)
        await (streamed if fields.get("stream") else respond(200, answer))(seen, writer)

    return act


def _pieces(model: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """OpenAI's way: the name first, then the arguments, a few characters at a time."""
    chunks = [chunk(model, {"role": "assistant", "content": None})]
    for index, entry in enumerate(entries):
        arguments = entry["function"]["arguments"]
        opening = {**entry, "index": index, "function": {**entry["function"], "arguments": ""}}
        chunks.append(chunk(model, {"tool_calls": [opening]}))
        for at in range(0, len(arguments), 5):
            piece = {"index": index, "function": {"arguments": arguments[at : at + 5]}}
            chunks.append(chunk(model, {"tool_calls": [piece]}))
    return [*chunks, chunk(model, {}, "tool_calls")]


def _routed(server: Server, seen: Seen, path: str) -> Behaviour:
    if server.key and seen.headers.get("authorization") != f"Bearer {server.key}":
        raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")
    found = [(method, handler, match) for method, at, handler in _ROUTES if (match := re.fullmatch(at, path))]
    if not found:
        raise Refusal(404, f"Invalid URL ({seen.method} {seen.path})")
    for method, handler, match in found:
        if method == seen.method:
            return handler(server, seen, match.groupdict().get("id", ""))
    raise Refusal(405, f"Not allowed to {seen.method} on {path}.")


def _error_body(path: str, refusal: Refusal) -> dict[str, Any]:
    if not path.startswith("/messages"):
        return {"error": refusal.error}
    kind = {401: "authentication_error", 404: "not_found_error"}.get(refusal.status, "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": refusal.error["message"]}, "request_id": "req_1"}


def _checked(server: Server, seen: Seen) -> dict[str, Any]:
    """The fields of a JSON body that may be answered."""
    try:
        fields = seen.json
    except ValueError:
        raise Refusal(400, "We could not parse the JSON body of your request.") from None
    model = fields.get("model")
    if server.models and model not in server.models:
        raise Refusal(
            404, f"The model `{model}` does not exist or you do not have access to it.", None, "model_not_found"
        )
    if not server.is_strict:
        return fields
    if fields.get("stream_options") is not None and not fields.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise Refusal(400, message, "stream_options")
    if fields.get("max_tokens") is not None and fields.get("max_completion_tokens") is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise Refusal(400, message, "max_tokens", "invalid_parameter_combination")
    return fields


def _stream(chunks: Sequence[dict[str, Any]], fields: dict[str, Any]) -> Behaviour:
    """Chat or text chunks, with the usage if the client asked for it."""
    if (fields.get("stream_options") or {}).get("include_usage"):
        chunks = [*({**c, "usage": None} for c in chunks), {**chunks[0], "choices": [], "usage": USAGE}]
    return raw_stream(*(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks), b"data: [DONE]\n\n")


def _typed_stream(events: Sequence[dict[str, Any]]) -> Behaviour:
    """Events that carry their type, as Responses and Messages have them."""
    return raw_stream(*(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events))


def _chat(server: Server, seen: Seen, _: str) -> Behaviour:
    _checked(server, seen)
    return completion()


def _completions(server: Server, seen: Seen, _: str) -> Behaviour:
    fields = _checked(server, seen)
    prompt = fields.get("prompt", "")
    prompts = len(prompt) if isinstance(prompt, list) and not all(isinstance(p, int) for p in prompt) else 1
    head = {"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": fields["model"]}

    def choice(index: int, text: str, finish_reason: str | None = "stop") -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}

    choices = range(prompts * (fields.get("n") or 1))
    if not fields.get("stream"):
        return respond(200, {**head, "choices": [choice(at, SENTENCE) for at in choices], "usage": USAGE})
    words = [
        {**head, "choices": [choice(at, word, "stop" if word == "" else None)]}
        for at in choices
        for word in (*(f"{word} " for word in SENTENCE.split()), "")
    ]
    return _stream(words, fields)


def _embeddings(server: Server, seen: Seen, _: str) -> Behaviour:
    fields = _checked(server, seen)
    given = fields["input"]
    is_many = isinstance(given, list) and given and not isinstance(given[0], int)
    data = [
        {"object": "embedding", "index": at, "embedding": _vector(text, fields)}
        for at, text in enumerate(given if is_many else [given])
    ]
    usage = {"prompt_tokens": 12, "total_tokens": 12}
    return respond(200, {"object": "list", "data": data, "model": fields["model"], "usage": usage})


def _vector(text: object, fields: dict[str, Any]) -> str | list[float]:
    size = fields.get("dimensions") or 8
    bits = sha256(json.dumps(text).encode()).digest() * (size // 32 + 1)
    vector = [bit / 256 for bit in bits[:size]]
    if fields.get("encoding_format") != "base64":
        return vector
    return base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()


def _responses(server: Server, seen: Seen, _: str) -> Behaviour:
    fields = _checked(server, seen)
    previous = fields.get("previous_response_id")
    if previous and previous not in server.kept:
        message = f"Previous response with id '{previous}' not found."
        raise Refusal(400, message, "previous_response_id", "previous_response_not_found")
    whole = _response(fields, f"resp_{next(server.numbers)}")
    if fields.get("store", True):
        server.kept[whole["id"]] = whole
    return _typed_stream(_response_events(whole)) if fields.get("stream") else respond(200, whole)


def _response(fields: dict[str, Any], id_: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": SENTENCE, "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": id_,
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": fields.get("instructions"),
        "max_output_tokens": fields.get("max_output_tokens"),
        "metadata": fields.get("metadata") or {},
        "model": fields["model"],
        "output": [item],
        "parallel_tool_calls": True,
        "previous_response_id": fields.get("previous_response_id"),
        "store": fields.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": fields.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 12,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 17,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 29,
        },
    }


def _response_events(whole: dict[str, Any]) -> list[dict[str, Any]]:
    (item,) = whole["output"]
    (part,) = item["content"]
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    at_item: dict[str, Any] = {"output_index": 0}
    at_part = {**at_item, "item_id": item["id"], "content_index": 0}
    events: list[tuple[str, dict[str, Any]]] = [
        ("created", {"response": begun}),
        ("in_progress", {"response": begun}),
        ("output_item.added", {**at_item, "item": {**item, "status": "in_progress", "content": []}}),
        ("content_part.added", {**at_part, "part": {**part, "text": ""}}),
        *(("output_text.delta", {**at_part, "delta": d, "logprobs": []}) for d in re.findall(r"\S+\s*", part["text"])),
        ("output_text.done", {**at_part, "text": part["text"], "logprobs": []}),
        ("content_part.done", {**at_part, "part": part}),
        ("output_item.done", {**at_item, "item": item}),
        ("completed", {"response": whole}),
    ]
    return [{"type": f"response.{kind}", "sequence_number": no, **rest} for no, (kind, rest) in enumerate(events)]


def _kept_response(server: Server, seen: Seen, id_: str) -> Behaviour:
    if id_ not in server.kept:
        raise Refusal(404, f"Response with id '{id_}' not found.")
    if seen.method == "GET":
        return respond(200, server.kept[id_])
    del server.kept[id_]
    return respond(200, {"id": id_, "object": "response", "deleted": True})


def _messages(server: Server, seen: Seen, _: str) -> Behaviour:
    fields = _checked(server, seen)
    if server.is_strict and not isinstance(fields.get("max_tokens"), int):
        raise Refusal(400, "max_tokens: Field required")
    usage = {"input_tokens": 12, "output_tokens": 17}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": fields["model"],
        "content": [{"type": "text", "text": SENTENCE}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if not fields.get("stream"):
        return respond(200, message)
    begun = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    deltas = [{"type": "text_delta", "text": word} for word in re.findall(r"\S+\s*", SENTENCE)]
    return _typed_stream(
        [
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": usage,
            },
            {"type": "message_stop"},
        ]
    )


def _count_tokens(server: Server, seen: Seen, _: str) -> Behaviour:
    _checked(server, seen)
    return respond(200, {"input_tokens": 12})


def _moderations(server: Server, seen: Seen, _: str) -> Behaviour:
    # The model may be left out here.
    given = seen.json["input"]
    result = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.01}}
    results = [result for _ in given] if isinstance(given, list) else [result]
    return respond(200, {"id": "modr-1", "model": "omni-moderation-latest", "results": results})


def _speech(server: Server, seen: Seen, _: str) -> Behaviour:
    _checked(server, seen)
    return respond(200, SPEECH, {"content-type": "audio/mpeg"})


def _transcriptions(server: Server, seen: Seen, _: str) -> Behaviour:
    parts = form(seen)
    if "file" not in parts or "model" not in parts:
        raise Refusal(400, "you must provide a model parameter and a file")
    if parts.get("response_format") == b"text":
        return respond(200, b"hello\n", {"content-type": "text/plain; charset=utf-8"})
    return respond(200, {"text": f"{len(parts['file'])} bytes of sound"})


def form(seen: Seen) -> dict[str, bytes]:
    """The parts of an upload, by their names."""
    whole = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + seen.headers["content-type"].encode() + b"\r\n\r\n" + seen.body
    )
    parts = whole.iter_parts() if whole.is_multipart() else ()
    return {str(p.get_param("name", header="content-disposition")): p.get_payload(decode=True) or b"" for p in parts}


def _pictures(server: Server, seen: Seen, _: str) -> Behaviour:
    fields = _checked(server, seen)
    picture = {"b64_json": base64.b64encode(PICTURE).decode()}
    return respond(200, {"created": CREATED, "data": [picture] * (fields.get("n") or 1)})


def _model_list(server: Server, _: Seen, __: str) -> Behaviour:
    return respond(200, {"object": "list", "data": [_model(name) for name in server.models]})


def _one_model(server: Server, _: Seen, id_: str) -> Behaviour:
    if id_ not in server.models:
        raise Refusal(404, f"The model '{id_}' does not exist", "model", "model_not_found")
    return respond(200, _model(id_))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "scripted"}


_ROUTES: list[tuple[str, str, Handler]] = [
    ("POST", "/chat/completions", _chat),
    ("POST", "/completions", _completions),
    ("POST", "/embeddings", _embeddings),
    ("POST", "/responses", _responses),
    ("GET", "/responses/(?P<id>[^/]+)", _kept_response),
    ("DELETE", "/responses/(?P<id>[^/]+)", _kept_response),
    ("POST", "/messages", _messages),
    ("POST", "/messages/count_tokens", _count_tokens),
    ("POST", "/moderations", _moderations),
    ("POST", "/audio/speech", _speech),
    ("POST", "/audio/(?:transcriptions|translations)", _transcriptions),
    ("POST", "/images/generations", _pictures),
    ("GET", "/models", _model_list),
    ("GET", "/models/(?P<id>.+)", _one_model),
]
