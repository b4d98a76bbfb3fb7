"""Ten thousand idle connections and a thousand slow senders: what good traffic notices, and the memory they take.

One gateway with a simulated upstream. Good clients ask at a steady pace, first alone, then beside the hostile ones, in
turns; the medians over the rounds are compared. An idle connection has had one answer and then says nothing; a slow one
sends a byte of its headers each second, and comes again when it is closed.

    python benchmarks/hostile.py [--idle 10000] [--slow 1000] [--rounds 3] [--seconds 10] [--json]

The gateway may open half as many connections as files: the rest would be closed to make room, so fewer are opened where
the system's limit is low, and the report says how many.
"""

import argparse
import asyncio
import json
import os
import resource
import select
import socket
import statistics
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from rig import load, targets
from rig.processes import Program, cores, end_cleanly_on_sigterm, free_port
from rig.tables import machine

from weighbridge.connections import OWN_FILES

P99_GOAL = 1.2  # times what it is without them
MEMORY_GOAL_MB = 80
GOOD = 8  # clients
PACE_S = 0.02  # between an answer and the next request of a client

_CONFIG = """schema_version = 1
[server]
port = {port}
max_connections = {connections}
[upstreams.small]
use = "simulated"
model = "simulated-small"
location = "local"
output_tokens = 24
input_usd_per_mtok = "0"
output_usd_per_mtok = "0"
[classifier]
use = "length"
[routes.auto]
small = "small"
large = "small"
[ledger]
path = "{ledger}"
"""
_ASK = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
_BEGUN = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nx: "


@dataclass(frozen=True, slots=True)
class Round:
    """What good clients met in one measurement."""

    answers: int
    errors: int
    p50_ms: float
    p99_ms: float
    resident_mb: float


@dataclass(slots=True)
class Found:
    """idle, slow: how many were open at most."""

    idle: int = 0
    slow: int = 0
    without: list[Round] = field(default_factory=list)
    beside: list[Round] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """p99 beside the hostile ones, by that without them: the median over the rounds, each compared with itself."""
        return statistics.median(b.p99_ms / w.p99_ms for w, b in zip(self.without, self.beside, strict=True))

    @property
    def growth_mb(self) -> float:
        return max(r.resident_mb for r in self.beside) - self.without[0].resident_mb


class Hostile:
    """The idle and the slow. `with` it they are there."""

    def __init__(self, port: int, idle: int, slow: int) -> None:
        self._port = port
        self._wanted = idle, slow
        self.idle: list[socket.socket] = []
        self.slow: list[socket.socket] = []
        self._is_over = threading.Event()
        self._dribbling = threading.Thread(target=self._dribble)

    def __enter__(self) -> "Hostile":
        for _ in range(self._wanted[0]):
            client = self._connected()
            client.sendall(_ASK)
            client.recv(4096)
            self.idle.append(client)
        self.slow = [self._begun() for _ in range(self._wanted[1])]
        self._dribbling.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._dribbling.join()
        for client in (*self.idle, *self.slow):
            client.close()

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=30)

    def _begun(self) -> socket.socket:
        client = self._connected()
        client.sendall(_BEGUN)
        return client

    def _dribble(self) -> None:
        """A byte from each, spread over a second; those that were closed come again."""
        while not self._is_over.is_set():
            for at, client in enumerate(self.slow):
                if at % 50 == 0 and self._is_over.wait(50 / len(self.slow)):
                    return
                if _is_closed(client):
                    client.close()
                    self.slow[at] = self._begun()
                    continue
                with suppress(OSError):
                    client.sendall(b"a")

    def count_open(self) -> int:
        """How many of the idle the gateway has kept."""
        return sum(not _is_closed(client) for client in self.idle)


def _is_closed(client: socket.socket) -> bool:
    """By the other side."""
    waiting = select.poll()
    waiting.register(client, select.POLLRDHUP)
    return bool(waiting.poll(0))


async def measured(port: int, seconds: float, program: Program) -> Round:
    """Good clients for so long."""
    url, latencies, errors = f"http://127.0.0.1:{port}/v1/chat/completions", list[float](), 0
    until = time.monotonic() + seconds
    body = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal errors
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                async with session.post(url, json=body) as answer:
                    await answer.read()
                    errors += answer.status != 200
            except (aiohttp.ClientError, TimeoutError):
                errors += 1
            latencies.append(time.monotonic() - began)
            await asyncio.sleep(PACE_S)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        await asyncio.gather(*(client(session) for _ in range(GOOD)))
    ordered = tuple(sorted(1000 * latency for latency in latencies))
    p50, p99 = load.quantile(ordered, 0.5), load.quantile(ordered, 0.99)
    return Round(len(latencies), errors, p50, p99, program.resident_mb())


def compared(port: int, program: Program, idle: int, options: argparse.Namespace) -> Found:
    found = Found()
    asyncio.run(measured(port, 2, program))  # warm
    for _ in range(options.rounds):
        found.without.append(asyncio.run(measured(port, options.seconds, program)))
        with Hostile(port, idle, options.slow) as hostile:
            found.beside.append(asyncio.run(measured(port, options.seconds, program)))
            found.idle = max(found.idle, hostile.count_open())
            found.slow = len(hostile.slow)
        time.sleep(1)  # so that the gateway has closed them
    return found


def files() -> int:
    """As many as this process, and so the gateway, may have open."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def verdict(found: Found) -> list[str]:
    """What failed; nothing when all is well."""
    failed = []
    if errors := sum(r.errors for r in (*found.without, *found.beside)):
        failed.append(f"{errors} requests of good clients failed")
    if found.ratio > P99_GOAL:
        failed.append(f"p99 is {found.ratio:.2f} times what it is without them")
    if found.growth_mb > MEMORY_GOAL_MB:
        failed.append(f"resident memory grew by {found.growth_mb:.0f} MB")
    return failed


def rendered(found: Found, failed: list[str]) -> str:
    rows = [
        f"| {kind} | {r.answers:,} | {r.p50_ms:.1f} | {r.p99_ms:.1f} | {r.resident_mb:.1f} |"
        for pair in zip(found.without, found.beside, strict=True)
        for kind, r in zip(("alone", "beside them"), pair, strict=True)
    ]
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}",
        f"{GOOD} good clients; {found.idle:,} idle connections and {found.slow:,} slow senders",
        "",
        "| good clients | answers | p50 ms | p99 ms | resident MB |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"p99 beside them, by that without: {found.ratio:.2f} (goal at most {P99_GOAL}); "
        f"memory: {found.growth_mb:+.0f} MB (goal at most {MEMORY_GOAL_MB})",
        *(f"FAIL: {what}" for what in failed),
        *([] if failed else ["PASS"]),
    ]
    return "\n".join(lines)


def main() -> int:
    end_cleanly_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/weighbridge-bench"), help="default %(default)s")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    most = (files() - OWN_FILES) // 2
    idle = min(options.idle, most - options.slow - 2 * GOOD)
    folder = targets.temporary_folder(options.cache.expanduser().resolve())
    gateway_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    port, config = free_port(), folder / "hostile.toml"
    config.write_text(_CONFIG.format(port=port, connections=most, ledger=folder / "hostile.db"))
    command = (sys.executable, "-m", "weighbridge", "serve", "--config", str(config))
    program = Program(command, gateway_core, folder / "hostile.log", {}, folder)
    try:
        targets.until_ready(program, port)
        found = compared(port, program, idle, options)
    finally:
        program.stop()
    failed = verdict(found)
    print(json.dumps(asdict(found) | {"failed": failed}) if options.json else rendered(found, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
