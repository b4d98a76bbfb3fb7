"""Tools on their way to a chat server and back."""

import pytest
from responding import called, chat_of, response_of, said

from weighbridge.dialects.responses_tools import Tool, Toolbox, visible_name
from weighbridge.errors import BadRequest

WEATHER = {"type": "function", "name": "weather", "description": "The weather.", "parameters": {"type": "object"}}
APPLY_PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
BROWSER = {
    "type": "namespace",
    "name": "mcp__browser",
    "description": "A browser.",
    "tools": [
        {"type": "function", "name": "open", "parameters": {"type": "object", "properties": {"url": {}}}},
        {"type": "custom", "name": "script", "description": "Runs a script."},
    ],
}
HOSTED = [{"type": kind} for kind in (
    "web_search", "web_search_preview", "file_search", "computer_use_preview", "mcp", "image_generation",
    "code_interpreter", "local_shell", "shell", "apply_patch", "tool_search", "of_tomorrow",
)]  # fmt: skip


def functions(**fields) -> dict:
    return {tool["function"]["name"]: tool["function"] for tool in chat_of(**fields)["tools"]}


def test_a_function_is_nested_as_chat_has_it():
    assert chat_of(tools=[WEATHER])["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "The weather.", "parameters": {"type": "object"}},
        }
    ]


@pytest.mark.parametrize("strict", [True, False])
def test_strict_is_kept_where_it_is_given(strict):
    assert functions(tools=[{**WEATHER, "strict": strict}])["weather"]["strict"] is strict
    assert "strict" not in functions(tools=[{**WEATHER, "strict": None}])["weather"]


def test_what_only_responses_knows_of_a_function_is_left_out():
    tool = {**WEATHER, "defer_loading": True, "allowed_callers": ["direct"], "output_schema": {}}
    assert functions(tools=[tool])["weather"].keys() == {"name", "description", "parameters"}


def test_a_function_without_parameters_takes_none():
    assert functions(tools=[{"type": "function", "name": "now"}])["now"] == {
        "name": "now",
        "parameters": {"type": "object", "properties": {}},
    }


def test_a_custom_tool_becomes_a_function_of_one_string_that_knows_its_grammar():
    function = functions(tools=[APPLY_PATCH])["apply_patch"]
    assert function["parameters"]["required"] == ["input"]
    assert function["parameters"]["properties"]["input"]["type"] == "string"
    assert function["description"].startswith("Edits files.")
    assert "lark grammar:\nstart: /.+/" in function["description"]


def test_tools_of_a_namespace_keep_their_place_in_it__litellm_36268():
    found = functions(tools=[BROWSER, WEATHER])
    assert found.keys() == {"mcp__browser__open", "mcp__browser__script", "weather"}
    assert found["mcp__browser__open"]["description"] == "A browser."
    box = Toolbox({"tools": [BROWSER]})
    assert box.tool("mcp__browser__open") == Tool("function", "open", "mcp__browser")
    assert box.tool("mcp__browser__script") == Tool("custom", "script", "mcp__browser")
    assert box.tool("unheard_of") == Tool("function", "unheard_of")


def test_the_namespace_of_plain_functions_adds_nothing():
    box = Toolbox({"tools": [{"type": "namespace", "name": "functions", "description": "", "tools": [WEATHER]}]})
    assert box.tool("weather") == Tool("function", "weather")


def test_names_stay_within_what_chat_allows():
    assert visible_name("a", "b") == "a__b"
    assert visible_name("a__", "b") == "a__b"
    long = visible_name("n" * 50, "t" * 50)
    assert len(long) == 64
    assert long != visible_name("n" * 50, "t" * 51)


def test_two_tools_of_one_name_are_refused_and_a_repeated_one_is_not():
    assert len(chat_of(tools=[WEATHER, WEATHER])["tools"]) == 1
    twice = {"type": "function", "name": "mcp__browser__open"}
    with pytest.raises(BadRequest, match="mcp__browser__open") as refused:
        chat_of(tools=[BROWSER, twice])
    assert refused.value.param == "tools"


def test_hosted_tools_are_left_out_and_the_rest_is_kept__litellm_36268():
    assert functions(tools=[*HOSTED, WEATHER]).keys() == {"weather"}
    chat = chat_of(tools=HOSTED, tool_choice="auto", parallel_tool_calls=True)
    assert chat.keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls"})


def test_tools_that_come_as_items_are_tools__litellm_35878():
    search = {"type": "tool_search", "execution": "client", "description": "Finds tools.", "parameters": {"x": 1}}
    items = [
        {"type": "additional_tools", "role": "developer", "tools": [WEATHER]},
        {"role": "user", "content": "hi"},
        {"type": "tool_search_call", "call_id": "s", "arguments": {"query": "browser"}, "execution": "client"},
        {"type": "tool_search_output", "call_id": "s", "tools": [BROWSER], "execution": "client"},
    ]
    chat = chat_of(tools=[search], input=items)
    assert {tool["function"]["name"] for tool in chat["tools"]} == {
        "tool_search", "weather", "mcp__browser__open", "mcp__browser__script",
    }  # fmt: skip
    call = said(called(0, '{"query": "x"}', call_id="s2", name="tool_search"), "tool_calls")
    item = response_of([call], tools=[search])["output"][0]
    assert (item["type"], item["call_id"], item["arguments"]) == ("tool_search_call", "s2", {"query": "x"})


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_choice_in_a_word_passes(choice):
    chat = chat_of(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)
    assert (chat["tool_choice"], chat["parallel_tool_calls"]) == (choice, False)


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"type": "function", "name": "weather"}, "weather"),
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
        ({"type": "function", "name": "open", "namespace": "mcp__browser"}, "mcp__browser__open"),
    ],
)
def test_a_named_choice_is_nested_as_chat_has_it(choice, name):
    chat = chat_of(tools=[WEATHER, APPLY_PATCH, BROWSER], tool_choice=choice)
    assert chat["tool_choice"] == {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_allowed_tools_are_the_only_ones_offered(mode):
    allowed = [{"type": "function", "name": "weather"}, {"type": "namespace", "name": "mcp__browser"}, "?"]
    chat = chat_of(
        tools=[WEATHER, APPLY_PATCH, BROWSER],
        tool_choice={"type": "allowed_tools", "mode": mode, "tools": allowed},
    )
    names = {tool["function"]["name"] for tool in chat["tools"]}
    assert names == {"weather", "mcp__browser__open", "mcp__browser__script"}
    assert chat["tool_choice"] == mode


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "web_search_preview"},
        {"type": "mcp", "server_label": "x"},
        {"type": "function", "name": "unknown"},
        {"type": "function"},
        "required",
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]},
    ],
)
def test_a_choice_that_cannot_be_met_is_refused_by_name(choice):
    with pytest.raises(BadRequest) as refused:
        chat_of(tools=HOSTED, tool_choice=choice)
    assert refused.value.param == "tool_choice"
