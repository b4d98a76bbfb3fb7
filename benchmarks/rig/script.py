"""What the scripted upstream answers, and how to tell that a gateway handed it on whole."""

import json
from dataclasses import dataclass

MODEL = "small-model"
EVENTS = 50  # of a stream, the usage event and [DONE] not counted
TEXT = ("The scale settles, the pointer comes to rest and the clerk writes one more line into the ledger. " * 9)[
    :867
] + "."
USAGE = {"prompt_tokens": 57, "completion_tokens": 170, "total_tokens": 227}
DONE = b"data: [DONE]\n\n"


def whole_answer() -> bytes:
    """A `chat.completion` of about 1.2 kB."""
    answer = {
        "id": "chatcmpl-4f1d7c5e0b8a49d2a6c3",
        "object": "chat.completion",
        "created": 1767225600,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        "system_fingerprint": "fp_scripted",
    }
    return json.dumps(answer, separators=(",", ":")).encode()


def events() -> list[bytes]:
    """The events of a stream, each as SSE text: the role, the text in pieces, the finish reason."""
    pieces = _pieces(TEXT, EVENTS - 2)
    deltas = [({"role": "assistant", "content": ""}, None), *(({"content": p}, None) for p in pieces), ({}, "stop")]
    return [_event([{"index": 0, "delta": delta, "finish_reason": end}]) for delta, end in deltas]


def usage_event() -> bytes:
    """What `stream_options.include_usage` adds."""
    return _event([], USAGE)


def _event(choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
    chunk: dict[str, object] = {
        "id": "chatcmpl-4f1d7c5e0b8a49d2a6c3",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": MODEL,
        "choices": choices,
    }
    if usage is not None:
        chunk["usage"] = usage
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def _pieces(text: str, count: int) -> list[str]:
    size = -(-len(text) // count)
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    return pieces + [""] * (count - len(pieces))


@dataclass(frozen=True, slots=True)
class Fault:
    """What was wrong with an answer."""

    what: str


def fault_in_whole(body: bytes) -> Fault | None:
    """Read an answer fully: what is not as scripted, or None."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return Fault(f"not a chat.completion: {body[:80]!r}")
    return None if content == TEXT else Fault("the text is not the scripted one")


def fault_in_stream(body: bytes) -> Fault | None:
    """Read a stream fully: its text must be whole and `[DONE]` must end it."""
    if not body.rstrip().endswith(b"data: [DONE]"):
        return Fault("a stream without [DONE] at its end")
    text = ""
    for line in body.split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            return Fault(f"an error event: {line[:120]!r}")
        text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    return None if text == TEXT else Fault("the streamed text is not the scripted one")
