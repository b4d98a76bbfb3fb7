"""Chat chunks as events: the order that clients need, at once, and the same Response however the chunks are cut."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from responding import NOW_S, called, counted, events_of, kinds, response_of, said, translation

APPLY_PATCH = {"type": "custom", "name": "apply_patch"}
BROWSER = {
    "type": "namespace",
    "name": "mcp__browser",
    "description": "",
    "tools": [{"type": "function", "name": "open", "parameters": {}}],
}
TOOLS = [APPLY_PATCH, BROWSER, {"type": "function", "name": "weather", "parameters": {}}]
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
HELLO = [
    said({"role": "assistant", "content": ""}),
    said({"content": "Hel"}),
    said({"content": "lo"}),
    said({}, "stop"),
    counted(**USAGE),
]


def test_text_has_every_event_in_its_order__codex_12798():
    events = events_of(HELLO)
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert {event["item_id"] for event in events[3:8]} == {"msg_t00"}
    assert {(event["output_index"], event["content_index"]) for event in events[3:8]} == {(0, 0)}


def test_every_event_is_numbered_from_0__litellm_28899():
    assert [event["sequence_number"] for event in events_of(HELLO)] == list(range(10))


def test_the_last_event_holds_the_whole_answer_and_its_usage__llm_rosetta_56():
    response = events_of(HELLO)[-1]["response"]
    assert response["id"] == "resp_t"
    assert response["object"] == "response"
    assert response["model"] == "small-1"
    assert response["output"][0]["content"][0]["text"] == "Hello"
    assert response["usage"]["total_tokens"] == 7


def test_what_begins_is_complete_as_an_object__omniroute_13964():
    for event in events_of(HELLO)[:2]:
        assert event["response"]["status"] == "in_progress"
        assert event["response"]["output"] == []
        assert event["response"]["error"] is None


def test_each_piece_leaves_with_its_chunk():
    turned = translation()
    assert kinds(turned.events(HELLO[0])) == ["created", "in_progress"]
    assert kinds(turned.events(HELLO[1]))[-1] == "output_text.delta"
    assert kinds(turned.events(HELLO[2])) == ["output_text.delta"]
    assert kinds(turned.events(HELLO[3])) == ["output_text.done", "content_part.done", "output_item.done"]
    assert turned.events(HELLO[4]) == []
    assert kinds(turned.end()) == ["completed"]


def test_text_after_thought_is_announced__litellm_41185():
    events = events_of([said({"reasoning_content": "hm"}), said({"content": "Hi"}, "stop")])
    announced = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    assert announced == ["rs_t00", "msg_t01"]
    delta = next(event for event in events if event["type"] == "response.output_text.delta")
    assert (delta["item_id"], delta["output_index"]) == ("msg_t01", 1)
    assert kinds(events).index("output_item.done") < kinds(events).index("output_text.delta")


def test_calls_that_come_interleaved_stay_apart__portkey_1275():
    events = events_of(
        [
            said(called(0, call_id="a", name="weather")),
            said(called(1, call_id="b", name="apply_patch")),
            said(called(0, '{"city":')),
            said(called(1, '{"input":"x')),
            said(called(0, '"Paris"}')),
            said(called(1, '\\ny"}')),
            said({}, "tool_calls"),
        ],
        tools=TOOLS,
    )
    weather, patch = events[-1]["response"]["output"]
    assert (weather["type"], weather["call_id"], weather["arguments"]) == ("function_call", "a", '{"city":"Paris"}')
    assert (patch["type"], patch["call_id"], patch["input"]) == ("custom_tool_call", "b", "x\ny")
    deltas = [(e["output_index"], e["delta"]) for e in events if e["type"].endswith(".delta")]
    assert deltas == [(0, '{"city":'), (1, "x"), (0, '"Paris"}'), (1, "\ny")]


def test_text_then_a_call_closes_the_text_first():
    events = events_of([said({"content": "Let me."}), said(called(0, "{}", call_id="a", name="weather"), "tool_calls")])
    assert kinds(events)[7:9] == ["output_item.done", "output_item.added"]
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message", "function_call"]


def test_a_call_of_a_namespaced_tool_comes_back_in_its_namespace__litellm_36268():
    call = said(called(0, "{}", call_id="a", name="mcp__browser__open"), "tool_calls")
    events = events_of([call], tools=TOOLS)
    for item in (events[2]["item"], events[-1]["response"]["output"][0]):
        assert (item["name"], item["namespace"]) == ("open", "mcp__browser")


def test_calls_that_are_all_numbered_0_are_told_apart_by_their_ids__ollama_15457():
    chunks = [said(called(0, "{}", call_id=call_id, name="weather")) for call_id in "ab"]
    output = response_of([*chunks, said({}, "tool_calls")])["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [("a", "{}"), ("b", "{}")]


def test_calls_without_a_number_are_told_apart_by_their_ids__ollama_7881():
    def unnumbered(call_id: str | None, arguments: str) -> dict:
        named = {"name": "weather"} if call_id else {}
        return said({"tool_calls": [{"id": call_id, "function": {"arguments": arguments, **named}}]})

    output = response_of([unnumbered("a", '{"x"'), unnumbered(None, ":1}"), unnumbered("b", "{}"), said({}, "stop")])
    assert [item["arguments"] for item in output["output"]] == ['{"x":1}', "{}"]


def test_an_id_that_is_repeated_is_the_same_call():
    pieces = [said(called(0, piece, call_id="a", name="weather")) for piece in ('{"x"', ":1}")]
    assert [item["arguments"] for item in response_of([*pieces, said({}, "stop")])["output"]] == ['{"x":1}']


def test_null_arguments_are_none__llama_index_17927():
    call = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": None}}]}
    assert response_of([said(call), said({}, "tool_calls")])["output"][0]["arguments"] == "{}"


def test_an_answer_without_a_word_is_well_formed():
    events = events_of([said({"role": "assistant"}), said({}, "stop")])
    assert kinds(events)[2:] == [
        "output_item.added", "content_part.added", "output_text.done", "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == ""


def test_thought_alone_that_was_cut_short_is_incomplete():
    events = events_of([said({"reasoning": "hm"}), said({}, "length")])
    assert events[-1]["type"] == "response.incomplete"
    assert [(i["type"], i["status"]) for i in events[-1]["response"]["output"]] == [("reasoning", "incomplete")]


def test_the_first_chunk_may_have_no_choice_and_no_model():
    first = {"id": "", "choices": [], "created": 0, "model": "", "prompt_filter_results": []}
    created = events_of([first, *HELLO])[0]["response"]
    assert (created["model"], created["created_at"]) == ("auto", NOW_S)


def test_what_comes_after_the_end_is_still_closed():
    events = events_of([said({"content": "a"}, "stop"), said({"content": "b"})])
    assert kinds(events).count("output_item.added") == kinds(events).count("output_item.done") == 2
    assert kinds(events)[-1] == "completed"


def test_other_choices_are_not_ours():
    other = said({"content": "x"}, "stop")
    other["choices"][0]["index"] = 1
    assert response_of([other, *HELLO])["output"][0]["content"][0]["text"] == "Hello"


def test_odd_chunks_do_no_harm():
    odd = [{}, {"choices": None}, {"choices": [None, {"index": 0, "delta": None}]}]
    odd += [said({"tool_calls": [None, {}], "content": 3, "reasoning": {}, "refusal": [], "annotations": "x"})]
    odd += [said({}, None) | {"usage": "x", "service_tier": 3}]
    assert response_of([*odd, *HELLO])["usage"]["total_tokens"] == 7


def test_logprobs_go_with_their_piece():
    chunk = said({"content": "Hi"})
    chunk["choices"][0]["logprobs"] = {"content": [{"token": "Hi", "logprob": -1, "top_logprobs": []}]}
    events = events_of([chunk, said({}, "stop")])
    assert events[4]["logprobs"] == [{"token": "Hi", "logprob": -1, "top_logprobs": []}]
    assert events[5]["logprobs"] == events[4]["logprobs"]


TEXT = st.text(min_size=1, max_size=30)
CALL = st.tuples(
    st.sampled_from(["weather", "apply_patch", "mcp__browser__open", "unknown"]),
    st.one_of(TEXT.map(lambda text: json.dumps({"input": text})), TEXT, st.just("")),
)
ANSWER = st.fixed_dictionaries(
    {
        "reasoning_content": st.one_of(st.just(""), TEXT),
        "content": st.one_of(st.just(""), TEXT),
        "refusal": st.one_of(st.just(""), TEXT),
        "calls": st.lists(CALL, max_size=3),
        "finish": st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    }
)


def chunks_of(data: st.DataObject, answer: dict) -> list[dict]:
    """The answer in pieces of any size, the pieces of its calls in any mixture."""
    chunks = [said({"role": "assistant"})]
    for name in ("reasoning_content", "content", "refusal"):
        chunks += [said({name: piece}) for piece in pieces_of(data, answer[name])]
    first = [said(called(index, call_id=f"call_{index}", name=name)) for index, (name, _) in enumerate(answer["calls"])]
    rest = [
        said(called(index, piece))
        for index, (_, arguments) in enumerate(answer["calls"])
        for piece in pieces_of(data, arguments)
    ]
    mixed = sorted(rest, key=lambda _: data.draw(st.integers(0, 2)))
    by_call = {i: [c for c in rest if c["choices"][0]["delta"]["tool_calls"][0]["index"] == i] for i in range(3)}
    # A mixture that keeps the pieces of each call in their order.
    mixed = [by_call[c["choices"][0]["delta"]["tool_calls"][0]["index"]].pop(0) for c in mixed]
    return [*chunks, *first, *mixed, said({}, answer["finish"]), counted(**USAGE)]


def pieces_of(data: st.DataObject, text: str) -> list[str]:
    pieces = []
    while text:
        size = data.draw(st.integers(1, len(text)))
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def completion_of(answer: dict) -> dict:
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(answer["calls"])
    ]
    message = {name: answer[name] or None for name in ("reasoning_content", "content", "refusal")}
    choice = {"index": 0, "message": {**message, "tool_calls": calls}, "finish_reason": answer["finish"]}
    return {"model": "small-1", "created": 1_700_000_000, "choices": [choice], "usage": USAGE}


@settings(deadline=None)  # the machine may be busy
@given(data=st.data(), answer=ANSWER)
def test_any_chunking_tells_the_same_response(data, answer):
    whole = translation(tools=TOOLS).answer(completion_of(answer))
    assert response_of(chunks_of(data, answer), tools=TOOLS) == whole


@settings(deadline=None)  # the machine may be busy
@given(data=st.data(), answer=ANSWER)
def test_pieces_add_up_and_everything_opened_is_closed(data, answer):
    events = events_of(chunks_of(data, answer), tools=TOOLS)
    sums: dict[tuple, str] = {}
    for event in events:
        at = (event.get("item_id"), event.get("content_index"))
        kind = event["type"].removeprefix("response.")
        if kind.endswith(".delta"):
            sums[at] = sums.get(at, "") + event["delta"]
        for name in ("text", "arguments", "input", "refusal"):
            if kind.endswith(".done") and name in event:
                assert event[name] == sums.get(at, "")
    opened = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    closed = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert opened == list(range(len(opened)))
    assert sorted(closed) == opened
    done = {e["output_index"]: e["item"] for e in events if e["type"] == "response.output_item.done"}
    assert [done[index] for index in opened] == events[-1]["response"]["output"]
