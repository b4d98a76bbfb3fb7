"""Other providers through litellm, against scripted servers on loopback."""

import asyncio
import json
import subprocess
import sys
import threading

import pytest
from scripted import ScriptedUpstream, closed_port, completion, hang, raw_stream, respond, stream

from weighbridge.drafts.unasked import asking
from weighbridge.errors import Cut, Failed, Limited, Refused, TimedOut, Unreachable
from weighbridge.upstreams.base import Limits
from weighbridge.upstreams.litellm import LiteLLM
from weighbridge.upstreams.ollama_translation import Incapable
from weighbridge.wire import parse

# litellm's own imports and models warn about what is none of our business.
pytestmark = pytest.mark.filterwarnings("ignore")

KEY = "sk-litellm-canary-0123456789"


def ask(**fields):
    return parse(json.dumps({"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **fields}).encode())


@pytest.fixture
def server():
    with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture
async def upstream(server, monkeypatch):
    """Makes upstreams and closes them."""
    monkeypatch.setenv("TEST_LITELLM_KEY", KEY)
    made = []

    async def make(model="openai/gpt-test", **keys):
        keys = {"location": "remote", "base_url": server.url, "api_key_env": "TEST_LITELLM_KEY", **keys}
        built = LiteLLM(model=model, **keys)
        await built.aopen()
        made.append(built)
        return built

    yield make
    for built in made:
        await built.aclose()


async def drained(opened):
    found = []
    while read := await opened.read():
        found += read
    await opened.aclose()
    return found


async def test_a_whole_answer(server, upstream):
    server.then(completion("Hello there.", usage=(12, 3), system_fingerprint="fp_1"))
    answered = await (await upstream()).complete(ask(temperature=0.5, seed=7))
    [asked] = server.chats
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert {k: asked.json[k] for k in ("model", "temperature", "seed")} == {
        "model": "gpt-test",
        "temperature": 0.5,
        "seed": 7,
    }
    answer = json.loads(answered.body)
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "Hello there."
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["system_fingerprint"] == "fp_1"
    assert (answered.usage.input_tokens, answered.usage.output_tokens) == (12, 3)


async def test_fields_that_nobody_knows_reach_a_server_of_openais_kind(server, upstream):
    await (await upstream()).complete(
        ask(top_k=5, chat_template_kwargs={"enable_thinking": False}, metadata={"a": "b"})
    )
    asked = server.chats[0].json
    assert asked["top_k"] == 5
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
    assert asked["metadata"] == {"a": "b"}


async def test_a_client_cannot_steer_litellm_itself(server, upstream):
    with ScriptedUpstream() as thief:
        steering = {
            "api_base": thief.url,
            "base_url": thief.url,
            "api_key": "x",
            "mock_response": "stolen",
            "fallbacks": [{"model": "openai/x", "api_base": thief.url}],
            "num_retries": 5,
            "custom_llm_provider": "anthropic",
            "extra_headers": {"x-steered": "yes"},
        }
        answer = json.loads((await (await upstream()).complete(ask(**steering))).body)
        assert thief.seen == []
    assert answer["choices"][0]["message"]["content"] != "stolen"
    assert "x-steered" not in server.chats[0].headers
    assert server.chats[0].headers["authorization"] == f"Bearer {KEY}"


async def test_unknown_fields_of_an_answer_reach_the_client(server, upstream):
    fields = {
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "refusal": "No.",
                    "reasoning_content": "hm",
                    "own": 1,
                },
                "finish_reason": "content_filter",
            }
        ]
    }
    server.then(completion(**fields))
    message = json.loads((await (await upstream()).complete(ask())).body)["choices"][0]["message"]
    assert message["content"] is None
    assert (message["refusal"], message["reasoning_content"], message["own"]) == ("No.", "hm", 1)
    assert "provider_specific_fields" not in message


async def test_a_stream(server, upstream):
    server.then(stream("Hello there you.", usage=(12, 3), slices=5))
    found = await drained(await (await upstream()).stream(ask(stream=True)))
    assert server.chats[0].json["stream_options"] == {"include_usage": True}
    assert found[-1] == b"[DONE]"
    chunks = [json.loads(event) for event in found[:-1]]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert text == "Hello there you."
    reasons = [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] == 12


async def test_tool_calls_are_streamed(server, upstream):
    def event(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        fields = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return b"data: " + json.dumps(fields).encode() + b"\n\n"

    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"a":1}'}}
    server.then(
        raw_stream(
            event({"role": "assistant", "tool_calls": [first]}),
            event({"tool_calls": [more]}),
            event({}, "tool_calls"),
            b"data: [DONE]\n\n",
        )
    )
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    found = await drained(await (await upstream()).stream(ask(stream=True, tools=tools)))
    chunks = [json.loads(e) for e in found[:-1]]
    calls = [call for c in chunks for choice in c["choices"] for call in choice["delta"].get("tool_calls", ())]
    assert calls[0]["id"] == "call_1"
    assert calls[0]["function"]["name"] == "f"
    assert "".join(call["function"].get("arguments", "") for call in calls) == '{"a":1}'
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "tool_calls"


@pytest.mark.parametrize("how", ["clean", "close", "reset"])
async def test_an_answer_that_is_cut_does_not_look_whole(server, upstream, how):
    server.then(stream(cut_after=4, how=how, done=False))
    opened = await (await upstream()).stream(ask(stream=True))
    with pytest.raises((Cut, Failed)):
        await drained(opened)
    assert await opened.read() == []
    await opened.aclose()


ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-test",
    "content": [{"type": "text", "text": "Bonjour."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 9, "output_tokens": 4},
}


async def test_a_provider_with_an_api_of_its_own(server, upstream):
    server.then(respond(200, ANTHROPIC))
    base_url = server.url.removesuffix("/v1")
    claude = await upstream("anthropic/claude-3-haiku-20240307", base_url=base_url)
    answered = await claude.complete(ask(max_tokens=20, top_k=3, nobody_knows=1, base_url="http://127.0.0.1:9"))
    [asked] = server.chats
    assert asked.path == "/v1/messages"
    assert asked.headers["x-api-key"] == KEY
    assert (asked.json["max_tokens"], asked.json["top_k"]) == (20, 3)
    assert "nobody_knows" not in asked.json
    answer = json.loads(answered.body)
    assert answer["choices"][0]["message"]["content"] == "Bonjour."
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert (answered.usage.input_tokens, answered.usage.output_tokens) == (9, 4)


async def test_a_cut_stream_of_such_a_provider_does_not_look_whole(server, upstream):
    begun = [
        {"type": "message_start", "message": {**ANTHROPIC, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Bon"}},
    ]
    server.then(raw_stream(*(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in begun)))
    claude = await upstream("anthropic/claude-3-haiku-20240307", base_url=server.url.removesuffix("/v1"))
    opened = await claude.stream(ask(stream=True))
    with pytest.raises(Cut):
        await drained(opened)
    await opened.aclose()


async def test_an_address_in_a_prompt_is_never_fetched(server, upstream):
    image = {"type": "image_url", "image_url": {"url": f"{server.url}/secret.png"}}
    gemini = await upstream("gemini/gemini-2.0-flash", base_url=server.url)
    with pytest.raises((Incapable, Failed, Refused)):
        await gemini.complete(ask(messages=[{"role": "user", "content": [image]}]))
    assert not any("secret" in seen.path for seen in server.seen)


async def test_a_parameter_that_the_provider_does_not_know_is_refused_or_dropped(server, upstream):
    base_url = server.url.removesuffix("/v1")
    strict = await upstream("anthropic/claude-3-haiku-20240307", base_url=base_url)
    with pytest.raises(Incapable) as caught:
        await strict.complete(ask(frequency_penalty=0.5))
    assert caught.value.may_fall_back
    assert server.seen == []
    server.then(respond(200, ANTHROPIC))
    lenient = await upstream("anthropic/claude-3-haiku-20240307", base_url=base_url, drop_params=True)
    assert await lenient.complete(ask(frequency_penalty=0.5))


def error(message, code=None):
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "ours", "code"),
    [
        (400, error("`temperature` is too hot"), Refused, 400, None),
        (
            400,
            error("This model's maximum context length is 10 tokens.", "context_length_exceeded"),
            Refused,
            400,
            "context_length_exceeded",
        ),
        (404, error("The model `gpt-test` does not exist", "model_not_found"), Refused, 404, "model_not_found"),
        (422, error("unprocessable"), Refused, 422, None),
        (401, error(f"Incorrect API key provided: {KEY}"), Failed, 502, "upstream_auth"),
        (403, error("forbidden"), Failed, 502, "upstream_auth"),
        (429, error("slow down"), Limited, 429, "rate_limit_exceeded"),
        (500, error("oops"), Failed, 502, "upstream_error"),
        (503, error("oops"), Failed, 503, "upstream_error"),
    ],
)
async def test_refusals_in_our_words(server, upstream, status, body, kind, ours, code):
    server.always(respond(status, body, {"retry-after": "7"}))
    built = await upstream()
    for act in (built.complete, built.stream):
        with pytest.raises(kind) as caught:
            await act(ask())
        assert (caught.value.status, caught.value.body()["error"]["code"]) == (ours, code)
        assert KEY not in caught.value.message
        assert "litellm" not in caught.value.message
        assert "127.0.0.1" not in caught.value.message
        if kind is Limited:
            assert caught.value.retry_after_s == 7
    assert len(server.chats) == 2, "nothing is tried again behind the gateway's back"


async def test_a_refusal_keeps_the_providers_words(server, upstream):
    server.then(respond(400, error("`temperature` is too hot")))
    with pytest.raises(Refused) as caught:
        await (await upstream()).complete(ask())
    assert "`temperature` is too hot" in caught.value.message


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b"null"])
async def test_nonsense_is_a_failure_of_the_upstream(server, upstream, body):
    server.then(respond(200, body))
    with pytest.raises(Failed):
        await (await upstream()).complete(ask())


async def test_nobody_there_is_unreachable(upstream):
    built = await upstream(base_url=f"http://127.0.0.1:{closed_port()}/v1")
    for act in (built.complete, built.stream):
        with pytest.raises(Unreachable) as caught:
            await act(ask())
        assert not caught.value.billable


async def test_the_limits_hold(server, upstream):
    server.then(hang(), hang(), stream(hold_after=2))
    impatient = await upstream(limits=Limits(first_token_s=0.2, total_s=0.3))
    with pytest.raises(TimedOut):
        await impatient.complete(ask())
    with pytest.raises(TimedOut):
        await impatient.stream(ask(stream=True))
    opened = await (await upstream(limits=Limits(idle_s=0.2))).stream(ask(stream=True))
    assert await opened.read()
    with pytest.raises(TimedOut):
        await drained(opened)
    await opened.aclose()


async def test_a_client_that_leaves_stops_the_provider(server, upstream):
    arrived = threading.Event()

    async def arrive_and_hang(seen, writer):
        arrived.set()
        await hang()(seen, writer)

    server.then(arrive_and_hang, stream(hold_after=2))
    built = await upstream()
    task = asyncio.create_task(built.complete(ask()))
    assert await asyncio.to_thread(arrived.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    opened = await built.stream(ask(stream=True))
    await opened.read()
    await opened.aclose()
    await opened.aclose()
    assert await asyncio.to_thread(lambda: all(asked.left.wait(5) for asked in server.chats))


async def test_check_looks_for_the_key_and_calls_nobody(server, upstream, monkeypatch):
    assert "openai" in await (await upstream()).check()
    monkeypatch.delenv("TEST_LITELLM_KEY")
    with pytest.raises(Failed, match="TEST_LITELLM_KEY"):
        await (await upstream()).check()
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(Failed, match="ANTHROPIC_API_KEY"):
        await (await upstream("anthropic/claude-3-haiku-20240307", base_url=None, api_key_env="")).check()
    assert server.seen == []


OFFLINE = """
import asyncio, os, socket, sys
def refuse(*args, **kwargs):
    raise AssertionError(f"network at import: {args}")
socket.getaddrinfo = refuse
socket.socket.connect = refuse
socket.socket.connect_ex = refuse
from weighbridge.upstreams.litellm import LiteLLM
upstream = LiteLLM(model="anthropic/claude-3-haiku-20240307", location="remote")
assert "litellm" not in sys.modules, "imported before it was opened"
asyncio.run(upstream.aopen())
assert "litellm" in sys.modules
assert "litellm.proxy.proxy_server" not in sys.modules
assert "CANARY" not in os.environ, "a .env was read"
print("offline")
"""


def test_nothing_is_imported_before_it_is_opened_and_nothing_is_fetched_then(tmp_path):
    (tmp_path / ".env").write_text("CANARY=1\n")
    ran = subprocess.run(
        [sys.executable, "-c", OFFLINE], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.stdout.strip() == "offline", ran.stderr


@pytest.mark.parametrize(("model", "is_asked"), [("openai/gpt-4o", True), ("anthropic/claude-3-haiku-20240307", False)])
async def test_what_only_the_gateway_asks_for_is_left_out_where_there_is_no_such_field(
    server, upstream, model, is_asked
):
    if not is_asked:
        server.then(respond(200, ANTHROPIC))
    built = await upstream(model, base_url=server.url if is_asked else server.url.removesuffix("/v1"))
    await built.complete(asking(ask()))
    assert ("logprobs" in server.chats[0].json) is is_asked


async def test_a_client_that_asks_for_it_itself_is_told_that_it_cannot_be_had(server, upstream):
    claude = await upstream("anthropic/claude-3-haiku-20240307", base_url=server.url.removesuffix("/v1"))
    with pytest.raises(Incapable):
        await claude.complete(ask(logprobs=True))


async def test_a_model_with_quirks_is_asked_as_it_can_be(server, upstream):
    t5 = await upstream(quirks=("encoder_decoder", "task_prefix"))
    await t5.complete(ask(messages=[{"role": "user", "content": "Translate to German: Hello."}]))
    assert server.chats[0].json["messages"] == [{"role": "user", "content": "translate English to German: Hello."}]
    with pytest.raises(Incapable):
        await t5.stream(ask(tools=[{"type": "function", "function": {"name": "f"}}], stream=True))
    assert len(server.chats) == 1
