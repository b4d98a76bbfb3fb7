"""What the ledger keeps, and what a ledger can do."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from weighbridge.units import UsageSource

Status = Literal["reserved", "sent", "settled", "released", "unknown"]
EndReason = Literal["ok", "client_gone", "upstream_cut", "timeout", "refused", "error"]


class Opening(NamedTuple):
    """A request, written before the wire is touched."""

    request_id: str
    created_at: datetime  # UTC
    route: str | None
    model_asked: str
    caller: str
    reason: str
    reason_detail: str
    rule: str | None
    fence: str | None
    score: float | None
    threshold: float | None
    task: str | None
    classifier: str | None
    is_stream: bool
    tags: str | None = None
    prompt: str | None = None


class Reservation(NamedTuple):
    """One attempt on the wire, committed before it begins. reserved_nano_usd: the worst case it can cost."""

    request_id: str
    attempt_no: int  # from 1
    started_at: datetime  # UTC
    upstream: str
    model: str
    location: str
    reserved_nano_usd: int | None


class Settlement(NamedTuple):
    """How an attempt ended. None is unknown, never nothing."""

    request_id: str
    attempt_no: int
    status: Status
    end_reason: EndReason
    error_code: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    usage_source: UsageSource
    cost_nano_usd: int | None
    price_version: str | None
    ttft_s: float | None
    latency_s: float | None


class Closing(NamedTuple):
    """How a request ended, with the totals over its attempts. The upstream, model and location are what served it."""

    request_id: str
    status: Status
    end_reason: EndReason
    http_status: int
    error_code: str | None
    upstream: str | None
    model: str | None
    location: str | None
    reason: str
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    usage_source: UsageSource
    cost_nano_usd: int | None
    baseline_upstream: str | None
    baseline_cost_nano_usd: int | None
    price_version: str | None
    ttft_s: float | None
    latency_s: float
    overhead_s: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One request as the ledger holds it: its opening, its closing, and what the user said of it."""

    request_id: str
    created_at: datetime
    route: str | None
    model_asked: str
    caller: str
    reason: str
    reason_detail: str
    rule: str | None
    fence: str | None
    score: float | None
    threshold: float | None
    task: str | None
    classifier: str | None
    is_stream: bool
    status: Status
    end_reason: EndReason | None
    http_status: int | None
    error_code: str | None
    upstream: str | None
    model: str | None
    location: str | None
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    usage_source: UsageSource
    cost_nano_usd: int | None
    baseline_upstream: str | None
    baseline_cost_nano_usd: int | None
    price_version: str | None
    ttft_s: float | None
    latency_s: float | None
    overhead_s: float | None
    feedback: float | None
    tags: str | None
    prompt: str | None


class Line(NamedTuple):
    """What a report reads of an entry: cheap to make by the million. created_us: microseconds since 1970, UTC."""

    created_us: int
    route: str | None
    caller: str
    reason: str
    rule: str | None
    score: float | None
    threshold: float | None
    task: str | None
    status: Status
    end_reason: EndReason | None
    upstream: str | None
    location: str | None
    is_stream: bool
    output_tokens: int | None
    cost_nano_usd: int | None
    baseline_upstream: str | None
    baseline_cost_nano_usd: int | None
    ttft_s: float | None
    latency_s: float | None


class CannotOpen(Exception):
    """The store cannot be used as it is; the message says why, and what to do."""


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """An instant as whole microseconds since 1970, UTC: exact, unlike a float of seconds."""
    return (moment - EPOCH) // _MICROSECOND


def line_of(entry: Entry) -> Line:
    """The part of an entry that reports read."""
    return Line(microseconds(entry.created_at), *(getattr(entry, name) for name in Line._fields[1:]))


class Ledger(BaseModel, ABC):
    """Appends and reads back; it never prices. The constructor's arguments are the keys of `[ledger]`.

    The writing methods are called on the event loop, write elsewhere, and return an awaitable that is done when the
    rows are committed. They raise Unavailable when the store cannot be written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store_prompts: bool = False

    @abstractmethod
    async def aopen(self) -> None:
        """Open for writing. What an earlier process left open becomes `unknown`, its reservation held."""

    @abstractmethod
    async def aclose(self) -> None:
        """Commit what is waiting, and close."""

    @abstractmethod
    def reserve(self, opening: Opening | None, reservation: Reservation) -> Awaitable[None]:
        """Record an attempt, and with the first one the request itself (None for later attempts)."""

    @abstractmethod
    def sent(self, request_id: str, attempt_no: int) -> None:
        """The attempt is on the wire. Not waited for: a row that stays `reserved` is taken for sent after a crash."""

    @abstractmethod
    def settle(self, settlement: Settlement, closing: Closing | None) -> Awaitable[None]:
        """Record how an attempt ended, and with the last one the request itself (None while attempts remain)."""

    @abstractmethod
    def turned_away(self, opening: Opening, closing: Closing) -> Awaitable[None]:
        """Record a request that ended without any attempt (denied, nothing allowed)."""

    @abstractmethod
    def feedback(self, request_id: str, score: float, comment: str | None) -> Awaitable[bool]:
        """Record the user's verdict, 0..1. False when there is no such request."""

    @abstractmethod
    def entries(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Entry]:
        """The requests of a span of time, oldest first. Works without aopen, beside a running gateway."""

    def lines(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Line]:
        """The same, as reports read it. A store that can fetch only these columns does."""
        return map(line_of, self.entries(since, until))

    @abstractmethod
    async def is_writable(self) -> bool:
        """Can a row be committed now? For readiness."""
