"""The same ask for one more draft: as a stream, which can be stopped, and so that it can come out otherwise. Pure."""

from dataclasses import replace
from typing import Any

from weighbridge.wire import Body

TEMPERATURE = 0.7  # as Wang et al. (arXiv 2203.11171) sample, where the client's own leaves nothing to chance


def again(body: Body, no: int) -> Body:
    """body: a chat without what the gateway added. no: from 1; a client's seed is another one for each."""
    fields = body.fields
    changes: dict[str, Any] = {} if fields.get("stream") is True else {"stream": True}
    temperature, seed = fields.get("temperature"), fields.get("seed")
    if temperature is not None and not temperature:
        changes["temperature"] = TEMPERATURE
    if isinstance(seed, int):
        changes["seed"] = seed + no
    if not changes:
        return body
    return replace(body, text=body.spliced(changes).decode(), fields={**fields, **changes})


def is_one(body: Body) -> bool:
    """One answer was asked for, not several at once."""
    return body.fields.get("n") in {None, 1}
