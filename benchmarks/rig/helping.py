"""A simulated local model, which does as asked or goes wrong in a known way; and a remote that looks on."""

import json
import random
import re
from typing import Any

from pydantic import PrivateAttr

from weighbridge.dialects.base import Dialect
from weighbridge.dialects.chat import CHAT
from weighbridge.errors import Failed
from weighbridge.units import Usage, estimated_tokens
from weighbridge.upstreams.base import Completion, Stream, Upstream
from weighbridge.wire import Body

# How often a model is made to do what, in a hundred.
WAYS = {"well": 55, "careless": 15, "wrong number": 6, "no negation": 6, "chatty": 6, "long": 4, "empty": 4, "fails": 4}
READS, WRITES = 600.0, 50.0  # tokens a second, as declared: a 3B model on a small GPU
_SENTENCE = re.compile(r"[^.!?]+[.!?]+\s*")
_DIGITS = re.compile(r"\d+")
_NEGATION = re.compile(r"\b(?:do not|don't|dont|not|never|without) ?", re.IGNORECASE)


def answered(text: str, usage: Usage) -> Completion:
    message = {"role": "assistant", "content": text}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    body["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]  # type: ignore[assignment]
    return Completion(json.dumps(body).encode(), usage)


class Helper(Upstream):
    """clear: what each sloppy ask means. did: what it was asked, and which way it went."""

    seed: int = 1
    _draw: random.Random = PrivateAttr()
    _clear: dict[str, str] = PrivateAttr(default_factory=dict)
    _did: list[tuple[str, str, float]] = PrivateAttr(default_factory=list)

    def model_post_init(self, _: Any) -> None:
        self._draw = random.Random(self.seed)

    @property
    def clear(self) -> dict[str, str]:
        return self._clear

    @property
    def did(self) -> list[tuple[str, str, float]]:
        """Text, way and declared seconds of each call."""
        return self._did

    async def complete(self, body: Body, dialect: Dialect = CHAT) -> Completion:
        told, asked = (str(message["content"]) for message in body.fields["messages"])
        [way] = self._draw.choices(list(WAYS), list(WAYS.values()))
        said = self._said(asked, way, is_summary=told.startswith("Shorten"))
        usage = Usage(estimated_tokens(len(told) + len(asked)), estimated_tokens(len(said)))
        self._did.append((asked, way, usage.input_tokens / READS + usage.output_tokens / WRITES))
        if way == "fails":
            raise Failed("It fails.", code="upstream_error")
        return answered(said, usage)

    async def stream(self, body: Body, dialect: Dialect = CHAT) -> Stream:
        raise NotImplementedError

    def _said(self, asked: str, way: str, *, is_summary: bool) -> str:
        good = self._summary(asked, way) if is_summary else self._clear.get(asked, asked)
        match way:
            case "wrong number":
                return _DIGITS.sub(lambda found: str(int(found[0]) + 1), good, count=1)
            case "no negation":
                return _NEGATION.sub("", good)
            case "chatty":
                return f"Sure! Here is what you asked for, in 3 parts:\n\n{good}\n\nLet me know if you need more help!"
            case "long":
                return f"{asked} " * 3
            case "empty":
                return " "
        return good

    def _summary(self, text: str, way: str) -> str:
        """A careful one keeps the sentences with figures; a careless one keeps any."""
        kept = [
            s for s in _SENTENCE.findall(text) if self._draw.random() < 0.2 or (way == "well" and _DIGITS.search(s))
        ]
        return "".join(kept).strip() or "They talked."


class Onlooker(Upstream):
    """Keeps what it is sent."""

    _seen: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    @property
    def seen(self) -> list[dict[str, Any]]:
        return self._seen

    async def complete(self, body: Body, dialect: Dialect = CHAT) -> Completion:
        self._seen.append(body.fields)
        tokens = estimated_tokens(sum(len(json.dumps(message)) for message in body.fields["messages"]))
        return answered("Noted.", Usage(tokens, 2))

    async def stream(self, body: Body, dialect: Dialect = CHAT) -> Stream:
        raise NotImplementedError
