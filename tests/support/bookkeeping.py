"""Rows for a ledger: a request's opening, attempt, settlement and closing, each field changeable by name."""

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from weighbridge.energy import Footprint
from weighbridge.ledger.base import Closing, Entry, Ledger, Opening, Reservation, Settlement
from weighbridge.ledger.notes import Shadowed, ShadowSpend, Sign
from weighbridge.ledger.sqlite import SQLite
from weighbridge.reports.report import Dimension, Report, report

NOON = datetime(2026, 3, 14, 12, 0, 0, 123456, tzinfo=UTC)

FIELDS: dict[str, Any] = {
    "request_id": "request-1",
    "created_at": NOON,
    "route": "auto",
    "model_asked": "auto",
    "caller": "team-a",
    "reason": "below_threshold",
    "reason_detail": "score 0.31 < 0.52",
    "rule": None,
    "fence": None,
    "score": 0.31,
    "threshold": 0.52,
    "task": "code",
    "classifier": "minilm-1",
    "is_stream": False,
    "tags": None,
    "prompt": None,
    "attempt_no": 1,
    "started_at": NOON + timedelta(milliseconds=2),
    "reserved_nano_usd": 900_000,
    "status": "settled",
    "end_reason": "ok",
    "http_status": 200,
    "error_code": None,
    "upstream": "local",
    "model": "small-1",
    "location": "local",
    "attempts": 1,
    "input_tokens": 312,
    "output_tokens": 220,
    "cached_tokens": 0,
    "usage_source": "provider",
    "cost_nano_usd": 0,
    "baseline_upstream": "remote",
    "baseline_cost_nano_usd": 518_000,
    "price_version": "config",
    "ttft_s": 0.31,
    "latency_s": 2.25,
    "energy_mj": None,
    "overhead_s": 0.003,
    "feedback": None,
}


def made(kind: type[Any], changes: dict[str, Any]) -> Any:
    known = {**FIELDS, **changes}
    return kind(**{name: known[name] for name in inspect.signature(kind).parameters})


def opening(**changes: Any) -> Opening:
    return made(Opening, changes)


def reservation(**changes: Any) -> Reservation:
    return made(Reservation, changes)


def settlement(**changes: Any) -> Settlement:
    return made(Settlement, changes)


def closing(**changes: Any) -> Closing:
    return made(Closing, changes)


def entry(**changes: Any) -> Entry:
    return made(Entry, changes)


async def record(ledger: Ledger, **changes: Any) -> None:
    """A whole request of one attempt, from its reservation to its closing."""
    await ledger.reserve(opening(**changes), reservation(**changes))
    ledger.sent(changes.get("request_id", FIELDS["request_id"]), 1)
    await ledger.settle(settlement(**changes), closing(**changes))


def remote(**changes: Any) -> Entry:
    """An answer of the remote upstream, streamed."""
    return entry(**{"upstream": "remote", "location": "remote", "is_stream": True, **changes})


class Written(SQLite):
    """A ledger whose entries are given: for sums over many of them."""

    given: tuple[Entry, ...]
    given_shadows: tuple[Shadowed, ...] = ()
    given_signs: tuple[Sign, ...] = ()

    def entries(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Entry]:
        return iter(self.given)

    def shadows(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Shadowed]:
        return iter(self.given_shadows)

    def shadow_spend(self, since: datetime | None = None, until: datetime | None = None) -> list[ShadowSpend]:
        return [ShadowSpend("remote", len(self.given_shadows), 1_000, 0)] if self.given_shadows else []

    def signs(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Sign]:
        return iter(self.given_signs)

    heaps = Ledger.heaps
    work = Ledger.work


def of(*entries: Entry, by: Dimension | None = None, footprint: Footprint | None = None) -> Report:
    """The report of these entries."""
    return report(Written(given=entries), by=by, footprint=footprint)
