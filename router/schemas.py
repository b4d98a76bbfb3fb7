"""A request as the gateway needs it, whatever its dialect. What it does not need is the upstream's to judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from weighbridge.asks import extract, whole_text
from weighbridge.dialects.base import Dialect
from weighbridge.units import estimated_tokens
from weighbridge.wire import Body

_MOST_TOKENS = 10**9  # no answer is longer, and the ledger's integers are finite
DEFAULT_OUTPUT_TOKENS = 4096  # the worst case that a reservation assumes where the request names no limit


@dataclass(frozen=True)
class Request:
    """One request on its way.

    received_s: monotonic seconds; created_at: UTC; headers: names in lower case; key: its Idempotency-Key, if heeded.
    """

    request_id: str
    dialect: Dialect
    body: Body
    caller: str
    headers: Mapping[str, str]
    received_s: float
    created_at: datetime
    key: str = ""

    @property
    def model(self) -> str:
        return str(self.body.fields.get("model") or "")

    @cached_property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The conversation in terms of chat."""
        return self.dialect.messages(self.body.fields)

    @cached_property
    def ask(self) -> str:
        """What is scored: the last genuine ask of the user."""
        return extract(self.messages)

    @property
    def is_stream(self) -> bool:
        return bool(self.body.fields.get("stream"))

    @cached_property
    def text_length(self) -> int:
        """Its characters, without pictures and sound, which are not read as text."""
        return len(text_of(self.body))

    @property
    def estimated_input_tokens(self) -> int:
        return estimated_tokens(self.text_length)

    @property
    def asked_output_tokens(self) -> int:
        """The limit that the request itself sets, or 0."""
        return self.dialect.output_limit(self.body.fields)

    @property
    def most_output_tokens(self) -> int:
        """The most that it can generate, over all its choices."""
        most = (self.asked_output_tokens or DEFAULT_OUTPUT_TOKENS) * self.dialect.choices(self.body.fields)
        return min(most, _MOST_TOKENS)


def text_of(body: Body) -> str:
    """What of a body is read as text: all but pictures and sound."""
    return whole_text(body.fields) if "base64" in body.text else body.text
