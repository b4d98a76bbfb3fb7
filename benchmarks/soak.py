"""A hundred thousand requests through a running gateway: no lost row, memory flat, and no error but those asked for.

The upstreams are `simulated`, so nothing but the gateway is under test. Clients note what each answer said of itself
(request id, tokens, cost); afterwards every one is looked up in the ledger, and the report's sums must be theirs to the
nano-dollar. A third of the answers are streams, a third of the requests name an upstream, the rest go through the
classifier; one prompt in twenty has never been seen before.

With `--faults 0.05` the upstreams are servers of their own on the loopback, and a twentieth of what each is asked ends
in a 500, a 503, a 429, a reset or a cut. A client then has a whole answer, perhaps of the other upstream, or an error.
The ledger must have a row for each request that these servers saw, and agree with every answer and every error.

    python benchmarks/soak.py [--requests 100000] [--clients 32] [--faults 0.05] [--json]
"""

import argparse
import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from rig import load, targets
from rig.processes import Program, cores, end_cleanly_on_sigterm, free_port
from rig.tables import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import scripted  # the tests' own support
from scripted import Behaviour, ScriptedUpstream, completion, reset, respond, stream

GROWTH_GOAL = 0.02  # of resident memory, from the first look to the last
LOOKS = 10
_ERROR = {"message", "type", "param", "code"}

_CONFIG = """schema_version = 1

[server]
host = "127.0.0.1"
port = {port}

{upstreams}
[classifier]
use = "minilm"

[routes.auto]
small = "small"
large = "large"
baseline = "large"
policy = {{ use = "threshold" }}

[ledger]
use = "sqlite"
path = "{ledger}"
"""
_UPSTREAMS = """[upstreams.small]
{small}
location = "local"
input_usd_per_mtok = "0.05"
output_usd_per_mtok = "0.20"

[upstreams.large]
{large}
location = "remote"
input_usd_per_mtok = "2.50"
output_usd_per_mtok = "10.00"
"""
_SIMULATED = """use = "simulated"
model = "simulated-{name}"
output_tokens = 24"""
_SCRIPTED = """use = "openai"
base_url = "{url}"
model = "scripted-{name}\""""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client saw of one answer. cost_nano_usd: None for a stream; its headers leave before the cost is known."""

    input_tokens: int
    output_tokens: int
    cost_nano_usd: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """The gateway's resources after so many answers."""

    answers: int
    seconds: float
    resident_mb: float
    open_files: int


@dataclass(slots=True)
class Soak:
    """What happened."""

    seen: dict[str, Seen] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)  # the requests that ended in an error that was to be expected
    wire: int | None = None  # how many requests the upstreams saw, where they are servers
    errors: Counter[str] = field(default_factory=Counter)
    looks: list[Look] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        return len(self.seen) + len(self.refused) + self.errors.total()


def bodies(count: int) -> Iterator[dict[str, object]]:
    """The requests: routed and named, whole and streamed, known and new."""
    known = load.prompts(300, seed=11)
    for i in range(count):
        text = known[i % len(known)] if i % 20 else f"Case {i}: {known[i % len(known)]}"
        body: dict[str, object] = {
            "model": "small" if i % 3 == 1 else "auto",
            "messages": [{"role": "user", "content": text}],
        }
        if i % 3 == 2:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        yield body


async def ask(session: aiohttp.ClientSession, url: str, body: dict[str, object], soak: Soak) -> None:
    """One request; what came back is noted, or what was wrong with it."""
    try:
        async with session.post(url, json=body) as answer:
            raw = await answer.read()
            if soak.wire is not None and _is_broken(answer.status, raw, is_stream="stream" in body):
                soak.refused.add(answer.headers["x-request-id"])
                return
            if answer.status != 200:
                soak.errors[f"{answer.status}: {raw[:120]!r}"] += 1
                return
            usage = _usage_of_stream(raw) if "stream" in body else json.loads(raw)["usage"]
            cost = answer.headers.get("x-weighbridge-cost-usd")
            soak.seen[answer.headers["x-request-id"]] = Seen(
                input_tokens=usage["prompt_tokens"],
                output_tokens=usage["completion_tokens"],
                cost_nano_usd=None if cost is None else int(Decimal(cost) * 1_000_000_000),
            )
    except (aiohttp.ClientError, TimeoutError, KeyError, ValueError) as error:
        soak.errors[f"{type(error).__name__}: {error}"] += 1


def _is_broken(status: int, raw: bytes, *, is_stream: bool) -> bool:
    """An error in our shape, as whole as it can be."""
    if status == 200 and not is_stream:
        return False
    last = raw.rstrip().rpartition(b"\n\n")[2].removeprefix(b"data: ")
    if status == 200 and last == b"[DONE]":
        return False
    return status in {200, 429, 502, 503, 504} and json.loads(last)["error"].keys() == _ERROR


def _usage_of_stream(raw: bytes) -> dict[str, int]:
    if not raw.rstrip().endswith(b"data: [DONE]"):
        raise ValueError("a stream without [DONE] at its end")
    for line in reversed(raw.split(b"\n")):
        if line.startswith(b"data: {") and b'"usage"' in line:
            usage: dict[str, int] | None = json.loads(line[6:])["usage"]
            if usage is not None:
                return usage
    raise ValueError("a stream without usage")


async def run(port: int, options: argparse.Namespace, program: Program) -> Soak:
    """All requests, and a look at the gateway's resources after each tenth of them, and when the clients have left."""
    soak, waiting, began = Soak(wire=0 if options.faults else None), bodies(options.requests), time.monotonic()
    requests, clients = options.requests, options.clients
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    step = max(1, requests // LOOKS)

    def look() -> None:
        soak.looks.append(Look(soak.done, time.monotonic() - began, program.resident_mb(), program.open_files()))

    async def client(session: aiohttp.ClientSession) -> None:
        for body in waiting:
            await ask(session, url, body, soak)
            if soak.done % step == 0:
                look()

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    await asyncio.sleep(1)  # the gateway closes what its clients have closed
    look()
    return soak


def check_ledger(soak: Soak, ledger: Path, config: Path, requests: int) -> None:
    """Every answer in the ledger as the client saw it, nothing else in it, and the report's sums the same."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        columns = "request_id, status, end_reason, input_tokens, output_tokens, cost_nano_usd, attempts"
        rows = {row[0]: row[1:] for row in db.execute(f"SELECT {columns} FROM requests")}  # noqa: S608  (no input in it)
        attempts = db.execute("SELECT count(*) FROM attempts").fetchone()[0]
        left_open = db.execute("SELECT count(*) FROM attempts WHERE status IN ('reserved', 'sent')").fetchone()[0]
    expect = soak.troubles.append
    on_wire = requests if soak.wire is None else soak.wire
    if len(rows) != requests or attempts != on_wire or left_open:
        expect(
            f"{requests:,} requests, {on_wire:,} on the wire, but {len(rows):,} rows and {attempts:,} attempts, "
            f"{left_open:,} of them open"
        )
    if wrong := [key for key in soak.refused if key not in rows or rows[key][1] == "ok"]:
        expect(f"{len(wrong):,} errors are none in the ledger: {wrong[0]} {rows.get(wrong[0])}")
    if lost := soak.seen.keys() - rows.keys():
        expect(f"{len(lost):,} acknowledged answers are not in the ledger")
    most = 1 if soak.wire is None else 4
    differing = [key for key, seen in soak.seen.items() if key in rows and not _agrees(seen, rows[key], most)]
    if differing:
        expect(
            f"{len(differing):,} rows differ from what the client saw: {soak.seen[differing[0]]} {rows[differing[0]]}"
        )
    _check_report(soak, config, sum(row[4] or 0 for row in rows.values()), requests)


def _agrees(seen: Seen, row: tuple[Any, ...], most: int) -> bool:
    status, end, input_tokens, output_tokens, cost, attempts = row
    return (
        (status, end) == ("settled", "ok")
        and 1 <= attempts <= most
        and (seen.input_tokens, seen.output_tokens) == (input_tokens, output_tokens)
        and seen.cost_nano_usd in {None, cost}
    )


def _check_report(soak: Soak, config: Path, cost_nano_usd: int, requests: int) -> None:
    command = [sys.executable, "-m", "weighbridge", "report", "--config", str(config), "--json"]
    asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    report = json.loads(asked.stdout, parse_float=Decimal)
    if report["requests"] != requests:
        soak.troubles.append(f"the report counts {report['requests']} requests")
    if int(Decimal(report["cost_usd"]) * 1_000_000_000) != cost_nano_usd:
        soak.troubles.append(f"the report's cost is {report['cost_usd']}, the ledger's {cost_nano_usd} nano-USD")


def growth(looks: Sequence[Look]) -> float:
    """By how much of itself the resident memory grew from the first look to the last."""
    return looks[-1].resident_mb / looks[0].resident_mb - 1 if looks else 0.0


def verdict(soak: Soak, requests: int) -> list[str]:
    """What failed; nothing when all is well."""
    failed = [f"{count:,} x {what}" for what, count in soak.errors.most_common(5)] + soak.troubles
    if soak.done != requests:
        failed.append(f"{soak.done:,} distinct request ids for {requests:,} requests")
    if growth(soak.looks) >= GROWTH_GOAL:
        failed.append(f"resident memory grew by {growth(soak.looks):.1%}")
    if soak.looks and soak.looks[-1].open_files > soak.looks[0].open_files:
        failed.append(f"open files grew from {soak.looks[0].open_files} to {soak.looks[-1].open_files}")
    return failed


def rendered(soak: Soak, failed: Sequence[str], options: argparse.Namespace) -> str:
    rows = [
        f"| {look.answers:,} | {look.seconds:.0f} | {look.resident_mb:.1f} | {look.open_files} |" for look in soak.looks
    ]
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}",
        f"{options.requests:,} requests by {options.clients} clients",
        "",
        "| answers | after s | resident MB | open files |",
        "|---|---|---|---|",
        *rows,
        "",
        f"Memory from first look to last: {growth(soak.looks):+.2%} (goal under {GROWTH_GOAL:.0%}); "
        f"errors: {soak.errors.total()}; {_asked_for(soak)}"
        f"answers found in the ledger as the client saw them: {len(soak.seen):,}",
        *(f"FAIL: {what}" for what in failed),
        *([] if failed else ["PASS: no error, no lost row, sums equal, memory flat"]),
    ]
    return "\n".join(lines)


def _asked_for(soak: Soak) -> str:
    if soak.wire is None:
        return ""
    return f"errors that the faults made: {len(soak.refused):,}; requests on the wire: {soak.wire:,}, each with a row; "


def flaky(share: float, seed: int) -> Behaviour:
    """An upstream that fails at so many of its requests, in one way or another."""
    chance = random.Random(seed)
    faults = [respond(500, {}), respond(503, {}), respond(429, {}), reset(), stream(cut_after=5)]

    async def act(seen: scripted.Seen, writer: asyncio.StreamWriter) -> None:
        behaviour = chance.choice(faults) if chance.random() < share else completion()
        await behaviour(seen, writer)

    return act


@contextmanager
def upstreams(faults: float) -> Iterator[tuple[str, Callable[[], int]]]:
    """Their tables in the config, and a count of the requests that they saw."""
    if not faults:
        small, large = (_SIMULATED.format(name=name) for name in ("small", "large"))
        yield _UPSTREAMS.format(small=small, large=large), lambda: 0
        return
    with ScriptedUpstream() as one, ScriptedUpstream() as two:
        servers = {"small": one.always(flaky(faults, 1)), "large": two.always(flaky(faults, 2))}
        tables = {name: _SCRIPTED.format(name=name, url=server.url) for name, server in servers.items()}
        yield _UPSTREAMS.format(**tables), lambda: sum(len(server.chats) for server in servers.values())


def soaked(options: argparse.Namespace) -> Soak:
    """Start the gateway, run, stop it, and read its ledger."""
    folder = targets.temporary_folder(options.cache.expanduser().resolve())
    gateway_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    port, ledger, config = free_port(), folder / "soak.db", folder / "soak.toml"
    command = (sys.executable, "-m", "weighbridge", "serve", "--config", str(config), "--port", str(port))
    with upstreams(options.faults) as (tables, count):
        config.write_text(_CONFIG.format(port=port, ledger=ledger, upstreams=tables))
        program = Program(command, gateway_core, folder / "soak.log", {}, folder)
        try:
            targets.until_ready(program, port)
            soak = uvloop.run(run(port, options, program))
        finally:
            program.stop()
        soak.wire = count() if options.faults else None
    check_ledger(soak, ledger, config, options.requests)
    return soak


def main() -> int:
    end_cleanly_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--faults", type=float, default=0.0, help="the share of requests at which an upstream fails")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/weighbridge-bench"), help="default %(default)s")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    soak = soaked(options)
    failed = verdict(soak, options.requests)
    if options.json:
        looks = [asdict(look) for look in soak.looks]
        print(json.dumps({"requests": options.requests, "answers": len(soak.seen), "looks": looks, "failed": failed}))
    else:
        print(rendered(soak, failed, options))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
