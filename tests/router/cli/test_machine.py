"""How much memory there is for a model, from what the kernel and its programs say."""

from pathlib import Path

import pytest

from weighbridge.catalogue.memory import GB
from weighbridge.cli.machine import Machine, look

CARDS = "nvidia-smi"


def files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / {"meminfo": "proc/meminfo", "cgroup": "sys/fs/cgroup/memory.max"}[name]
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return folder


def saying(**answers: str):
    return lambda command: answers.get(command[0].replace("-", "_"), "")


def test_linux_says_it_in_a_file(tmp_path: Path) -> None:
    root = files(tmp_path, meminfo="MemTotal:       16000000 kB\nMemFree: 1 kB\n")
    machine = look(root, saying())
    assert machine == Machine(16_384_000_000, None)
    assert machine.model_bytes == 8 * GB
    assert str(machine) == "16.4 GB, of which a model may take 8.0 GB"


@pytest.mark.parametrize(("limit", "expected"), [("4000000000\n", 4 * GB), ("max\n", 16_384_000_000)])
def test_a_container_has_what_it_is_allowed(limit: str, expected: int, tmp_path: Path) -> None:
    root = files(tmp_path, meminfo="MemTotal: 16000000 kB\n", cgroup=limit)
    assert look(root, saying()).memory_bytes == expected


def test_macos_is_asked(tmp_path: Path) -> None:
    machine = look(tmp_path, saying(sysctl="8589934592\n"))
    assert (machine.memory_bytes, machine.model_bytes) == (8_589_934_592, 4_294_967_296)


def test_cards_go_before_the_memory_of_the_machine(tmp_path: Path) -> None:
    machine = look(tmp_path, saying(sysctl="8589934592", nvidia_smi="24576\n24576\n[N/A]\n"))
    assert machine.model_bytes == machine.card_bytes == 2 * 24_576 * 1024 * 1024
    assert str(machine) == "51.5 GB on NVIDIA cards"


def test_what_nothing_says_is_unknown(tmp_path: Path) -> None:
    machine = look(tmp_path, saying(sysctl="?", nvidia_smi="NVIDIA-SMI has failed"))
    assert (machine, machine.model_bytes, str(machine)) == (Machine(None, None), None, "unknown")


def test_this_machine_has_memory() -> None:
    assert (look().memory_bytes or 0) > GB // 10
