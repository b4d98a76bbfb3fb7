"""The energy counters of this machine, shared out among the attempts that it works on. A counter is read like a clock.

What the processor's packages draw comes from RAPL, what NVIDIA's cards draw from NVML, the library of their driver.
Both count everything that runs on the machine, and what it draws when idle too.
"""

import ctypes
import re
from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from weighbridge.upstreams.base import Upstream

POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"
_HERE = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0"})  # noqa: S104  # an address that others give, not ours
_PACKAGE = re.compile(r"intel-rapl:\d+")


class Counter(ABC):
    """Counts on for as long as the machine runs. name: of what draws it."""

    name: str = ""

    @abstractmethod
    def moved_uj(self) -> int:
        """Microjoules since it was last asked. Raises OSError where it cannot be read."""


class Rapl(Counter):
    """One domain of a processor, as Linux shows it. Since 2020 only root may read it, unless somebody let others."""

    def __init__(self, folder: Path) -> None:
        self.name = _name_of(folder)
        self._file = folder / "energy_uj"
        self._range_uj = int((folder / "max_energy_range_uj").read_text())
        self._last_uj = self._read()

    def _read(self) -> int:
        return int(self._file.read_text())

    def moved_uj(self) -> int:
        now = self._read()
        moved = now - self._last_uj
        self._last_uj = now
        return moved if moved >= 0 else moved + self._range_uj + 1  # it begins anew at the end of its range


class Nvidia(Counter):
    """All cards of the driver whose library this is. Those older than Volta do not count: OSError."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        self._call("nvmlInit_v2")
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        if not count.value:
            raise OSError("there is no card")
        self._cards = [ctypes.c_void_p() for _ in range(count.value)]
        for i, card in enumerate(self._cards):
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(i), ctypes.byref(card))
        self._last_mj = self._read()
        self.name = f"{count.value} NVIDIA card{'s' if count.value > 1 else ''}"

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self._library, name, None)
        code = function(*arguments) if function else -1
        if code:
            raise OSError(f"{name} failed with {code}")

    def _read(self) -> int:
        total = 0
        for card in self._cards:
            energy_mj = ctypes.c_ulonglong()
            self._call("nvmlDeviceGetTotalEnergyConsumption", card, ctypes.byref(energy_mj))
            total += energy_mj.value
        return total

    def moved_uj(self) -> int:
        now = self._read()
        moved = now - self._last_mj
        self._last_mj = now
        return max(0, moved) * 1000  # less than before: the driver was loaded anew


def counters() -> list[Counter]:
    """Those of this machine that we may read."""
    found: list[Counter] = []
    for folder in _domains():
        with suppress(OSError, ValueError):
            found.append(Rapl(folder))
    with suppress(OSError):
        found.append(Nvidia(NVML))
    return found


def told(found: Sequence[Counter]) -> str:
    """Which of the machine's counters can be read, and which cannot, in words."""
    processor = [counter.name for counter in found if isinstance(counter, Rapl)]
    cards = [counter.name for counter in found if isinstance(counter, Nvidia)]
    locked = len(_domains()) - len(processor)
    said = [f"RAPL counts {' and '.join(processor)}"] if processor else []
    if locked:
        said.append(f"{locked} RAPL counter{'s' if locked > 1 else ''} cannot be read: mostly only root may")
    elif not processor:
        said.append("there is no RAPL")
    return "; ".join([*said, f"NVML counts {cards[0]}" if cards else "NVML counts no card"])


def _domains() -> list[Path]:
    """What of the processor draws by itself, whether it may be read or not."""
    found = []
    for folder in sorted(POWERCAP.glob("intel-rapl:*")):
        with suppress(OSError):
            name = _name_of(folder)
            # `psys` would count the packages again, and `core` a part of them; memory is counted by neither.
            if (_PACKAGE.fullmatch(folder.name) and name.startswith("package")) or name == "dram":
                found.append(folder)
    return found


def _name_of(folder: Path) -> str:
    return (folder / "name").read_text().strip()


def on_this_machine(upstreams: Mapping[str, Upstream]) -> frozenset[str]:
    """The local upstreams whose server runs where we do. What others draw cannot be seen from here."""
    return frozenset(
        name
        for name, upstream in upstreams.items()
        if upstream.location == "local" and urlsplit(str(getattr(upstream, "base_url", None) or "")).hostname in _HERE
    )


@dataclass(slots=True, eq=False)
class Share:
    """What one attempt has drawn so far; None when a counter failed meanwhile."""

    uj: float | None = 0.0


class Meter:
    """Shares what is drawn equally among those that are worked on at the time."""

    def __init__(self, counters: Sequence[Counter] = (), upstreams: Container[str] = ()) -> None:
        self._counters = list(counters)
        self._upstreams = upstreams
        self._sharing: list[Share] = []

    def begin(self, upstream: str) -> Share | None:
        """An attempt begins; None where it cannot be measured."""
        if not self._counters or upstream not in self._upstreams:
            return None
        self._read()
        share = Share()
        self._sharing.append(share)
        return share

    def end(self, share: Share | None) -> int | None:
        """It has ended: the millijoules that were its part."""
        if share is None or share not in self._sharing:
            return None
        self._read()
        self._sharing.remove(share)
        return None if share.uj is None else round(share.uj / 1000)

    def _read(self) -> None:
        try:
            moved_uj = sum([counter.moved_uj() for counter in self._counters])
        except (OSError, ValueError):
            self._counters.clear()
            for share in self._sharing:
                share.uj = None
            return
        for share in self._sharing:
            if share.uj is not None:
                share.uj += moved_uj / len(self._sharing)
