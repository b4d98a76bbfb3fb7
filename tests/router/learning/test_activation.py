"""A change of the config: shown first, written whole, and never over somebody else's."""

import tomllib
from pathlib import Path

import pytest

from weighbridge.learning.activation import artefact_change, threshold_change
from weighbridge.learning.editing import CannotEdit

CONFIG = '# mine\n[classifier]\nuse = "length"  # for now\n\n[routes.auto]\nsmall = "a"\nlarge = "b"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    path.chmod(0o640)
    return path


def test_an_artefact_is_put_to_use_with_the_classifier_that_reads_it(path: Path, tmp_path: Path) -> None:
    change = artefact_change(path, "length", tmp_path / "own-1")
    assert path.read_text() == CONFIG
    change.write()
    classifier = tomllib.loads(path.read_text())["classifier"]
    assert classifier == {"use": "minilm", "artefact": str(tmp_path / "own-1")}
    assert "# mine" in path.read_text()
    assert "# for now" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["config.toml"]


def test_a_threshold_is_set_for_a_route(path: Path) -> None:
    change = threshold_change(path, "auto", 0.123456)
    assert "+policy = { threshold = 0.1235 }" in change.diff
    change.write()
    assert not threshold_change(path, "auto", 0.1235).diff


def test_a_file_that_was_changed_meanwhile_is_left_alone(path: Path) -> None:
    change = threshold_change(path, "auto", 0.5)
    path.write_text(CONFIG + "# by hand\n")
    with pytest.raises(CannotEdit, match="has changed meanwhile"):
        change.write()
    assert path.read_text().endswith("# by hand\n")


def test_a_link_stays_one(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    threshold_change(link, "auto", 0.5).write()
    assert link.is_symlink()
    assert "threshold = 0.5" in path.read_text()


def test_what_cannot_be_edited_says_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('routes = "none"\n')
    with pytest.raises(CannotEdit, match="is written in a way"):
        threshold_change(path, "auto", 0.5)
