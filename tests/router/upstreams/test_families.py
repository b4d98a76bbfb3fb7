"""Families of models: what each does not know is put so that it does, or refused in plain words; nothing is dropped."""

import json
from typing import Any

import pytest

from weighbridge.errors import Incapable, Refused
from weighbridge.upstreams.families import Quirk, prompt_of, quirk_of, quirks_of, suited
from weighbridge.upstreams.http import refusal
from weighbridge.wire import parse

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "What is a weighbridge?"}
ANSWER = {"role": "assistant", "content": "A scale."}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
T5 = frozenset({Quirk.ENCODER_DECODER, Quirk.COMPLETIONS_ONLY, Quirk.TASK_PREFIX})
FLAN = frozenset({Quirk.ENCODER_DECODER, Quirk.COMPLETIONS_ONLY})
BASE = frozenset({Quirk.COMPLETIONS_ONLY})


def folded(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    body = parse(json.dumps({"model": "m", "messages": messages, "seed": 12345678901234567890}).encode())
    sent = suited(body, frozenset({Quirk.NO_SYSTEM_ROLE}))
    assert json.loads(sent.text) == sent.fields
    assert sent.fields["seed"] == 12345678901234567890
    found: list[dict[str, Any]] = sent.fields["messages"]
    return found


def test_known_families_have_their_quirks_from_the_catalogue() -> None:
    assert quirks_of("google-t5/t5-small") == T5
    assert quirks_of("google/flan-t5-small") == FLAN
    assert Quirk.COMPLETIONS_ONLY in quirks_of("EleutherAI/gpt-neo-125m")
    assert quirks_of("gemma3n:e2b") == {Quirk.NO_SYSTEM_ROLE}
    assert quirks_of("qwen2.5:3b") == quirks_of("a-model-that-nobody-knows") == frozenset()


def test_a_model_without_quirks_gets_the_very_body() -> None:
    body = parse(json.dumps({"model": "m", "messages": [SYSTEM, USER], "tools": TOOLS}).encode())
    assert suited(body, frozenset()) is body
    plain = parse(json.dumps({"model": "m", "messages": [USER, ANSWER, USER]}).encode())
    assert suited(plain, frozenset({Quirk.NO_SYSTEM_ROLE, Quirk.NO_TOOLS})) is plain


def test_what_the_system_says_stands_at_the_head_of_the_first_user_message() -> None:
    assert folded(SYSTEM, USER, ANSWER) == [{"role": "user", "content": f"Be brief.\n\n{USER['content']}"}, ANSWER]
    developer = {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}
    (first,) = folded(SYSTEM, developer, USER)
    assert first["content"] == f"Be brief.\n\nBe kind.\n\n{USER['content']}"


def test_what_it_says_later_stands_where_it_was_said() -> None:
    assert folded(USER, ANSWER, SYSTEM, USER)[2]["content"] == f"Be brief.\n\n{USER['content']}"
    assert folded(USER, SYSTEM) == [{"role": "user", "content": f"{USER['content']}\n\nBe brief."}]
    assert folded(USER, ANSWER, SYSTEM)[-1] == {"role": "user", "content": "Be brief."}
    assert folded(SYSTEM) == [{"role": "user", "content": "Be brief."}]


def test_pictures_stay_beside_what_the_system_says() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    (first,) = folded(SYSTEM, {"role": "user", "content": [picture]})
    assert first["content"] == [{"type": "text", "text": "Be brief.\n\n"}, picture]


@pytest.mark.parametrize("quirk", [Quirk.NO_TOOLS, Quirk.COMPLETIONS_ONLY, Quirk.ENCODER_DECODER])
@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [USER], "tools": TOOLS},
        {"messages": [USER], "functions": [{"name": "f"}]},
        {"messages": [USER, {"role": "assistant", "tool_calls": [{}]}, {"role": "tool", "content": "x"}]},
    ],
)
def test_tools_are_refused_in_plain_words_and_never_dropped(quirk: Quirk, fields: dict[str, Any]) -> None:
    with pytest.raises(Incapable) as refused:
        suited(parse(json.dumps({"model": "m", **fields}).encode()), frozenset({quirk}))
    assert refused.value.code == "unsupported_by_upstream"
    assert refused.value.param == "tools"
    assert refused.value.may_fall_back


@pytest.mark.parametrize(
    ("ask", "prompt"),
    [
        ("summarize: a long text", "summarize: a long text"),
        ("translate English to German: Hello.", "translate English to German: Hello."),
        ("Summarize this: a long text", "summarize: a long text"),
        ("Please summarise the following article:\n\nA long text.\nMore.", "summarize: A long text.\nMore."),
        ("Can you give me a summary of this?\nA text.", "summarize: A text."),
        ("Translate to German: Hello.", "translate English to German: Hello."),
        ("Please translate the following sentence into french:\nHello.", "translate English to French: Hello."),
        ("Translate from German to English: Hallo.", "translate German to English: Hallo."),
    ],
)
def test_the_task_is_put_in_the_words_that_t5_knows(ask: str, prompt: str) -> None:
    assert prompt_of({"messages": [SYSTEM, {"role": "user", "content": ask}]}, T5) == prompt


def test_the_task_may_be_what_the_system_says() -> None:
    system = {"role": "system", "content": "Translate the user's text to German."}
    assert prompt_of({"messages": [system, USER]}, T5) == f"translate English to German: {USER['content']}"


def test_a_text_without_a_task_has_the_configured_one_or_goes_elsewhere() -> None:
    assert prompt_of({"messages": [USER]}, T5, "summarize: ") == f"summarize: {USER['content']}"
    asked = [{"role": "user", "content": "Translate to German: Hello."}]
    assert prompt_of({"messages": asked}, T5, "summarize: ").startswith("translate")
    with pytest.raises(Incapable, match="only knows tasks"):
        prompt_of({"messages": [USER]}, T5)


def test_a_model_that_follows_instructions_gets_them_as_they_are() -> None:
    assert prompt_of({"messages": [SYSTEM, USER]}, FLAN) == f"Be brief.\n\n{USER['content']}"


def test_a_conversation_is_told_to_who_can_read_it_and_refused_by_who_cannot() -> None:
    told = prompt_of({"messages": [SYSTEM, USER, ANSWER, USER]}, BASE)
    ask = USER["content"]
    assert told == f"Be brief.\n\nUser: {ask}\n\nAssistant: A scale.\n\nUser: {ask}\n\nAssistant:"
    with pytest.raises(Incapable, match="no earlier turns"):
        prompt_of({"messages": [USER, ANSWER, USER]}, FLAN)
    with pytest.raises(Incapable, match="text only"):
        prompt_of({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, BASE)


@pytest.mark.parametrize(
    ("status", "message", "fields", "quirk"),
    [
        (500, "Error: Jinja Exception: System role not supported", {"messages": [SYSTEM]}, Quirk.NO_SYSTEM_ROLE),
        (400, "System role not supported", {"messages": [SYSTEM, USER]}, Quirk.NO_SYSTEM_ROLE),
        (400, "System role not supported", {"messages": [USER]}, None),
        (
            400,
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            {"messages": [USER], "tools": TOOLS},
            Quirk.NO_TOOLS,
        ),
        (
            400,
            "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template "
            "if the tokenizer does not define one.",
            {"messages": [USER]},
            Quirk.COMPLETIONS_ONLY,
        ),
        (400, "messages: too many", {"messages": [USER]}, None),
        (404, "System role not supported", {"messages": [SYSTEM]}, None),
    ],
)
def test_quirks_are_learnt_from_the_words_in_which_servers_refuse(
    status: int, message: str, fields: dict[str, Any], quirk: Quirk | None
) -> None:
    refused = refusal(status, {}, json.dumps({"error": {"message": message}}).encode())
    assert isinstance(refused, Refused)
    assert quirk_of(refused, fields) is quirk
