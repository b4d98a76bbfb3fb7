"""Secrets and private words are sent through every endpoint into every failure, and then looked for in every sink."""

import http.client
import json
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from running import RunningGateway
from scripted import Behaviour, ScriptedUpstream, Seen, chunk, completion, hang, raw_stream, reset, respond, stream

from weighbridge.keys import KeysFile

UPSTREAM_KEY = "9d41canarykeyofupstream7e02"  # of no known shape
PROMPT = "canaryprompt"
PII = "canary.person@example.com"
COOKIE = "canarycookie"
STRANGER = "canarystrangerkey0123456789"
SAID = "canaryanswer"  # by the model
PRIVATE = (PROMPT, PII, COOKIE, STRANGER, SAID)

TEXT = f"{PROMPT}: write to {PII}"
MESSAGES = [{"role": "system", "content": TEXT}, {"role": "user", "content": TEXT}]
TOOL = {"type": "function", "function": {"name": "f", "description": TEXT, "parameters": {"type": "object"}}}
BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": MESSAGES, "tools": [TOOL], "user": PII, "metadata": {"note": TEXT}},
    "completions": {"prompt": TEXT},
    "embeddings": {"input": [TEXT]},
    "responses": {"input": TEXT, "instructions": TEXT},
    "messages": {"max_tokens": 9, "system": TEXT, "messages": [{"role": "user", "content": TEXT}]},
    "messages/count_tokens": {"messages": [{"role": "user", "content": TEXT}]},
    "moderations": {"input": TEXT},
    "audio/speech": {"input": TEXT, "voice": "alloy"},
    "images/generations": {"prompt": TEXT},
    "route": {"messages": MESSAGES},
    "feedback": {"request_id": "nobody", "score": 7, "comment": TEXT},
}
UNREAD = ("moderations", "audio/speech", "images/generations")  # their answers pass as they are
STREAMED = ("chat/completions", "completions", "responses", "messages")


HEAD = b"data: " + json.dumps(chunk("m", {"role": "assistant", "content": "The "})).encode() + b"\n\n"


def echo(status: int, *, before: bytes | None = None) -> Behaviour:
    """Tell everything that came, as some servers do in their errors; with `before` in an event behind these bytes."""

    async def act(seen: Seen, writer: Any) -> None:
        told = f"{seen.headers.get('authorization')} {seen.body.decode('latin-1')} {SAID}"
        fault = {"error": {"message": told, "type": UPSTREAM_KEY, "param": UPSTREAM_KEY, "code": UPSTREAM_KEY}}
        headers = {"x-echo": told.encode("unicode_escape").decode()[:2000], "set-cookie": UPSTREAM_KEY}
        if before is None:
            await respond(status, fault, headers)(seen, writer)
        else:
            await raw_stream(before, b"data: " + json.dumps(fault).encode() + b"\n\n")(seen, writer)

    return act


FAILURES: dict[str, Behaviour] = {
    "none": completion(SAID),
    **{f"{status} with everything": echo(status) for status in (200, 400, 401, 429, 500, 503)},
    "an error event with everything": echo(200, before=b": hello\n\n"),
    "an error in the middle with everything": echo(200, before=HEAD),
    "html": respond(200, f"<html>{SAID}".encode(), {"content-type": "text/html"}),
    "a redirect": respond(302, b"", {"location": f"http://127.0.0.1:1/{SAID}"}),
    "reset": reset(),
    "cut": stream(f"{SAID} " * 9, cut_after=4),
    "garbled": raw_stream(*[f"data: {{{SAID}\n\n".encode()] * 5),
    "no token in time": hang(),
    "404 with everything": echo(404),  # the last, for it is remembered
}


@dataclass(frozen=True)
class Answer:
    path: str
    status: int
    headers: str
    body: str


def post(gateway: RunningGateway, path: str, body: bytes, key: str, kind: str = "application/json") -> Answer:
    """By hand, as httpx would log what it sends."""
    headers = {"authorization": f"Bearer {key}", "content-type": kind, "cookie": f"session={COOKIE}", "x-note": PROMPT}
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)) as connection:
        connection.request("POST", f"/v1/{path}", body, headers)
        answer = connection.getresponse()
        return Answer(path, answer.status, str(answer.headers), answer.read().decode("latin-1"))


def got(gateway: RunningGateway, path: str, key: str) -> str:
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)) as connection:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
        return connection.getresponse().read().decode()


@pytest.fixture
def key(tmp_path) -> str:
    return KeysFile(tmp_path / "keys.json").add("ann", ["admin"], None)


@pytest.fixture
def gateway(start, key: str, monkeypatch: pytest.MonkeyPatch) -> RunningGateway:
    monkeypatch.setattr("running.UPSTREAM_KEY", UPSTREAM_KEY)
    return start(server={"keys_path": "keys.json"})


def bodies(path: str) -> Iterator[bytes]:
    body = {"model": "remote", **BODIES[path]}
    yield json.dumps(body).encode()
    if path in STREAMED:
        yield json.dumps({**body, "stream": True}).encode()


def played(gateway: RunningGateway, remote: ScriptedUpstream, key: str) -> Iterator[tuple[str, Answer]]:
    """Every endpoint into every failure; then what never gets as far as an upstream."""
    for name, behaviour in FAILURES.items():
        remote.always(behaviour)
        # Silence takes its time, so one endpoint has to do.
        for path in BODIES if name != "no token in time" else ["chat/completions"]:
            for body in bodies(path):
                gateway.app.parts.gateway._attempts.breakers["remote"].succeeded()
                yield name, post(gateway, path, body, key)
    form = f'--b\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n{TEXT}\r\n--b--\r\n'.encode()
    yield "a form", post(gateway, "audio/transcriptions", form, key, "multipart/form-data; boundary=b")
    chat = json.dumps({"model": "auto", **BODIES["chat/completions"]}).encode()
    yield "a stranger", post(gateway, "chat/completions", chat, STRANGER)
    yield "half a body", post(gateway, "chat/completions", chat[:-9], key)
    yield "an odd field", post(gateway, "chat/completions", json.dumps({"messages": TEXT}).encode(), key)
    yield "nothing there", post(gateway, "nowhere", chat, key)


def test_no_secret_and_no_private_word_is_in_any_sink(
    gateway, remote, key, tmp_path, monkeypatch, caplog, capfd
) -> None:
    """X7: keys, cookies, prompts and personal data as canaries: not in logs, errors, metrics, the ledger or stderr."""
    caplog.set_level(logging.DEBUG)
    answers = list(played(gateway, remote, key))
    assert {answer.status for _, answer in answers} >= {200, 400, 401, 404, 429, 502, 503, 504}
    assert any(PROMPT in seen.body.decode() and UPSTREAM_KEY in str(seen.headers) for seen in remote.chats)
    for name, answer in answers:
        # What an upstream says of a request may hold the client's own words; any other error is in ours.
        private = () if "everything" in name or answer.status == 200 else (PROMPT, PII, SAID)
        for word in (UPSTREAM_KEY, key, COOKIE, STRANGER, *private):
            body = "" if answer.status == 200 and answer.path in UNREAD else answer.body
            assert word not in answer.headers + body, (name, answer)
    logged = "\n".join(f"{record.getMessage()} {record.exc_text}" for record in caplog.records)
    files = {p.name: p.read_bytes().decode("latin-1") for p in tmp_path.rglob("*") if p.is_file()}
    told = {"the log": logged, "standard error": "".join(capfd.readouterr()), **files}
    told |= {path: got(gateway, path, key) for path in ("/metrics", "/", "/health/ready", "/v1/models")}
    assert len(gateway.rows()) > 100
    for sink, text in told.items():
        assert not [word for word in (UPSTREAM_KEY, key, *PRIVATE) if word in text], sink
