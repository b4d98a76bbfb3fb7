"""Whole answers and whole events, as they come and as they leave with their values again."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from weighbridge.preprocess.placeholders import Placeholders
from weighbridge.preprocess.restore import Restore
from weighbridge.upstreams.base import Stream

MAIL = "jane@example.com"
KEY = '-----BEGIN PRIVATE KEY-----\nMIIE"vQ\\I<&B\n-----END PRIVATE KEY-----'
IN_JSON = json.dumps(KEY)[1:-1]
HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def restoring(*texts: str, is_json: bool = False) -> Restore:
    """For an answer to these texts, by default with `<EMAIL_1>` and `<SECRET_1>` in them."""
    placeholders = Placeholders([])
    for text in texts or (MAIL, KEY):
        assert placeholders.hidden(text) != text
    return Restore(placeholders, is_json=is_json)


class Scripted(Stream):
    """These events, a read each."""

    def __init__(self, events: list[bytes], headers: Mapping[str, str] | None = None) -> None:
        self._events = events
        self.headers = headers or {}
        self.is_closed = False

    async def read(self) -> list[bytes]:
        return [self._events.pop(0)] if self._events else []

    async def aclose(self) -> None:
        self.is_closed = True


def back(restore: Restore, events: list[Any]) -> list[Any]:
    """What becomes of these events, one by one."""

    async def read() -> list[bytes]:
        stream = restore.stream(Scripted([json.dumps(event).encode() for event in events]))
        found: list[bytes] = []
        while some := await stream.read():
            found += some
        return found

    return [json.loads(event) for event in asyncio.run(read())]


def whole(restore: Restore, answer: Any) -> Any:
    return json.loads(restore.whole(json.dumps(answer).encode()))


def test_the_values_are_those_of_the_request():
    assert whole(restoring(), ["<EMAIL_1>", "<SECRET_1>"]) == [MAIL, KEY]


def test_a_whole_answer_differs_in_its_names_alone():
    answer = '{"n": 1.50, "ü": ["<EMAIL_1> \\ud83d", {"<EMAIL_1>": null, "content": "<SECRET_1>"}], "x": "<b>"}'
    expected = f'{{"n": 1.5, "ü": ["{MAIL} \ud83d", {{"{MAIL}": null, "content": {json.dumps(KEY)}}}], "x": "<b>"}}'
    assert restoring().whole(answer.encode()) == expected.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("<SECRET_1>", KEY),
        ("\\u003cSECRET_1\\u003E", IN_JSON),
        ("\\\\u003cSECRET_1\\\\u003e", json.dumps(IN_JSON)[1:-1]),
        ("&lt;SECRET_1&gt;", KEY.replace("&", "&amp;").replace("<", "&lt;")),
    ],
)
def test_a_name_is_known_however_it_is_written(form, value):
    """In an answer of the fewest signs there are, so that none of them may be overlooked."""
    assert whole(restoring(), f"{form} is it") == f"{value} is it"


@pytest.mark.parametrize("field", ["arguments", "partial_json"])
def test_a_value_is_escaped_in_fields_that_are_json(field):
    said = {field: '{"k": "<SECRET_1>"}', "content": "<SECRET_1>", "text": ["<SECRET_1>"], "refusal": "<SECRET_1>"}
    in_json = f'{{"k": {json.dumps(KEY)}}}'
    assert whole(restoring(), said) == {field: in_json, "content": KEY, "text": [KEY], "refusal": KEY}
    escaped = IN_JSON
    asked = whole(restoring(is_json=True), said)
    assert asked == {field: in_json, "content": escaped, "text": [escaped], "refusal": KEY}


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}], **more}


def added(delta: dict[str, Any], index: int = 0) -> dict[str, Any]:
    """The chunk with which held text leaves."""
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}


def called(arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **more, "function": {"arguments": arguments}}]}


def test_held_text_leaves_in_a_chunk_like_the_one_it_came_in():
    usage = {"completion_tokens": 3}
    found = back(
        restoring(), [chunk({"role": "assistant", "content": "to <EM"}, index=1, usage=usage), chunk({}, "stop", 1)]
    )
    assert found == [
        chunk({"role": "assistant", "content": "to "}, index=1, usage=usage),
        added({"content": "<EM"}, index=1),
        chunk({}, "stop", index=1),
    ]


def test_only_the_choice_that_ends_lets_go_of_its_text():
    events = [chunk({"content": "a <EM"}), chunk({"content": "b <EM"}, index=1), chunk({}, "stop", index=1)]
    found = back(restoring(), [*events, chunk({"content": "AIL_1>"})])
    assert found == [
        chunk({"content": "a "}),
        chunk({"content": "b "}, index=1),
        added({"content": "<EM"}, index=1),
        chunk({}, "stop", index=1),
        chunk({"content": MAIL}),
    ]


def test_choices_in_one_chunk_are_kept_apart():
    def both(first: str, second: str, finish: str | None = None) -> dict[str, Any]:
        choices = [chunk({"content": first}, finish)["choices"][0], chunk({"content": second}, index=7)["choices"][0]]
        return {**HEAD, "choices": choices}

    found = back(restoring(), [both("a <EMA", "b <EM"), both("IL_1> <", "AIL_1> <", "stop")])
    assert found == [both("a ", "b "), both(f"{MAIL} <", f"{MAIL} ", "stop"), added({"content": "<"}, index=7)]


def test_a_chunk_that_goes_on_and_ends_says_all_of_it_itself():
    found = back(restoring(), [chunk({"content": "a <EM"}), chunk({"content": "AIL_1> <EM"}, "length")])
    assert found == [chunk({"content": "a "}), chunk({"content": f"{MAIL} <EM"}, "length")]


def test_every_text_of_a_delta_is_one_of_its_own():
    delta = {
        "content": "a <EM",
        "reasoning_content": "b <EM",
        "name": "f <EM",
        "audio": {"transcript": "d <EM"},
        "video": {"transcript": "e <EM"},
        "n": 1,
    }
    found = back(
        restoring(), [chunk(delta), chunk({"content": "AIL_1>", "audio": {"transcript": "AIL_1>"}}), chunk({}, "stop")]
    )
    said = {"content": "a ", "reasoning_content": "b ", "audio": {"transcript": "d "}, "video": {"transcript": "e "}}
    assert found == [
        chunk({**delta, **said}),
        chunk({"content": MAIL, "audio": {"transcript": MAIL}}),
        added({"reasoning_content": "<EM"}),
        added({"video": {"transcript": "<EM"}}),
        chunk({}, "stop"),
    ]


def test_tool_calls_are_told_apart_by_their_index_wherever_they_stand():
    events = [
        chunk(called('{"a": "<SECR', index=0, id="c0")),
        chunk(called('{"b": "<EMA', index=1, id="c1")),
        chunk(called('IL_1>"}', index=1)),
        chunk({}, "tool_calls"),
    ]
    assert back(restoring(), events) == [
        chunk(called('{"a": "', index=0, id="c0")),
        chunk(called('{"b": "', index=1, id="c1")),
        chunk(called(f'{MAIL}"}}', index=1)),
        added(called("<SECR", index=0)),
        chunk({}, "tool_calls"),
    ]


def test_parts_without_an_index_are_told_apart_by_their_place():
    def parts(*texts: str) -> dict[str, Any]:
        return chunk({"reasoning_details": [{"type": "reasoning.text", "text": text} for text in texts]})

    found = back(restoring(), [parts("a <EM", "b <EMA"), parts("AIL_1>"), chunk({}, "stop")])
    assert found == [
        parts("a ", "b "),
        parts(MAIL),
        added({"reasoning_details": [{"index": 1, "text": "<EMA"}]}),
        chunk({}, "stop"),
    ]


def test_a_value_in_streamed_arguments_is_escaped_and_in_streamed_words_is_not():
    key = "<SECRET_1>"
    delta = {"content": key, "tool_calls": [{"index": 0, "function": {"name": key, "arguments": f'{{"k": "{key}"}}'}}]}
    function = {"name": KEY, "arguments": f'{{"k": {json.dumps(KEY)}}}'}
    assert back(restoring(), [chunk(delta)]) == [
        chunk({"content": KEY, "tool_calls": [{"index": 0, "function": function}]})
    ]
    assert back(restoring(is_json=True), [chunk({"content": key})]) == [chunk({"content": IN_JSON})]


def completion(text: str | None, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    said = {} if text is None else {"text": text, "logprobs": None}
    return {"id": "c", "object": "text_completion", "choices": [{"index": index, **said, "finish_reason": finish}]}


def test_a_text_completion_is_put_together_from_its_parts():
    key = "<SECRET_1>"
    events = [completion("to <EM", index=2), completion(f"AIL_1> {key} <EM", index=2), completion(None, "stop", 2)]
    assert back(restoring(), events) == [
        completion("to ", index=2),
        completion(f"{MAIL} {KEY} ", index=2),
        completion("<EM", index=2),
        completion(None, "stop", index=2),
    ]
    assert back(restoring(is_json=True), [completion(f"{key} <", "stop")]) == [completion(f"{IN_JSON} <", "stop")]


def block(index: int, **delta: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


@pytest.mark.parametrize("field", ["text", "thinking", "partial_json"])
@pytest.mark.parametrize(
    "end",
    [{"type": "content_block_stop", "index": 3}, {"type": "message_delta", "delta": {}}, {"type": "message_stop"}],
)
def test_a_block_lets_go_of_its_text_before_it_ends(field, end):
    value = IN_JSON if field == "partial_json" else KEY
    events = [block(3, type="x", **{field: "to <SEC"}), block(3, type="x", **{field: "RET_1> <EM"})]
    found = back(restoring(), [*events, {"type": "content_block_stop", "index": 4}, end])
    assert found == [
        block(3, type="x", **{field: "to "}),
        block(3, type="x", **{field: f"{value} "}),
        {"type": "content_block_stop", "index": 4},
        block(3, type="x", **{field: "<EM"}),
        end,
    ]


def test_blocks_and_their_kinds_of_text_are_kept_apart():
    events = [block(0, text="a <EM"), block(1, text="b <"), block(0, thinking="c <"), block(0, text="AIL_1>")]
    assert back(restoring(), events) == [
        block(0, text="a "),
        block(1, text="b "),
        block(0, thinking="c "),
        block(0, text=MAIL),
        block(1, text="<"),
        block(0, thinking="<"),
    ]


def delta(kind: str, text: str, number: int, **at: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "sequence_number": number, **at, "delta": text}


def event(kind: str, number: int, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "sequence_number": number, **more}


@pytest.mark.parametrize(
    ("kind", "is_json", "value"),
    [
        ("output_text", False, KEY),
        ("output_text", True, IN_JSON),
        ("function_call_arguments", False, IN_JSON),
        ("mcp_call_arguments", False, IN_JSON),
        ("reasoning_summary_text", True, KEY),
        ("refusal", True, KEY),
    ],
)
@pytest.mark.parametrize("end", ["output_item.done", "completed", "incomplete", "failed"])
def test_an_item_lets_go_of_its_text_before_it_ends_and_later_events_move_up(kind, is_json, value, end):
    at = {"item_id": "m", "output_index": 1, "content_index": 0}
    events = [delta(kind, "to <SEC", 4, **at), delta(kind, "RET_1> <EM", 5, **at)]
    others = [event("output_item.done", 6, output_index=0), event("in_progress", 7, output_index=1)]
    found = back(restoring(is_json=is_json), [*events, *others, event(end, 8, output_index=1), event("completed", 9)])
    assert found == [
        delta(kind, "to ", 4, **at),
        delta(kind, f"{value} ", 5, **at),
        *others,
        delta(kind, "<EM", 8, **at),
        event(end, 9, output_index=1),
        event("completed", 10),
    ]


@pytest.mark.parametrize("apart", ["output_index", "item_id", "content_index", "summary_index"])
def test_texts_of_an_answer_are_told_apart_by_where_they_stand(apart):
    def said(text: str, which: int) -> dict[str, Any]:
        return {"type": "response.x.delta", apart: which, "delta": text}

    found = back(restoring(), [said("a <EM", 0), said("b <EMA", 1), said("AIL_1>", 0), said("IL_1>", 1)])
    assert found == [said("a ", 0), said("b ", 1), said(MAIL, 0), said(MAIL, 1)]


def test_each_text_that_leaves_moves_later_events_up_once_more():
    def said(which: int, number: int, *, item: int) -> list[dict[str, Any]]:
        at = {"output_index": item}
        return [delta("output_text", f"{which} <", number, **at), event("output_item.done", number + 1, **at)]

    found = back(restoring(), [*said(1, 0, item=0), *said(2, 2, item=1), event("completed", 4)])
    assert [(one["sequence_number"], one.get("delta")) for one in found] == [
        (0, "1 "),
        (1, "<"),
        (2, None),
        (3, "2 "),
        (4, "<"),
        (5, None),
        (6, None),
    ]


def test_kinds_of_text_are_told_apart():
    events = [delta("output_text", "a <", 0, item_id="m"), delta("refusal", "EMAIL_1>", 1, item_id="m")]
    done = event("output_text.done", 2, item_id="m")
    assert back(restoring(), [*events, done]) == [
        delta("output_text", "a ", 0, item_id="m"),
        delta("refusal", "EMAIL_1>", 1, item_id="m"),
        delta("output_text", "<", 2, item_id="m"),
        event("output_text.done", 3, item_id="m"),
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": ["<", {"index": 0}, {"delta": "<"}, {"delta": {"content": None, "x": ["<", [{"text": "<EM"}]]}}]},
        {"type": "content_block_delta", "index": 0, "delta": "<"},
        {"type": "content_block_delta", "index": 0, "delta": {"text": ["<"]}},
        {"type": "response.x.delta", "delta": {"text": "<"}},
        {"type": "other", "delta": "<"},
        {"type": ["<.delta"], "delta": "<"},
        {"type": "x.done", "sequence_number": "<"},
        {"error": {"message": "<"}},
    ],
)
def test_an_event_that_is_shaped_otherwise_passes(odd):
    assert back(restoring(), [odd, odd]) == [odd, odd]


def test_after_an_event_without_a_sign_held_text_still_goes_on():
    found = back(restoring(), [chunk({"content": "a <EMAIL"}), chunk({"content": "_1"}), chunk({"content": "> b"})])
    assert found == [chunk({"content": "a "}), chunk({"content": ""}), chunk({"content": f"{MAIL} b"})]


def test_a_restored_stream_has_the_headers_of_its_own_and_closes_it():
    async def restored() -> None:
        inner = Scripted([], headers={"x-from": "there"})
        inner.content_type = "text/event-stream"
        stream = restoring().stream(inner)
        assert (stream.headers, stream.content_type) == ({"x-from": "there"}, "text/event-stream")
        await stream.aclose()
        assert inner.is_closed

    asyncio.run(restored())


@pytest.mark.parametrize("index", [[1], {"a": 2}, 1.5])
@pytest.mark.parametrize(
    "said",
    [
        lambda text, index: chunk({"content": text}, index=index),
        lambda text, index: chunk(called(text, index=index)),
        lambda text, index: completion(text, index=index),
        lambda text, index: block(index, type="text_delta", text=text),
        lambda text, index: delta("output_text", text, 1, output_index=index),
        lambda text, index: delta("output_text", text, 1, content_index=index),
    ],
)
def test_an_index_that_is_no_number_still_tells_texts_apart(said, index):
    events = back(restoring(), [said("<EMA", index), said("IL_1> went", index)])
    assert f"{MAIL} went" in json.dumps(events[-1])
    assert "<EMA" not in json.dumps(events)
