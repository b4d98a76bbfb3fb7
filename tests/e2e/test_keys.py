"""Callers' keys at a running gateway: who shows none is let in nowhere, and who shows one only where it may."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from weighbridge.keys import KeysFile
from weighbridge.pages import add_pages

PROBES = {"/health", "/health/live", "/health/ready", "/health/liveliness", "/health/readiness", "/healthz", "/readyz"}
MODELS = (
    *("/chat/completions", "/completions", "/embeddings", "/responses", "/responses/resp_1", "/messages"),
    *("/messages/count_tokens", "/moderations", "/audio/speech", "/audio/transcriptions", "/images/generations"),
)
GOOD = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def file(tmp_path: Path) -> KeysFile:
    return KeysFile(tmp_path / "keys.json")


@pytest.fixture
def keys(file: KeysFile) -> dict[str, str]:
    scopes: list[Any] = ["chat", "report", "admin"]
    return {scope: file.add(f"{scope}-er", [scope], None) for scope in scopes}


@pytest.fixture
def gateway(start, keys):
    return start(server={"keys_path": "keys.json"})


def paths(routes: Any, prefix: str = "") -> Iterator[str]:
    """Every path of an application, those of its routers too."""
    for route in routes:
        if hasattr(route, "path"):
            yield prefix + route.path.partition("{")[0]
        else:
            yield from paths(route.original_router.routes, prefix + route.include_context.prefix)


def test_without_a_key_only_the_probes_answer(gateway):
    pages = FastAPI()
    add_pages(pages, gateway.app.parts)
    served = {*paths(pages.routes), *PROBES, *MODELS, *(f"/v1{path}" for path in MODELS)}
    assert {"/", "/metrics", "/docs", "/v1/models", "/models", "/v1/route", "/v1/feedback"} <= served
    with httpx.Client(base_url=gateway.root) as client:
        opened = set()
        for path in served:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
                answer = client.request(method, path, content=b"{}")
                if answer.status_code == 401:
                    assert answer.headers["www-authenticate"] == "Bearer"
                    assert method == "HEAD" or answer.json()["error"]["message"].startswith("A key is needed")
                else:
                    opened.add(path)
    assert opened == PROBES


def test_each_key_opens_what_its_scope_names(gateway, keys):
    asked = {
        "chat": [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("POST", "/v1/route")],
        "report": [("GET", "/"), ("GET", "/metrics")],
        "admin": [("GET", "/openapi.json")],
    }
    for held, key in keys.items():
        for needed, requests in asked.items():
            for method, path in requests:
                body = json.dumps(GOOD).encode() if method == "POST" else None
                headers = {"authorization": f"Bearer {key}"}
                answer = httpx.request(method, gateway.root + path, content=body, headers=headers)
                if held in {needed, "admin"}:
                    assert answer.status_code == 200
                else:
                    assert answer.status_code == 403
                    error = answer.json()["error"]
                    assert error.keys() == {"message", "type", "param", "code"}
                    assert (error["type"], error["code"]) == ("permission_error", "scope_denied")


def test_wrong_keys_are_counted_and_told_nothing(gateway, keys):
    good = keys["chat"]
    near = [good[:-1], good + "x", good.lower(), good.removeprefix("wb-"), "wb-", "x" * 5000]
    bodies = set()
    for key in near:
        answer = httpx.get(f"{gateway.url}/models", headers={"x-api-key": key})
        assert answer.status_code == 401
        bodies.add(answer.text)
    assert len(bodies) == 1
    assert good not in bodies.pop()
    metrics = httpx.get(f"{gateway.root}/metrics", headers={"x-api-key": keys["report"]}).text
    assert f'weighbridge_turned_away_total{{code="invalid_api_key"}} {len(near)}.0' in metrics


def test_a_caller_is_known_by_the_name_of_its_key(start, keys, local, remote):
    fence = {"name": "mine stays here", "when": {"key": "chat-er"}, "then": {"upstream": "remote"}}
    gateway = start(server={"keys_path": "keys.json"}, rules=[fence])
    for key in (keys["chat"], keys["admin"]):
        assert httpx.post(f"{gateway.url}/chat/completions", json=GOOD, headers={"x-api-key": key}).status_code == 200
    assert [(row["caller"], row["upstream"]) for row in gateway.rows()] == [
        ("chat-er", "remote"),
        ("admin-er", "local"),
    ]


def test_no_key_reaches_an_upstream_or_the_ledger(gateway, keys, local):
    httpx.post(f"{gateway.url}/chat/completions", json=GOOD, headers={"x-api-key": keys["chat"]})
    assert not any(keys["chat"] in str(seen.headers) for seen in local.seen)
    assert keys["chat"] not in json.dumps(gateway.rows(), default=str)
    assert keys["chat"].encode() not in gateway.ledger_path.read_bytes()
