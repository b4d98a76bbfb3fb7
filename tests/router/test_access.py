"""Who may call, and what."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from weighbridge.access import Access, Holder, Keyring, holders_of, scope_of
from weighbridge.errors import Denied, Unauthorized
from weighbridge.keys import KeysFile, digest_of

CHAT = "/v1/chat/completions"
OPEN = Access(Keyring([]))


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_without_keys_this_machine_is_anyone():
    for host in ("127.0.0.1:8484", "localhost", "[::1]:8484", "127.9.9.9"):
        assert OPEN.admit(CHAT, {"host": host}) == "anyone"
    assert OPEN.admit(CHAT, {"host": "localhost", "origin": "http://localhost:3000"}) == "anyone"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": "http://["},
        {"host": "["},
        {"host": "evil.example"},
        {"host": "10.0.0.1"},
        {"host": "127.0.0.1.evil.example:8484"},
    ],
)
def test_without_keys_a_foreign_page_or_name_is_denied(headers):
    with pytest.raises(Denied):
        OPEN.admit(CHAT, headers)


def test_a_page_that_the_config_names_may_call_without_a_key():
    access = Access(Keyring([]), ["https://app.example"])
    assert access.admit(CHAT, {"origin": "https://app.example", "host": "localhost"}) == "anyone"
    with pytest.raises(Denied):
        access.admit(CHAT, {"origin": "https://app.example", "host": "evil.example"})


def test_a_key_of_the_environment_is_named_by_its_digest_and_does_everything():
    access = Access(Keyring(holders_of("wb-one,wb-two, ,")))
    one = access.admit(CHAT, bearer("wb-one"))
    assert one == access.admit("/metrics", {"authorization": "bEaReR  wb-one"}) == access.admit("/x", bearer("wb-one"))
    assert one == access.admit(CHAT, {"x-api-key": "wb-one"})
    assert one == access.admit(CHAT, {"authorization": "Bearer ", "x-api-key": "wb-one"})
    assert one != access.admit(CHAT, {"x-api-key": "wb-two"})
    assert re.fullmatch(r"key-[0-9a-f]{8}", one)


def test_a_key_may_hold_any_character():
    access = Access(Keyring(holders_of("schlüssel-中")))
    over_the_wire = "schlüssel-中".encode().decode("latin-1")
    assert access.admit(CHAT, bearer(over_the_wire)).startswith("key-")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "wb-one"},
        {"x-api-key": "\udcff"},
        bearer("wb-on"),
        bearer("wb-onf"),
    ],
)
def test_everybody_else_is_unauthorized(headers):
    """X9: a wrong key, a key that is nearly right, none: 401."""
    with pytest.raises(Unauthorized):
        Access(Keyring(holders_of("wb-one"))).admit(CHAT, headers)


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/health/live", None),
        ("/healthz", None),
        ("/", "report"),
        ("/metrics", "report"),
        ("/v1/chat/completions", "chat"),
        ("/chat/completions", "chat"),
        ("/v1/models/acme/model:1", "chat"),
        ("/v1/messages/count_tokens", "chat"),
        ("/responses/resp_1", "chat"),
        ("/v1/feedback", "chat"),
        ("/metrics/", "admin"),
        ("//metrics", "admin"),
        ("/health/live/../../metrics", "admin"),
        ("/healthy", "admin"),
        ("/v1", "admin"),
        ("/v1x/chat", "admin"),
        ("/docs", "admin"),
        ("/openapi.json", "admin"),
        ("/v1/keys", "admin"),
        ("", "admin"),
    ],
)
def test_what_no_scope_names_is_for_admins(path, scope):
    assert scope_of(path) == scope


@pytest.mark.parametrize(
    ("held", "may"),
    [
        ({"chat"}, {CHAT}),
        ({"report"}, {"/metrics"}),
        ({"chat", "report"}, {CHAT, "/metrics"}),
        ({"admin"}, {CHAT, "/metrics", "/x"}),
    ],
)
def test_a_scope_opens_its_paths_and_no_others(held, may):
    access = Access(Keyring([Holder("ci", digest_of(b"wb-ci"), frozenset(held))]))
    for path in (CHAT, "/metrics", "/x"):
        if path in may:
            assert access.admit(path, bearer("wb-ci")) == "ci"
        else:
            with pytest.raises(Denied, match="needs the scope") as refused:
                access.admit(path, bearer("wb-ci"))
            assert (refused.value.status, refused.value.code) == (403, "scope_denied")


def test_an_expired_key_is_refused():
    clock = Clock()
    access = Access(Keyring([Holder("ci", digest_of(b"wb-ci"), frozenset({"chat"}), 100.0)]), clock=clock)
    assert access.admit(CHAT, bearer("wb-ci")) == "ci"
    clock.now_s = 100.0
    with pytest.raises(Unauthorized, match="expired"):
        access.admit(CHAT, bearer("wb-ci"))


def test_a_changed_file_counts_within_a_second(tmp_path: Path):
    file, clock = KeysFile(tmp_path / "keys.json"), Clock()
    first = file.add("first", ["chat"], None)
    ring = Keyring([], file, clock)
    assert ring.find(first.encode()).name == "first"
    second = file.add("second", ["report"], datetime.now(UTC) + timedelta(days=1))
    file.revoke("first")
    assert ring.find(first.encode())
    clock.now_s = 1.0
    assert ring.find(first.encode()) is None
    assert ring.find(second.encode()).name == "second"


def test_both_sources_of_keys_count(tmp_path: Path):
    file = KeysFile(tmp_path / "keys.json")
    key = file.add("ci", ["chat"], None)
    ring = Keyring(holders_of("wb-one"), file)
    assert ring.find(b"wb-one").scopes == {"admin"}
    assert ring.find(key.encode()).scopes == {"chat"}


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("{"), lambda path: path.write_text("")])
def test_a_file_that_is_gone_broken_or_empty_lets_nobody_in_and_says_so(tmp_path: Path, caplog, harm):
    file, clock = KeysFile(tmp_path / "keys.json"), Clock()
    key = file.add("ci", ["chat"], None)
    ring = Keyring(holders_of("wb-one"), file, clock)
    assert ring.find(key.encode())
    harm(file.path)
    for clock.now_s in (1.0, 2.0, 3.0):
        assert ring.find(key.encode()) is None
    assert ring.find(b"wb-one")
    assert ring.is_asked_for
    assert len(caplog.records) == 1
    assert "keys.json" in caplog.text
    file.path.unlink(missing_ok=True)
    again = file.add("ci", ["chat"], None)
    clock.now_s = 4.0
    assert ring.find(again.encode())
