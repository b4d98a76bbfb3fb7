"""What pages of other origins may do."""

import pytest

from weighbridge.cors import Cors, is_preflight
from weighbridge.errors import Denied

APP = "https://app.example"
SOME = Cors(frozenset({APP, "http://localhost:3000"}))
ALL = Cors(frozenset({"*"}))


def asked(origin: str = APP, **more: str) -> dict[str, str]:
    names = {f"access-control-request-{name.replace('_', '-')}": value for name, value in more.items()}
    return {"origin": origin, "access-control-request-method": "POST", **names}


def test_an_options_is_a_preflight_only_when_a_browser_asks():
    assert is_preflight("OPTIONS", asked())
    assert not is_preflight("POST", asked())
    assert not is_preflight("OPTIONS", {"origin": APP})
    assert not is_preflight("OPTIONS", {"access-control-request-method": "POST"})


def test_a_preflight_is_told_what_it_asked_for():
    answer = dict(SOME.preflight(asked(headers="authorization,content-type, x-stainless-os")))
    assert answer[b"access-control-allow-headers"] == b"authorization,content-type, x-stainless-os"
    assert {"GET", "POST", "DELETE"} <= set(answer[b"access-control-allow-methods"].decode().split(", "))
    assert answer[b"access-control-max-age"] == b"7200"
    assert b"access-control-request-headers" in answer[b"vary"]
    assert b"access-control-allow-private-network" not in answer
    assert dict(SOME.preflight(asked(private_network="true")))[b"access-control-allow-private-network"] == b"true"


@pytest.mark.parametrize("names", ["a b", "x\r\ny: z", "é", ",", "x-" + "a" * 5000, ""])
def test_what_is_no_list_of_headers_is_not_repeated(names):
    assert b"access-control-allow-headers" not in dict(SOME.preflight(asked(headers=names)))


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://app.example.evil", "http://app.example", "https://APP.example"]
)
def test_another_origin_may_not(origin):
    with pytest.raises(Denied):
        SOME.preflight(asked(origin))
    assert SOME.on_answer(origin, [b"x-request-id"]) == [(b"vary", b"origin")]


def test_a_page_may_read_our_headers_and_those_that_we_pass_on():
    names = [b"content-type", b"x-request-id", b"x-weighbridge-reason", b"retry-after-ms", b"x-ratelimit-limit-tokens"]
    answer = dict(SOME.on_answer(APP, [*names, b"set-cookie", b"x-request-id"]))
    assert answer[b"access-control-allow-origin"] == APP.encode()
    assert answer[b"access-control-expose-headers"].split(b", ") == names[1:]
    assert answer[b"vary"] == b"origin"
    assert b"access-control-allow-credentials" not in answer


def test_every_origin_is_a_star_and_varies_not():
    assert ALL.on_answer("https://anybody.example", []) == [(b"access-control-allow-origin", b"*")]
    assert ALL.on_answer(None, []) == []


def test_a_call_that_is_of_no_page_gets_no_more_than_a_word_to_caches():
    assert SOME.on_answer(None, [b"x-request-id"]) == [(b"vary", b"origin")]
