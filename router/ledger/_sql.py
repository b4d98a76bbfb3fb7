"""What ledgers in SQL have in common: how a record is handed over, and what the tables are asked.

Both stores take the same queries; what they do not share each says in its own words.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar

from weighbridge.errors import Unavailable
from weighbridge.ledger._record import Record
from weighbridge.ledger.base import (
    Closing,
    Dimension,
    Entry,
    Heap,
    Ledger,
    Opening,
    Reservation,
    Settlement,
    Spent,
    UnderWay,
    Work,
    instant,
    microseconds,
)
from weighbridge.ledger.chain import Row
from weighbridge.ledger.notes import SHADOW, SHADOW_COLUMNS, Note, Shadowed, ShadowSpend, Sign


class SqlLedger(Ledger):
    """A ledger in tables. An open one has its writer's `submit` and `marks.append` as `_submit` and `_mark`.

    slot: the slice that a score is in. every: all values of an expression in one, which `_numbers` takes apart.
    """

    slot: ClassVar[str]
    every: ClassVar[str]

    @abstractmethod
    def _read(
        self, columns: str, source: str, span: tuple[int, int], order: str, *, are_notes: bool = False
    ) -> Iterator[Row]:
        """Rows of one snapshot, of requests (r) of a span of time, whatever is written meanwhile. Raises CannotOpen.

        are_notes: tables from before there were notes have none.
        """

    @staticmethod
    @abstractmethod
    def _numbers(found: Any) -> Sequence[int]:
        """What `every` gave; nothing where there was no value."""

    def reserve(self, opening: Opening | None, reservation: Reservation) -> Awaitable[None]:
        return self._submit(Record(opening, reservation))

    def sent(self, request_id: str, attempt_no: int) -> None:
        self._mark((request_id, attempt_no))

    def settle(self, settlement: Settlement, closing: Closing | None) -> Awaitable[None]:
        return self._submit(Record(None, None, settlement, closing))

    def turned_away(self, opening: Opening, closing: Closing) -> Awaitable[None]:
        return self._submit(Record(opening, None, None, closing))

    def feedback(self, request_id: str, score: float, comment: str | None) -> Awaitable[bool]:
        return self._submit(Record(feedback=(request_id, score, comment)))

    def note(self, note: Note) -> "asyncio.Future[None]":
        return self._submit(Record(note=note))

    async def is_writable(self) -> bool:
        try:
            return bool(await self._submit(Record(is_probe=True)))
        except Unavailable:
            return False

    def _submit(self, record: Record) -> "asyncio.Future[Any]":
        raise Unavailable("The ledger is closed.", code="ledger_unavailable")

    def _mark(self, attempt: tuple[str, int]) -> None:
        """A closed ledger has no use for a mark."""

    def entries(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Entry]:
        source = "requests r LEFT JOIN feedback f USING (request_id)"
        for row in self._read(_ENTRY, source, _span(since, until), f"{_NO_SHADOW} {_IN_ORDER}"):
            values = list(row)
            values[_CREATED_AT] = instant(values[_CREATED_AT])
            values[_IS_STREAM] = bool(values[_IS_STREAM])
            yield Entry(*values)

    def heaps(
        self, by: Dimension | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Heap]:
        keys = (_name(by), *_KEYS, self.slot, "threshold")
        columns = ", ".join([*keys, *_SUMS, *(f"{self.every.format(each)} {_WELL}" for each in _EACH)])
        for row in self._read(columns, "requests r", _span(since, until), f"{_NO_SHADOW} {_alike(keys)}"):
            *found, ttft_us, latency_us, output_tokens = row
            each = map(self._numbers, (ttft_us, latency_us, output_tokens))
            yield Heap._make((*found, *each))

    def work(
        self, by: Dimension | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Work]:
        keys = (_name(by), *_WORK_KEYS)
        columns = ", ".join([*keys, *_WORK_SUMS])
        return map(Work._make, self._read(columns, _WORKING, _span(since, until), f"{_NO_SHADOW} {_alike(keys)}"))

    def spent(self, since: datetime) -> list[Spent]:
        return [Spent._make(row) for row in self._read(_SPENT, _ATTEMPTS, _span(since), "GROUP BY 1, 2, 3")]

    def under_way(self, since: datetime) -> list[UnderWay]:
        return [UnderWay._make(row) for row in self._read(_UNDER_WAY, _ATTEMPTS, _span(since), _IS_OPEN)]

    def shadows(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Shadowed]:
        source = "shadows s JOIN requests r USING (request_id)"
        for row in self._read(_SHADOW_ROW, source, _span(since, until), _IN_ORDER, are_notes=True):
            request_id, judged_at, *rest = row
            yield Shadowed(request_id, instant(judged_at), *rest)

    def shadow_spend(self, since: datetime | None = None, until: datetime | None = None) -> list[ShadowSpend]:
        order = f"AND r.caller = '{SHADOW}' AND attempts > 0 GROUP BY 1 ORDER BY 1"
        return [ShadowSpend._make(row) for row in self._read(_SHADOW_SPEND, "requests r", _span(since, until), order)]

    def signs(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Sign]:
        source = "signals s JOIN requests r USING (request_id)"
        return map(Sign._make, self._read(_SIGN, source, _span(since, until), _IN_ORDER, are_notes=True))


def _span(since: datetime | None, until: datetime | None = None) -> tuple[int, int]:
    """From the first microsecond to the one after the last."""
    begin, end = (None if moment is None else microseconds(moment) for moment in (since, until))
    return -(2**63) if begin is None else begin, 2**63 - 1 if end is None else end


def _name(by: Dimension | None) -> str:
    return f"r.{by}" if by and by != "day" else "cast(NULL AS text)"


def _alike(keys: Sequence[str]) -> str:
    return f"GROUP BY {', '.join(str(place) for place in range(1, len(keys) + 1))}"


def _sum(what: str, where: str = "") -> str:
    """A whole number, whatever there is to add: PostgreSQL has a wider kind for sums, and nothing is NULL."""
    return f"cast(coalesce(sum({what}) {where}, 0) AS bigint)"


_ENTRY = ", ".join("f.score" if name == "feedback" else f"r.{name}" for name in Entry.__slots__)
_CREATED_AT = Entry.__slots__.index("created_at")
_IS_STREAM = Entry.__slots__.index("is_stream")
_IN_ORDER = "ORDER BY r.created_at"

# What the gateway asked of its own accord is no traffic: its money is told apart.
_NO_SHADOW = f"AND r.caller <> '{SHADOW}'"
_SHADOW_ROW = ", ".join(["s.request_id", *(f"s.{name}" for name in SHADOW_COLUMNS[1:]), "r.task", "r.prompt"])
_SHADOW_SPEND = f"upstream, count(*), {_sum('cost_nano_usd')}, count(*) - count(cost_nano_usd)"
_SIGN = "s.request_id, s.kind, r.route, r.upstream, r.location"

_DAY = "r.created_at / 86400000000"
_KEYS = (
    _DAY,
    "location",
    "upstream",
    "baseline_upstream",
    "is_stream",
    "attempts <= 1",
    "status",
    "end_reason",
)
_SUMS = (
    "count(*)",
    "count(cost_nano_usd)",
    _sum("cost_nano_usd"),
    _sum("baseline_cost_nano_usd"),
    "count(cost_nano_usd + baseline_cost_nano_usd)",
    _sum("cost_nano_usd", "FILTER (WHERE baseline_cost_nano_usd IS NOT NULL)"),
    _sum("baseline_cost_nano_usd", "FILTER (WHERE cost_nano_usd IS NOT NULL)"),
)
# Quantiles need each value: all of a heap's in one are read many times faster than a row per request.
_EACH = ("cast(round(ttft_s * 1e6) AS bigint)", "cast(round(latency_s * 1e6) AS bigint)", "output_tokens")
_WELL = "FILTER (WHERE end_reason = 'ok')"

_WORKING = "requests r LEFT JOIN attempts a ON a.request_id = r.request_id AND a.status <> 'released'"
_WORK_KEYS = (_DAY, "a.upstream", "a.location", "r.baseline_upstream")
_WORK_SUMS = (
    "count(a.energy_mj)",
    _sum("a.energy_mj"),
    "count(a.latency_s) FILTER (WHERE a.energy_mj IS NULL)",
    _sum("cast(round(a.latency_s * 1e6) AS bigint)", "FILTER (WHERE a.energy_mj IS NULL)"),
    "count(a.latency_s) FILTER (WHERE a.output_tokens IS NULL)",
    _sum("a.output_tokens"),
    _sum("r.output_tokens", "FILTER (WHERE a.attempt_no IS NULL OR a.attempt_no = r.attempts)"),
)

_ATTEMPTS = "requests r JOIN attempts a USING (request_id)"
_UNDER_WAY = "r.caller, r.route, a.location, a.request_id || '/' || a.attempt_no"
_IS_OPEN = "AND a.status IN ('reserved', 'sent')"
_IS_FIRST = """a.attempt_no = 1 OR NOT EXISTS (SELECT 1 FROM attempts b WHERE b.request_id = a.request_id
    AND b.location = a.location AND b.attempt_no < a.attempt_no)"""
_SPENT = ", ".join(
    [
        "r.caller, r.route, a.location",
        _sum("CASE a.status WHEN 'released' THEN 0 ELSE coalesce(a.cost_nano_usd, a.reserved_nano_usd, 0) END"),
        f"count(*) FILTER (WHERE {_IS_FIRST})",
        _sum("coalesce(a.input_tokens, 0) + coalesce(a.output_tokens, 0)"),
        "count(*) FILTER (WHERE a.attempt_no = 1)",
    ]
)
