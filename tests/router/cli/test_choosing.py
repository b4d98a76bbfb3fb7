"""Which local model is written down, and with which window."""

import pytest

from weighbridge.catalogue.entries import catalogue, found
from weighbridge.catalogue.memory import GB
from weighbridge.cli.choosing import best_installed, to_pull
from weighbridge.cli.discovery import Place, Server
from weighbridge.cli.machine import Machine

UNKNOWN = Machine(None, None)
OLLAMA = Place("Ollama", "ollama", "http://127.0.0.1:11434")
VLLM = Place("vLLM", "openai", "http://127.0.0.1:8000/v1")


def on(place: Place, *models: str, is_local: bool = True, window: int | None = None, **windows: int) -> Server:
    return Server(place, models, window, is_local, {name.replace("_", ":"): size for name, size in windows.items()})


@pytest.mark.parametrize(
    ("gigabytes", "expected"), [(24, "phi4:14b"), (8, "llama3.1:8b"), (4, "qwen3:4b"), (1, "smollm2:135m")]
)
def test_the_best_that_fits_is_chosen(gigabytes: int, expected: str) -> None:
    server = on(OLLAMA, "smollm2:135m", "phi4:14b", "qwen3:4b", "llama3.1:8b", "their-own:7b")
    assert best_installed(server, Machine(None, gigabytes * GB)).name == expected


def test_a_server_on_another_machine_is_not_held_to_this_ones_memory() -> None:
    server = on(OLLAMA, "smollm2:135m", "phi4:14b", is_local=False)
    assert best_installed(server, Machine(GB, None)).name == "phi4:14b"


@pytest.mark.parametrize("machine", [UNKNOWN, Machine(GB, None)])
def test_where_the_catalogue_knows_none_the_likeliest_is_chosen(machine: Machine) -> None:
    choice = best_installed(on(OLLAMA, "their-own:7b", "another"), machine)
    assert (choice.name, choice.context_window) == ("their-own:7b", 8192)
    assert choice.remarks == ("The catalogue does not know their-own:7b.",)


def test_what_the_user_chose_stays() -> None:
    assert best_installed(on(OLLAMA, "qwen3:4b", "tinyllama"), UNKNOWN, "tinyllama").name == "tinyllama"
    assert best_installed(on(OLLAMA, "qwen3:4b"), UNKNOWN, "typed by hand").name == "typed by hand"


def test_the_window_is_the_servers_word_as_far_as_it_fits() -> None:
    server = on(OLLAMA, "qwen3:4b", qwen3_4b=16_384)
    assert best_installed(server, Machine(None, 100 * GB)).context_window == 16_384
    roomy = best_installed(on(OLLAMA, "qwen3:4b"), Machine(None, 100 * GB))
    assert (roomy.context_window, roomy.remarks[-1]) == (40_960, "Its window is 40,960 tokens.")
    tight = best_installed(on(OLLAMA, "qwen3:4b"), Machine(None, 4 * GB))
    assert (tight.context_window, tight.remarks[-1]) == (
        4096,
        "Its window is 40,960 tokens; 4,096 fit into 4.0 GB beside it.",
    )


def test_a_small_window_is_never_exceeded() -> None:
    assert best_installed(on(OLLAMA, "their-own", **{"their-own": 2048}), UNKNOWN).context_window == 2048
    assert best_installed(on(OLLAMA, "falcon:7b"), UNKNOWN).context_window == 2048


def test_what_a_server_was_started_with_is_taken_as_it_is() -> None:
    assert best_installed(on(VLLM, "Qwen/Qwen3-4B", window=12_000), UNKNOWN).context_window == 12_000
    assert best_installed(on(VLLM, "Qwen/Qwen3-4B"), UNKNOWN).context_window is None


@pytest.mark.parametrize("gigabytes", [1, 2, 4, 8, 16, 48])
def test_the_model_to_pull_is_known_and_fits(gigabytes: int) -> None:
    choice = to_pull(Machine(None, gigabytes * GB))
    assert choice is not None
    model = found(choice.name, catalogue())
    assert model is not None
    assert model.size * 5 / 8 < gigabytes * GB
    assert choice.context_window
    assert choice.remarks[0] == f"Not installed yet: ollama pull {choice.name}"


@pytest.mark.parametrize("machine", [UNKNOWN, Machine(GB // 4, None)])
def test_where_nothing_fits_nothing_is_to_be_pulled(machine: Machine) -> None:
    assert to_pull(machine) is None
