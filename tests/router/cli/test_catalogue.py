"""`weighbridge models list`, `show` and `recommend`: what they print, and what they say to a misspelt name."""

import json

import pytest

from weighbridge.catalogue.entries import catalogue


async def test_the_list_needs_no_config_and_has_them_all(weighbridge) -> None:
    ended = await weighbridge("models", "list", "--json")
    assert ended.code == 0
    found = {model["name"]: model for model in json.loads(ended.out)["models"]}
    assert list(found) == list(catalogue())
    assert found["llama-3.2-3b"]["terms"] == "conditions"
    assert found["llama-3.2-3b"]["published_memory"] == ["int4"]
    assert found["qwen3-4b"]["quirks"] == ["thinks_first"]


@pytest.mark.parametrize(
    ("arguments", "some", "none"),
    [
        (["--role", "classifier"], "mobilebert-uncased", "phi-4"),
        (["--role", "answering"], "phi-4", "mobilebert-uncased"),
        (["--task", "translation"], "t5-small", "phi-4"),
        (["--task", "question-answering"], "llama-3.2-3b", "phi-4"),
        (["--licence", "apache-2.0"], "ministral-3-8b", "gemma-3-4b"),
        (["--language", "DE"], "granite-4.0-micro", "qwen3-4b"),
        (["--max-memory", "2GB"], "smollm2-360m", "phi-4"),
        (["--max-memory", "30 MB"], "bert-tiny", "distilbert-base-uncased"),
    ],
)
async def test_a_filter_leaves_out_what_does_not_meet_it(arguments, some, none, weighbridge) -> None:
    found = json.loads((await weighbridge("models", "list", *arguments, "--json")).out)["models"]
    names = {model["name"] for model in found}
    assert some in names
    assert none not in names


async def test_the_table_marks_what_is_computed_and_what_is_unknown(weighbridge) -> None:
    ended = await weighbridge("models", "list", "--task", "tool_use")
    lines = {line.split()[1]: line for line in ended.out.splitlines() if "│" in line}
    assert "2.10 GB" in lines["granite-4.0-micro"]
    assert "~2.50 GB" in lines["qwen3-4b"]
    assert "?" in lines["granite-3.3-2b"]
    assert f"of {len(catalogue())}." in ended.out


async def test_everything_about_a_model_is_shown_with_its_source_and_day(weighbridge) -> None:
    ended = await weighbridge("models", "show", "qwen2.5:7b")
    assert ended.code == 0
    assert "windows: 32,768 (config)" in ended.out
    assert "windows: 131,072 (advertised)" in ended.out
    assert "https://inference.readthedocs.io/" in ended.out
    assert "weights at int4: 4.76 GB, from the parameters" in ended.out
    assert "shape: 28 layers, 4 key-value heads of 128" in ended.out
    found = json.loads((await weighbridge("models", "show", "t5-small", "--json")).out)
    assert {"field": "parameters", "is": "60,506,624", "kind": "computed"}.items() <= found["facts"][0].items()
    assert "task_prefix: was trained with" in (await weighbridge("models", "show", "t5-small")).out


async def test_a_recommendation_has_reasons_and_the_command_to_pull(weighbridge) -> None:
    asked = ("--task", "summarization", "--memory", "8GB", "--language", "de", "--licence", "apache-2.0")
    ended = await weighbridge("models", "recommend", *asked)
    assert ended.code == 0
    first, why, *_ = ended.out.splitlines()
    assert first.startswith("1. ")
    assert "(ollama pull " in first
    assert "recommended for summarization" in why
    assert "de is among its languages" in why
    assert "at int" in why
    assert "behind" not in why
    assert "Left out: " in ended.out


async def test_a_recommendation_comes_as_json(weighbridge) -> None:
    ended = await weighbridge("models", "recommend", "--task", "code", "--memory", "4 GiB", "--limit", "2", "--json")
    found = json.loads(ended.out)
    assert len(found["models"]) == 2
    assert all("code" in model["tasks"] and model["precision"] for model in found["models"])
    assert found["left_out"]["classifies, does not answer"] == 10


async def test_nothing_that_fits_is_an_answer_too(weighbridge) -> None:
    ended = await weighbridge("models", "recommend", "--task", "chat", "--memory", "1MB")
    assert ended.code == 1
    assert "needs more than 0.0 GB" in ended.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "qwen3-4"], "qwen3-4 is no model of the catalogue; did you mean qwen3-4b"),
        (["show", "lama3.2"], "did you mean llama3.2"),
        (["show", "%%%"], "`weighbridge models list` has them all"),
        (["recommend", "--task", "sumarise"], "sumarise is no task of the catalogue; did you mean summarization?"),
        (["recommend", "--task", "zzz"], "known: chat, classification, code"),
        (["list", "--role", "encoder"], "encoder is no role of the catalogue"),
        (["list", "--licence", "apache"], "did you mean Apache-2.0?"),
        (["list", "--language", "german"], "german is no language code; write it as de or en"),
        (["list", "--max-memory", "much"], "much is no amount of memory"),
        (["list", "--max-memory", "0GB"], "0GB is no amount of memory"),
    ],
)
async def test_what_is_not_known_is_told_with_the_nearest_names(arguments, sentence, weighbridge) -> None:
    ended = await weighbridge("models", *arguments)
    assert ended.code == 2
    assert sentence in ended.err
