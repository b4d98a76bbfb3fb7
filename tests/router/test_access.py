"""Who may call."""

import pytest

from weighbridge.access import Access
from weighbridge.errors import Denied, Unauthorized


def test_without_keys_this_machine_is_anyone():
    for host in ("127.0.0.1:8484", "localhost", "[::1]:8484", "127.9.9.9"):
        assert Access({}).caller({"host": host}) == "anyone"
    assert Access({}).caller({"host": "localhost", "origin": "http://localhost:3000"}) == "anyone"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"host": "evil.example"},
        {"host": "10.0.0.1"},
        {"host": "127.0.0.1.evil.example:8484"},
    ],
)
def test_without_keys_a_foreign_page_or_name_is_denied(headers):
    with pytest.raises(Denied):
        Access({}).caller(headers)


def test_a_caller_is_known_by_the_digest_and_never_by_the_key():
    access = Access.of_keys("wb-one,wb-two, ,")
    one = access.caller({"authorization": "Bearer wb-one"})
    assert one == access.caller({"authorization": "bEaReR  wb-one"}) == access.caller({"x-api-key": "wb-one"})
    assert one != access.caller({"x-api-key": "wb-two"})
    assert "wb-" not in one
    assert "wb-one" not in repr(access)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer"}, {"authorization": "wb-one"}, {"x-api-key": "\udcff"}]
)
def test_everybody_else_is_unauthorized(headers):
    with pytest.raises(Unauthorized):
        Access.of_keys("wb-one").caller(headers)
