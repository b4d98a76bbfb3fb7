"""A local server with one slot, and 32 callers: who may go elsewhere waits no longer than that takes, and nobody fails.

The local server answers one request at a time, the remote one any number. Each caller asks again as soon as it has its
answer. Of each request the ledger tells how long it waited in line: its latency less that of its attempts and of what
the gateway itself took. The wait of those who may go elsewhere is held against what the remote server takes, plus a
slack for a busy machine. Fenced requests are the control: they wait their turn and go nowhere else.

    python benchmarks/saturation.py [--requests 640] [--callers 32] [--fenced 4] [--json]
"""

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import uvicorn
from aiohttp import web
from rig.script import whole_answer
from rig.tables import machine

from weighbridge.app import create_app
from weighbridge.cli.serve import settings
from weighbridge.config import load

LOCAL_S, REMOTE_S = 0.3, 1.0  # what an answer takes
SLACK_S = 0.25
CONFIG = """
schema_version = 1
[upstreams.local]
use = "openai"
base_url = "{local}"
model = "small"
location = "local"
max_concurrent = 1
input_usd_per_mtok = "0"
output_usd_per_mtok = "0"
[upstreams.remote]
use = "openai"
base_url = "{remote}"
model = "large"
location = "remote"
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
[classifier]
use = "constant"
score = 0.1
[routes.auto]
small = "local"
large = "remote"
policy = {{ use = "threshold", threshold = 0.5 }}
[[rules]]
name = "stays"
when = {{ header = {{ "x-private" = "*" }} }}
then = {{ fence = "local" }}
[ledger]
use = "sqlite"
path = "{ledger}"
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it. Waits in seconds."""

    requests: int
    failures: int
    most_at_once: int
    free_local: int
    free_remote: int
    free_wait_p50_s: float
    free_wait_most_s: float
    remote_takes_s: float
    fenced: int
    fenced_remote: int
    fenced_wait_most_s: float

    @property
    def is_good(self) -> bool:
        is_bounded = self.free_wait_most_s <= self.remote_takes_s + SLACK_S
        return is_bounded and not self.failures and not self.fenced_remote and self.most_at_once == 1


class Server:
    """A model server that takes so long for an answer, and notes how many requests it had at once."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s
        self.at_work = self.most = 0
        self.url = ""

    async def begin(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            await request.read()
            await asyncio.sleep(self.takes_s)
        finally:
            self.at_work -= 1
        return web.Response(body=whole_answer(), content_type="application/json")


@contextmanager
def gateway(config: Path) -> Iterator[str]:
    """A whole one in a thread of its own; its base URL."""
    loaded = load(config, {})
    server = uvicorn.Server(settings(create_app(loaded, {}), loaded, port=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()


async def callers(base_url: str, requests: int, many: int, fenced: int) -> Counter[int]:
    """Every caller asks, and asks again, until so many requests are made. The statuses."""
    statuses: Counter[int] = Counter()
    left = iter(range(requests))

    async def one(session: aiohttp.ClientSession, headers: dict[str, str]) -> None:
        for at in left:
            body = {"model": "auto", "messages": [{"role": "user", "content": f"request {at}"}]}
            async with session.post(f"{base_url}/chat/completions", json=body, headers=headers) as answer:
                await answer.read()
                statuses[answer.status] += 1

    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        kinds = [{"x-private": "yes"}] * fenced + [{}] * (many - fenced)
        await asyncio.gather(*(one(session, headers) for headers in kinds))
    return statuses


def waits(ledger: Path) -> Iterator[tuple[str | None, str, float]]:
    """Of each request its fence, where it was answered, and how long it stood in line."""
    query = (
        "SELECT r.fence, r.location, r.latency_s - r.overhead_s - COALESCE(SUM(a.latency_s), 0) FROM requests r "
        "LEFT JOIN attempts a USING (request_id) GROUP BY r.request_id"
    )
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as db:
        yield from db.execute(query)


def remote_takes(ledger: Path) -> float:
    """The longest that the remote server took for one."""
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as db:
        (longest,) = db.execute("SELECT MAX(latency_s) FROM attempts WHERE location = 'remote'").fetchone()
    return float(longest)


async def measure(requests: int, many: int, fenced: int) -> Found:
    local, remote = Server(LOCAL_S), Server(REMOTE_S)
    runners = [await server.begin() for server in (local, remote)]
    with tempfile.TemporaryDirectory() as folder:
        ledger, config = Path(folder) / "ledger.db", Path(folder) / "config.toml"
        config.write_text(CONFIG.format(local=local.url, remote=remote.url, ledger=ledger), encoding="utf-8")
        with gateway(config) as base_url:
            statuses = await callers(base_url, requests, many, fenced)
        rows = list(waits(ledger))
        takes_s = remote_takes(ledger)
    for runner in runners:
        await runner.cleanup()
    free = sorted(wait for fence, _, wait in rows if not fence)
    return Found(
        requests=sum(statuses.values()),
        failures=sum(statuses.values()) - statuses[200],
        most_at_once=local.most,
        free_local=sum(place == "local" for fence, place, _ in rows if not fence),
        free_remote=sum(place == "remote" for fence, place, _ in rows if not fence),
        free_wait_p50_s=free[len(free) // 2],
        free_wait_most_s=free[-1],
        remote_takes_s=takes_s,
        fenced=sum(bool(fence) for fence, _, _ in rows),
        fenced_remote=sum(place == "remote" for fence, place, _ in rows if fence),
        fenced_wait_most_s=max((wait for fence, _, wait in rows if fence), default=0.0),
    )


def report(found: Found, many: int, fenced: int) -> str:
    return "\n".join(
        (
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine()}",
            f"one slot, {LOCAL_S:g} s an answer; elsewhere {REMOTE_S:g} s; {many} callers, {fenced} of them fenced",
            "",
            f"- requests: {found.requests:,}; failures: {found.failures}",
            f"- at the slot at once, most: {found.most_at_once}",
            f"- free to go: {found.free_local} answered here, {found.free_remote} elsewhere",
            f"- their wait in line: median {found.free_wait_p50_s:.2f} s, {found.free_wait_most_s:.2f} s at most; "
            f"the remote server took {found.remote_takes_s:.2f} s at most (slack {SLACK_S:g} s)",
            f"- fenced: {found.fenced}, of them sent elsewhere {found.fenced_remote}; "
            f"waited {found.fenced_wait_most_s:.2f} s at most",
            "",
            "PASS" if found.is_good else "FAIL",
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=640)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--fenced", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(measure(options.requests, options.callers, options.fenced))
    print(json.dumps(asdict(found)) if options.json else report(found, options.callers, options.fenced))
    return 0 if found.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
