"""How much memory this machine has for a model."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from weighbridge.catalogue.memory import GB

# Without a card of its own a model shares the memory, and a larger one would be slow.
_MOST_SHARED_BYTES = 8 * GB
_LOOK_S = 3.0

Said = Callable[[list[str]], str]


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found; None is unknown. card_bytes: of all NVIDIA cards together."""

    memory_bytes: int | None
    card_bytes: int | None

    @property
    def model_bytes(self) -> int | None:
        """What a model may take: the cards, or else half of the memory and at most 8 GB."""
        if self.card_bytes:
            return self.card_bytes
        return min(self.memory_bytes // 2, _MOST_SHARED_BYTES) if self.memory_bytes else None

    def __str__(self) -> str:
        if self.card_bytes:
            return f"{self.card_bytes / GB:.1f} GB on NVIDIA cards"
        if self.memory_bytes and self.model_bytes:
            return f"{self.memory_bytes / GB:.1f} GB, of which a model may take {self.model_bytes / GB:.1f} GB"
        return "unknown"


def look(root: Path = Path("/"), said: Said | None = None) -> Machine:
    """What this machine has. root: where the kernel's files lie; said: what a program prints, `""` without it."""
    ask = said or _said
    return Machine(_memory(root, ask), _cards(ask))


def _memory(root: Path, ask: Said) -> int | None:
    """The machine's, or what a container may have of it."""
    lines = _text(root / "proc/meminfo").splitlines()
    total = next((_number(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")), 0)
    total = total or _number(ask(["sysctl", "-n", "hw.memsize"]))
    allowed = _number(_text(root / "sys/fs/cgroup/memory.max"))
    return min(total, allowed) if total and allowed else total or None


def _cards(ask: Said) -> int | None:
    """One number for each card, in MiB."""
    lines = ask(["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]).splitlines()
    return sum(_number(line) for line in lines) * 1024 * 1024 or None


def _number(text: str) -> int:
    """0 for what is no number, such as `max` or `[N/A]`."""
    return int(text) if text.strip().isdecimal() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LOOK_S, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout if done.returncode == 0 else ""
