"""llama.cpp's server behind the gateway: real tokens and probabilities, and a server that says how it is.

The model is made here, with random weights; what it says makes no sense, and need not. `just real` runs this; it needs
the packages xllamacpp, which holds the server, and gguf.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from running import RunningGateway, two_upstreams
from scripted import ScriptedUpstream
from tiny_llama_cpp import NAME, SLOTS, WINDOW, TinyLlamaCpp

from weighbridge.cli.probing import probed
from weighbridge.upstreams.openai import OpenAI
from weighbridge.upstreams.presence import in_words

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the lazy dog"}]
FENCE = {"name": "stays", "when": {"header": {"x-private": "*"}}, "then": {"fence": "local"}}
PRIVATE = {"x-private": "yes"}
TO_THE_LIMIT = {"ignore_eos": True}  # a model with random weights may else end at any token


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyLlamaCpp]:
    with TinyLlamaCpp(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, server: TinyLlamaCpp, remote: ScriptedUpstream) -> Iterator[RunningGateway]:
    """Nothing of the server's window is configured: it is what the server says."""
    config = two_upstreams(server.url, remote.url, rules=[FENCE])
    limits = {"first_token_s": 60, "idle_s": 60, "total_s": 120}
    config["upstreams"]["local"] |= {"model": NAME, "limits": limits, "max_concurrent": SLOTS, "other_model": "refuse"}
    with RunningGateway(tmp_path, config) as running:
        yield running


def asked_directly(server: TinyLlamaCpp, **fields: object) -> dict:
    body = {"model": NAME, "messages": MESSAGES, "cache_prompt": False, **fields}
    return httpx.post(f"{server.url}/chat/completions", json=body, timeout=120).json()


def settled(gateway: RunningGateway) -> list[dict]:
    """The ledger's rows, once every request has ended: that a client left is noticed in its own time."""
    while not all(row["end_reason"] for row in gateway.rows()):
        threading.Event().wait(0.01)
    return gateway.rows()


async def test_the_server_says_how_it_is_and_does_what_it_says(server) -> None:
    upstream = OpenAI(base_url=server.url, model=NAME, location="local")
    await upstream.aopen()
    try:
        assert in_words(upstream.presence) == f"llama.cpp: loaded, holds 1,024 tokens, 0 of {SLOTS} at work"
        assert await upstream.check() == f"answers, and serves {NAME}"
        assert [words async for words in probed(upstream)] == []
    finally:
        await upstream.aclose()


def test_an_answer_is_the_servers_own_with_its_probabilities(client, gateway, server) -> None:
    asked = {"max_tokens": 12, "temperature": 0, "seed": 1, "logprobs": True, "top_logprobs": 3}
    answer = client.chat.completions.create(
        model="auto", messages=MESSAGES, **asked, extra_body={"cache_prompt": False}
    )
    (choice,) = asked_directly(server, **asked)["choices"]
    assert answer.choices[0].message.content == choice["message"]["content"]
    assert answer.choices[0].logprobs is not None
    tokens = answer.choices[0].logprobs.content or []
    assert 1 < len(tokens) <= 12  # a character in several tokens may end beyond them, and is held back
    assert [token.token for token in tokens] == [token["token"] for token in choice["logprobs"]["content"]]
    assert all(token.logprob < 0 and len(token.top_logprobs) == 3 for token in tokens)
    (row,) = gateway.rows()
    assert (row["upstream"], row["usage_source"], row["output_tokens"]) == ("local", "provider", 12)


def test_a_stream_has_the_same_tokens_and_probabilities(client, gateway, server) -> None:
    asked = {"max_tokens": 12, "temperature": 0, "seed": 1, "logprobs": True}
    chunks = list(client.chat.completions.create(model="auto", messages=MESSAGES, stream=True, **asked))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    (whole,) = asked_directly(server, **asked)["choices"]
    said = [token.token for choice in choices if choice.logprobs for token in choice.logprobs.content or ()]
    assert said == [token["token"] for token in whole["logprobs"]["content"]]
    assert choices[-1].finish_reason == "length"
    assert not any(chunk.usage for chunk in chunks)  # which only the gateway asked for
    assert gateway.rows()[0]["output_tokens"] == 12


def test_what_is_too_long_for_it_goes_elsewhere_or_is_refused(client, gateway, remote) -> None:
    too_long = [{"role": "user", "content": "the lazy dog " * WINDOW}]
    answer = client.chat.completions.with_raw_response.create(model="auto", messages=too_long, max_tokens=4)
    assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert answer.headers["x-weighbridge-reason"].startswith("context_window")
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="auto", messages=too_long, extra_headers=PRIVATE)
    assert refused.value.code == "context_length_exceeded"
    assert len(remote.chats) == 1


def test_its_own_refusal_of_what_is_too_long_is_understood(tmp_path, server, remote) -> None:
    config = two_upstreams(server.url, remote.url)
    config["upstreams"]["local"] |= {"model": NAME, "location": "remote"}  # so nothing is reckoned beforehand
    config["upstreams"]["remote"] |= {"location": "local"}
    too_long = {"model": "auto", "messages": [{"role": "user", "content": "the lazy dog " * WINDOW}]}
    with RunningGateway(tmp_path, config) as gateway:
        answer = httpx.post(f"{gateway.url}/chat/completions", json=too_long, timeout=60)
    assert answer.headers["x-weighbridge-reason"] == "fallback local context_length_exceeded"


def test_a_client_that_leaves_in_the_middle_frees_its_slot(client, gateway, server) -> None:
    stream = client.chat.completions.create(
        model="auto", messages=MESSAGES, max_tokens=900, stream=True, extra_body=TO_THE_LIMIT
    )
    for _ in range(3):
        next(stream)
    stream.close()
    answer = client.chat.completions.create(model="auto", messages=MESSAGES, max_tokens=4, extra_body=TO_THE_LIMIT)
    assert answer.choices[0].finish_reason == "length"
    while any(slot["is_processing"] for slot in httpx.get(server.url.replace("/v1", "/slots")).json()):
        threading.Event().wait(0.01)
    left, stayed = settled(gateway)
    assert stayed["end_reason"] == "ok"
    assert left["end_reason"] in {"client_gone", "ok"}  # a server as small as this one may be done before it is stopped


def test_eight_at_once_on_two_slots_are_all_answered_here(client, gateway, remote) -> None:
    def ask(at: int) -> str:
        answer = client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": f"{at}"}],
            max_tokens=20,
            extra_headers=PRIVATE,
            extra_body=TO_THE_LIMIT,
        )
        return str(answer.choices[0].finish_reason)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"length"}
    assert {row["upstream"] for row in gateway.rows()} == {"local"}
    assert not remote.seen


def test_the_older_apis_are_passed_on_to_it(client, gateway) -> None:
    assert client.completions.create(model="auto", prompt="the lazy", max_tokens=6).usage is not None
    response = client.responses.create(model="auto", input="the lazy dog", max_output_tokens=6)
    assert response.output
    assert {row["end_reason"] for row in gateway.rows()} == {"ok"}


def test_further_drafts_are_drawn_from_it_and_compared(tmp_path, server, remote) -> None:
    nothing = dict.fromkeys(("bias", "score", "mean_logprob", "low_logprob", "repetition", "unfinished"), 0.0)
    policy = {"use": "cascade", "threshold": 0.5, "accept": 0.5, "samples": 3, "weights": nothing}
    config = two_upstreams(server.url, remote.url)
    limits = {"first_token_s": 60, "idle_s": 60, "total_s": 120}
    config["upstreams"]["local"] |= {"model": NAME, "limits": limits, "max_concurrent": SLOTS, "spill_after_s": 60}
    config["routes"]["auto"]["policy"] = policy
    with RunningGateway(tmp_path, config) as gateway:
        asked = {"model": "auto", "messages": MESSAGES, "max_tokens": 24, "temperature": 0, "seed": 3, **TO_THE_LIMIT}
        answer = httpx.post(f"{gateway.url}/chat/completions", json=asked, timeout=120)
        first, *others = gateway.rows("attempts")
    assert first["upstream"] == "local"
    extra = [row for row in others if row["error_code"] == "extra_draft"]
    assert len(extra) == 2
    assert [(row["usage_source"], row["output_tokens"]) for row in extra] == [("provider", 24)] * 2
    # Random words, drawn twice more, agree on nothing.
    assert answer.headers["x-weighbridge-reason"].startswith("cascade_escalated")
    assert "disagreement" in answer.headers["x-weighbridge-reason"]
    assert len(remote.chats) == 1
