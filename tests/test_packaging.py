"""What ships: one import name, every module of the three folders, and the data that they need."""

import re
import shutil
import subprocess
import sys
import tomllib
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"router": "weighbridge", "policies": "weighbridge/policies", "classifiers": "weighbridge/classifiers"}
DATA = (
    "*.onnx",
    "*.npz",
    "*.json",
    "*.jsonl",
    "*.toml",
    "*.html",
    "*.css",
    "*.js",
    "*.svg",
    "*.md",
    "*.lua",
    "py.typed",
)


def test_the_lock_names_the_digest_of_every_file() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    files = [file for one in locked for file in (*one.get("wheels", ()), *filter(None, [one.get("sdist")]))]
    assert [one["name"] for one in locked if not one.get("wheels") and "sdist" not in one] == ["weighbridge"]
    assert {file.get("hash", "none").partition(":")[0] for file in files} == {"sha256"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel made from the sdist, as a release makes it; built from a copy, so that no old build/ leaks in."""
    copy, made = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made), str(copy)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return ZipFile(next(made.glob("*.whl")))


def shipped(wheel: ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_one_top_level_name(wheel: ZipFile) -> None:
    assert {name.partition("/")[0] for name in shipped(wheel)} == {"weighbridge"}


def test_every_module_of_the_three_folders_ships(wheel: ZipFile) -> None:
    modules = {
        str(PurePosixPath(package) / path.relative_to(ROOT / folder).as_posix())
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name for name in shipped(wheel) if name.endswith(".py")} == modules


def test_every_data_file_of_the_three_folders_ships(wheel: ZipFile) -> None:
    data = {
        str(PurePosixPath(package) / path.relative_to(ROOT / folder).as_posix())
        for folder, package in FOLDERS.items()
        for pattern in DATA
        for path in (ROOT / folder).rglob(pattern)
    }
    assert data <= shipped(wheel)


@pytest.mark.parametrize(
    "name",
    [
        "weighbridge/py.typed",
        "weighbridge/default.toml",
        "weighbridge/demo/prompts.jsonl",
        "weighbridge/state/take.lua",
        "weighbridge/classifiers/artefact/encoder.onnx",
        "weighbridge/classifiers/artefact/head.npz",
        "weighbridge/classifiers/artefact/manifest.json",
        "weighbridge/classifiers/artefact/tokenizer.json",
        "weighbridge/classifiers/artefact/MODEL_CARD.md",
    ],
)
def test_what_runs_without_a_network_ships(wheel: ZipFile, name: str) -> None:
    assert name in shipped(wheel)


def test_the_metadata_says_what_pyproject_says(wheel: ZipFile) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    assert metadata["Name"] == project["name"]
    assert metadata["Version"] == project["version"] == version("weighbridge")
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{version('weighbridge')}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_serving_needs_no_torch(wheel: ZipFile) -> None:
    name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    needed = [r for r in message_from_bytes(wheel.read(name)).get_all("Requires-Dist", []) if "extra ==" not in r]
    assert not [r for r in needed if r.startswith(("torch", "sentence-transformers", "transformers", "onnx "))]


def test_the_lock_names_the_public_index_alone() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    sources = {str(p["source"].get("registry")) for p in lock["package"] if "editable" not in p["source"]}
    assert sources == {"https://pypi.org/simple"}
    files = [f["url"] for p in lock["package"] for f in [*p.get("wheels", []), *([p["sdist"]] if "sdist" in p else [])]]
    assert all(url.startswith("https://files.pythonhosted.org/") for url in files)


def test_the_lock_knows_every_dependency() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = next(p for p in lock["package"] if p["name"] == "weighbridge")
    wanted = [*project["dependencies"], *(r for group in project["optional-dependencies"].values() for r in group)]
    locked = {(r["name"], r.get("specifier", "")) for r in own["metadata"]["requires-dist"]}
    assert {name for name, _ in locked} == {_name(r) for r in wanted}


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()
