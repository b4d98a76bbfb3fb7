"""A server that takes any request and answers it well: what is refused, then, the gateway refuses."""

import asyncio
import json
from typing import Any

from scripted import SENTENCE, Seen, completion_body, events, raw_stream, respond
from serving import USAGE

_VECTORS = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5]}],
    "model": "m",
    "usage": {"prompt_tokens": 12, "total_tokens": 12},
}
_ITEM = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": SENTENCE, "annotations": [], "logprobs": []}],
}
_RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_700_000_000,
    "status": "completed",
    "model": "m",
    "output": [_ITEM],
    "usage": {"input_tokens": 12, "output_tokens": 17, "total_tokens": 29},
}


async def lenient(seen: Seen, writer: asyncio.StreamWriter) -> None:
    fields = seen.json
    behaviour = _streamed(seen.path, fields) if fields.get("stream") is True else respond(200, _whole(seen.path))
    await behaviour(seen, writer)


def _whole(path: str) -> dict[str, Any]:
    match path:
        case "/v1/completions":
            choice = {"index": 0, "text": SENTENCE, "logprobs": None, "finish_reason": "stop"}
            return {"id": "c", "object": "text_completion", "model": "m", "choices": [choice], "usage": USAGE}
        case "/v1/embeddings":
            return _VECTORS
        case "/v1/responses":
            return _RESPONSE
    return completion_body("m", SENTENCE, (12, 17))


def _streamed(path: str, fields: dict[str, Any]) -> Any:
    if path == "/v1/responses":
        begun = {"type": "response.created", "sequence_number": 0, "response": {**_RESPONSE, "status": "in_progress"}}
        ended = {"type": "response.completed", "sequence_number": 1, "response": _RESPONSE}
        return raw_stream(*(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in (begun, ended)))
    if path == "/v1/completions":
        chunk = _whole(path) | {"usage": None}
        return raw_stream(b"data: " + json.dumps(chunk).encode() + b"\n\n", b"data: [DONE]\n\n")
    asked = (fields.get("stream_options") or {}).get("include_usage") is True
    return raw_stream(*(b"data: " + event + b"\n\n" for event in events("m", SENTENCE, (12, 17), asked)))
