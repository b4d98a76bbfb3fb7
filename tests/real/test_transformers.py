"""transformers' own server behind the gateway: real tokens, real streaming, real counts, with OpenAI's own client.

The model is made here, with random weights; what it says makes no sense, and need not. `just real` runs this; it needs
torch, and transformers with its `serving` extra.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from running import RunningGateway, two_upstreams
from scripted import ScriptedUpstream
from tiny_llama import WINDOW, TinyLlama

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.slow

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the lazy dog"}]
FENCE = {"name": "stays", "when": {"header": {"x-private": "*"}}, "then": {"fence": "local"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyLlama]:
    with TinyLlama(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, server: TinyLlama, remote: ScriptedUpstream) -> Iterator[RunningGateway]:
    config = two_upstreams(server.url, remote.url, rules=[FENCE])
    limits = {"first_token_s": 60, "idle_s": 60, "total_s": 120}
    config["upstreams"]["local"] |= {"model": server.model, "context_window": WINDOW, "limits": limits}
    with RunningGateway(tmp_path, config) as running:
        yield running


def asked_directly(server: TinyLlama, **fields: object) -> dict:
    body = {"model": server.model, "messages": MESSAGES, **fields}
    return httpx.post(f"{server.url}/chat/completions", json=body, timeout=120).json()


def test_an_answer_is_the_servers_own_to_the_token(client, gateway, server) -> None:
    answer = client.chat.completions.create(model="auto", messages=MESSAGES, max_tokens=12, temperature=0)
    directly = asked_directly(server, max_tokens=12, temperature=0)
    assert answer.choices[0].message.content == directly["choices"][0]["message"]["content"]
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    (row,) = gateway.rows()
    assert (row["upstream"], row["end_reason"], row["usage_source"]) == ("local", "ok", "provider")
    assert (row["input_tokens"], row["output_tokens"]) == (directly["usage"]["prompt_tokens"], 12)


def test_a_stream_has_the_same_tokens_and_a_proper_end(client, gateway, server) -> None:
    asked = {"model": "auto", "messages": MESSAGES, "max_tokens": 12, "temperature": 0}
    raw = httpx.post(f"{gateway.url}/chat/completions", json={**asked, "stream": True}, timeout=120)
    assert raw.text.endswith("data: [DONE]\n\n")  # which this server leaves out
    chunks = list(client.chat.completions.create(**asked, stream=True))
    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert said == asked_directly(server, max_tokens=12, temperature=0)["choices"][0]["message"]["content"]
    assert len(chunks) > 3
    assert chunks[-1].choices[0].finish_reason == "length"
    assert [row["output_tokens"] for row in gateway.rows()] == [12, 12]
    assert {row["usage_source"] for row in gateway.rows()} == {"provider"}


def test_what_is_too_long_for_it_never_reaches_it(client, gateway, remote) -> None:
    """Asked directly it takes such a prompt without a word, beyond what the model was made for."""
    too_long = [{"role": "user", "content": "the lazy dog " * WINDOW}]
    answer = client.chat.completions.with_raw_response.create(model="auto", messages=too_long, max_tokens=4)
    assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert answer.headers["x-weighbridge-reason"].startswith("context_window")
    assert len(remote.chats) == 1
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="auto", messages=too_long, extra_headers={"x-private": "yes"})
    assert refused.value.code == "context_length_exceeded"
    assert len(remote.chats) == 1


def test_a_client_that_leaves_in_the_middle_leaves_the_server_free(client, gateway) -> None:
    stream = client.chat.completions.create(model="auto", messages=MESSAGES, max_tokens=400, stream=True)
    for _ in range(3):
        next(stream)
    stream.close()
    answer = client.chat.completions.create(model="auto", messages=MESSAGES, max_tokens=4)
    assert answer.choices[0].finish_reason == "length"
    while not all(row["end_reason"] for row in gateway.rows()):  # that a client left is noticed in its own time
        threading.Event().wait(0.01)
    left, stayed = gateway.rows()
    assert (left["end_reason"], stayed["end_reason"]) == ("client_gone", "ok")
    assert left["output_tokens"] < 400


def test_text_completions_are_passed_on(client, gateway) -> None:
    answer = client.completions.create(model="auto", prompt="the lazy", max_tokens=6)
    assert answer.choices[0].finish_reason == "length"
    assert gateway.rows()[0]["output_tokens"] == 6
