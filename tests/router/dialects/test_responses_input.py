"""Items as a conversation: who speaks, what was called, and what is scored."""

import json

import pytest

from weighbridge.asks import extract
from weighbridge.dialects.responses import RESPONSES
from weighbridge.dialects.responses_input import conversation


def call(call_id: str, name: str = "f", arguments: object = '{"a": 1}', **more) -> dict:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **more}


def result(call_id: str, output: object = "done") -> dict:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def user(text: str) -> dict:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def assistant(text: str) -> dict:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def roles(*items: dict) -> list[str]:
    return [message["role"] for message in conversation({"input": list(items)})]


def ids(*items: dict) -> list[list[str] | str]:
    """Each message by the calls in it, or the call that it answers, or its role."""
    told = []
    for message in conversation({"input": list(items)}):
        calls = [one["id"] for one in message.get("tool_calls", ())]
        told.append(calls or message.get("tool_call_id") or message["role"])
    return told


def test_a_string_is_a_user_after_the_instructions():
    assert conversation({"instructions": "Be brief.", "input": "Hi"}) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


def test_roles_are_kept_and_a_developer_is_a_system():
    items = [{"role": role, "content": "x"} for role in ("developer", "system", "user", "assistant")]
    assert roles(*items) == ["system", "system", "user", "assistant"]


def test_parallel_calls_share_one_message_and_their_results_follow():
    assert ids(user("go"), call("a"), call("b"), result("b"), result("a")) == ["user", ["a", "b"], "b", "a"]


def test_calls_one_after_the_other_are_turns_of_their_own():
    assert ids(call("a"), result("a"), call("b"), result("b")) == [["a"], "a", ["b"], "b"]


def test_what_was_said_before_a_call_is_in_its_message():
    first, *_ = conversation({"input": [assistant("Let me see."), call("a"), result("a")]})
    assert first["content"][0]["text"] == "Let me see."
    assert first["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}


def test_what_is_said_between_a_call_and_its_result_is_folded_in__litellm_32536():
    items = [call("a"), assistant("I am looking."), call("b"), result("a"), assistant("And?"), result("b")]
    assert ids(*items) == [["a", "b"], "a", "b", "assistant"]
    assert conversation({"input": items})[0]["content"] == [{"type": "output_text", "text": "I am looking."}]


def test_a_user_between_a_call_and_its_result_waits():
    assert ids(call("a"), user("hurry"), result("a"), user("thanks")) == [["a"], "a", "user", "user"]


def test_a_call_that_was_never_answered_holds_nothing_up():
    assert ids(call("a"), user("stop"), call("b"), result("b")) == [["a"], "user", ["b"], "b"]
    assert ids(call("a"), user("stop")) == [["a"], "user"]


def test_a_result_without_its_call_is_still_a_result():
    assert ids(user("go"), result("a")) == ["user", "a"]


@pytest.mark.parametrize(("arguments", "text"), [("", "{}"), (None, "{}"), ({"a": "é"}, '{"a": "é"}'), ("{", "{")])
def test_arguments_are_json_text(arguments, text):
    assert (
        conversation({"input": [call("a", arguments=arguments)]})[0]["tool_calls"][0]["function"]["arguments"] == text
    )


def test_calls_of_custom_and_of_namespaced_tools_have_the_names_that_the_model_knows():
    items = [
        {"type": "custom_tool_call", "call_id": "a", "name": "apply_patch", "input": "*** é"},
        call("b", name="open", namespace="mcp__browser"),
        {"type": "custom_tool_call_output", "call_id": "a", "output": "ok"},
        result("b"),
    ]
    message, *results = conversation({"input": items})
    patch, opened = [one["function"] for one in message["tool_calls"]]
    assert (patch["name"], json.loads(patch["arguments"])) == ("apply_patch", {"input": "*** é"})
    assert opened["name"] == "mcp__browser__open"
    assert [one["role"] for one in results] == ["tool", "tool"]


def test_a_shell_that_the_client_ran_is_told_as_a_call():
    items = [
        {"type": "local_shell_call", "id": "i", "call_id": "a", "status": "completed", "action": {"command": ["ls"]}},
        {"type": "local_shell_call_output", "id": "a", "output": "a.py"},
    ]
    message, output = conversation({"input": items})
    assert message["tool_calls"][0]["function"] == {
        "name": "local_shell",
        "arguments": '{"action": {"command": ["ls"]}}',
    }
    assert output == {"role": "tool", "tool_call_id": "a", "content": "a.py"}


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "item_reference", "id": "msg_1"},
        {"type": "compaction", "encrypted_content": "x"},
        {"type": "mcp_list_tools", "id": "m", "tools": []},
        {"type": "additional_tools", "role": "developer", "tools": []},
        {"type": "function_call", "call_id": "a"},
        {"type": "function_call_output", "output": "x"},
        {"type": "of_tomorrow", "id": "x", "call_id": "y"},
        {"id": "msg_1"},
    ],
)
def test_what_chat_has_no_word_for_is_left_out(item):
    RESPONSES.check({"model": "auto", "input": [item]})
    assert roles(item, user("go")) == ["user"]


def test_the_last_ask_of_the_user_is_scored_never_instructions_or_results():
    ask = "Rewrite the parser so that it accepts nested comments."
    fields = {
        "instructions": "You are Codex.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Never push."}]},
            user("<environment_context>\n<cwd>/w</cwd>\n</environment_context>"),
            user(ask),
            {"type": "reasoning", "id": "rs", "summary": []},
            call("a"),
            result("a", [{"type": "input_text", "text": "a thousand lines"}]),
        ],
    }
    assert extract(RESPONSES.messages(fields)) == ask
