import pytest

from weighbridge import discretion

OPAQUE = "f3b1c0de77aa4e0d"


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discretion, "_kept", set())
    discretion.keep(OPAQUE)
    discretion.keep("8letters")
    discretion.keep("7letter")


@pytest.mark.parametrize(
    ("text", "for_clients", "for_the_log"),
    [
        (f"bad key {OPAQUE}!", "bad key [removed]!", "bad key [removed]!"),
        ("8letters and 7letter", "[removed] and 7letter", "[removed] and 7letter"),
        ("sk-proj-abcdefgh12345678", "[removed]", "[removed]"),
        ("Bearer abc", "[removed]", "[removed]"),
        ("see http://10.0.0.1:8000/v1 now", "see [removed] now", "see http://10.0.0.1:8000/v1 now"),
        ("redis://ann:pass@host:6379/0", "redis://ann:pass@host:6379/0", "redis://[removed]@host:6379/0"),
        ("the keyword_argument is odd", "the [removed] is odd", "the keyword_argument is odd"),
    ],
)
def test_keys_and_passwords_are_told_to_nobody(text: str, for_clients: str, for_the_log: str):
    assert discretion.for_clients(text) == for_clients
    assert discretion.for_the_log(text) == for_the_log
