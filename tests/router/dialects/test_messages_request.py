"""Requests of the Messages API in terms of chat."""

import json

import pytest

from weighbridge.dialects.messages_request import chat_request
from weighbridge.errors import BadRequest


def body(*messages, **fields):
    return {"model": "auto", "max_tokens": 100, "messages": list(messages) or [user("hi")], **fields}


def user(*content):
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def assistant(*content):
    return {"role": "assistant", "content": content[0] if isinstance(content[0], str) else list(content)}


def text(said):
    return {"type": "text", "text": said}


def use(call_id, name="Read", **arguments):
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def result(call_id, content="ok", **fields):
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **fields}


def messages_of(*messages, **fields):
    return chat_request(body(*messages, **fields))["messages"]


PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}


def test_a_plain_request_stays_plain():
    assert chat_request(body(temperature=0.1, top_p=0.9, top_k=40, stream=True)) == {
        "model": "auto",
        "max_tokens": 100,
        "temperature": 0.1,
        "top_p": 0.9,
        "top_k": 40,
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_what_chat_does_not_know_is_left_out():
    """litellm#22963: OpenAI refuses `output_config`, which Claude Code sends with every request."""
    chat = chat_request(
        body(
            context_management={"edits": []},
            output_config={},
            thinking={"type": "adaptive"},
            service_tier="auto",
            container="c",
            mcp_servers=[],
            betas=["x"],
            cache_control={"type": "ephemeral"},
        )
    )
    assert chat.keys() == {"model", "max_tokens", "messages"}


def test_system_blocks_are_one_message():
    system = [text("You are Claude Code."), {**text("Be brief."), "cache_control": {"type": "ephemeral"}}]
    assert messages_of(system=system)[0] == {"role": "system", "content": "You are Claude Code.\n\nBe brief."}
    assert messages_of(system="x")[0] == {"role": "system", "content": "x"}
    assert messages_of(system=[])[0]["role"] == "user"


def test_later_words_of_the_system_are_reminders_in_the_users_turn():
    """Many chat templates answer "System message must be at the beginning" otherwise."""
    first, last = {"role": "system", "content": "b"}, {"role": "system", "content": "be quick"}
    messages = messages_of(first, user("hi"), assistant("yes?"), user("go"), last, system="a")
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert messages[0]["content"] == "a\n\nb"
    assert messages[-1]["content"] == "go\n\n<system-reminder>\nbe quick\n</system-reminder>"


def test_results_follow_their_calls_at_once_and_words_come_after():
    """As of litellm PR#15315, and OpenAI's own rule: each call is answered before anything else is said."""
    messages = messages_of(
        user("compare"),
        assistant(text("Reading both."), use("t1", path="a"), use("t2", path="b")),
        user(text("hurry"), result("t1", "A"), result("t2", [text("B"), text("C")])),
    )
    assert messages[1]["content"] == "Reading both."
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["t1", "t2"]
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "t1", "content": "A"},
        {"role": "tool", "tool_call_id": "t2", "content": "B\n\nC"},
        {"role": "user", "content": "hurry"},
    ]


def test_turns_of_one_speaker_are_merged_so_that_results_stay_together():
    messages = messages_of(
        user("go"),
        assistant(use("t1")),
        assistant(use("t2")),
        user(result("t1"), text("first")),
        user(result("t2"), text("second")),
    )
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert messages[-1]["content"] == "first\n\nsecond"


def test_arguments_keep_their_exact_values():
    call = use("t1", big=123456789012345678901234567890, small=0.1, ünï="é", nested={"a": [None, True]})
    (sent,) = messages_of(user("go"), assistant(call), user(result("t1")))[1]["tool_calls"]
    assert sent["function"]["name"] == "Read"
    assert json.loads(sent["function"]["arguments"]) == call["input"]
    assert "123456789012345678901234567890" in sent["function"]["arguments"]


def test_a_call_alone_has_no_words():
    assert messages_of(user("go"), assistant(use("t1")), user(result("t1")))[1]["content"] is None


def test_a_failed_tool_says_so():
    failed = messages_of(user("x"), assistant(use("t")), user(result("t", "no such file", is_error=True)))[2]
    assert failed["content"] == "Error: no such file"
    known = messages_of(user("x"), assistant(use("t")), user(result("t", "Error: gone", is_error=True)))[2]
    assert known["content"] == "Error: gone"


def test_a_tool_without_a_result_still_answers():
    assert messages_of(user("x"), assistant(use("t")), user(result("t", None)))[2]["content"] == ""


def test_a_picture_from_a_tool_is_shown_by_the_user():
    """Before litellm PR#34462, pictures of tools came as base64 in the text, or not at all."""
    tool, shown = messages_of(
        user("look"), assistant(use("t1")), user(result("t1", [text("done"), PICTURE]), text("what is it?"))
    )[2:]
    assert tool == {"role": "tool", "tool_call_id": "t1", "content": "done\n\nThe result is in the next message."}
    assert shown["content"] == [text("Result of t1:"), SHOWN, text("what is it?")]


def test_pictures_of_the_users_are_parts():
    assert messages_of(user(text("what is it?"), PICTURE))[0]["content"] == [text("what is it?"), SHOWN]


def test_thoughts_of_earlier_turns_are_dropped():
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    messages = messages_of(user("x"), assistant(thinking, text("y")), user("z"), assistant(thinking), user("w"))
    assert [m["content"] for m in messages] == ["x", "y", "z", "w"]


def test_an_answer_that_was_interrupted_goes_back_in_one_piece():
    messages = messages_of(user("x"), assistant(text("Let me "), use("t"), text("look.")), user(result("t")))
    assert messages[1]["content"] == "Let me look."


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1_024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}}, "high"),
        ({"thinking": {"type": "enabled"}}, None),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "high"),
        ({"output_config": {"effort": "low"}}, "low"),
        ({"output_config": {"effort": ["low"]}}, None),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, None),
    ],
)
def test_how_hard_to_think_is_said_in_the_words_of_chat(fields, effort):
    assert chat_request(body(**fields)).get("reasoning_effort") == effort


def test_other_settings_have_their_names_in_chat():
    chat = chat_request(
        body(
            stop_sequences=["END"],
            metadata={"user_id": "u" * 150},
            output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        )
    )
    assert chat["stop"] == ["END"]
    assert chat["user"] == "u" * 64  # OpenAI refuses a longer one
    assert chat["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_tools_go_along():
    chat = chat_request(body(tools=[{"name": "Read", "input_schema": {}}], tool_choice={"type": "any"}))
    assert chat["tools"][0]["function"]["name"] == "Read"
    assert chat["tool_choice"] == "required"


def test_an_answer_of_no_tokens_is_refused():
    with pytest.raises(BadRequest) as caught:
        chat_request(body(max_tokens=0))
    assert caught.value.param == "max_tokens"


def test_the_request_itself_is_not_changed():
    request = body(user("a"), {"role": "system", "content": "s"}, assistant(use("t")), user(result("t", [PICTURE])))
    before = json.dumps(request)
    chat_request(request)
    assert json.dumps(request) == before
