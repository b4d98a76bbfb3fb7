"""Tools of the Messages API as functions."""

import pytest

from weighbridge.dialects.messages_tools import tool_settings
from weighbridge.errors import BadRequest

READ = {"name": "Read", "description": "Read a file", "input_schema": {"type": "object", "$defs": {"x": {"x-k": 1}}}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}


def test_a_tool_becomes_a_function_with_its_schema_as_it_is():
    assert tool_settings({"tools": [{**READ, "cache_control": {"type": "ephemeral"}, "strict": True}]}) == {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "Read",
                    "description": "Read a file",
                    "strict": True,
                    "parameters": {"type": "object", "$defs": {"x": {"x-k": 1}}},
                },
            }
        ]
    }


def test_without_tools_nothing_is_said_of_them():
    """OpenAI refuses `tool_choice` and `parallel_tool_calls` without `tools`."""
    assert tool_settings({"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}) == {}
    assert tool_settings({"tools": None}) == {}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "Read"}, {"type": "function", "function": {"name": "Read"}}),
    ],
)
def test_choices_have_their_counterparts(choice, expected):
    assert tool_settings({"tools": [READ], "tool_choice": choice})["tool_choice"] == expected


def test_one_call_at_a_time_can_be_asked_for():
    settings = tool_settings({"tools": [READ], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}})
    assert settings["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in tool_settings({"tools": [READ], "tool_choice": {"type": "any"}})


def test_what_anthropics_servers_run_is_left_out_and_the_rest_kept():
    """litellm#36268, in Anthropic's terms."""
    tools = tool_settings({"tools": [SEARCH, READ]})["tools"]
    assert [tool["function"]["name"] for tool in tools] == ["Read"]


def test_tools_of_anthropics_that_the_client_runs_go_with_the_input_they_take():
    bash = {"type": "bash_20250124", "name": "bash"}
    editor = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9}
    tools = tool_settings({"tools": [bash, editor]})["tools"]
    assert [tool["function"]["name"] for tool in tools] == ["bash", "str_replace_based_edit_tool"]
    assert "command" in tools[0]["function"]["parameters"]["properties"]
    assert tools[1]["function"]["parameters"]["required"] == ["command", "path"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [SEARCH]}, "tools"),
        ({"tools": [{"type": "bash_20250124"}]}, "tools"),
        ({"tools": [READ, SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}}, "tool_choice.name"),
        ({"tools": [READ], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [READ], "tool_choice": {"type": "tool", "name": []}}, "tool_choice.name"),
        ({"tools": [READ], "tool_choice": {"type": ["any"]}}, "tool_choice.type"),
        ({"tools": [READ], "tool_choice": {"type": "maybe"}}, "tool_choice.type"),
    ],
)
def test_what_cannot_be_had_is_refused_rather_than_made_up(fields, param):
    with pytest.raises(BadRequest) as caught:
        tool_settings(fields)
    assert caught.value.param == param
