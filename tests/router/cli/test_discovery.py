"""What `weighbridge init` finds: model servers that answer, and keys by the names of their variables."""

import pytest

from weighbridge.cli.discovery import Place, places, providers, servers


async def test_an_ollama_is_found_with_its_models_the_likeliest_first(listening) -> None:
    models = [
        {"name": "llama3.1:70b", "size": 40_000_000_000},
        {"name": "nomic-embed-text:latest", "size": 270_000_000},
        {"name": "qwen2.5:0.5b", "size": 400_000_000},
        {"name": "qwen2.5:3b", "size": 1_900_000_000},
    ]
    place = Place("Ollama", "ollama", await listening({"/api/tags": {"models": models}}))
    [found] = await servers([place])
    assert found.models == ("qwen2.5:3b", "qwen2.5:0.5b", "llama3.1:70b")
    assert found.is_local


async def test_an_ollama_says_how_long_a_text_its_models_take(listening) -> None:
    answers = {
        "/api/tags": {"models": [{"name": "qwen3:4b", "size": 1}]},
        "/api/show": {"model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40_960}},
    }
    [found] = await servers([Place("Ollama", "ollama", await listening(answers))])
    assert found.windows == {"qwen3:4b": 40_960}


@pytest.mark.parametrize(
    "shown", [{}, [], 7, b"<html>", {"model_info": 7}, {"model_info": {"x.context_length": "8"}}, {"model_info": {}}]
)
async def test_a_window_that_makes_no_sense_is_not_known(shown: object, listening) -> None:
    answers = {"/api/tags": {"models": [{"name": "m"}]}, "/api/show": shown}
    [found] = await servers([Place("Ollama", "ollama", await listening(answers))])
    assert (found.models, found.windows) == (("m",), {})


async def test_an_openai_server_is_found_with_its_window(listening) -> None:
    listed = {"data": [{"id": "text-embedding-3"}, {"id": "Qwen/Qwen2.5-3B-Instruct", "max_model_len": 32768}]}
    place = Place("vLLM", "openai", await listening({"/v1/models": listed}) + "/v1")
    [found] = await servers([place])
    assert found.models == ("Qwen/Qwen2.5-3B-Instruct",)
    assert found.context_window == 32768


@pytest.mark.parametrize(
    "answer",
    [[], {}, 7, {"data": 7}, {"data": "gpt"}, b"<html>", b"\xff", b"[" * 100_000, b'{"data": [' + b" " * 5_000_000],
)
async def test_another_server_at_that_port_is_none(answer: object, listening) -> None:
    place = Place("llama.cpp", "openai", await listening({"/v1/models": answer}) + "/v1")
    assert await servers([place]) == ()


@pytest.mark.parametrize("models", [[7, None, "x"], [{"name": 7}], [{"id": ""}], [{"name": "bge-large"}]])
async def test_a_server_without_a_model_for_chat_is_found_empty(models: object, listening) -> None:
    place = Place("LM Studio", "openai", await listening({"/v1/models": {"data": models}}) + "/v1")
    [found] = await servers([place])
    assert found.models == ()


async def test_nothing_is_found_where_nothing_listens() -> None:
    assert await servers([Place("vLLM", "openai", "http://127.0.0.1:9/v1")]) == ()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104
        ("localhost:5", "http://localhost:5"),
        (":8000", "http://127.0.0.1:8000"),
        ("[::1]:5", "http://[::1]:5"),
        ("http://gpu.example", "http://gpu.example:11434"),
        ("https://gpu.example", "https://gpu.example:443"),
        ("  'box:77' ", "http://box:77"),
        ("box:many", "http://box:11434"),
    ],
)
def test_ollama_is_looked_for_where_its_own_variable_says(host: str, url: str) -> None:
    assert places({"OLLAMA_HOST": host})[0].base_url == url


def test_keys_are_found_by_their_variables_alone() -> None:
    found = providers({"GROQ_API_KEY": "secret", "OPENAI_API_KEY": "secret", "MISTRAL_API_KEY": ""})
    assert [provider.name for provider in found] == ["openai", "groq"]
    assert "secret" not in repr(found)
