"""Calls of web pages, to a gateway that is configured for them and to one that is not."""

import httpx
import pytest
from scripted import respond

APP = "https://app.example"
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


@pytest.fixture
def gateway(start):
    return start(environ={"KEYS": "wb-one"}, server={"api_keys_env": "KEYS", "cors_origins": [APP]})


def call(gateway, key="wb-one", origin=APP, **body):
    headers = {"authorization": f"Bearer {key}", "origin": origin}
    return httpx.post(f"{gateway.url}/chat/completions", json={**CHAT, **body}, headers=headers)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions", "/v1/models", "/v1/nothing", "/metrics"])
def test_a_preflight_needs_no_key(gateway, path):
    answer = httpx.options(gateway.root + path, headers={"origin": APP, **PREFLIGHT})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-max-age" in answer.headers
    assert "origin" in answer.headers["vary"]


def test_a_preflight_of_another_page_is_denied_in_the_usual_shape(gateway):
    answer = httpx.options(f"{gateway.url}/models", headers={"origin": "https://evil.example", **PREFLIGHT})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin_denied"
    assert "access-control-allow-origin" not in answer.headers


def test_an_answer_can_be_read_by_the_page(gateway):
    answer = call(gateway)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    shown = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "x-weighbridge-reason", "x-weighbridge-upstream", "x-weighbridge-cost-usd"} <= set(shown)


def test_a_stream_can_be_read_by_the_page(gateway):
    answer = call(gateway, stream=True)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert answer.headers["access-control-allow-origin"] == APP
    assert "x-weighbridge-reason" in answer.headers["access-control-expose-headers"]


def test_errors_can_be_read_by_the_page(gateway, local, remote):
    local.always(respond(429, {"error": {"message": "slow down"}}, {"retry-after": "7"}))
    remote.always(respond(429, {"error": {"message": "slow down"}}, {"retry-after": "7"}))
    for answer, status in (
        (call(gateway, key="wrong"), 401),
        (call(gateway, model="nobody"), 404),
        (call(gateway, messages=[]), 400),
        (call(gateway), 429),
        (httpx.get(f"{gateway.root}/v1/nothing", headers={"origin": APP, "authorization": "Bearer wb-one"}), 404),
    ):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == APP
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert "retry-after" in call(gateway).headers["access-control-expose-headers"]


def test_another_page_reads_nothing(gateway):
    answer = call(gateway, origin="https://evil.example")
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "origin"


def test_without_keys_a_page_that_is_named_may_call_and_no_other(start):
    gateway = start(server={"cors_origins": [APP]})
    assert call(gateway).status_code == 200
    refused = call(gateway, origin="https://evil.example")
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


def test_every_page_may_call_with_a_key(start):
    gateway = start(environ={"KEYS": "wb-one"}, server={"api_keys_env": "KEYS", "cors_origins": ["*"]})
    answer = call(gateway, origin="https://anybody.example")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "vary" not in answer.headers
    assert call(gateway, key="wrong", origin="https://anybody.example").status_code == 401


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/metrics"])
def test_where_no_origin_is_configured_options_is_a_method_like_others(start, path):
    gateway = start()
    answer = httpx.options(gateway.root + path)
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"
    foreign = httpx.options(gateway.root + path, headers={"origin": APP, **PREFLIGHT})
    assert foreign.status_code == 403
    assert not any(name.startswith("access-control") for name in foreign.headers)
