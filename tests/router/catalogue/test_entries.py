"""The data: every fact has a source and a date, every word is from its list, and every name leads to one model."""

import re
from datetime import date
from urllib.parse import urlsplit

import pytest

from weighbridge.catalogue.entries import OURS, QUIRKS, ROLES, TASKS, TERMS, catalogue, found, parsed

MODELS = catalogue()

# The families that the catalogue promises, each by a part of its models' names.
FAMILIES = (
    "distilbert albert tinybert minilm-l6 minilm-l12 mobilebert electra-small bert-tiny bert-mini t5-small t5-base "
    "flan-t5-small distilgpt2 gpt-neo cerebras-gpt lamini-gpt smollm-135m smollm-360m smollm-1.7b smollm2-135m "
    "smollm2-360m smollm2-1.7b smollm3 tinyllama mobilellama qwen2-0.5b qwen2-7b qwen2.5-0.5b qwen2.5-7b qwen3-0.6b "
    "qwen3-8b qwen3.5 llama-2-7b llama-3.2-1b llama-3.2-3b gemma-2 gemma-3-1b gemma-3n gemma-4 phi-3-mini "
    "phi-3.5-mini phi-4 phi-4-mini stablelm-zephyr-3b minicpm mistral-7b mistral-nemo mistral-small-3.1 ministral "
    "falcon-7b gpt-oss-20b deepseek-r1-distill granite-3 granite-4 lfm2"
)


@pytest.mark.parametrize("family", FAMILIES.split())
def test_every_promised_family_is_there(family: str) -> None:
    assert any(family in name for name in MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_fact_names_a_page_and_a_day(name: str) -> None:
    facts = list(MODELS[name].facts())
    assert {"architecture", "parameters", "recommended"} <= {field for field, _ in facts}
    for _, fact in facts:
        assert urlsplit(fact.source.page).scheme == "https"
        assert date(2025, 1, 1) < fact.source.as_of <= date(2027, 1, 1)


@pytest.mark.parametrize("name", MODELS)
def test_every_word_is_from_its_list(name: str) -> None:
    model = MODELS[name]
    assert model.role in ROLES
    assert model.tasks
    assert set(model.tasks) <= set(TASKS)
    assert set(model.quirks.value if model.quirks else ()) <= QUIRKS.keys()
    assert (model.licence.kind if model.licence else "") in {*TERMS, ""}
    assert {fact.kind for fact in model.windows} <= {"config", "trained", "advertised", "original"}
    assert {fact.kind for fact in model.parameters} <= {"computed", ""}
    assert all(re.fullmatch("[a-z]{2}", code) for code in (model.languages.value if model.languages else ()))
    assert model.released is None or re.fullmatch(r"20\d\d(-\d\d){0,2}", model.released.value)


@pytest.mark.parametrize("name", MODELS)
def test_no_figure_is_out_of_this_world(name: str) -> None:
    model = MODELS[name]
    sizes = [fact.value for fact in model.parameters]
    assert 4_000_000 < min(sizes) <= max(sizes) < 25_000_000_000
    # Two sources round in their own way; they do not speak of two models.
    assert max(sizes) < 1.25 * min(sizes)
    assert all(500 < fact.value < 600_000 for fact in model.windows)
    assert model.active_parameters is None or model.active_parameters.value < model.size
    for precision, fact in model.file_bytes.items():
        bits = fact.value * 8 / model.size
        assert {"int4": 4, "int8": 8, "fp16": 14}[precision] < bits < {"int4": 7, "int8": 10, "fp16": 18}[precision]


def test_our_own_reading_says_nothing_that_can_be_measured() -> None:
    judged = {field for model in MODELS.values() for field, fact in model.facts() if fact.source.key == OURS}
    assert judged <= {"recommended", "architecture", "quirks", "huggingface"}


def test_sources_that_differ_both_stand_there() -> None:
    assert [(fact.value, fact.kind) for fact in MODELS["qwen2.5-7b"].windows] == [
        (32_768, "config"),
        (131_072, "advertised"),
    ]
    assert [fact.value for fact in MODELS["electra-small-discriminator"].parameters] == [13_483_008, 13_548_800]


def test_no_name_is_of_two_models() -> None:
    names = [name for model in MODELS.values() for name in {name.lower() for name in model.names()}]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen3-4b", "qwen3-4b"),
        ("qwen3:4b", "qwen3-4b"),
        ("qwen3:4b-q8_0", "qwen3-4b"),
        ("library/phi4-mini:latest", "phi-4-mini"),
        ("llama3.2", "llama-3.2-3b"),
        ("llama3.2:latest", "llama-3.2-3b"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
        ("hf.co/Qwen/Qwen3-8B-GGUF", "qwen3-8b"),
        ("granite4:7b-a1b-h-q4_K_M", "granite-4.0-h-tiny"),
        ("qwen3-44b", None),
        ("qwen3:14b", None),
        ("", None),
    ],
)
def test_a_model_is_found_by_what_servers_call_it(name: str, expected: str | None) -> None:
    model = found(name, MODELS)
    assert (model.name if model else None) == expected


SOURCE = '[sources.s]\npage = "https://example.org"\nas_of = 2026-01-01\n[[models]]\nname = "m"\ntitle = "M"\n'
FACTS = 'role = "answering"\narchitecture = { is = "x", by = "s" }\nparameters = [{ is = 1, by = "s" }]\n'


def test_what_no_source_says_is_unknown() -> None:
    model = parsed(f"{SOURCE}{FACTS}")["m"]
    assert (model.window, model.terms, model.tools, model.tasks) == (None, None, None, ())


@pytest.mark.parametrize("line", ['licence = { is = "MIT", by = "nobody" }', "paramters = 1", "tools = {}"])
def test_a_misspelt_entry_is_refused(line: str) -> None:
    with pytest.raises((KeyError, TypeError)):
        parsed(f"{SOURCE}{FACTS}{line}\n")
