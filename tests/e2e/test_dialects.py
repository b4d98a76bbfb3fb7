"""Every API that clients speak, at servers that speak it and at servers that have only chat completions."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import openai
import pytest
from running import RunningGateway, two_upstreams
from scripted import SENTENCE, completion, respond
from serving import SPEECH, serving


@pytest.fixture
def native(start, local, remote) -> RunningGateway:
    """Both upstreams serve the whole API."""
    local.always(serving("small-1"))
    remote.always(serving("large-1"))
    return start()


@pytest.fixture
def client() -> Iterator[Callable[[RunningGateway], openai.OpenAI]]:
    """The real SDK, before a gateway."""
    with ExitStack() as clients:
        yield lambda gateway: clients.enter_context(openai.OpenAI(base_url=gateway.url, api_key="none", max_retries=0))


def test_a_response_passes_to_a_server_that_has_them(client, native, local, remote):
    answer = client(native).responses.with_raw_response.create(model="auto", input="What is the capital of France?")
    assert answer.parse().output_text == SENTENCE
    assert answer.headers["x-weighbridge-upstream"] == "local"
    assert [seen.path for seen in local.seen] == ["/v1/responses"]
    assert local.seen[0].json["model"] == "small-1"
    row = native.rows()[0]
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (12, 17, "provider")


def test_a_response_is_put_in_terms_of_chat_where_a_server_has_only_that(client, gateway, local):
    local.always(completion())
    local.then(respond(404, {"detail": "Not Found"}))
    for _ in range(2):
        answer = client(gateway).responses.create(model="auto", input="What is the capital of France?")
        assert answer.output_text == SENTENCE
        assert answer.status == "completed"
    # It was asked once whether it has responses, and never again.
    assert [seen.path for seen in local.seen] == ["/v1/responses", "/v1/chat/completions", "/v1/chat/completions"]


@pytest.mark.parametrize("is_native", [True, False])
def test_a_response_streams_its_events_in_order(client, start, local, is_native):
    if is_native:
        local.always(serving("small-1"))
        gateway = start()
    else:
        upstreams = two_upstreams(local.url, local.url)["upstreams"]
        upstreams["local"]["endpoints"] = []
        gateway = start(upstreams=upstreams)
    with client(gateway).responses.stream(model="auto", input="hi") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == SENTENCE
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    row = gateway.rows()[0]
    assert (row["input_tokens"], row["output_tokens"], row["end_reason"]) == (12, 17, "ok")


def test_a_kept_response_is_asked_for_where_it_is_kept_and_gone_on_from_there(client, start, local, remote):
    local.always(serving("small-1"))
    remote.always(serving("large-1"))
    gateway = start(classifier={"use": "constant", "score": 0.9})
    first = client(gateway).responses.create(model="auto", input="Remember me", store=True)
    assert client(gateway).responses.retrieve(first.id).id == first.id
    assert [seen.path for seen in remote.seen] == ["/v1/responses", f"/v1/responses/{first.id}"]
    easy = start()  # after a restart, and with every new ask going to the other model
    again = client(easy).responses.with_raw_response.create(
        model="auto", input="Who am I?", previous_response_id=first.id
    )
    assert again.headers["x-weighbridge-upstream"] == "remote"
    assert again.headers["x-weighbridge-reason"].split()[0] == "session"
    client(easy).responses.delete(first.id)
    assert remote.seen[-1].method == "DELETE"
    assert not local.seen


def test_a_response_that_nobody_knows_is_refused_and_not_ignored(client, native):
    with pytest.raises(openai.BadRequestError) as refused:
        client(native).responses.create(model="auto", input="hi", previous_response_id="resp_unknown")
    assert refused.value.code == "previous_response_not_found"
    with pytest.raises(openai.NotFoundError):
        client(native).responses.retrieve("resp_unknown")


def test_a_message_reaches_a_chat_server_and_comes_back_as_a_message(gateway, local):
    body = {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
    answer = httpx.post(f"{gateway.root}/v1/messages?beta=true", json=body, headers={"x-api-key": "none"})
    assert answer.status_code == 200
    assert answer.json()["content"][0]["text"] == SENTENCE
    assert answer.json()["stop_reason"] == "end_turn"
    assert [seen.path for seen in local.seen] == ["/v1/chat/completions"]
    assert "x-api-key" not in local.seen[0].headers


def test_a_message_goes_straight_to_a_server_that_is_said_to_have_them(start, local, remote):
    local.always(serving("small-1"))
    upstreams = two_upstreams(local.url, remote.url)["upstreams"]
    upstreams["local"]["endpoints"] = ["/messages"]
    gateway = start(upstreams=upstreams)
    body = {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
    for stream in (False, True):
        answer = httpx.post(f"{gateway.root}/v1/messages", json={**body, "stream": stream})
        assert answer.status_code == 200
    assert {seen.path for seen in local.seen} == {"/v1/messages"}
    assert answer.text.rstrip().splitlines()[-2] == "event: message_stop"
    assert [row["input_tokens"] for row in gateway.rows()] == [12, 12]


def test_errors_at_messages_have_anthropics_shape(gateway, local):
    def said(answer: httpx.Response) -> tuple[int, str, str]:
        return answer.status_code, answer.json()["type"], answer.json()["error"]["type"]

    url = f"{gateway.root}/v1/messages"
    good = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    assert said(httpx.post(url, content=b"{")) == (400, "error", "invalid_request_error")
    assert said(httpx.post(url, json={**good, "model": "nobody"})) == (404, "error", "not_found_error")
    assert said(httpx.post(f"{url}/count_tokens", json={})) == (400, "error", "invalid_request_error")
    assert said(httpx.get(url)) == (405, "error", "invalid_request_error")
    local.always(respond(429, {}, {"retry-after": "7"}))
    limited = httpx.post(url, json={**good, "model": "local"})
    assert said(limited) == (429, "error", "rate_limit_error")
    assert limited.headers["retry-after"] == "7"
    assert limited.headers["anthropic-ratelimit-unified-status"] == "rejected"


def test_tokens_of_a_message_are_counted_without_asking_anybody(gateway, local):
    body = {"model": "auto", "messages": [{"role": "user", "content": "word " * 100}]}
    answer = httpx.post(f"{gateway.root}/v1/messages/count_tokens", json=body)
    assert 50 <= answer.json()["input_tokens"] <= 300
    assert not local.seen


def test_text_completions_pass_and_are_put_in_terms_of_chat(client, start, native, local):
    answer = client(native).completions.create(model="auto", prompt="Once upon", suffix="the end")
    assert answer.choices[0].text
    assert local.seen[0].path == "/v1/completions"
    assert local.seen[0].json["suffix"] == "the end"
    chunks = list(client(native).completions.create(model="auto", prompt="Once upon", stream=True))
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings_go_to_the_upstream_that_serves_the_model(client, native, local, remote, form):
    answer = client(native).embeddings.create(model="large-1", input=["one", "two"], encoding_format=form, dimensions=8)
    assert len(answer.data) == 2
    assert not local.seen
    assert remote.seen[0].json == {
        "model": "large-1",
        "input": ["one", "two"],
        "encoding_format": form,
        "dimensions": 8,
    }
    assert native.rows()[0]["output_tokens"] == 0


def test_embeddings_of_a_model_that_nobody_serves_are_not_found(client, native):
    with pytest.raises(openai.NotFoundError) as missing:
        client(native).embeddings.create(model="nobody", input="one")
    assert missing.value.code == "model_not_found"


def test_what_is_nobodys_business_passes_to_the_byte(client, native, remote):
    remote.always(serving())
    sdk = client(native)
    assert sdk.audio.speech.create(model="tts-1", voice="alloy", input="hello").content == SPEECH
    assert sdk.audio.transcriptions.create(model="whisper-1", file=("a.mp3", SPEECH)).text
    assert sdk.images.generate(model="dall-e-3", prompt="a bridge").data
    assert sdk.moderations.create(input="hello").results
    assert {seen.headers["authorization"] for seen in remote.seen} == {"Bearer sk-upstream-canary-0123456789"}
    assert SPEECH in remote.seen[1].body
    assert remote.seen[1].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert [row["location"] for row in native.rows()] == ["remote"] * 4


def test_a_picture_that_must_stay_here_does_not_leave(client, start, local, remote):
    local.always(serving())
    gateway = start(rules=[{"name": "stays", "when": {"pii": ["email"]}, "then": {"fence": "local"}}])
    client(gateway).images.generate(model="dall-e-3", prompt="a card for jane.doe@example.com")
    client(gateway).audio.transcriptions.create(
        model="whisper-1", file=("a.mp3", SPEECH), prompt="jane.doe@example.com"
    )
    assert not remote.seen
    assert len(local.seen) == 2


def test_what_no_upstream_serves_is_a_404_of_ours(gateway, local, remote):
    for upstream in (local, remote):
        upstream.always(respond(404, {"detail": "Not Found"}))
    answer = httpx.post(f"{gateway.url}/moderations", json={"input": "hello"})
    assert answer.status_code == 404
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
TURN = [
    {"role": "user", "content": "Look around"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "a wall"},
]


def test_a_tool_loop_stays_with_the_model_that_began_it_also_across_a_restart(start, local, remote):
    def ask(gateway: RunningGateway, messages: list[dict]) -> httpx.Response:
        body = {"model": "auto", "messages": messages, "tools": TOOLS}
        return httpx.post(f"{gateway.url}/chat/completions", json=body)

    begun = ask(start(classifier={"use": "constant", "score": 0.9}), TURN[:1])
    assert begun.headers["x-weighbridge-upstream"] == "remote"
    easy = start()
    going_on = ask(easy, [{"role": "system", "content": "now with another system prompt"}, *TURN])
    assert going_on.headers["x-weighbridge-upstream"] == "remote"
    assert going_on.headers["x-weighbridge-reason"].split()[0] == "session"
    new_ask = ask(easy, [*TURN, {"role": "assistant", "content": "A wall."}, {"role": "user", "content": "And now?"}])
    assert new_ask.headers["x-weighbridge-upstream"] == "local"


def test_a_signed_history_stays_with_the_model_that_signed_it(start):
    signed = [
        {"role": "user", "content": "Think hard"},
        {"role": "assistant", "content": "Yes.", "reasoning_details": [{"type": "x", "signature": "abc"}]},
        {"role": "user", "content": "And now something simple"},
    ]

    def ask(gateway: RunningGateway, messages: list[dict]) -> str:
        body = {"model": "auto", "messages": messages, "tools": TOOLS}
        return httpx.post(f"{gateway.url}/chat/completions", json=body).headers["x-weighbridge-upstream"]

    assert ask(start(classifier={"use": "constant", "score": 0.9}), signed[:1]) == "remote"
    assert ask(start(), signed) == "remote"


def test_a_fenced_turn_of_a_tool_loop_stays_here_whoever_began_it(start, remote):
    hard = start(classifier={"use": "constant", "score": 0.9})
    body = {"model": "auto", "messages": TURN[:1], "tools": TOOLS}
    httpx.post(f"{hard.url}/chat/completions", json=body)
    fenced = start(rules=[{"name": "stays", "when": {"pii": ["email"]}, "then": {"fence": "local"}}])
    private = [*TURN[:2], {**TURN[2], "content": "jane.doe@example.com"}]
    seen = len(remote.seen)
    answer = httpx.post(f"{fenced.url}/chat/completions", json={**body, "messages": private})
    assert answer.headers["x-weighbridge-upstream"] == "local"
    assert len(remote.seen) == seen


def test_a_server_that_refuses_a_word_is_asked_in_its_own(start, local, remote):
    remote.then(
        respond(
            400,
            {
                "error": {
                    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
                    "Use 'max_completion_tokens' instead.",
                    "type": "invalid_request_error",
                    "param": "max_tokens",
                    "code": "unsupported_parameter",
                }
            },
        )
    )
    gateway = start(classifier={"use": "constant", "score": 0.9})
    for _ in range(2):
        body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50, "seed": 2**60}
        assert httpx.post(f"{gateway.url}/chat/completions", json=body).status_code == 200
    assert ["max_tokens" in json.loads(seen.body) for seen in remote.seen] == [True, False, False]
    assert json.loads(remote.seen[1].body)["max_completion_tokens"] == 50
