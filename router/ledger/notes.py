"""Notes: what is recorded beside requests, after they are closed: how both sides compared, and what clients did next.

No row of a request hangs on one, and none is in the hash chain.
"""

from datetime import datetime
from typing import Literal, NamedTuple

SHADOW = "(shadow)"  # the caller of what the gateway asks of its own accord; no key can have this name

Side = Literal["small", "large"]
SignalKind = Literal["repeated", "regenerated", "tool_error"]


class Shadowed(NamedTuple):
    """A request that both sides of its route answered, and what each answer was judged to be worth, 0..1.

    served: whose answer the user got. Worths: None where nobody could say. prompt, answers: None unless texts are kept.
    task, body: the request's, when it is read back.
    """

    request_id: str
    judged_at: datetime
    route: str
    served: Side
    small: str
    large: str
    small_worth: float | None
    large_worth: float | None
    source: str | None
    prompt: str | None = None
    small_answer: str | None = None
    large_answer: str | None = None
    task: str | None = None
    body: str | None = None


class ShadowSpend(NamedTuple):
    """What shadows cost at one upstream: over the calls whose cost is known, and how many those are not."""

    upstream: str | None
    calls: int
    cost_nano_usd: int
    unknown: int


class Signal(NamedTuple):
    """What a later request seems to say of an earlier one's answer. It is no verdict, and never mixed up with one."""

    request_id: str
    kind: SignalKind
    seen_at: datetime
    later_id: str


class Sign(NamedTuple):
    """A signal as it is read back, with where the answer that it is about came from."""

    request_id: str
    kind: SignalKind
    route: str | None
    upstream: str | None
    location: str | None


Note = Shadowed | Signal
SHADOW_COLUMNS = Shadowed._fields[:-2]
