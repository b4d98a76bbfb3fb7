"""The file of callers' keys."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from weighbridge import keys
from weighbridge.keys import BadName, KeysError, KeysFile, digest_of


@pytest.fixture
def file(tmp_path: Path) -> KeysFile:
    return KeysFile(tmp_path / "keys.json")


def test_a_key_is_random_and_only_its_digest_is_kept(file):
    made = [file.add(f"k{i}", ["chat"], None) for i in range(3)]
    assert len(set(made)) == 3
    assert all(key.startswith("wb-") and len(key) >= 3 + 128 / 6 for key in made)
    text = file.path.read_text()
    assert not any(key in text or key[3:] in text for key in made)
    assert [key.sha256 for key in file.read()] == [digest_of(key.encode()).hex() for key in made]


def test_the_file_is_its_owners_alone_whatever_the_umask(file):
    before = os.umask(0)
    try:
        file.add("one", ["chat"], None)
        file.add("two", ["chat"], None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["keys.json"]


def test_what_was_written_is_read(file):
    until = datetime.now(UTC) + timedelta(days=90)
    file.add("grafana", ["report", "report"], until)
    [key] = file.read()
    assert (key.name, key.scopes, key.expires_at) == ("grafana", ("report",), until)
    assert not key.has_expired(until - timedelta(seconds=1))
    assert key.has_expired(until)


def test_a_name_stands_for_one_key(file):
    file.add("ci", ["chat"], None)
    with pytest.raises(KeysError, match="there is a key CI already"):
        file.add("CI", ["chat"], None)
    file.revoke("Ci")
    file.add("CI", ["chat"], None)


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\n", "-x", "x" * 65, "anyone", "Anyone", "key-0123abcd", "é", "a/b"]
)
def test_a_bad_name_is_refused(file, name):
    with pytest.raises(BadName, match="cannot be a key's name: write"):
        file.add(name, ["chat"], None)
    assert not file.path.exists()


def test_an_unknown_name_is_told_with_those_that_are_there(file):
    file.add("ci", ["chat"], None)
    with pytest.raises(KeysError, match="there is no key cu; known: ci"):
        file.revoke("cu")
    assert len(file.read()) == 1


def test_a_missing_file_is_told_with_the_remedy(file):
    for use in (file.read, lambda: file.revoke("ci")):
        with pytest.raises(KeysError, match="weighbridge keys add NAME"):
            use()
    assert list(file.path.parent.iterdir()) == []


@pytest.mark.parametrize("text", ["", "\n", '{"version": 1, "keys": []}'])
def test_an_empty_file_holds_no_keys_and_can_be_added_to(file, text):
    file.path.write_text(text)
    assert file.read() == ()
    file.add("ci", ["chat"], None)
    assert len(file.read()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"version": 2}',
        '{"keys": [{"name": "x"}]}',
        '{"keys": [{"name": "x", "sha256": "short", "scopes": ["chat"], "created_at": "2026-01-01T00:00:00Z"}]}',
        '{"keys": [{"name": "x", "sha256": "DIGEST", "scopes": [], "created_at": "2026-01-01T00:00:00Z"}]}',
        '{"keys": [{"name": "x", "sha256": "DIGEST", "scopes": ["chat"], "created_at": "2026-01-01T00:00:00"}]}',
    ],
)
def test_what_is_no_keys_file_is_refused_and_left_as_it_is(file, text):
    text = text.replace("DIGEST", "0" * 64)
    file.path.write_text(text)
    with pytest.raises(KeysError, match="is not a keys file"):
        file.add("ci", ["chat"], None)
    assert file.path.read_text() == text
    assert [path.name for path in file.path.parent.iterdir()] == ["keys.json"]


def test_two_keys_of_one_name_are_refused(file):
    file.add("ci", ["chat"], None)
    contents = json.loads(file.path.read_text())
    contents["keys"] *= 2
    file.path.write_text(json.dumps(contents))
    with pytest.raises(KeysError, match="the same name"):
        file.read()


def test_a_file_that_others_may_write_is_refused(file):
    file.add("ci", ["chat"], None)
    file.path.chmod(0o620)
    with pytest.raises(KeysError, match="chmod 600"):
        file.read()


def test_commands_at_the_same_time_lose_no_key(file):
    names = [f"k{i}" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        made = dict(zip(names, pool.map(lambda name: file.add(name, ["chat"], None), names), strict=True))
    assert {key.name: key.sha256 for key in file.read()} == {
        name: digest_of(key.encode()).hex() for name, key in made.items()
    }


def test_a_lock_that_is_left_over_is_told(file, monkeypatch):
    monkeypatch.setattr(keys, "_LOCK_S", 0.0)
    file.path.with_name("keys.json.new").touch()
    with pytest.raises(KeysError, match=r"keys.json.new: is there already.*remove it"):
        file.add("ci", ["chat"], None)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(KeysError, match=r"cannot be written: No such file or directory; check server.keys_path"):
        KeysFile(tmp_path / "nowhere" / "keys.json").add("ci", ["chat"], None)


def test_behind_a_symbolic_link_the_file_itself_is_changed(tmp_path):
    there, link = tmp_path / "there.json", tmp_path / "link.json"
    link.symlink_to(there)
    KeysFile(link).add("one", ["chat"], None)
    KeysFile(link).add("two", ["chat"], None)
    assert link.is_symlink()
    assert len(KeysFile(there).read()) == 2
