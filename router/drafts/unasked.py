"""Log-probabilities that the gateway asked for and the client did not: asked, and taken out of the answer. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from weighbridge.upstreams.splicing import Path, spliced
from weighbridge.wire import Body

FIELD = "logprobs"


def asking(body: Body) -> Body:
    """A chat body that asks for them, where the client does not and a server is known to have them.

    llama.cpp has none for streams with tools, and says so with a 400.
    """
    fields = body.fields
    if fields.get(FIELD) or (fields.get("stream") and fields.get("tools")):
        return body
    text = body.spliced({FIELD: True}).decode()
    return replace(body, text=text, fields={**fields, FIELD: True}, added=frozenset({FIELD}))


def without(raw: bytes, answer: Mapping[str, Any]) -> bytes:
    """An answer or a chunk without them, as if they had not been asked for; the rest to the letter."""
    choices = answer.get("choices")
    changes: dict[Path, object] = {
        ("choices", at, FIELD): None
        for at, choice in enumerate(choices if isinstance(choices, list) else ())
        if isinstance(choice, dict) and choice.get(FIELD) is not None
    }
    return spliced(raw.decode(), changes).encode() if changes else raw
