"""The command line as a whole: verbs, exit codes, and no traceback for what could be foreseen."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commanding import ConfigFile

from weighbridge.cli.commands import app

VERBS = [
    "init",
    "serve",
    "reload",
    "demo",
    "route",
    "report",
    "audit",
    "validate",
    "doctor",
    "fit",
    "eval",
    "calibrate",
    "replay",
    "version",
    "models",
    "keys",
]


async def test_the_help_lists_every_verb(weighbridge_process) -> None:
    ended = await weighbridge_process("--help")
    assert ended.code == 0
    assert re.findall(r"^  ([a-z]+) +[A-Z]", ended.out, re.MULTILINE) == VERBS
    assert "..." not in ended.out.partition("Commands:")[2], "a verb's first sentence is too long for one line"


@pytest.mark.parametrize("verb", VERBS)
async def test_every_verb_explains_itself(verb: str, weighbridge) -> None:
    ended = await weighbridge(verb, "-h")
    assert ended.code == 0
    assert f" {verb} [OPTIONS]" in ended.out


def test_every_verb_and_option_has_a_help_text() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__, command.callback


@pytest.mark.parametrize(
    "verb", ["init", "route", "report", "models", "validate", "doctor", "fit", "eval", "calibrate", "version"]
)
async def test_every_reading_verb_takes_json(verb: str, weighbridge) -> None:
    assert "--json" in (await weighbridge(verb, "--help")).out


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
async def test_the_version_is_told(arguments: list[str], weighbridge_process) -> None:
    ended = await weighbridge_process(*arguments)
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(r"weighbridge \d+\.\d+\.\d+\S*\n", ended.out)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["report", "--nonsense"],
        ["route"],
        ["serve", "--port", "many"],
        ["serve", "--port", "70000"],
        ["serve", "--workers", "0"],
        ["report", "--format", "pdf"],
        ["report", "--by", "moon"],
    ],
)
async def test_a_usage_error_ends_with_2(arguments: list[str], config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge(*arguments)
    assert ended.code == 2
    assert ended.err.startswith("Usage: ")


@pytest.mark.parametrize("verb", ["serve", "validate", "models", "report", "route"])
async def test_a_missing_config_ends_with_78_and_a_remedy(verb: str, weighbridge_process) -> None:
    ended = await weighbridge_process(verb, *(["hello"] if verb == "route" else []))
    assert ended.code == 78
    assert "config.toml: there is no such file; run `weighbridge init` to write one" in ended.err


@pytest.mark.parametrize("verb", ["validate", "models", "report", "route"])
async def test_a_bad_config_ends_with_78_and_all_its_mistakes(verb: str, config: ConfigFile, weighbridge) -> None:
    config.change("port = 0", "prot = 0")
    config.change("threshold = 0", "threshold = 4")
    ended = await weighbridge(verb, *(["hello"] if verb == "route" else []))
    assert ended.code == 78
    first, second = ended.err.splitlines()
    assert first.startswith("config.toml:2: server.prot = 0 is not a known key; did you mean port")
    assert second.startswith("config.toml:22: routes.auto.policy.threshold = 4.")
    assert second.endswith("must be at most 1")


async def test_the_environment_names_the_config(config: ConfigFile, weighbridge) -> None:
    moved = config.moved("other.toml")
    ended = await weighbridge("validate", env={"WEIGHBRIDGE_CONFIG": str(moved)})
    assert ended.code == 0
    assert "other.toml is valid" in ended.out


def modules_after(*arguments: str, folder: Path) -> set[str]:
    """The top-level packages that a verb loads."""
    code = (
        f"import sys; sys.argv = ['weighbridge', *{list(arguments)!r}]\n"
        "from weighbridge.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    return set(run.stdout.rpartition("LOADED")[2].split())


async def test_the_help_loads_next_to_nothing(tmp_path: Path) -> None:
    loaded = await asyncio.to_thread(modules_after, "--help", folder=tmp_path)
    assert loaded.isdisjoint({"pydantic", "numpy", "onnxruntime", "uvicorn", "fastapi", "aiohttp", "rich", "litellm"})


@pytest.mark.parametrize("verb", ["report", "models"])
async def test_a_reading_verb_loads_no_classifier_and_no_framework(verb: str, config: ConfigFile) -> None:
    loaded = await asyncio.to_thread(modules_after, verb, folder=config.path.parent)
    assert loaded.isdisjoint({"onnxruntime", "tokenizers", "uvicorn", "fastapi", "litellm", "torch", "sklearn"})
