"""The hash chain over closed requests: none can be changed, removed or slipped in afterwards without a trace.

When a request is closed its row and its attempts' rows are hashed, together with the digest before it, and the result
is kept under the next number. Who can write to the store can also hash everything anew, or cut off the end: only a
digest that was noted elsewhere shows that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

GENESIS = bytes(32)  # what the first request follows
SHOWN = 100  # findings that are kept in words; the rest are counted

# What is hashed, in this order: all columns but the prompt. A new column goes to the end: it is NULL in older rows, and
# NULLs at the end are left out, so what was hashed before it came still has the same digest.
REQUEST_COLUMNS = (
    "request_id",
    "created_at",
    "route",
    "model_asked",
    "caller",
    "reason",
    "reason_detail",
    "rule",
    "fence",
    "score",
    "threshold",
    "task",
    "classifier",
    "is_stream",
    "tags",
    "process",
    "status",
    "end_reason",
    "http_status",
    "error_code",
    "upstream",
    "model",
    "location",
    "attempts",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "usage_source",
    "cost_nano_usd",
    "baseline_upstream",
    "baseline_cost_nano_usd",
    "price_version",
    "ttft_s",
    "latency_s",
    "overhead_s",
)
ATTEMPT_COLUMNS = (
    "request_id",
    "attempt_no",
    "started_at",
    "upstream",
    "model",
    "location",
    "reserved_nano_usd",
    "status",
    "end_reason",
    "error_code",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "usage_source",
    "cost_nano_usd",
    "price_version",
    "ttft_s",
    "latency_s",
    "energy_mj",
)

Row = Sequence[Any]  # as stored, in the order of the columns above


class Link(NamedTuple):
    """A place in the chain, with what it covers as the store has it now.

    no, digest: None for a request that the chain does not know. request: None where its row is gone.
    """

    no: int | None
    digest: bytes | None
    request_id: str
    request: Row | None
    attempts: Sequence[Row]


class Finding(NamedTuple):
    """What is wrong, and with which request."""

    request_id: str
    what: str


@dataclass(slots=True)
class Audit:
    """What a walk along the chain found. anchored: whether the digest noted elsewhere is in it; None without one."""

    requests: int = 0
    open: int = 0
    attempts: int = 0
    fenced: int = 0
    fenced_remote: int = 0
    no: int = 0
    head: bytes = GENESIS
    anchored: bool | None = None
    count: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_fine(self) -> bool:
        return not self.count and self.anchored is not False

    def find(self, request_id: str, what: str) -> None:
        self.count += 1
        if len(self.findings) < SHOWN:
            self.findings.append(Finding(request_id, what))


def digest(previous: bytes, request: Row, attempts: Iterable[Row]) -> bytes:
    """The digest of a closed request that follows `previous`."""
    return sha256(previous + orjson.dumps([_trimmed(request), [_trimmed(row) for row in attempts]])).digest()


def _trimmed(row: Row) -> Row:
    if row[-1] is not None:
        return row
    end = len(row)
    while end and row[end - 1] is None:
        end -= 1
    return tuple(row[:end])


def audit(links: Iterable[Link], anchor: bytes | None = None) -> Audit:
    """Walk the chain from its beginning, then what is outside it. The first finding is the first that differs."""
    found = Audit(anchored=None if anchor is None else anchor == GENESIS)
    for link in links:
        _check_link(found, link)
        if link.request is not None:
            _check_request(found, dict(zip(REQUEST_COLUMNS, link.request, strict=True)), link.attempts)
        if anchor is not None and link.digest == anchor:
            found.anchored = True
    return found


def _check_link(found: Audit, link: Link) -> None:
    if link.no is None or link.digest is None:
        _check_outside(found, link)
        return
    if link.no != found.no + 1:
        found.find(link.request_id, f"comes as number {link.no} of the chain, and {found.no + 1} is missing before it")
    if link.request is None:
        found.find(link.request_id, "is in the chain, and its row was removed")
    elif digest(found.head, link.request, link.attempts) != link.digest:
        found.find(link.request_id, _difference(link.request))
    # Whatever is wrong with this one, the next one is measured against what stands here.
    found.no, found.head = link.no, link.digest


def _difference(request: Row) -> str:
    status = request[REQUEST_COLUMNS.index("status")]
    if status in {"reserved", "sent"}:
        return f"was closed, and is {status} again"
    return "is not what was closed: its row, one of its attempts or its place in the chain was changed"


def _check_outside(found: Audit, link: Link) -> None:
    if link.request is None:
        found.find(link.request_id, "has attempts, and no row of its own")
    elif link.request[REQUEST_COLUMNS.index("status")] not in {"reserved", "sent"}:
        found.find(link.request_id, "is closed, and not in the chain: it was added afterwards, or cut out of it")


def _check_request(found: Audit, request: Mapping[str, Any], rows: Sequence[Row]) -> None:
    attempts = [dict(zip(ATTEMPT_COLUMNS, row, strict=True)) for row in rows]
    found.requests += 1
    found.attempts += len(attempts)
    if request["fence"] is not None:
        found.fenced += 1
        remote = [a for a in attempts if a["location"] != "local"]
        found.fenced_remote += len(remote)
        for attempt in remote:
            what = f"had to stay local, and attempt {attempt['attempt_no']} went to {attempt['upstream']}"
            found.find(request["request_id"], f"{what} ({attempt['location']})")
    if request["status"] in {"reserved", "sent"}:
        found.open += 1
        return
    for what in _contradictions(request, attempts):
        found.find(request["request_id"], what)


def _contradictions(request: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where a closed request does not say what its attempts say."""
    if request["attempts"] != len(attempts):
        yield f"counts {request['attempts']} attempts, and has {len(attempts)}"
    for attempt in attempts:
        if attempt["status"] in {"reserved", "sent"}:
            yield f"is closed, and its attempt {attempt['attempt_no']} is {attempt['status']}"
    costs = [attempt["cost_nano_usd"] for attempt in attempts]
    if request["cost_nano_usd"] is None:
        # What a dead process left may have ended between two attempts, both of them known.
        if None not in costs and request["status"] != "unknown":
            yield "does not know its cost, and its attempts know theirs"
    elif None in costs or request["cost_nano_usd"] != sum(costs):
        yield f"cost {request['cost_nano_usd']} nano-USD, and its attempts cost {_sum_of(costs)}"
    for name in ("input_tokens", "output_tokens", "cached_tokens"):
        if attempts and request[name] != attempts[-1][name] and request["status"] != "unknown":
            yield f"has {request[name]} {name}, and its last attempt {attempts[-1][name]}"


def _sum_of(costs: Sequence[int | None]) -> str:
    known = sum(cost for cost in costs if cost is not None)
    return f"{known} and more that is unknown" if None in costs else str(known)
