"""What the ledger keeps, and what a ledger can do."""

from abc import ABC, abstractmethod
from asyncio import Future
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from weighbridge.ledger.chain import Link
from weighbridge.ledger.notes import Note, Shadowed, ShadowSpend, Sign
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
    energy_mj: int | None = None  # millijoules that were measured


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


class Spent(NamedTuple):
    """Sums over the attempts of one caller, route and location. What open and unknown ones may have cost is in it.

    requests: that had an attempt there. begun: whose first one was there, so that over locations each counts once.
    """

    caller: str
    route: str | None
    location: str
    nano_usd: int
    requests: int
    tokens: int
    begun: int


class UnderWay(NamedTuple):
    """An attempt whose end is not on record."""

    caller: str
    route: str | None
    location: str
    attempt: str  # request_id/attempt_no


Dimension = Literal["route", "upstream", "rule", "caller", "task", "day"]
SCORE_SLOTS = 20  # equal slices of the score, 0..1


class Heap(NamedTuple):
    """Requests of one day that are alike in all that a report tells apart, summed where they are stored.

    name: their value of the dimension asked for; None where they have none, and for `day`.
    day: days since 1970, UTC. is_first: nobody else was asked before. slot: which slice of the score.
    Money is nano-USD.
    known_costs, cost, baseline: over those whose cost, or baseline cost, is known.
    compared, compared_cost, compared_baseline: over those of which both are known.
    ttft_us, latency_us, output_tokens: one of each per request that ended well; -1 is unknown.
    """

    name: str | None
    day: int
    location: str | None
    upstream: str | None
    baseline_upstream: str | None
    is_stream: bool
    is_first: bool
    status: Status
    end_reason: EndReason | None
    slot: int | None
    threshold: float | None
    requests: int
    known_costs: int
    cost: int
    baseline: int
    compared: int
    compared_cost: int
    compared_baseline: int
    ttft_us: Sequence[int]
    latency_us: Sequence[int]
    output_tokens: Sequence[int]


class Work(NamedTuple):
    """What the attempts at one upstream took, of one day's requests that are alike in the dimension and the baseline.

    upstream, location: None for answers that no upstream gave. Attempts that were released did no work: they are not in
    it, nor are those whose end nobody knows.
    measured, measured_mj: those whose energy was measured. others, others_us: the rest, and how long they took.
    without_tokens: attempts that nobody counted the tokens of. output_tokens: over the others.
    answered_tokens: of the answers that were given in the end.
    """

    name: str | None
    day: int
    upstream: str | None
    location: str | None
    baseline_upstream: str | None
    measured: int
    measured_mj: int
    others: int
    others_us: int
    without_tokens: int
    output_tokens: int
    answered_tokens: int


class CannotOpen(Exception):
    """The store cannot be used as it is; the message says why, and what to do."""


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """An instant as whole microseconds since 1970, UTC: exact, unlike a float of seconds."""
    return (moment - EPOCH) // _MICROSECOND


def instant(microseconds: int) -> datetime:
    """The instant that is so many after 1970, UTC."""
    return EPOCH + microseconds * _MICROSECOND


def heap_of(entry: Entry, by: Dimension | None) -> Heap:
    """One request as a heap of its own."""
    cost, baseline = entry.cost_nano_usd, entry.baseline_cost_nano_usd
    is_compared = cost is not None and baseline is not None
    is_timed = entry.end_reason == "ok"
    value = getattr(entry, by) if by and by != "day" else None
    return Heap(
        name=value,
        day=(entry.created_at - EPOCH).days,
        location=entry.location,
        upstream=entry.upstream,
        baseline_upstream=entry.baseline_upstream,
        is_stream=entry.is_stream,
        is_first=entry.attempts <= 1,
        status=entry.status,
        end_reason=entry.end_reason,
        slot=None if entry.score is None else min(int(entry.score * SCORE_SLOTS), SCORE_SLOTS - 1),
        threshold=entry.threshold,
        requests=1,
        known_costs=int(cost is not None),
        cost=cost or 0,
        baseline=baseline or 0,
        compared=int(is_compared),
        compared_cost=(cost or 0) if is_compared else 0,
        compared_baseline=(baseline or 0) if is_compared else 0,
        ttft_us=[_us(entry.ttft_s)] if is_timed else [],
        latency_us=[_us(entry.latency_s)] if is_timed else [],
        output_tokens=[-1 if entry.output_tokens is None else entry.output_tokens] if is_timed else [],
    )


def work_of(entry: Entry, by: Dimension | None) -> Work:
    """One request as if it had taken one attempt, which was not measured."""
    has_ended = entry.upstream is not None and entry.status != "released" and entry.latency_s is not None
    tokens = entry.output_tokens
    return Work(
        name=getattr(entry, by) if by and by != "day" else None,
        day=(entry.created_at - EPOCH).days,
        upstream=entry.upstream if has_ended else None,
        location=entry.location if has_ended else None,
        baseline_upstream=entry.baseline_upstream,
        measured=0,
        measured_mj=0,
        others=int(has_ended),
        others_us=_us(entry.latency_s) if has_ended else 0,
        without_tokens=int(has_ended and tokens is None),
        output_tokens=(tokens or 0) if has_ended else 0,
        answered_tokens=tokens or 0,
    )


def _us(seconds: float | None) -> int:
    return -1 if seconds is None else round(seconds * 1_000_000)


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
    def remember(self, keys: Sequence[str], upstream: str) -> None:
        """Which upstream the turns of a session go to (`sessions.py`). Committed with the next settlement."""

    @abstractmethod
    async def recall(self, key: str) -> str | None:
        """The upstream that was remembered last; None where there is none, or the store cannot be read."""

    @abstractmethod
    def feedback(self, request_id: str, score: float, comment: str | None) -> Awaitable[bool]:
        """Record the user's verdict, 0..1. False when there is no such request."""

    @abstractmethod
    def note(self, note: Note) -> "Future[None]":
        """Record what a shadow came to, or a signal. Of one request the last shadow and the first signal count."""

    @abstractmethod
    def shadows(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Shadowed]:
        """The requests of a span of time that both sides answered, oldest first. Raises CannotOpen."""

    @abstractmethod
    def shadow_spend(self, since: datetime | None = None, until: datetime | None = None) -> list[ShadowSpend]:
        """What shadows and their judges cost, by upstream: those calls are no entries. Raises CannotOpen."""

    @abstractmethod
    def signs(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Sign]:
        """What was taken for a sign, of the requests of a span of time. Raises CannotOpen."""

    @abstractmethod
    def entries(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Entry]:
        """The requests of a span of time, oldest first, without shadows. Works without aopen, beside a gateway."""

    def heaps(
        self, by: Dimension | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Heap]:
        """The same, as reports read it. A store that can sum does: a million entries are then a few hundred heaps."""
        return (heap_of(entry, by) for entry in self.entries(since, until))

    def work(
        self, by: Dimension | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Work]:
        """What the attempts of a span of time took. A store that keeps them tells each, not one for a request."""
        return (work_of(entry, by) for entry in self.entries(since, until))

    @abstractmethod
    def spent(self, since: datetime) -> list[Spent]:
        """What was spent in the requests that came since then. Raises CannotOpen; blocks, so not for the event loop."""

    @abstractmethod
    def under_way(self, since: datetime) -> list[UnderWay]:
        """The attempts that run, in whichever gateway, of requests that came since then. Raises and blocks likewise."""

    @abstractmethod
    def links(self) -> Iterator[Link]:
        """The hash chain over the closed requests, in its order, with what each link covers; then all that is outside.

        One snapshot, for `chain.audit`. Works without aopen, beside a running gateway. Raises CannotOpen.
        """

    @abstractmethod
    async def is_writable(self) -> bool:
        """Can a row be committed now? For readiness."""
