"""`/v1/embeddings`: texts as vectors. Nothing is weighed: the vectors of one model mean nothing to another."""

from collections.abc import Sequence
from typing import Any, ClassVar

from weighbridge.dialects.base import Dialect, Fields, expect, expect_at_least_one, expect_model
from weighbridge.dialects.completions import kind_of
from weighbridge.errors import BadRequest
from weighbridge.streaming import Bytes, Relay
from weighbridge.units import Usage
from weighbridge.wire import usage_of


class Embeddings(Dialect):
    """OpenAI's embeddings."""

    path: ClassVar[str] = "/embeddings"
    is_scored: ClassVar[bool] = False

    def check(self, fields: Fields) -> None:
        expect_model(fields)
        if kind_of(fields.get("input")) is None:
            raise BadRequest(
                "`input` must be a string, an array of strings, an array of tokens, or an array of such arrays.",
                param="input",
            )
        expect(fields, "encoding_format", str, '"float" or "base64"')
        expect_at_least_one(fields, "dimensions")
        expect(fields, "stream", bool, "true or false")
        if fields.get("stream"):
            raise BadRequest("`stream`: embeddings come whole.", param="stream")

    def messages(self, fields: Fields) -> Sequence[dict[str, Any]]:
        texts = fields["input"]
        texts = [texts] if isinstance(texts, str) else texts
        return [{"role": "user", "content": "\n".join(text for text in texts if isinstance(text, str))}]

    def output_limit(self, fields: Fields) -> int:
        return 0

    def choices(self, fields: Fields) -> int:
        return 0

    def wants_json_schema(self, fields: Fields) -> bool:
        return False

    def is_answer(self, answer: Fields) -> bool:
        return isinstance(answer.get("data"), list)

    def usage_of(self, answer: Fields) -> Usage | None:
        usage = answer.get("usage")
        return usage_of({**usage, "completion_tokens": 0}) if isinstance(usage, dict) else None

    def relay(self, fields: Fields) -> Relay:
        return Bytes()


EMBEDDINGS = Embeddings()
