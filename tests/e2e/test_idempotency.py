"""Requests that come again under their Idempotency-Key: one charge, the same bytes, and 409 while the first is open."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import openai
import pytest
import redis_server
from redis_server import RedisServer
from running import RunningGateway, two_upstreams
from scripted import SENTENCE, Behaviour, ScriptedUpstream, Seen, completion, events, respond, stream
from serving import SPEECH, serving

from weighbridge.idempotency import Note, digest_of, name_of
from weighbridge.state.redis import Redis

ASK: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
KEY = {"Idempotency-Key": "4f6c1c0e-order-7"}
HARD = {"use": "constant", "score": 0.9}

Client = Callable[..., openai.OpenAI]


@pytest.fixture
def client() -> Iterator[Client]:
    """The real SDK, before a gateway."""
    with ExitStack() as clients:

        def begin(gateway: RunningGateway, **options: Any) -> openai.OpenAI:
            options = {"max_retries": 0, "timeout": 30, **options}
            return clients.enter_context(openai.OpenAI(base_url=gateway.url, api_key="none", **options))

        yield begin


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    with RedisServer() as server:
        monkeypatch.setenv(redis_server.VARIABLE, server.url)
        yield server


class Gate:
    """An upstream that answers once it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def before(self, then: Behaviour) -> Behaviour:
        async def act(seen: Seen, writer: asyncio.StreamWriter) -> None:
            await asyncio.to_thread(self.open.wait, 30)
            await then(seen, writer)

        return act


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def post(gateway: RunningGateway, path: str = "chat/completions", headers: Any = KEY, **fields: Any) -> httpx.Response:
    body = fields.pop("body", ASK)
    return httpx.post(f"{gateway.url}/{path}", json={**body, **fields}, headers=headers, timeout=30)


def replays(*answers: httpx.Response) -> list[bool]:
    assert {answer.status_code for answer in answers} == {200}
    return [answer.headers.get("idempotent-replayed") == "true" for answer in answers]


def until(holds: Callable[[], object]) -> None:
    """As it will in a moment: what we wait for has no event of its own."""
    deadline = threading.Event()
    timer = threading.Timer(20, deadline.set)
    timer.start()
    while not holds():
        assert not deadline.is_set()
    timer.cancel()


# One charge.


def test_a_request_sent_twice_is_answered_twice_and_charged_once(client: Client, hard, remote):
    """X15: the same key again: the stored answer, without an upstream; one charge, and a row that says so."""
    create = client(hard).chat.completions.with_raw_response.create
    first, again = (create(**ASK, extra_headers=KEY) for _ in range(2))
    assert again.content == first.content
    assert again.parse().choices[0].message.content == SENTENCE
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-weighbridge-reason"] == "at_or_above_threshold replay remote"
    assert again.headers["x-weighbridge-cost-usd"] == again.headers["x-weighbridge-saved-usd"] == "0"
    assert len(remote.chats) == 1
    paid, free = hard.rows()
    assert paid["cost_nano_usd"] > 0
    assert free["request_id"] == again.headers["x-request-id"]
    assert (free["status"], free["end_reason"], free["http_status"], free["attempts"]) == ("settled", "ok", 200, 0)
    assert (free["cost_nano_usd"], free["baseline_cost_nano_usd"], free["usage_source"]) == (0, 0, "none")
    assert (free["upstream"], free["reason_detail"]) == (None, "replay remote")
    assert [row["request_id"] for row in hard.rows("attempts")] == [paid["request_id"]]


def test_a_stream_sent_twice_streams_twice_and_is_charged_once(client: Client, hard, remote):
    """X15: the same key again for a stream: it streams again, part by part."""
    fields = {**ASK, "stream": True, "stream_options": {"include_usage": True}, "extra_headers": KEY}
    first, again = (list(client(hard).chat.completions.create(**fields)) for _ in range(2))
    assert [chunk.model_dump() for chunk in again] == [chunk.model_dump() for chunk in first]
    assert again[-1].usage.completion_tokens == 17
    with httpx.stream(
        "POST", f"{hard.url}/chat/completions", json={**ASK, "stream": True}, headers={"Idempotency-Key": "other"}
    ) as answer:
        answer.read()
    whole = post(hard, headers={"Idempotency-Key": "other"}, stream=True)
    assert replays(whole) == [True]
    assert whole.content == answer.content
    assert whole.headers["content-type"] == answer.headers["content-type"]
    assert len(remote.chats) == 2
    assert [row["cost_nano_usd"] > 0 for row in hard.rows()] == [True, False, True, False]


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_sdk_whose_patience_ends_finds_the_answer_when_it_tries_again(
    client: Client, hard, remote: ScriptedUpstream, gate: Gate, is_stream
):
    """X15: the client gives up and tries again: 409 while the first try is open, then its answer; asked once."""
    remote.always(gate.before(completion()))
    refused: list[int] = []

    def see(answer: httpx.Response) -> None:
        if answer.status_code == 409:
            refused.append(int(answer.headers["retry-after"]))
            gate.open.set()

    with httpx.Client(event_hooks={"response": [see]}) as http:
        sdk = client(hard, max_retries=3, timeout=0.4, http_client=http)
        sdk._idempotency_header = "Idempotency-Key"  # as SDKs of this make have it that send one on their own
        answer = sdk.chat.completions.create(**ASK, stream=is_stream)
        whole = "".join(c.choices[0].delta.content or "" for c in answer) if is_stream else None
    assert (whole or answer.choices[0].message.content) == SENTENCE
    assert refused
    assert set(refused) == {1}
    assert len(remote.chats) == 1
    assert not remote.chats[0].left.is_set()
    costs = [row["cost_nano_usd"] for row in hard.rows()]
    assert costs[0] > 0
    assert set(costs[1:]) == {0}


@pytest.mark.parametrize("is_stream", [False, True])
def test_of_many_at_once_one_is_answered_and_the_others_are_told_to_wait(
    client: Client, hard, remote: ScriptedUpstream, gate: Gate, is_stream
):
    """X15: eight at once with one key: one goes out, and seven get 409 with `Retry-After`."""
    remote.always(gate.before(completion()))
    sdk = client(hard)
    told = threading.Semaphore(0)

    def ask(_: int) -> str | None:
        try:
            answer = sdk.chat.completions.create(**ASK, stream=is_stream, extra_headers=KEY)
            return "answered" if not is_stream or list(answer) else None
        except openai.ConflictError as conflict:
            told.release()
            return f"{conflict.code} {conflict.response.headers['retry-after']}"

    def open_when_told() -> None:
        for _ in range(7):
            assert told.acquire(timeout=20)
        gate.open.set()

    with ThreadPoolExecutor(9) as callers:
        opening = callers.submit(open_when_told)
        found = list(callers.map(ask, range(8)))
        opening.result()
    assert sorted(found) == ["answered", *["idempotency_key_in_use 1"] * 7]
    assert len(remote.chats) == 1
    rows = hard.rows()
    assert (
        sorted((row["http_status"], row["error_code"]) for row in rows if row["http_status"] != 200)
        == [(409, "idempotency_key_in_use")] * 7
    )
    assert sum(row["cost_nano_usd"] > 0 for row in rows) == 1


def test_a_stream_goes_on_when_its_client_has_left(hard, remote: ScriptedUpstream, gate: Gate):
    """X15: the connection breaks in the middle of a stream: it is finished, and there for the next try."""
    remote.then(_in_two(gate))
    with httpx.stream("POST", f"{hard.url}/chat/completions", json={**ASK, "stream": True}, headers=KEY) as leaving:
        next(leaving.iter_raw())
    assert post(hard, stream=True).status_code == 409
    gate.open.set()
    until(lambda: hard.rows()[0]["status"] == "settled")
    until(lambda: post(hard, stream=True).status_code == 200)
    again = post(hard, stream=True)
    assert replays(again) == [True]
    assert again.content.endswith(b"data: [DONE]\n\n")
    assert len(remote.chats) == 1
    first = hard.rows()[0]
    assert (first["end_reason"], first["http_status"]) == ("ok", 200)


def _in_two(gate: Gate) -> Behaviour:
    """A stream that holds after three events until the gate is opened."""

    async def act(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for i, event in enumerate(events("large-1", SENTENCE, (12, 17), False)):
            if i == 3:
                await writer.drain()
                await asyncio.to_thread(gate.open.wait, 30)
            part = b"data: " + event + b"\n\n"
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        writer.write(b"0\r\n\r\n")

    return act


def test_without_a_key_a_client_that_leaves_still_stops_its_upstream(hard, remote: ScriptedUpstream):
    remote.then(stream(hold_after=3))
    with httpx.stream("POST", f"{hard.url}/chat/completions", json={**ASK, "stream": True}) as leaving:
        next(leaving.iter_raw())
    assert remote.chats[0].left.wait(10)


def test_a_repeat_takes_nothing_of_a_budget(start, remote):
    gateway = start(classifier=HARD, budgets=[{"name": "one", "requests": 1, "at_cap": "refuse"}])
    assert replays(*(post(gateway) for _ in range(4))) == [False, True, True, True]
    assert post(gateway, headers={}).status_code == 429
    assert len(remote.chats) == 1


def test_an_answer_out_of_the_cache_is_the_keys_answer_too(start, remote):
    gateway = start(classifier=HARD, cache={"when": "always"})
    answers = [post(gateway, headers={}), post(gateway), post(gateway)]
    assert [answer.headers.get("x-weighbridge-cache") for answer in answers] == ["miss", "hit", None]
    assert replays(*answers) == [False, False, True]
    assert {answer.content for answer in answers} == {answers[0].content}
    assert len(remote.chats) == 1


# What is not given again.


def test_what_failed_is_tried_anew(hard, remote):
    """X15: a failed answer is not given again: the same key is a new try."""
    failures = [
        respond(500, {}),
        respond(429, {"error": {"message": "slow"}}, {"retry-after": "60"}),
        respond(400, {"error": {"message": "no", "type": "invalid_request_error"}}),
    ]
    for i, (failure, is_stream) in enumerate(itertools.product(failures, (False, True))):
        key, fields = {"Idempotency-Key": f"key-{i}"}, {"model": "remote", "stream": is_stream}
        remote.always(failure)
        assert post(hard, headers=key, **fields).status_code >= 400
        remote.always(completion())
        assert replays(*(post(hard, headers=key, **fields) for _ in range(2))) == [False, True]


def test_an_answer_that_broke_off_is_tried_anew(hard, remote):
    for how in ("close", "reset", "clean"):
        key = {"Idempotency-Key": how}
        remote.then(stream(cut_after=5, how=how))
        assert b"[DONE]" not in post(hard, headers=key, stream=True).content
        assert replays(*(post(hard, headers=key, stream=True) for _ in range(2))) == [False, True]


def test_an_answer_too_large_to_be_kept_is_tried_anew(start, remote):
    gateway = start(classifier=HARD, state={"use": "memory", "answers_max_mb": 0.01})
    remote.always(completion("word " * 500))
    assert replays(post(gateway), post(gateway)) == [False, False]
    assert replays(*(post(gateway, stream=True, headers={"Idempotency-Key": "s"}) for _ in range(2))) == [False, False]
    remote.always(completion())
    assert replays(*(post(gateway, headers={"Idempotency-Key": "small"}) for _ in range(2))) == [False, True]


def test_a_key_that_comes_with_another_body_is_refused(client: Client, hard, remote):
    """X15: the same key with another body: 422, in words, and never somebody else's answer."""
    assert post(hard).status_code == 200
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client(hard).chat.completions.create(**ASK, temperature=0, extra_headers=KEY)
    assert refused.value.code == "idempotency_key_reused"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert len(remote.chats) == 1
    assert len(hard.rows()) == 1
    assert replays(post(hard)) == [True]


def test_the_order_of_names_makes_no_other_body(hard, remote):
    turned = dict(reversed(ASK.items()))
    assert replays(post(hard), post(hard, body=turned)) == [False, True]


def test_callers_and_paths_have_keys_of_their_own(start, remote):
    gateway = start({"KEYS": "anns-key,bobs-key"}, classifier=HARD, server={"api_keys_env": "KEYS"})
    ann, bob = ({**KEY, "authorization": f"Bearer {name}-key"} for name in ("anns", "bobs"))
    assert replays(*(post(gateway, headers=who) for who in (ann, bob, ann, bob))) == [False, False, True, True]
    message = {**ASK, "max_tokens": 9}
    assert replays(*(post(gateway, "messages", ann, body=message) for _ in range(2))) == [False, True]
    assert len(remote.chats) == 3


def test_a_fenced_request_never_gets_the_answer_of_one_that_was_not(start, local, remote):
    """X15: the same key and body behind a fence: a request of its own, answered here."""
    remote.always(completion("from afar"))
    rules = [{"name": "stays", "when": {"header": {"x-data-class": "private"}}, "then": {"fence": "local"}}]
    gateway = start(classifier=HARD, rules=rules)
    private = {**KEY, "x-data-class": "private"}
    answers = [post(gateway, headers=headers) for headers in (KEY, private, KEY, private)]
    assert replays(*answers) == [False, False, True, True]
    assert ["from afar" in answer.text for answer in answers] == [True, False] * 2
    assert (len(local.chats), len(remote.chats)) == (1, 1)


def test_who_may_not_ask_any_more_gets_no_answer_again(start, remote):
    rules = [{"name": "no", "when": {"header": {"x-denied": "*"}}, "then": {"deny": "Not today."}}]
    gateway = start(classifier=HARD, rules=rules)
    assert post(gateway).status_code == 200
    assert post(gateway, headers={**KEY, "x-denied": "yes"}).status_code == 403


def test_keys_are_not_heeded_where_nothing_is_kept(start, remote):
    gateway = start(classifier=HARD, state={"use": "memory", "answers_ttl_s": 0})
    assert replays(post(gateway), post(gateway), post(gateway, temperature=0)) == [False] * 3
    remote.then(stream(hold_after=3))
    with httpx.stream("POST", f"{gateway.url}/chat/completions", json={**ASK, "stream": True}, headers=KEY) as leaving:
        next(leaving.iter_raw())
    assert remote.chats[-1].left.wait(10)


def test_every_api_heeds_keys(hard, remote):
    bodies = [
        ("completions", {"model": "auto", "prompt": "hi"}),
        ("completions", {"model": "auto", "prompt": "hi", "stream": True}),
        ("embeddings", {"model": "large-1", "input": "hi"}),
        ("responses", {"model": "auto", "input": "hi"}),
        ("responses", {"model": "auto", "input": "hi", "stream": True}),
        ("messages", {"model": "auto", "max_tokens": 50, "messages": ASK["messages"]}),
        ("messages", {"model": "auto", "max_tokens": 50, "messages": ASK["messages"], "stream": True}),
        ("moderations", {"input": "hi"}),
        ("audio/speech", {"model": "tts-1", "input": "hi", "voice": "alloy"}),
    ]
    for i, (path, body) in enumerate(bodies):
        remote.always(serving("large-1") if "large" in str(body) or "auto" in str(body) else serving())
        key, asked = {"Idempotency-Key": f"key-{i}"}, len(remote.chats)
        first, again, other = (post(hard, path, key, body={**body, **more}) for more in ({}, {}, {"user": "ann"}))
        assert replays(first, again) == [False, True], path
        assert again.content == first.content
        assert again.headers["content-type"] == first.headers["content-type"]
        assert other.status_code == 422
        assert len(remote.chats) == asked + 1


def test_an_upload_that_is_sent_again_is_the_same_upload(client: Client, hard, remote):
    """The form's boundary is another one with each try of the SDK's."""
    remote.always(serving())
    sdk = client(hard)
    fields = {"model": "whisper-1", "extra_headers": KEY}
    said = [sdk.audio.transcriptions.create(file=("a.mp3", SPEECH), **fields).text for _ in range(2)]
    assert said[0] == said[1]
    assert len(remote.chats) == 1
    with pytest.raises(openai.UnprocessableEntityError):
        sdk.audio.transcriptions.create(file=("a.mp3", SPEECH + b"more"), **fields)


def test_what_became_of_keys_is_counted_and_their_answers_are_nowhere(hard, remote, caplog):
    remote.always(completion("canaryanswer"))
    for _ in range(3):
        post(hard)
    assert post(hard, temperature=0).status_code == 422
    metrics = httpx.get(f"{hard.root}/metrics").text
    for outcome, times in (("first", 1), ("replayed", 2), ("reused", 1)):
        assert f'weighbridge_idempotent_requests_total{{outcome="{outcome}"}} {times}.0' in metrics
    written = b"".join(path.read_bytes() for path in hard.ledger_path.parent.glob("ledger.db*"))
    for secret in ("canaryanswer", KEY["Idempotency-Key"]):
        assert secret.encode() not in written
        assert secret not in caplog.text


# Several gateways.


def shared(fail: str = "open") -> dict[str, Any]:
    return {"classifier": HARD, "state": {"use": "redis", "fail": fail, "timeout_s": 5}}


@pytest.mark.parametrize("is_stream", [False, True])
def test_two_gateways_charge_a_request_once(start, server, remote: ScriptedUpstream, gate: Gate, is_stream):
    """X15: two gateways over one Redis: 409 at the second while the first is at work, then the same answer at both."""
    pair = [start(**shared()) for _ in range(2)]
    remote.always(gate.before(completion()))
    with ThreadPoolExecutor(1) as callers:
        first = callers.submit(post, pair[0], stream=is_stream)
        until(lambda: remote.chats)
        assert post(pair[1], stream=is_stream).status_code == 409
        gate.open.set()
        answers = [first.result(), *(post(gateway, stream=is_stream) for gateway in pair)]
    assert replays(*answers) == [False, True, True]
    assert {answer.content for answer in answers} == {answers[0].content}
    assert len(remote.chats) == 1


def test_a_restart_keeps_the_answers_that_redis_has(start, server, remote, tmp_path):
    """X15: the gateway is started anew: its answers are where the state is."""
    config = two_upstreams("http://127.0.0.1:1/v1", remote.url, **shared())
    for expected in (False, True):
        with RunningGateway(tmp_path, config) as gateway:
            assert replays(post(gateway)) == [expected]
    assert len(remote.chats) == 1


def test_nothing_in_redis_tells_the_key_or_the_request(start, server, remote):
    assert post(start(**shared())).status_code == 200
    stored = server.run("KEYS", "*")
    assert not any(KEY["Idempotency-Key"] in key or "anyone" in key for key in stored)
    (note,) = (server.run("GET", key) for key in stored if ":note:" in key)
    assert "capital of France" not in note
    assert SENTENCE in note
    assert all(server.run("PTTL", key) > 0 for key in stored if key != "{weighbridge}")


async def test_the_key_of_a_gateway_that_died_is_soon_free(start, server, remote):
    """X15: whoever held the key was killed: 409 until its claim has run out, then a new try."""
    gateway = start(**shared())
    state = Redis(timeout_s=5)
    await state.aopen()
    note = Note(str(digest_of(KEY["Idempotency-Key"], ASK)), "wb-of-the-dead")
    name = name_of("anyone", "/chat/completions", None, KEY["Idempotency-Key"])
    assert await state.swap(name, None, note.text, 1.5) is None
    await state.aclose()
    assert post(gateway).status_code == 409
    until(lambda: post(gateway).status_code == 200)
    assert len(remote.chats) == 1


def test_who_is_at_work_keeps_its_key_for_as_long_as_that_takes(
    start, server, remote: ScriptedUpstream, gate: Gate, monkeypatch
):
    monkeypatch.setattr("weighbridge.repeating.RENEW_S", 0.05)
    monkeypatch.setattr("weighbridge.repeating.LEASE_S", 2)
    remote.always(gate.before(completion()))
    gateway = start(**shared())
    with ThreadPoolExecutor(1) as callers:
        first = callers.submit(post, gateway)
        until(lambda: server.run("KEYS", "*:note:*"))
        (key,) = server.run("KEYS", "*:note:*")
        server.run("PEXPIRE", key, 1000)
        until(lambda: server.run("PTTL", key) > 1500)
        server.run("FLUSHALL")  # it came back empty
        until(lambda: server.run("EXISTS", key))
        assert post(gateway).status_code == 409
        gate.open.set()
        assert replays(first.result(), post(gateway)) == [False, True]
    assert len(remote.chats) == 1


def test_while_redis_is_away_requests_pass_or_are_refused_as_configured(start, server, remote):
    """X15: the state is away: with `fail = "open"` a repeat is a new request, with "closed" it is refused."""
    opened, closed = start(**shared()), start(**shared("closed"))
    server.kill()
    assert replays(post(opened), post(opened)) == [False, False]
    refused = post(closed)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "state_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert len(remote.chats) == 2
    assert post(closed, headers={}).status_code == 200  # no key, no question


def test_an_answer_of_an_upstream_that_is_gone_is_asked_for_anew(start, server, local, remote):
    first = start(**shared())
    assert replays(post(first)) == [False]
    upstreams = two_upstreams(local.url, remote.url)["upstreams"]
    routes = {"auto": {"small": "local", "large": "other", "policy": {"use": "threshold", "threshold": 0.5}}}
    other = start(**shared(), upstreams={"local": upstreams["local"], "other": upstreams["remote"]}, routes=routes)
    assert replays(post(other), post(other)) == [False, True]
    assert len(remote.chats) == 2


def test_a_client_may_leave_before_it_is_known_whether_its_key_is_free(start, server, remote):
    gateway = start(**shared())
    assert replays(post(gateway)) == [False]
    server.freeze()
    with suppress(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/chat/completions", json=ASK, headers=KEY, timeout=httpx.Timeout(5, read=0.3))
    server.thaw()
    until(lambda: post(gateway).status_code == 200)
