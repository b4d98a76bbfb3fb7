"""Compression without a wire: what may be shortened, what never is, and what comes of a model's answers."""

import json
from typing import Any

import pytest

from weighbridge.preprocess.asking import said
from weighbridge.preprocess.base import Doubt
from weighbridge.preprocess.compress import HEADING, Shortening, shortening
from weighbridge.preprocess.tables import Compress

OPTIONS = Compress(upstream="local", budget_tokens=300, keep_last_turns=1, least_tokens=50)
LONG = "The committee talked about the weather and the garden for a while. " * 20
CODE = "```python\nprint(41)\n```"


def chat(*contents: Any) -> dict[str, Any]:
    roles = ["user", "assistant"] * len(contents)
    return {"model": "auto", "messages": [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]}


def work(fields: dict[str, Any], options: Compress = OPTIONS) -> Shortening:
    found = shortening(fields, options)
    assert found is not None
    return found


def doubt(fields: dict[str, Any], *answers: str) -> str:
    with pytest.raises(Doubt) as raised:
        work(fields).done(answers)
    return str(raised.value)


def test_what_fits_the_budget_is_left_alone() -> None:
    assert shortening(chat("hello"), OPTIONS) is None


def test_earlier_turns_become_one_message_and_the_last_ask_stays() -> None:
    fields = chat(LONG, "I see.", LONG, "Fine.", "And now?")
    fields["messages"].insert(0, {"role": "system", "content": LONG})
    found = work(fields)
    assert found.questions[0].text.startswith("User: The committee")
    assert "Assistant: I see." in found.questions[0].text
    done = found.done(["They talked."])["messages"]
    assert [m["role"] for m in done] == ["system", "user", "user"]
    assert (done[0]["content"], done[2]["content"]) == (LONG, "And now?")
    assert done[1]["content"].startswith(f"{HEADING}\n\nThey talked.")


def test_a_document_before_the_ask_is_shortened_in_its_place() -> None:
    parts = [{"type": "text", "text": LONG}, {"type": "text", "text": "What is it about?"}]
    done = work(chat(parts)).done(["The weather."])["messages"]
    assert [part["text"] for part in done[0]["content"]] == ["The weather. ", "What is it about?"]


def test_calls_of_tools_pictures_and_marked_parts_are_never_touched() -> None:
    call = {"role": "assistant", "content": LONG, "tool_calls": [{"id": "c"}]}
    result = {"role": "tool", "tool_call_id": "c", "content": LONG}
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {}}, {"type": "text", "text": LONG}]}
    block = {"role": "user", "content": [{"type": "tool_result", "content": LONG}, {"type": "text", "text": LONG}]}
    marked = {"role": "user", "content": [{"type": "text", "text": LONG, "cache_control": {}}] * 2}
    for message in (call, result, picture, block, marked):
        fields = {"messages": [message, *chat("And now?")["messages"]]}
        assert doubt(fields) == "nothing that may be shortened"


def test_items_of_responses_are_read_and_what_follows_a_thought_stays() -> None:
    said_before = {"type": "message", "role": "assistant", "id": "m1", "status": "completed"}
    said_before["content"] = [{"type": "output_text", "text": LONG, "annotations": []}]  # type: ignore[assignment]
    fields = {"input": [{"role": "user", "content": LONG}, said_before, {"role": "user", "content": "Now?"}]}
    assert len(work(fields).done(["Talk."])["input"]) == 2
    fields["input"].insert(1, {"type": "reasoning", "id": "r1", "summary": []})
    done = work(fields).done(["Talk."])["input"]
    assert [item.get("type") for item in done] == [None, "reasoning", "message", None]


def test_code_is_never_given_away_and_what_is_lost_is_put_back() -> None:
    text = f"{LONG}The price was 3.50 euros.\n{CODE}\n{LONG}"
    found = work(chat(text, "Yes.", "And now?"))
    assert all("print" not in question.text for question in found.questions)
    shortened = found.done(["Weather.", "Garden."])["messages"][0]["content"]
    assert CODE in shortened
    assert "The price was 3.50 euros." in shortened
    assert len(shortened) < 200


def test_what_a_model_makes_up_or_does_not_shorten_is_a_doubt() -> None:
    fields = chat(LONG, "Yes.", "And now?")
    assert doubt(fields, "They spent 17 euros.") == "something is new"
    assert doubt(fields, LONG * 2) == "not shorter"


def test_a_part_whose_answer_is_of_no_use_stays_as_it_is() -> None:
    fields = chat(f"{LONG}\n{CODE}\n{LONG}", "Yes.", "And now?")
    done = work(fields).done(["They talked.", Doubt("empty answer")])["messages"][0]["content"]
    assert done.endswith(f"They talked. \n{CODE}\n{LONG}\n\nAssistant: Yes.")


def test_too_much_for_a_small_model_is_a_doubt() -> None:
    assert doubt(chat(LONG * 100, "Yes.", "And now?")) == "too long for the local model"


def test_chunks_make_up_the_text_again() -> None:
    fields = chat(LONG * 20, "Yes.", "And now?")
    found = work(fields)
    assert len(found.questions) == 3
    assert "".join(question.text for question in found.questions) == f"User: {LONG * 20}\n\nAssistant: Yes."


@pytest.mark.parametrize(
    ("message", "finish", "why"),
    [({"content": " "}, "stop", "empty answer"), ({"content": None}, "stop", "no answer"), ({}, "stop", "no answer"),
     ({"content": "a"}, "length", "cut answer"), ({"content": "<think>x</think>"}, "stop", "empty answer")],
)  # fmt: skip
def test_an_answer_that_is_none_is_a_doubt(message: dict[str, Any], finish: str, why: str) -> None:
    answer = said(json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode())
    assert isinstance(answer, Doubt)
    assert str(answer) == why
    with pytest.raises(Doubt, match=why):
        work(chat(LONG, "Yes.", "And now?")).done([answer])
    assert said(b'{"choices": [{"message": {"content": "<think>hm</think> yes"}}]}') == "yes"
