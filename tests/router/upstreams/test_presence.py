"""Presence: what real servers say of themselves, read; and a watch that no request waits for.

The shapes are those of Ollama (docs.ollama.com/api/ps, /api/show), llama.cpp's server (tools/server/README.md: /props,
/slots, and 503 "Loading model" while it loads), vLLM (docs.vllm.ai, production metrics; `max_model_len` in /v1/models)
and LM Studio (lmstudio.ai/docs/api/rest-api: /api/v0/models).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from scripted import ScriptedUpstream, closed_port, respond

from weighbridge.upstreams.link import Client
from weighbridge.upstreams.ollama import Ollama
from weighbridge.upstreams.openai import OpenAI
from weighbridge.upstreams.presence import (
    Presence,
    Watch,
    in_words,
    is_same_model,
    narrowed,
    of_llama_cpp,
    of_lm_studio,
    of_ollama,
    of_openai_server,
    of_vllm,
)

PS = {
    "models": [
        {
            "name": "qwen2.5:3b",
            "model": "qwen2.5:3b",
            "size": 6591830464,
            "digest": "a2af6cc3eb7f",
            "details": {"format": "gguf", "family": "qwen2", "quantization_level": "Q4_K_M"},
            "expires_at": "2025-10-17T16:47:07.93355-07:00",
            "size_vram": 5333539264,
            "context_length": 4096,
        }
    ]
}
SHOW = {"parameters": "temperature 0.7\nnum_ctx 8192", "model_info": {"qwen2.context_length": 32768}}
PROPS = {
    "default_generation_settings": {"id": 0, "n_ctx": 4096, "params": {"temperature": 0.8}},
    "total_slots": 2,
    "model_alias": "qwen2.5-3b",
    "model_path": "/models/qwen2.5-3b-instruct-q4_k_m.gguf",
    "build_info": "b8681",
}
SLOTS = [{"id": 0, "n_ctx": 4096, "is_processing": True}, {"id": 1, "n_ctx": 4096, "is_processing": False}]
LM_STUDIO = {
    "object": "list",
    "data": [
        {"id": "qwen3-8b", "state": "loaded", "max_context_length": 131072, "loaded_context_length": 8192},
        {"id": "gemma-3-4b", "type": "llm", "state": "not-loaded", "max_context_length": 32768},
    ],
}  # fmt: skip
VLLM = {"object": "list", "data": [{"id": "Qwen/Qwen3-4B", "object": "model", "max_model_len": 16384}]}
METRICS = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-4B"} 3.0
vllm:num_requests_running{engine="1",model_name="Qwen/Qwen3-4B"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen3-4B"} 2.0
"""


def test_ollama_tells_the_window_that_it_will_really_have() -> None:
    loaded = of_ollama(SHOW, PS, "0.13.0", "qwen2.5:3b", None)
    assert loaded == Presence("Ollama", True, True, None, 4096, note="81% of it in the GPU's memory")
    unloaded = of_ollama(SHOW, {"models": []}, "0.13.0", "qwen2.5:3b", None)
    assert (unloaded.is_loaded, unloaded.context_window) == (False, 8192)
    assert of_ollama(SHOW, PS, "0.13.0", "qwen2.5:3b", 16384).context_window == 16384
    assert of_ollama(SHOW, PS, "0.13.0", "qwen2.5:3b", 65536).context_window == 32768


def test_an_old_ollama_that_cuts_silently_is_taken_to_hold_its_old_default() -> None:
    nothing_set: dict[str, Any] = {"model_info": {"qwen2.context_length": 32768}}
    assert of_ollama(nothing_set, {}, "0.5.1", "qwen2.5:3b", None).context_window == 2048
    assert of_ollama(nothing_set, {}, "0.13.0", "qwen2.5:3b", None).context_window == 32768


def test_llama_cpp_tells_its_slots_and_their_window() -> None:
    assert of_llama_cpp(PROPS, SLOTS, "qwen2.5-3b") == Presence("llama.cpp", True, True, None, 4096, 1, None, 2)
    assert of_llama_cpp(PROPS, None, "qwen2.5-3b-instruct-q4_k_m").is_installed
    other = of_llama_cpp(PROPS, SLOTS, "llama3:8b")
    assert (other.is_installed, other.note) == (False, "serves qwen2.5-3b, not llama3:8b")


def test_lm_studio_tells_what_is_loaded_and_with_which_window() -> None:
    assert of_lm_studio(LM_STUDIO, "qwen3-8b") == Presence("LM Studio", True, True, False, 8192)
    assert of_lm_studio(LM_STUDIO, "gemma-3-4b") == Presence("LM Studio", True, False, False, 32768)
    assert of_lm_studio(LM_STUDIO, "nobody").is_installed is False


def test_vllm_tells_how_many_wait() -> None:
    assert of_vllm(VLLM, METRICS, "Qwen/Qwen3-4B") == Presence("vLLM", True, True, None, 16384, 4, 2)
    assert of_vllm(VLLM, METRICS, "other").note == "serves Qwen/Qwen3-4B, not other"


@pytest.mark.parametrize("junk", [{}, {"models": 1}, {"data": [1, None]}, {"default_generation_settings": []}])
def test_junk_tells_nothing_and_breaks_nothing(junk: Mapping[str, Any]) -> None:
    assert of_ollama(junk, junk, "", "m", None).context_window is None
    assert of_llama_cpp(junk, None, "m").context_window is None
    assert of_lm_studio(junk, "m").context_window is None
    assert of_vllm(junk, "vllm:num_requests_running{ nonsense", "m").busy == 0


@pytest.mark.parametrize(
    ("tells", "server", "window"),
    [
        ({"/props": PROPS, "/slots": SLOTS}, "llama.cpp", 4096),
        ({"/props": PROPS}, "llama.cpp", 4096),
        ({"/api/v0/models": LM_STUDIO}, "LM Studio", 8192),
        ({"/metrics": METRICS.encode(), "/v1/models": VLLM}, "vLLM", 16384),
        ({"/api/version": {"version": "0.13.0"}, "/api/show": SHOW, "/api/ps": PS}, "Ollama", 4096),
        ({}, None, None),
        ({"/props": b"<html>"}, None, None),
        ({"/props": {"error": "Unexpected endpoint or method."}}, None, None),
    ],
)  # fmt: skip
async def test_a_server_is_known_by_what_only_it_has(
    tells: dict[str, Any], server: str | None, window: int | None
) -> None:
    model = {"LM Studio": "qwen3-8b", "vLLM": "Qwen/Qwen3-4B", "Ollama": "qwen2.5:3b"}.get(server or "", "qwen2.5-3b")
    with ScriptedUpstream() as scripted:
        scripted.tells = {path: respond(200, body) for path, body in tells.items()}
        upstream = OpenAI(base_url=scripted.url, model=model, location="local")
        await upstream.aopen()
        found = upstream.presence
        await upstream.aclose()
    assert (found.server, found.context_window) == (server, window)
    assert not scripted.seen


async def test_a_server_that_loads_its_model_says_so() -> None:
    with ScriptedUpstream() as scripted:
        loading = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
        scripted.always(respond(503, loading))
        client = Client(scripted.url.removesuffix("/v1"), {}, 1)
        found = await of_openai_server(client, "m")
        client.close()
    assert (found.is_loading, found.is_loaded) == (True, False)
    assert in_words(found) == "llama.cpp: loading the model"


async def test_the_window_of_an_upstream_is_the_smaller_of_what_is_set_and_what_is_there() -> None:
    with ScriptedUpstream() as scripted:
        scripted.tells = {"/props": respond(200, PROPS)}
        for configured, window in ((8192, 4096), (2048, 2048), (None, 4096)):
            upstream = OpenAI(base_url=scripted.url, model="m", location="local", context_window=configured)
            assert upstream.window == configured
            await upstream.aopen()
            assert upstream.window == window
            await upstream.aclose()


async def test_a_remote_server_is_not_looked_at() -> None:
    with ScriptedUpstream() as scripted:
        scripted.tells = {"/props": respond(200, PROPS)}
        upstream = OpenAI(base_url=scripted.url, model="m", location="remote", context_window=9000)
        await upstream.aopen()
        assert upstream.window == 9000
        assert upstream.presence == Presence()
        await upstream.aclose()


async def test_an_ollama_without_the_model_says_so() -> None:
    with ScriptedUpstream() as scripted:
        upstream = Ollama(base_url=scripted.url.removesuffix("/v1"), model="m", location="local")
        await upstream.aopen()
        assert upstream.presence.is_installed is False
        await upstream.aclose()


async def test_a_server_that_is_gone_keeps_the_window_it_had() -> None:
    looks = [Presence("llama.cpp", context_window=4096)]
    third = asyncio.Event()

    async def look() -> Presence:
        if looks:
            return looks.pop()
        if watch.presence.note:
            third.set()
        raise ConnectionError

    watch = Watch(look, every_s=0)
    await watch.aopen()
    await third.wait()
    assert watch.presence == Presence(context_window=4096, note="does not answer")
    await watch.aclose()


async def test_opening_does_not_wait_for_a_server_that_is_not_there() -> None:
    upstream = OpenAI(base_url=f"http://127.0.0.1:{closed_port()}/v1", model="m", location="local")
    await upstream.aopen()
    assert upstream.presence == Presence(note="does not answer")
    await upstream.aclose()


def test_what_is_known_is_said_in_words() -> None:
    assert in_words(Presence()) == ""
    busy = Presence("vLLM", True, True, None, 16384, 4, 2, 8)
    assert in_words(busy) == "vLLM: loaded, holds 16,384 tokens, 4 of 8 at work, 2 waiting"
    assert "not loaded" in in_words(Presence("LM Studio", True, False))


def test_the_smaller_window_counts() -> None:
    assert narrowed(None, Presence()) is None
    assert narrowed(8192, Presence(context_window=4096)) == 4096
    assert narrowed(2048, Presence(context_window=4096)) == 2048


@pytest.mark.parametrize(
    ("name", "model", "is_same"),
    [
        ("qwen2.5:3b", "qwen2.5:3b", True),
        ("qwen2.5:3b", "Qwen/Qwen2.5-3B-Instruct", True),
        ("/models/qwen2.5-3b-instruct-q4_k_m.gguf", "qwen2.5:3b", True),
        ("/models/tiny@main", "/models/tiny", True),
        ("llama3:latest", "llama3", True),
        ("qwen2.5:7b", "qwen2.5:3b", False),
        ("llama-3.2-1b", "m", False),
        ("gemma-3-4b", "qwen3:4b", False),
    ],
)
def test_a_model_is_known_by_whatever_its_servers_add_to_its_name(name: str, model: str, is_same: bool) -> None:
    assert is_same_model(name, model) is is_same


async def test_a_server_that_dies_while_it_loads_is_told_from_one_that_is_not_there() -> None:
    looks = [Presence("llama.cpp", is_loaded=False, is_loading=True)]

    async def look() -> Presence:
        if looks:
            return looks.pop()
        raise ConnectionError

    watch = Watch(look, every_s=0)
    await watch.aopen()
    assert await watch.loaded(10)
    assert watch.presence.note == "stopped answering while it loaded the model"
    await watch.aclose()


async def test_a_model_that_goes_on_loading_is_not_waited_for_for_ever() -> None:
    async def look() -> Presence:
        return Presence("llama.cpp", is_loaded=False, is_loading=True)

    watch = Watch(look, every_s=0)
    await watch.aopen()
    assert not await watch.loaded(0.01)
    await watch.aclose()
