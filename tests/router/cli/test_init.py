"""`weighbridge init`: a commented config.toml from what is found; never over a file, and never with a key in it."""

import json
from itertools import combinations
from pathlib import Path

import pytest

from weighbridge.catalogue.memory import GB
from weighbridge.cli.discovery import PROVIDERS, Place, Server
from weighbridge.cli.init import composed
from weighbridge.cli.machine import Machine
from weighbridge.config import Config, load

MODELS = {"/api/tags": {"models": [{"name": "phi4-mini:latest", "size": 2_500_000_000}]}}
NOWHERE = {"OLLAMA_HOST": "127.0.0.1:9"}


def read(folder: Path, text: str) -> Config:
    (folder / "written.toml").write_text(text)
    return load(folder / "written.toml", {})


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def server(name: str, use: str, **changes: object) -> Server:
    fields = {"models": ("m:1b",), "context_window": None, "is_local": True, **changes}
    return Server(Place(name, use, "http://127.0.0.1:1/v1" if use == "openai" else "http://127.0.0.1:1"), **fields)  # type: ignore[arg-type]


async def test_what_is_found_is_in_the_file(tmp_path: Path, listening, weighbridge) -> None:
    url = await listening(MODELS)
    env = {"OLLAMA_HOST": url, "ANTHROPIC_API_KEY": "sk-ant-not-to-be-seen", "GROQ_API_KEY": "gsk-not-to-be-seen"}
    ended = await weighbridge("init", env=env)
    assert ended.code == 0, ended.err
    assert f"Ollama: answers at {url}, with phi4-mini:latest" in ended.out
    assert "ANTHROPIC_API_KEY: is set" in ended.out
    text = (tmp_path / "config.toml").read_text()
    assert "not-to-be-seen" not in text + ended.out + ended.err
    config = load(tmp_path / "config.toml", {})
    assert (config.upstreams["local"].model, config.upstreams["local"].location) == ("phi4-mini:latest", "local")
    assert config.upstreams["remote"].model.startswith("anthropic/")
    assert config.upstreams["groq"].location == "remote"
    assert "# first_token_s = 120" in text
    assert (await weighbridge("validate", env=env)).code == 0


async def test_without_anything_found_the_default_is_written(tmp_path: Path, weighbridge) -> None:
    ended = await weighbridge("init", "--output", "new.toml", "--yes", env=NOWHERE)
    assert ended.code == 0
    assert "export OPENAI_API_KEY" in ended.out
    upstreams = load(tmp_path / "new.toml", {}).upstreams
    # What to pull goes by this machine's memory; the file and the advice name the same model.
    assert f"ollama pull {upstreams['local'].model} " in ended.out
    assert upstreams["remote"].model == "gpt-5-mini"
    assert (await weighbridge("validate", "--config", "new.toml")).code == 0


async def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path, weighbridge) -> None:
    (tmp_path / "config.toml").write_text("mine")
    ended = await weighbridge("init", env=NOWHERE)
    assert ended.code == 1
    assert "config.toml is there already: --force writes over it" in ended.err
    assert (tmp_path / "config.toml").read_text() == "mine"
    assert (await weighbridge("init", "--force", env=NOWHERE)).code == 0
    assert load(tmp_path / "config.toml", {}).routes
    assert names_in(tmp_path) == ["config.toml"]


async def test_a_place_that_cannot_be_written_is_told(weighbridge) -> None:
    ended = await weighbridge("init", "--output", "nowhere/config.toml", env=NOWHERE)
    assert ended.code == 1
    assert "nowhere/config.toml cannot be written: No such file or directory" in ended.err


async def test_the_findings_come_as_json(listening, weighbridge) -> None:
    url = await listening(MODELS)
    ended = await weighbridge("init", "--json", env={"OLLAMA_HOST": url, "OPENAI_API_KEY": "x"})
    found = json.loads(ended.out)
    assert found["keys"] == ["OPENAI_API_KEY"]
    assert (found["model"], found["is_installed"]) == ("phi4-mini:latest", True)
    assert {"name": "Ollama", "base_url": url, "models": ["phi4-mini:latest"]} in found["servers"]


@pytest.mark.parametrize("keys", [*combinations(PROVIDERS, 1), *combinations(PROVIDERS, 2), PROVIDERS])
def test_every_provider_gives_a_file_that_is_valid(keys: tuple, tmp_path: Path) -> None:
    config = read(tmp_path, composed([], keys))
    assert config.upstreams["remote"].model == keys[0].model
    assert dict(config.variables())["upstreams.remote.api_key_env"] == keys[0].variable
    assert len(config.upstreams) == 1 + len(keys)


def test_every_server_gives_a_file_that_is_valid(tmp_path: Path) -> None:
    every = [
        server("vLLM", "openai", context_window=32768),
        server("Ollama", "ollama", models=('odd "name"', "b")),
        server("LM Studio", "openai", models=()),
        server("llama.cpp", "openai"),
    ]
    config = read(tmp_path, composed(every, []))
    assert config.upstreams["local"].context_window == 32768
    assert config.upstreams["ollama"].model == 'odd "name"'
    assert list(config.upstreams) == ["local", "remote", "ollama", "llamacpp"]


def test_a_window_that_is_not_known_is_commented_out(tmp_path: Path) -> None:
    text = composed([server("llama.cpp", "openai")], [])
    assert read(tmp_path, text).upstreams["local"].context_window is None
    assert "# context_window = 8192" in text


def test_a_server_on_another_machine_is_outside_the_fence(tmp_path: Path) -> None:
    config = read(tmp_path, composed([server("Ollama", "ollama", is_local=False)], []))
    assert config.upstreams["local"].location == "remote"


def test_the_model_that_was_chosen_is_the_small_one(tmp_path: Path) -> None:
    config = read(tmp_path, composed([server("Ollama", "ollama", models=("a", "b"))], [], "b"))
    assert config.upstreams["local"].model == "b"


def test_the_best_installed_model_is_written_with_the_window_that_fits(tmp_path: Path) -> None:
    found = [server("Ollama", "ollama", models=("tinyllama:latest", "qwen3:4b", "phi4"), windows={"qwen3:4b": 262_144})]
    text = composed(found, [], machine=Machine(16 * GB, None))
    local = read(tmp_path, text).upstreams["local"]
    assert (local.model, local.context_window) == ("qwen3:4b", 32_768)
    assert "# Its window is 262,144 tokens; 32,768 fit into 8.0 GB beside it.\n" in text


def test_without_a_model_one_to_pull_is_written(tmp_path: Path) -> None:
    text = composed([server("LM Studio", "openai", models=())], [], machine=Machine(8 * GB, None))
    local = read(tmp_path, text).upstreams["local"]
    assert f"# Not installed yet: ollama pull {local.model}\n" in text
    assert local.model != "qwen2.5:3b"
    assert local.location == "local"


def test_where_nothing_fits_the_default_stays(tmp_path: Path) -> None:
    for machine in (Machine(GB // 2, None), Machine(None, None)):
        assert read(tmp_path, composed([], [], machine=machine)).upstreams["local"].model == "qwen2.5:3b"


def test_a_name_cannot_leave_its_comment(tmp_path: Path) -> None:
    name = 'x\n[server]\nport = 1 # "'
    config = read(tmp_path, composed([server("Ollama", "ollama", models=(name,))], []))
    assert config.upstreams["local"].model == name
    assert config.server.port == 8484


COMPANY = server("Ollama", "ollama", models=("llama3.2:3b", "qwen2.5-coder:3b", "phi4"))


def test_installed_models_that_are_better_at_a_task_get_it(tmp_path: Path) -> None:
    text = composed([COMPANY], [], "llama3.2:3b", machine=Machine(16 * GB, None))
    config = read(tmp_path, text)
    assert config.upstreams["local"].model == "llama3.2:3b"
    assert config.routes["auto"].small_by_task["code"] == "qwen2-5-coder-3b"
    assert set(config.routes["auto"].smalls) == {"local", "qwen2-5-coder-3b"}  # phi4 does not fit beside them
    assert config.upstreams["qwen2-5-coder-3b"].model == "qwen2.5-coder:3b"
    assert "the catalogue recommends Qwen2.5 Coder 3B for it" in text
    assert "# small_by_task" not in text


def test_models_that_share_the_memory_have_smaller_windows(tmp_path: Path) -> None:
    alone = read(
        tmp_path, composed([server("Ollama", "ollama", models=("llama3.2:3b",))], [], None, Machine(16 * GB, None))
    )
    beside = read(tmp_path, composed([COMPANY], [], "llama3.2:3b", Machine(16 * GB, None)))
    assert (alone.upstreams["local"].context_window or 0) > (beside.upstreams["local"].context_window or 0) >= 4096


@pytest.mark.parametrize(
    "machine", [pytest.param(Machine(None, None), id="unknown"), pytest.param(Machine(7 * GB, None), id="little")]
)
def test_without_the_memory_for_two_there_is_one(tmp_path: Path, machine: Machine) -> None:
    assert not read(tmp_path, composed([COMPANY], [], "llama3.2:3b", machine)).routes["auto"].small_by_task


def test_beside_a_model_that_nobody_knows_there_are_no_better_ones(tmp_path: Path) -> None:
    found = server("Ollama", "ollama", models=("mine", "qwen2.5-coder:3b"))
    assert not read(tmp_path, composed([found], [], "mine", Machine(16 * GB, None))).routes["auto"].small_by_task
