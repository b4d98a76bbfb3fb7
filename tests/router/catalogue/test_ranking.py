"""The order of the recommendations: limits first, then one criterion after the other, each told in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.catalogue.entries import TASKS, catalogue
from weighbridge.catalogue.memory import GB, best_precision
from weighbridge.catalogue.ranking import Need, objection, objections, ranked, size_class, small_by_task

MODELS = catalogue()
NEEDS = st.builds(
    Need,
    task=st.none() | st.sampled_from(TASKS),
    memory_bytes=st.none() | st.integers(0, 40 * GB),
    language=st.none() | st.sampled_from(["de", "en", "xx"]),
    licence=st.none() | st.sampled_from(["apache-2.0", "MIT", "gemma"]),
    context_tokens=st.integers(1, 300_000),
)


@given(need=NEEDS)
def test_whoever_is_ranked_meets_every_limit(need: Need) -> None:
    places = ranked(MODELS.values(), need)
    assert len(places) + objections(MODELS.values(), need).total() == len(MODELS)
    for place in places:
        model = place.model
        tokens = min(need.context_tokens, model.window or need.context_tokens)
        assert need.memory_bytes is None or best_precision(model, tokens, need.memory_bytes) == place.precision
        assert need.licence is None or (model.licence and model.licence.value.lower() == need.licence.lower())
        assert place.reasons


@given(need=NEEDS, data=st.data())
def test_the_order_does_not_depend_on_the_order_of_the_data(need: Need, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(list(MODELS.values())))
    assert ranked(shuffled, need) == ranked(MODELS.values(), need)


@given(memory=st.integers(0, 30 * GB), more=st.integers(0, 10 * GB))
def test_more_memory_never_leaves_a_model_out(memory: int, more: int) -> None:
    small, large = ({p.model.name for p in ranked(MODELS.values(), Need("chat", m))} for m in (memory, memory + more))
    assert small <= large


def test_each_place_says_why_it_is_behind_the_one_above() -> None:
    first, second, *others = ranked(MODELS.values(), Need("summarization", 8 * GB, language="de"))
    assert not any("behind" in reason for reason in first.reasons)
    assert f"behind {first.model.name} by its" in second.reasons[-1]
    assert all("behind" in place.reasons[-1] for place in others)


def test_a_recommended_model_goes_before_a_larger_one_that_is_not() -> None:
    names = [place.model.name for place in ranked(MODELS.values(), Need("extraction"))]
    assert names.index("granite-4.0-350m") < names.index("phi-4")


def test_a_language_by_name_goes_before_one_among_many() -> None:
    places = ranked(MODELS.values(), Need("chat", language="ko"))
    named = [
        "ko is among its languages" in place.reasons for place in places if "recommended for chat" in place.reasons
    ]
    assert named == sorted(named, reverse=True)
    assert "claims 100 languages, ko not by name" in next(p for p in places if p.model.name == "qwen3-4b").reasons


def test_models_of_one_size_class_are_not_told_apart_by_a_few_parameters() -> None:
    assert size_class(MODELS["llama-3.2-3b"]) == size_class(MODELS["qwen3-4b"]) == 2
    assert size_class(MODELS["qwen3-8b"]) == size_class(MODELS["mistral-7b"]) == 3


@pytest.mark.parametrize(
    ("name", "need", "reason"),
    [
        ("bert-tiny", Need(), "classifies, does not answer"),
        ("t5-small", Need("code"), "not meant for code"),
        ("gemma-3-4b", Need("tool_use"), "not meant for tool_use"),
        ("smollm2-1.7b", Need("chat", language="de"), "no source says that it knows de"),
        ("qwen2.5-3b", Need("chat", licence="apache-2.0"), "not under apache-2.0"),
        ("phi-4", Need("chat", 4 * GB), "needs more than 4.0 GB"),
        ("phi-4", Need("chat", 40 * GB), None),
    ],
)
def test_an_objection_is_told(name: str, need: Need, reason: str | None) -> None:
    assert objection(MODELS[name], need) == reason


def test_each_task_goes_to_the_installed_model_that_is_best_at_it() -> None:
    installed = {"general": MODELS["llama-3.2-3b"], "coder": MODELS["qwen2.5-coder-3b"], "tiny": MODELS["t5-small"]}
    assert small_by_task(installed) == {
        "chat": "general",
        "code": "coder",
        "question_answering": "general",
        "summarization": "general",
        "tool_use": "general",
        "translation": "tiny",
    }
