"""Bad input: a 4xx that names what is wrong, never a 5xx, and the connection goes on."""

import json
import socket

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import RunningGateway

GOOD = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}]}).encode()


def body(**changes) -> bytes:
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}], **changes}).encode()


HOSTILE = {
    "empty": (b"", 400, "object"),
    "not json": (b"hello", 400, "object"),
    "cut": (GOOD[:-3], 400, "JSON"),
    "trailing": (GOOD + b"x", 400, "Extra data"),
    "an array": (b"[]", 400, "object"),
    "NaN": (b'{"model":"auto","messages":[],"temperature":NaN}', 400, "NaN"),
    "Infinity": (b'{"model":"auto","messages":[],"temperature":-Infinity}', 400, "Infinity"),
    "1e999": (b'{"model":"auto","messages":[],"temperature":1e999}', 400, "too large"),
    "a huge integer": (b'{"model":"auto","seed":' + b"9" * 5000 + b"}", 400, "integer"),
    "an integer beyond a double": (b'{"model":"auto","x":[1' + b"0" * 400 + b"]}", 400, "too large"),
    "a lone surrogate": (b'{"model":"auto","messages":[{"role":"user","content":"\\ud800"}]}', 400, "surrogate"),
    "bad UTF-8": (b'{"model":"\xff"}', 400, "UTF-8"),
    "a duplicate key": (b'{"model":"auto","model":"remote","messages":[]}', 400, "twice"),
    "a nested duplicate": (
        b'{"model":"auto","messages":[{"role":"user","role":"system","content":"x"}]}',
        400,
        "twice",
    ),
    "deep arrays": (b'{"model":"auto","messages":' + b"[" * 100_000, 400, "deep"),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "deep"),
    "deep, but whole": (b'{"model":"auto","tools":' + b"[" * 950 + b"]" * 950 + b"}", 400, "deep"),
    "many nodes": (b'{"model":"auto","x":[' + b"1," * 300_000 + b"1]}", 400, "values"),
    "no model": (b'{"messages":[{"role":"user","content":"hi"}]}', 400, "model"),
    "a model of another type": (body(model=7), 400, "model"),
    "an empty model": (body(model=" "), 400, "model"),
    "an unknown model": (body(model="nobody"), 404, "nobody"),
    "a strange model": (body(model="x\r\ny: z\x00\u4e2d\u6587"), 404, "does not exist"),
    "no messages": (b'{"model":"auto"}', 400, "messages"),
    "messages null": (body(messages=None), 400, "messages"),
    "messages empty": (body(messages=[]), 400, "at least one"),
    "messages a string": (body(messages="hi"), 400, "messages"),
    "a message a string": (body(messages=["hi"]), 400, "messages[0]"),
    "no role": (body(messages=[{"content": "hi"}]), 400, "role"),
    "content a number": (body(messages=[{"role": "user", "content": 7}]), 400, "content"),
    "content empty": (body(messages=[{"role": "user", "content": ""}]), 400, "empty"),
    "content null": (body(messages=[{"role": "user", "content": None}]), 400, "empty"),
    "content no parts": (body(messages=[{"role": "user", "content": []}]), 400, "empty"),
    "a part a string": (body(messages=[{"role": "user", "content": ["hi"]}]), 400, "content[0]"),
    "stream a string": (body(stream="yes"), 400, "stream"),
    "max_tokens a string": (body(max_tokens="many"), 400, "max_tokens"),
    "max_tokens negative": (body(max_tokens=-1), 400, "max_tokens"),
    "max_tokens true": (body(max_tokens=True), 400, "max_tokens"),
    "n zero": (body(n=0), 400, "n"),
    "tools an object": (body(tools={}), 400, "tools"),
    "stream_options alone": (body(stream_options={"include_usage": True}), 400, "stream_options"),
    "stream_options a list": (body(stream=True, stream_options=[1]), 400, "stream_options"),
    "a threshold above one": (body(model="router-mf-7"), 400, "above 1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_with_what_is_wrong_and_the_connection_serves_the_next(gateway, name):
    raw, status, word = HOSTILE[name]
    with httpx.Client(base_url=gateway.url) as client:
        answer = client.post("/chat/completions", content=raw)
        assert answer.status_code == status
        error = answer.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert word in error["message"]
        assert answer.headers["x-request-id"]
        assert answer.headers["x-should-retry"] == "false"
        assert client.post("/chat/completions", content=GOOD).status_code == 200


def test_a_body_over_the_limit_is_413_and_the_connection_serves_the_next(start):
    gateway = start(server={"max_body_mb": 0.01})
    with httpx.Client(base_url=gateway.url) as client:
        assert client.post("/chat/completions", content=body(user="x" * 20_000)).status_code == 413
        chunked = client.post("/chat/completions", content=iter([b"x" * 9000, b"y" * 9000]))
        assert chunked.status_code == 413
        assert client.post("/chat/completions", content=GOOD).status_code == 200


def test_a_compressed_body_is_415(gateway):
    answer = httpx.post(f"{gateway.url}/chat/completions", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/batches", 404),
        ("GET", "/%00%ff/x", 404),
        ("PATCH", "/v1/models", 405),
    ],
)
def test_what_is_not_served_is_said_in_the_same_shape(gateway, method, path, status):
    answer = httpx.request(method, gateway.root + path)
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/auto", "/v1/models/nobody", "/v1/nothing", "/metrics"])
def test_every_answer_has_one_id(gateway, path):
    ids = httpx.get(gateway.root + path).headers.get_list("x-request-id")
    assert len(ids) == 1
    assert ids[0].startswith("wb-")


def test_half_a_request_and_then_silence_harms_nobody_else(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{")
        assert httpx.post(f"{gateway.url}/chat/completions", content=GOOD).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null"])
def test_a_foreign_page_cannot_spend_money(gateway, origin):
    """X8: a web page of another origin: refused."""
    answer = httpx.post(f"{gateway.url}/chat/completions", content=GOOD, headers={"origin": origin})
    assert answer.status_code == 403


def test_a_foreign_host_name_is_refused(gateway):
    """X8: a host name that somebody else points here: refused."""
    assert httpx.get(f"{gateway.url}/models", headers={"host": "evil.example"}).status_code == 403


def test_with_keys_only_their_holders_are_served(start):
    gateway = start(environ={"KEYS": "wb-one, wb-two"}, server={"api_keys_env": "KEYS"})
    url = f"{gateway.url}/chat/completions"
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic wb-one"}, {"x-api-key": "wb"}):
        refused = httpx.post(url, content=GOOD, headers=headers)
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
    for headers in ({"authorization": "bearer wb-one"}, {"x-api-key": "wb-two"}):
        assert httpx.post(url, content=GOOD, headers=headers).status_code == 200
    assert httpx.get(f"{gateway.root}/health/live").status_code == 200
    callers = {row["caller"] for row in gateway.rows()}
    assert len(callers) == 2
    assert not any("wb-" in caller for caller in callers)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "max_tokens", "n", "tools", "response_format", "functions", "x"]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(_FIELDS, _JSON, max_size=4), cut=st.integers(0, 400), flip=st.integers(0, 255))
def test_no_body_at_all_makes_a_5xx(gateway: RunningGateway, changes, cut, flip):
    """X6: whatever the body is: no 5xx."""
    raw = bytearray(
        json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}], **changes}).encode(
            "utf-8", "surrogatepass"
        )
    )
    if flip and raw:
        raw[flip % len(raw)] ^= flip
    raw = raw[:cut] if cut < 40 else raw
    answer = httpx.post(f"{gateway.url}/chat/completions", content=bytes(raw))
    assert answer.status_code < 500
    if answer.status_code != 200:
        assert answer.json()["error"]["message"]
