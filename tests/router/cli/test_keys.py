"""`weighbridge keys`: what is made is let in, and what is taken away is not."""

import json
import re
from pathlib import Path

import pytest
from commanding import ConfigFile

from weighbridge.keys import KeysFile, digest_of


@pytest.fixture
def keyed(config: ConfigFile) -> ConfigFile:
    config.change("port = 0", 'port = 0\nkeys_path = "keys.json"')
    return config


async def test_a_key_is_shown_once_and_alone(keyed: ConfigFile, weighbridge) -> None:
    made = await weighbridge("keys", "add", "ci", "--scope", "report", "--scope", "chat", "--expires", "90d")
    assert made.code == 0
    key = made.out.strip()
    assert re.fullmatch(r"wb-[A-Za-z0-9_-]{43}", key)
    assert "Key ci (chat, report; until 20" in made.err
    assert "only this once" in made.err
    listed = await weighbridge("keys", "list")
    assert "ci" in listed.out
    assert key not in listed.out + made.err + keyed.beside("keys.json").read_text()
    [kept] = KeysFile(keyed.beside("keys.json")).read()
    assert kept.sha256 == digest_of(key.encode()).hex()


async def test_programs_get_json(keyed: ConfigFile, weighbridge) -> None:
    await weighbridge("keys", "add", "ci")
    await weighbridge("keys", "add", "board", "--scope", "report", "--expires", "2999-12-31")
    shown = json.loads((await weighbridge("keys", "list", "--json")).out)
    assert shown["path"] == "keys.json"
    assert [(key["name"], key["scopes"], key.get("expires_at")) for key in shown["keys"]] == [
        ("ci", ["chat"], None),
        ("board", ["report"], "2999-12-31T00:00:00Z"),
    ]
    assert not any(key["has_expired"] for key in shown["keys"])
    assert "sha256" not in shown["keys"][0]


async def test_a_revoked_key_is_gone_and_the_last_one_is_told(keyed: ConfigFile, weighbridge) -> None:
    await weighbridge("keys", "add", "one")
    await weighbridge("keys", "add", "two")
    assert (await weighbridge("keys", "revoke", "one")).out == "Key one is revoked.\n"
    assert "lets nobody in now" in (await weighbridge("keys", "revoke", "two")).out
    assert "holds no keys" in (await weighbridge("keys", "list")).out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["add", "a b"], 2, "cannot be a key's name"),
        (["add", "anyone"], 2, "are taken"),
        (["add", "ci", "--scope", "root"], 2, "not one of chat, report, admin"),
        (["add", "ci", "--expires", "soon"], 2, "write 90d"),
        (["add", "ci", "--expires", "999999w"], 2, "write 90d"),
        (["add", "ci", "--expires", "2001-01-31"], 2, "not in the future"),
        (["add", "ci", "--expires", "0d"], 2, "not in the future"),
        (["add"], 2, "Missing argument"),
        (["list"], 1, "keys.json: there is no such keys file; make it with `weighbridge keys add NAME`"),
        (["revoke", "ci"], 1, "there is no such keys file"),
    ],
)
async def test_what_cannot_be_is_told_in_words(
    arguments: list[str], code: int, words: str, keyed: ConfigFile, weighbridge
) -> None:
    ended = await weighbridge("keys", *arguments)
    assert ended.code == code
    assert words in " ".join(ended.err.replace("│", " ").split())
    assert not keyed.beside("keys.json").exists()


async def test_names_that_are_taken_or_unknown_are_told(keyed: ConfigFile, weighbridge) -> None:
    await weighbridge("keys", "add", "ci")
    for arguments, words in (("add", "ci"), "there is a key ci already"), (("revoke", "cu"), "no key cu; known: ci"):
        ended = await weighbridge("keys", *arguments)
        assert ended.code == 1
        assert words in ended.err


async def test_without_a_path_in_the_config_there_is_nowhere_to_keep_them(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("keys", "add", "ci")
    assert ended.code == 78
    assert 'add keys_path = "keys.json" to [server]' in ended.err


async def test_the_file_lies_beside_the_config(keyed: ConfigFile, tmp_path: Path, weighbridge) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = keyed.path.rename(tmp_path / "elsewhere" / "config.toml")
    assert (await weighbridge("keys", "add", "ci", "--config", str(moved))).code == 0
    assert (tmp_path / "elsewhere" / "keys.json").exists()
