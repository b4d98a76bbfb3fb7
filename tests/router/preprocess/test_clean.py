"""Query clean-up without a wire: which asks are rewritten, and which rewritings are believed."""

from typing import Any

import pytest

from weighbridge.preprocess.base import Doubt
from weighbridge.preprocess.clean import cleaning
from weighbridge.preprocess.tables import Clean

OPTIONS = Clean(upstream="local")
ASK = "pls tell me hwo many days has a leap year and dont explain"
CLEAR = "Please tell me how many days a leap year has, and don't explain it."


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": content, **more}]}


def cleaned(fields: dict[str, Any], answer: str) -> dict[str, Any]:
    work = cleaning(fields, OPTIONS)
    assert work is not None
    return work.done([answer])


def test_the_last_ask_is_said_clearly_and_nothing_else_changes() -> None:
    assert cleaned(chat(ASK), CLEAR)["messages"] == chat(CLEAR)["messages"]
    parts = [{"type": "text", "text": "a document"}, {"type": "text", "text": ASK}]
    assert cleaned(chat(parts), CLEAR)["messages"][1]["content"] == [parts[0], {"type": "text", "text": CLEAR}]
    assert cleaned({"input": ASK}, CLEAR) == {"input": CLEAR}
    assert cleaned({"input": chat(ASK)["messages"]}, CLEAR)["input"][1]["content"] == CLEAR


@pytest.mark.parametrize(
    "fields",
    [
        chat("```\ncode\n```"),
        chat("<task>x</task>"),
        chat("long " * 400),
        chat("  "),
        chat(ASK, name="ann"),
        chat([{"type": "image_url", "image_url": {}}, {"type": "text", "text": ASK}]),
        {"messages": [*chat(ASK)["messages"], {"role": "tool", "content": "x"}]},
        {"messages": []},
        {"prompt": ASK},
    ],
)
def test_what_is_no_short_ask_in_plain_words_is_left_alone(fields: dict[str, Any]) -> None:
    assert cleaning(fields, OPTIONS) is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("Please tell me how many days a leap year has, and explain it.", "changed negations"),
        ("Please tell me how many days the leap year 2024 has, but don't explain.", "changed numbers"),
        ("366.", "another length"),
        (CLEAR * 4, "another length"),
        ("Bitte sag mir, wie viele Tage ein Schaltjahr hat, und erkläre es mir nicht.", "another language"),
    ],
)
def test_a_rewriting_that_says_something_else_is_a_doubt(answer: str, why: str) -> None:
    with pytest.raises(Doubt, match=why):
        cleaned(chat(ASK), answer)
