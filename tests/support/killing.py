"""A gateway that is killed again and again under load, and what its callers were told: to hold against the ledger.

Before most kills something else happens to it, by chance: it is stopped for a while, its disk is full, its config is
read again. A full disk is a limit on the size of its files, set from outside.
"""

import http.client
import json
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.config import load
from weighbridge.ledger.base import Ledger
from weighbridge.ledger.chain import Audit, audit

CALLERS = 8
FULL = 4096  # bytes that any file may have while the disk is full

CONFIG = """\
[server]
port = {port}
[upstreams.small]
use = "simulated"
model = "sim-small"
location = "local"
ttft_s = 0.02
tokens_per_s = 2000
input_usd_per_mtok = "0"
output_usd_per_mtok = "0"
[upstreams.large]
use = "simulated"
model = "sim-large"
location = "remote"
ttft_s = 0.03
tokens_per_s = 1000
fail_share = 0.1
input_usd_per_mtok = "1"
output_usd_per_mtok = "4.50"
[classifier]
use = "length"
[routes.auto]
small = "small"
large = "large"
[[rules]]
name = "stays"
when = {{ header = {{ "x-data-class" = "private" }} }}
then = {{ fence = "local" }}
[ledger]
{ledger}
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer that a caller has in hand."""

    request_id: str
    cost_usd: str | None  # where the gateway said so
    is_fenced: bool
    is_hurried: bool  # the disk was full: its settlement may have been waiting when the gateway died


@dataclass
class Findings:
    """What a run came to. The lists are of request ids."""

    kills: int = 0
    stops: int = 0
    full_disks: int = 0
    reloads: int = 0
    answered: int = 0
    rows: int = 0
    unknown: int = 0
    held: int = 0  # answered while the disk was full, and killed before it was not: the reservation stands
    seconds_down: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    not_settled: list[str] = field(default_factory=list)
    wrong_cost: list[str] = field(default_factory=list)
    left_open: list[str] = field(default_factory=list)
    not_held: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    audit: Audit = field(default_factory=Audit)

    @property
    def is_fine(self) -> bool:
        wrong = (self.lost, self.not_settled, self.wrong_cost, self.left_open, self.not_held, self.damaged)
        return not any(wrong) and self.audit.is_fine


class KillRun:
    """`ledger`: the config's [ledger] table, as TOML. Every kill and every request comes from the seed."""

    def __init__(self, folder: Path, ledger: str, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            self._port = listener.getsockname()[1]
        self._config = folder / "config.toml"
        self._config.write_text(CONFIG.format(port=self._port, ledger=ledger))
        self._answered: list[Answered] = []
        self._is_over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_full = False
        self._troubles = [self._stop_for_a_while, self._reload]
        if "path" in ledger:
            self._troubles.append(self._fill_the_disk)
        self._ledger: Ledger = load(self._config, {}).ledger
        self.findings = Findings()

    def run(self, kills: int, until_s: float = float("inf")) -> Findings:
        """Kill the gateway so often, or until this monotonic moment; then start it once more and read the ledger."""
        callers = [
            threading.Thread(target=self._call, args=(random.Random(self._random.random()),)) for _ in range(CALLERS)
        ]
        self._start()
        for caller in callers:
            caller.start()
        try:
            while self.findings.kills < kills and time.monotonic() < until_s:
                self._kill_soon()
                self._start()
            self._wait_for_answers(1)
        finally:
            self._is_over.set()
            for caller in callers:
                caller.join()
            self._end(signal.SIGTERM)
        self._compare()
        return self.findings

    def _start(self) -> None:
        began = time.monotonic()
        environ = {k: v for k, v in os.environ.items() if not k.startswith("WEIGHBRIDGE_") or k.endswith("_URL")}
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "weighbridge", "serve", "--config", str(self._config)],
            cwd=self._folder,
            stdout=log,
            stderr=log,
            env=environ,
        )
        log.close()
        if self.findings.kills and self._random.random() < 0.1:
            # Some die while they are still on their way.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self._random.uniform(0, 1.5))
            self._die()
            self._start()
            return
        while not self._answers():
            if self._process.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text()[-2000:])
        self._is_full = False
        self.findings.seconds_down.append(time.monotonic() - began)

    def _answers(self) -> bool:
        try:
            with closing(socket.create_connection(("127.0.0.1", self._port), timeout=1)):
                return True
        except OSError:
            return self._is_over.wait(0.01)

    def _kill_soon(self) -> None:
        """After some answers, and mostly some other trouble, at a moment that nobody chose."""
        self._wait_for_answers(self._random.randint(1, 20))
        if self._random.random() < 0.75:
            self._random.choice(self._troubles)()
        self._is_over.wait(self._random.uniform(0, 0.3))
        self._die()

    def _stop_for_a_while(self) -> None:
        """As a machine that is put to sleep, or has no time."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        self._is_over.wait(self._random.uniform(0, 1))
        self._process.send_signal(signal.SIGCONT)
        self.findings.stops += 1

    def _fill_the_disk(self) -> None:
        """No file can grow. Half of the times that passes, and then what waited is written before the kill."""
        assert self._process
        self._is_full = True
        self._limit_files(FULL)
        self._is_over.wait(self._random.uniform(0.05, 0.5))
        self.findings.full_disks += 1
        if self._random.random() < 0.5:
            self._limit_files(resource.RLIM_INFINITY)
            self._wait_for_answers(2 * CALLERS)  # of which some were begun after that
            self._is_full = False

    def _limit_files(self, most: int) -> None:
        assert self._process
        hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (most, hard))

    def _reload(self) -> None:
        """A broken config, which changes nothing, then another good one."""
        assert self._process
        good = self._config.read_text()
        for text in ("[server", good.replace("ttft_s = 0.03", f"ttft_s = 0.03{self._random.randint(0, 9)}")):
            self._config.write_text(text)
            self._process.send_signal(signal.SIGHUP)
            self._is_over.wait(self._random.uniform(0, 0.3))
        self.findings.reloads += 1

    def _wait_for_answers(self, number: int) -> None:
        enough, deadline = len(self._answered) + number, time.monotonic() + 60
        while len(self._answered) < enough:
            if time.monotonic() > deadline:
                raise RuntimeError("no answers come")
            self._is_over.wait(0.005)

    def _die(self) -> None:
        self._end(signal.SIGKILL)
        self.findings.kills += 1
        path = getattr(self._ledger, "path", None)
        if path and (self._folder / path).exists():
            with closing(sqlite3.connect(self._folder / path)) as connection:
                self.findings.damaged += [
                    text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"
                ]

    def _end(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def _call(self, chance: random.Random) -> None:
        """One caller: asks again and again, and notes what it got whole."""
        while not self._is_over.is_set():
            try:
                answered = self._ask(chance)
            except (OSError, http.client.HTTPException):
                self._is_over.wait(0.1)
                continue
            if answered:
                self._answered.append(answered)

    def _ask(self, chance: random.Random) -> Answered | None:
        is_stream, is_fenced, is_hurried = chance.random() < 0.5, chance.random() < 0.3, self._is_full
        text = f"{chance.random()} " + "and what follows from that? " * chance.choice([1, 60])
        body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": text}], "stream": is_stream}
        body["simulate"] = {"output_tokens": chance.randint(1, 40)}
        headers = {"content-type": "application/json", **({"x-data-class": "private"} if is_fenced else {})}
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
        if answer.status != 200 or (is_stream and not raw.rstrip().endswith(b"data: [DONE]")):
            return None
        request_id, cost_usd = answer.headers["x-request-id"], answer.headers.get("x-weighbridge-cost-usd")
        return Answered(request_id, cost_usd, is_fenced, is_hurried or self._is_full)

    def _compare(self) -> None:
        """Hold the ledger against what the callers have in hand."""
        here = Path.cwd()
        os.chdir(self._folder)  # the ledger's path is relative to the gateway's folder
        try:
            entries = {entry.request_id: entry for entry in self._ledger.entries()}
            links = list(self._ledger.links())
        finally:
            os.chdir(here)
        found = self.findings
        found.answered, found.rows, found.audit = len(self._answered), len(entries), audit(links)
        found.left_open = [e.request_id for e in entries.values() if e.status in {"reserved", "sent"}]
        found.unknown = sum(e.status == "unknown" for e in entries.values())
        for answered in self._answered:
            entry = entries.get(answered.request_id)
            if entry is None:
                found.lost.append(answered.request_id)
            elif answered.is_hurried and entry.status == "unknown":
                found.held += 1
            elif entry.status != "settled" or (answered.is_fenced and entry.location != "local"):
                found.not_settled.append(answered.request_id)
            elif answered.cost_usd is not None and entry.cost_nano_usd != round(float(answered.cost_usd) * 10**9):
                found.wrong_cost.append(answered.request_id)
        for link in links:
            for attempt in link.attempts:
                # Columns of chain.py: 6 is what is reserved, 7 the status. Both upstreams have a price.
                if attempt[7] == "unknown" and attempt[6] is None:
                    found.not_held.append(link.request_id)
