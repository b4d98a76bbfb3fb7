"""The energy counters of a machine: read from the files and the library that they have, shared among the attempts."""

import shutil
import subprocess
from pathlib import Path

import pytest

from weighbridge import metering
from weighbridge.metering import Counter, Meter, Nvidia, Rapl, counters, on_this_machine
from weighbridge.upstreams.ollama import Ollama
from weighbridge.upstreams.openai import OpenAI
from weighbridge.upstreams.simulated import Simulated

# NVML as far as we call it: each card has used 5 J more whenever it is asked.
NVML = """
static unsigned long long used[CARDS + 1];
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = CARDS; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **card) { *card = &used[i]; return 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *mj) {
    *mj = *(unsigned long long *)card += 5000; return ANSWER; }
"""


class Given(Counter):
    """Moves as it is told."""

    def __init__(self, *moves_uj: int) -> None:
        self._moves_uj = list(moves_uj)

    def moved_uj(self) -> int:
        if not self._moves_uj:
            raise OSError("away")
        return self._moves_uj.pop(0)


def domain(powercap: Path, folder: str, name: str, uj: int = 0) -> Path:
    place = powercap / folder
    place.mkdir(parents=True)
    (place / "name").write_text(f"{name}\n")
    (place / "max_energy_range_uj").write_text("999999\n")
    (place / "energy_uj").write_text(f"{uj}\n")
    return place


def driver(folder: Path, *, cards: int = 2, answer: int = 0) -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    (folder / "nvml.c").write_text(NVML.replace("CARDS", str(cards)).replace("ANSWER", str(answer)))
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "nvml.c"], check=True)
    return str(library)


def test_a_processor_counts_on_over_the_end_of_its_range(tmp_path: Path) -> None:
    place = domain(tmp_path, "intel-rapl:0", "package-0", 999_000)
    rapl = Rapl(place)
    (place / "energy_uj").write_text("999500")
    assert rapl.moved_uj() == 500
    (place / "energy_uj").write_text("250")
    assert rapl.moved_uj() == 750
    assert rapl.moved_uj() == 0


def test_packages_and_memory_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name in (("0", "package-0"), ("1", "package-1"), ("0:0", "core"), ("0:1", "dram"), ("2", "psys")):
        domain(tmp_path, f"intel-rapl:{folder}", name)
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()  # as good as one that we may not read
    monkeypatch.setattr(metering, "POWERCAP", tmp_path)
    monkeypatch.setattr(metering, "NVML", str(tmp_path / "nothing.so"))
    assert len(counters()) == 2


def test_a_machine_without_counters_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "POWERCAP", tmp_path / "nothing")
    monkeypatch.setattr(metering, "NVML", str(tmp_path / "nothing.so"))
    assert counters() == []


def test_nvidias_cards_count_together(tmp_path: Path) -> None:
    assert Nvidia(driver(tmp_path)).moved_uj() == 10_000_000


@pytest.mark.parametrize("how", [{"cards": 0}, {"answer": 3}])
def test_cards_that_do_not_count_are_no_counter(tmp_path: Path, how: dict[str, int]) -> None:
    with pytest.raises(OSError, match=r"no card|failed with 3"):
        Nvidia(driver(tmp_path, **how))


def test_attempts_share_what_is_drawn_while_they_overlap() -> None:
    meter = Meter([Given(9, 1_000_000, 2_000_000, 4_000_000)], {"local"})
    first = meter.begin("local")
    second = meter.begin("local")
    assert meter.end(first) == 2000  # 1 J alone, and half of 2 J
    assert meter.end(second) == 5000
    assert meter.end(second) is None


def test_what_is_not_on_this_machine_is_not_measured() -> None:
    assert Meter([Given(1)], {"local"}).begin("remote") is None
    assert Meter([], {"local"}).begin("local") is None
    assert Meter().end(None) is None


def test_a_counter_that_goes_away_leaves_what_it_was_to_measure_unknown() -> None:
    meter = Meter([Given(1, 1)], {"local"})
    shares = [meter.begin("local"), meter.begin("local")]
    assert [meter.end(share) for share in shares] == [None, None]
    assert meter.begin("local") is None


def test_only_servers_on_this_machine_are_measured_here() -> None:
    upstreams = {
        "here": Ollama(model="m", location="local"),
        "there": OpenAI(base_url="http://192.168.1.7:8000/v1", model="m", location="local"),
        "named": OpenAI(base_url="http://localhost:8000/v1", model="m", location="local"),
        "tunnel": OpenAI(base_url="http://127.0.0.1:9/v1", model="m", location="remote"),
        "played": Simulated(model="m", location="local"),
    }
    assert on_this_machine(upstreams) == {"here", "named"}
