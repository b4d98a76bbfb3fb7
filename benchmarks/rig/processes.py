"""Programs under test: started on one core, frozen while it is another's turn, their CPU time and memory read."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cores() -> tuple[int, int]:
    """The core for the gateway under test, and the core for load and upstream."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit("this benchmark needs two cores: one for the gateway, one for the load and the upstream")
    return allowed[0], allowed[1]


def end_cleanly_on_sigterm() -> None:
    """Let SIGTERM unwind as an exception does, so that the programs under test are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))


class Program:
    """A running program and its children, in a process group of their own."""

    def __init__(self, command: Sequence[str], core: int, log: Path, env: Mapping[str, str], cwd: Path) -> None:
        self.log = log
        self.began = time.monotonic()
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=cwd, env={**_environment(), **env},
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_words(self) -> str:
        """The end of its log, for the person who has to find out why."""
        return self.log.read_text(errors="replace")[-600:]

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end; after five seconds end it."""
        self.thaw()
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait(5)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self.process.wait(5)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def cpu_s(self) -> float:
        """CPU seconds used so far by it and its children, the ended ones included."""
        return sum(_cpu_s(pid) for pid in tree(self.pid))

    def resident_mb(self) -> float:
        """Resident memory of it and its children."""
        return sum(_resident_bytes(pid) for pid in tree(self.pid)) / 1e6

    def open_files(self) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in tree(self.pid))  # noqa: PTH208  (counted, not walked)


def _environment() -> dict[str, str]:
    """Ours, but for what would make every start of a Python program compile it anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def tree(pid: int) -> list[int]:
    """A process and all its living descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += tree(int(child))
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(f) for f in fields[11:15]) / _TICKS  # user, system, and both of children that have ended


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0
