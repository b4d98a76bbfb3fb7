"""The shipped classifier, loaded once, and copies of its artefact to damage."""

import shutil
from pathlib import Path

import pytest

from weighbridge.classifiers.minilm import SHIPPED, MiniLM


@pytest.fixture(scope="session")
def minilm() -> MiniLM:
    return MiniLM()


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    """A copy of the shipped artefact. Its files are links until `own` makes one's own of them."""
    copy = tmp_path / "artefact"
    copy.mkdir()
    for file in SHIPPED.iterdir():
        if file.is_file() and file.suffix != ".py":
            (copy / file.name).symlink_to(file)
    return copy


@pytest.fixture
def own():
    """Replaces a link in a copy by a file that may be changed."""

    def replace(path: Path) -> Path:
        source = path.resolve()
        path.unlink()
        shutil.copyfile(source, path)
        return path

    return replace
