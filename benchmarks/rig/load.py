"""The load generator: closed-loop clients on keep-alive connections that check every answer.

It runs in the benchmark's own process. Each client sends its next request as soon as it has the answer to the last.
"""

import asyncio
import gc
import itertools
import json
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from rig import script

_STATUS_OK = b" 200"
_CHUNKED_END = b"\r\n0\r\n\r\n"
_MAX_ERRORS = 200
_SIZE_SLACK = 64  # bytes by which answers of one gateway may differ: ids, times


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement.

    mark: a header that each answer should have; those without it are counted.
    seconds: how long the window is; it grows, up to cap_s, until each client has had four answers.
    """

    port: int
    model: str
    clients: int
    is_stream: bool
    headers: Mapping[str, str] = field(default_factory=dict)
    mark: str = ""
    seconds: float = 3.0
    warmup_s: float = 0.5
    cap_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one measurement found. latencies_s, ttfts_s: sorted, one per answer; errors: text and how often.

    sent, unmarked: requests sent, and answers that lacked the job's mark, the warm-up's included.
    """

    answers: int
    seconds: float
    cpu_s: float
    latencies_s: tuple[float, ...]
    ttfts_s: tuple[float, ...]
    errors: Mapping[str, int]
    sent: int
    unmarked: int

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds

    @property
    def cpu_ms_each(self) -> float:
        return 1000 * self.cpu_s / max(1, self.answers)

    @property
    def cores_used(self) -> float:
        return self.cpu_s / self.seconds


def quantile(values: tuple[float, ...], q: float) -> float:
    """The q-quantile of sorted values; not a number where there are none."""
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


# ---------------------------------------------------------------------------------------------------------------------
# Requests: no two prompts alike, in a run or between runs' targets.

_OPENINGS = (
    "How do I", "Explain why we should", "Give me three reasons to", "Write a short note on how to", "Is it safe to",
    "Summarise for a new colleague how to", "What would an expert say about whether to", "List the steps to",
)  # fmt: skip
_DEEDS = (
    "calibrate a kitchen scale", "compare two mortgage offers", "prove that the square root of two is irrational",
    "migrate a monolith to services without downtime", "keep basil alive in winter", "renew a passport abroad",
    "find a memory leak in a long-running worker", "plan a week of meals for a family of four",
    "choose between a B-tree and an LSM tree for time series", "translate a contract clause into plain words",
    "derive the gradient of a softmax cross-entropy loss", "ask a landlord for a repair",
    "schedule jobs with dependencies on a cluster of unequal machines", "say goodbye to a team after five years",
)  # fmt: skip
_TURNS = (
    "if time is short?", "when the budget is fixed and two people disagree about the goal?", "with an example.",
    "in the style of a patient teacher.", "and name what can go wrong, with the likelihood of each.",
    "assuming that nothing has been decided yet and that the outcome has to be explained to an auditor next spring.",
)  # fmt: skip
_SYSTEM = "You are a helpful assistant. Answer briefly and say when you do not know."


def prompts(count: int, seed: int = 7) -> list[str]:
    """Varied asks of about 15 to 50 tokens."""
    draw = random.Random(seed)
    return [f"{draw.choice(_OPENINGS)} {draw.choice(_DEEDS)} {draw.choice(_TURNS)}" for _ in range(count)]


_ticket = itertools.count(1)


def requests(job: Job) -> Iterator[bytes]:
    """Requests for ever, ready to write; each has a number of its own in the ask."""
    parts = [_frame(job, text).split(b"00000000", 1) for text in prompts(400)]
    for before, after in itertools.cycle(parts):
        yield before + b"%08d" % next(_ticket) + after


def _frame(job: Job, text: str) -> bytes:
    body: dict[str, object] = {
        "model": job.model,
        "messages": [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": f"Ticket 00000000: {text}"},
        ],
        "temperature": 0.2,
        "max_tokens": 300,
    }
    if job.is_stream:
        body["stream"] = True
    raw = json.dumps(body).encode()
    extra = "".join(f"{name}: {value}\r\n" for name, value in job.headers.items())
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{job.port}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer sk-benchmark\r\naccept: */*\r\nuser-agent: weighbridge-bench\r\n{extra}"
        f"content-length: {len(raw)}\r\n\r\n"
    ).encode() + raw


# ---------------------------------------------------------------------------------------------------------------------


class _Run:
    """What the clients of one measurement share."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.requests = requests(job)
        self.is_running = True
        self.open = 0
        self.sent = 0
        self.mark = f"\r\n{job.mark}:".encode() if job.mark else b""
        self.unmarked = 0
        self.usual_size = 0
        self.latencies: list[float] = []
        self.ttfts: list[float] = []
        self.errors: Counter[str] = Counter()
        self.idle = asyncio.Event()

    def failed(self, what: str) -> None:
        self.errors[what] += 1
        if self.errors.total() >= _MAX_ERRORS:
            self.is_running = False


class _Client(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.is_stream = run.job.is_stream
        self.is_first = True
        self.in_flight = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self._send()

    def _send(self) -> None:
        assert self.transport is not None
        self.buffer = bytearray()
        self.body_at = 0
        self.length = -1
        self.ttft = 0.0
        self.in_flight = True
        self.run.sent += 1
        self.began = time.perf_counter()
        self.transport.write(next(self.run.requests))

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        if not self.body_at and not self._read_head():
            return
        if self.is_stream and not self.ttft and len(buffer) > self.body_at:
            self.ttft = time.perf_counter() - self.began
        if self.length >= 0:
            if len(buffer) >= self.body_at + self.length:
                self._answered()
        elif buffer.endswith(_CHUNKED_END):
            self._answered()

    def _read_head(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        self.body_at = end + 4
        head = bytes(self.buffer[:end]).lower()
        if self.run.mark not in head:
            self.run.unmarked += 1
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            stop = head.find(b"\r\n", at + 2)
            self.length = int(head[at + 17 : stop if stop >= 0 else len(head)])
        return True

    def _answered(self) -> None:
        run = self.run
        took = time.perf_counter() - self.began
        self.in_flight = False
        fault = self._fault()
        if fault:
            run.failed(fault)
        else:
            run.latencies.append(took)
            if self.is_stream:
                run.ttfts.append(self.ttft)
        if run.is_running:
            self._send()
        elif self.transport is not None:
            self.transport.close()

    def _fault(self) -> str | None:
        """The first answer on a connection is read fully, the others by status, size and end."""
        buffer = self.buffer
        if buffer[8:12] != _STATUS_OK:
            return f"{bytes(buffer[:40])!r}: {bytes(buffer[self.body_at : self.body_at + 200])!r}"
        size = len(buffer) - self.body_at
        if self.is_first or abs(size - self.run.usual_size) > _SIZE_SLACK:
            return self._fault_in_full(size)
        if self.is_stream and buffer.find(b"data: [DONE]", -40) < 0:
            return self._fault_in_full(size)
        return None

    def _fault_in_full(self, size: int) -> str | None:
        body = bytes(self.buffer[self.body_at :])
        if self.length < 0:
            body = unchunked(body)
        fault = script.fault_in_stream(body) if self.is_stream else script.fault_in_whole(body)
        if fault is not None:
            return fault.what
        self.is_first = False
        self.run.usual_size = size
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        run = self.run
        if self.in_flight and run.is_running:
            run.failed(f"connection lost ({exc})")
        if run.is_running:
            task = asyncio.ensure_future(_connect(run, self))
            task.add_done_callback(lambda t: t.cancelled() or t.exception())
            return
        run.open -= 1
        if not run.open:
            run.idle.set()


def unchunked(body: bytes) -> bytes:
    """A chunked body without its framing."""
    out, at = [], 0
    while match := re.compile(rb"([0-9a-fA-F]+)[^\r\n]*\r\n").match(body, at):
        size = int(match[1], 16)
        out.append(body[match.end() : match.end() + size])
        at = match.end() + size + 2
    return b"".join(out)


async def _connect(run: _Run, client: _Client) -> None:
    loop = asyncio.get_running_loop()
    link = socket.create_connection(("127.0.0.1", run.job.port), timeout=5)
    link.setblocking(False)
    await loop.create_connection(lambda: client, sock=link)


async def one(job: Job) -> str | None:
    """Ask once. What was wrong with the answer, or None. OSError where nobody listens."""
    run = _Run(job)
    run.is_running = False  # no second request
    run.open = 1
    client = _Client(run)
    await _connect(run, client)
    async with asyncio.timeout(10):
        await run.idle.wait()
    return next(iter(run.errors), None) if run.errors or run.latencies else "the connection was closed"


async def measure(job: Job, cpu_s: Callable[[], float]) -> Sample:
    """Run one measurement. cpu_s: the CPU seconds that the gateway under test has used so far."""
    run = _Run(job)
    run.open = job.clients
    gc.collect()
    gc.disable()
    try:
        for _ in range(job.clients):
            await _connect(run, _Client(run))
        await asyncio.sleep(job.warmup_s)
        skip, began, cpu = len(run.latencies), time.perf_counter(), cpu_s()
        await _window(run, skip, began)
        sample = _sample(run, skip, time.perf_counter() - began, cpu_s() - cpu)
    finally:
        run.is_running = False
        gc.enable()
    await _drain(run)
    return sample


async def _window(run: _Run, skip: int, began: float) -> None:
    await asyncio.sleep(run.job.seconds)
    enough = 4 * run.job.clients
    ends = began + run.job.cap_s
    # An event per answer would cost part of what is measured.
    while run.is_running and len(run.latencies) - skip < enough and time.perf_counter() < ends:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def _sample(run: _Run, skip: int, seconds: float, cpu_s: float) -> Sample:
    latencies, ttfts = run.latencies[skip:], run.ttfts[skip:]
    if not latencies:
        run.failed("no answer in the window")
    return Sample(
        answers=len(latencies),
        seconds=seconds,
        cpu_s=cpu_s,
        latencies_s=tuple(sorted(latencies)),
        ttfts_s=tuple(sorted(ttfts)),
        errors=dict(run.errors),
        sent=run.sent,
        unmarked=run.unmarked,
    )


async def _drain(run: _Run) -> None:
    """Let what is under way come to its end, so that nothing of it falls into the next window."""
    try:
        async with asyncio.timeout(20):
            await run.idle.wait()
    except TimeoutError:
        run.failed("requests still open 20 s after the window")
