"""Items while they grow: what each sends, and that their pieces add up."""

from responding import assert_valid, assert_valid_item, kinds

from weighbridge.dialects.responses_items import CALLS, Item, Reasoning, Speech
from weighbridge.dialects.responses_tools import Tool


def told(item: Item, *pieces: list[dict], status: str = "completed") -> list[dict]:
    """Every event of an item, numbered as its response would."""
    events = [event for piece in pieces for event in piece] + item.close(status)
    for number, event in enumerate(events):
        assert_valid({**event, "sequence_number": number})
    assert_valid_item(item.fields)
    assert events[-1]["item"] == item.fields
    return events


def test_reasoning_opens_a_part_before_its_first_word__litellm_32777():
    item = Reasoning(2, "t02")
    events = told(item, item.open(), item.add("a"), item.add("b"))
    assert kinds(events) == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert {event["item_id"] for event in events[1:-1]} == {"rs_t02"}
    assert {event["output_index"] for event in events} == {2}
    assert item.fields["summary"] == [{"type": "summary_text", "text": "ab"}]


def test_speech_counts_its_parts():
    item = Speech(0, "t")
    events = told(item, item.open(), item.say("a", []), item.refuse("b"), item.refuse("c"), item.say("d", []))
    assert kinds(events) == [
        "output_item.added",
        "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "content_part.added", "refusal.delta", "refusal.delta", "refusal.done", "content_part.done",
        "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "output_item.done",
    ]  # fmt: skip
    assert [event["content_index"] for event in events[1:-1]] == [0] * 4 + [1] * 5 + [2] * 4
    assert [part.get("text", part.get("refusal")) for part in item.fields["content"]] == ["a", "bc", "d"]


def test_what_was_sent_is_not_changed_afterwards():
    item = Speech(0, "t")
    opened, begun = item.open()[0], item.say("a", [])[0]
    item.close("incomplete")
    assert (opened["item"]["content"], opened["item"]["status"]) == ([], "in_progress")
    assert begun["part"]["text"] == ""
    assert item.fields["status"] == "incomplete"


def test_an_annotation_is_told_where_it_belongs():
    item = Speech(0, "t")
    source = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    events = told(item, item.open(), item.say("a", []), item.annotate(source))
    assert events[3]["type"] == "response.output_text.annotation.added"
    assert item.fields["content"][0]["annotations"] == [source]


def test_a_function_call_sends_its_arguments_as_they_come():
    item = CALLS["function"](1, "t01", "call_1", Tool("function", "open", "mcp__browser"))
    events = told(item, item.open(), item.add('{"a"'), item.add(": 1}"))
    assert kinds(events)[1:4] == ["function_call_arguments.delta"] * 2 + ["function_call_arguments.done"]
    assert events[3]["arguments"] == '{"a": 1}'
    assert (item.fields["name"], item.fields["namespace"]) == ("open", "mcp__browser")


def test_no_arguments_are_an_empty_object():
    item = CALLS["function"](0, "t", "call_1", Tool("function", "now"))
    events = told(item, item.open(), item.add(""))
    assert item.fields["arguments"] == "{}"
    assert "".join(event["delta"] for event in events if event["type"].endswith("delta")) == "{}"
    assert "namespace" not in item.fields


def test_a_custom_call_sends_its_text_out_of_the_arguments():
    item = CALLS["custom"](0, "t", "call_1", Tool("custom", "apply_patch"))
    events = told(item, item.open(), item.add('{"input": "***'), item.add(' Begin"}'), status="incomplete")
    assert [event["delta"] for event in events if event["type"].endswith("delta")] == ["***", " Begin"]
    assert events[-2] == {
        "type": "response.custom_tool_call_input.done",
        "item_id": "ctc_t",
        "output_index": 0,
        "input": "*** Begin",
    }
    assert (item.fields["input"], item.fields["status"]) == ("*** Begin", "completed")


def test_a_search_for_tools_has_an_object_for_arguments():
    for text, arguments in (('{"query": "x"}', {"query": "x"}), ("", {}), ("x", {"query": "x"})):
        item = CALLS["tool_search"](0, "t", "call_1", Tool("tool_search", "tool_search"))
        assert kinds(told(item, item.open(), item.add(text))) == ["output_item.added", "output_item.done"]
        assert item.fields["arguments"] == arguments
