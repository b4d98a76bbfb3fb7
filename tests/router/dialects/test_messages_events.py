"""Chat chunks as events: well nested, nothing lost, nothing late."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.dialects.messages_answer import message_of
from weighbridge.dialects.messages_events import MessageEvents

KNOWN = {"message_id": "msg_own", "model": "auto", "stop_sequences": ["END"], "input_tokens": 11}
DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
}


def chunk(delta=None, finish_reason=None, **fields):
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish_reason}]
    return {"id": "chatcmpl-abc", "model": "qwen", "choices": choices, **fields}


def call(index=0, call_id=None, name=None, arguments=None):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"index": index, **({"id": call_id} if call_id else {}), "function": function}


def calls(*fragments):
    return chunk({"tool_calls": list(fragments)})


def told(*chunks):
    """Every event, with a proof that they are well nested, and the message that they add up to."""
    teller = MessageEvents(**KNOWN)
    events = [event for each in chunks for event in teller.of(each)] + teller.end()
    return events, accumulated(events)


def accumulated(events):
    """As Anthropic's own clients add events up."""
    first, *middle, delta, last = events
    assert (first["type"], delta["type"], last) == ("message_start", "message_delta", {"type": "message_stop"})
    message = first["message"]
    assert message["content"] == []
    is_open, sent = False, {}
    for event in middle:
        at = event["index"]
        if event["type"] == "content_block_start":
            assert not is_open
            assert at == len(message["content"])
            message["content"].append(dict(event["content_block"]))
            is_open = True
        else:
            assert is_open, "litellm#13373: Content block not found"
            assert at == len(message["content"]) - 1
            is_open = event["type"] == "content_block_delta"
            if is_open:
                _add(message["content"][at], event["delta"], sent.setdefault(at, []))
    assert not is_open
    for at, parts in sent.items():
        if parts:
            message["content"][at]["input"] = json.loads("".join(parts))
    return message | delta["delta"] | {"usage": message["usage"] | delta["usage"]}


def _add(block, delta, arguments):
    if delta["type"] == "input_json_delta":
        assert block["type"] == "tool_use"
        assert delta["partial_json"]
        arguments.append(delta["partial_json"])
    else:
        kind, name = DELTAS[delta["type"]]
        assert block["type"] == kind
        block[name] += delta[name]


def test_a_text_answer():
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 60}}
    events, message = told(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        {"id": "chatcmpl-abc", "choices": [], "usage": usage},
    )
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert message == {
        "id": "msg_abc",
        "type": "message",
        "role": "assistant",
        "model": "qwen",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 40,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 60,
            "output_tokens": 5,
        },
    }


def test_the_start_already_tells_how_much_was_read():
    """litellm#41406, sglang#20678: with 0 there, agents show an empty context until the end of the answer."""
    (start,) = MessageEvents(**KNOWN).of(chunk({"role": "assistant"}))
    assert start["message"]["usage"] == {"input_tokens": 11, "output_tokens": 0}


def test_the_first_words_leave_with_the_chunk_that_brings_them():
    """litellm#30014, #30043: the first words of a text were lost."""
    events = MessageEvents(**KNOWN).of(chunk({"role": "assistant", "content": "Hi"}))
    assert events[-1]["delta"] == {"type": "text_delta", "text": "Hi"}


def test_no_block_stands_before_the_first_words():
    """litellm#31560: a text block was opened before anyone knew what was to come."""
    _, message = told(
        chunk({"role": "assistant"}), chunk({"reasoning_content": "hm"}), chunk({"content": "Hi"}, "stop")
    )
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]


def test_words_that_follow_thoughts_or_calls_keep_their_beginning():
    """litellm#30765: the first words after a thinking block were lost."""
    _, message = told(
        chunk({"reasoning": "hm"}),
        chunk({"content": "FINAL: "}),
        chunk({"content": "ABC"}),
        calls(call(0, "c1", "Read", "{}")),
        chunk({"content": "Done"}, "tool_calls"),
    )
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "FINAL: ABC"},
        {"type": "tool_use", "id": "c1", "name": "Read", "input": {}},
        {"type": "text", "text": "Done"},
    ]


def test_arguments_leave_as_they_come():
    """litellm#38926: they came in one burst at the end."""
    teller = MessageEvents(**KNOWN)
    teller.of(calls(call(0, "c1", "Write", "")))
    for fragment in ('{"a": ', '"b', '"}'):
        (event,) = teller.of(calls(call(0, arguments=fragment)))
        assert event["delta"] == {"type": "input_json_delta", "partial_json": fragment}


def test_the_second_call_need_not_wait_when_the_first_is_whole():
    teller = MessageEvents(**KNOWN)
    teller.of(calls(call(0, "c1", "Read", '{"a": 1}')))
    kinds = [event["type"] for event in teller.of(calls(call(1, "c2", "Read", '{"b"')))]
    assert kinds == ["content_block_stop", "content_block_start", "content_block_delta"]


def test_calls_that_come_mixed_are_told_one_after_the_other():
    """litellm#13373, #25321; Portkey#1275, PR#1537: mixed indices gave deltas to blocks that were not open."""
    _, message = told(
        calls(call(0, "c1", "Read", ""), call(1, "c2", "Write", "")),
        calls(call(1, arguments='{"b": ')),
        calls(call(0, arguments='{"a": ')),
        calls(call(1, arguments="2}"), call(0, arguments="1}")),
        chunk({}, "tool_calls"),
    )
    assert message["content"] == [
        {"type": "tool_use", "id": "c1", "name": "Read", "input": {"a": 1}},
        {"type": "tool_use", "id": "c2", "name": "Write", "input": {"b": 2}},
    ]
    assert message["stop_reason"] == "tool_use"


def inputs(message):
    return [(block["id"], block["input"]) for block in message["content"]]


def test_calls_that_are_all_counted_as_the_first_are_told_apart_by_their_ids():
    """ollama#15457: index 0 for every call. ollama#7881: none."""
    for index in (0, None):
        _, message = told(
            calls(call(index, "c1", "Read", '{"a": 1}')),
            calls(call(index, "c2", "Read", '{"b": 2}')),
            chunk({}, "stop"),
        )
        assert inputs(message) == [("c1", {"a": 1}), ("c2", {"b": 2})]


def test_whole_calls_without_ids_are_calls_of_their_own():
    _, message = told(calls(call(0, None, "Read", '{"a": 1}')), calls(call(0, None, "Read", '{"b": 2}')))
    assert inputs(message) == [("toolu_own_0", {"a": 1}), ("toolu_own_1", {"b": 2})]


def test_a_new_id_on_each_fragment_makes_no_new_call():
    _, message = told(calls(call(0, "c1", "Read", '{"a"')), calls(call(0, "c9", None, ": 1}")))
    assert inputs(message) == [("c1", {"a": 1})]


def test_a_name_on_each_fragment_makes_no_new_call():
    _, message = told(calls(call(0, "c1", "Read", '{"a"')), calls(call(0, "c1", "Read", ": 1}")))
    assert inputs(message) == [("c1", {"a": 1})]


def test_a_name_that_comes_late_is_waited_for():
    _, message = told(calls(call(0, "c1", None, "")), calls(call(0, None, "Read", '{"a": 1}')))
    assert inputs(message) == [("c1", {"a": 1})]


def test_a_call_without_a_name_is_none():
    events, message = told(calls(call(0, "c1", None, "{}")), chunk({"content": "x"}, "tool_calls"))
    assert message["content"] == [{"type": "text", "text": "x"}]
    assert message["stop_reason"] == "end_turn"
    assert len(events) == 6


def test_a_call_without_arguments_has_an_empty_input_and_no_deltas():
    """litellm#31561: an empty delta came with every call."""
    events, message = told(calls(call(0, "c1", "Now")), chunk({}, "tool_calls"))
    assert message["content"][0]["input"] == {}
    assert "content_block_delta" not in {event["type"] for event in events}


def test_null_arguments_are_none():
    """llama_index#17927."""
    fragment = {"index": 0, "id": "c1", "function": {"name": "Now", "arguments": None}}
    _, message = told(calls(fragment), chunk({}, "tool_calls"))
    assert inputs(message) == [("c1", {})]


def test_arguments_as_an_object_are_taken_so():
    _, message = told(calls({"id": "c1", "function": {"name": "Read", "arguments": {"a": 1}}}), chunk({}, "stop"))
    assert inputs(message) == [("c1", {"a": 1})]
    assert message["stop_reason"] == "tool_use"  # litellm#34692: "end_turn" after a call of Ollama's


def test_counts_that_nobody_gave_are_not_made_up():
    events, message = told(chunk({"content": "x"}, "length"))
    assert events[-2]["usage"] == {"output_tokens": 0}
    assert message["stop_reason"] == "max_tokens"


def test_the_stop_sequence_is_named_where_the_server_tells():
    last = chunk({}, "stop")
    last["choices"][0]["stop_reason"] = "END"
    _, message = told(chunk({"content": "x"}), last)
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_refusal_is_words_and_a_reason():
    _, message = told(chunk({"refusal": "I can"}), chunk({"refusal": "not."}), chunk({}, "stop"))
    assert message["content"] == [{"type": "text", "text": "I cannot."}]
    assert message["stop_reason"] == "refusal"


def test_a_message_without_a_chunk_is_still_well_formed():
    _, message = told()
    assert message["content"] == []


def test_message_start_comes_once():
    """litellm#32357: it came twice."""
    events, _ = told(chunk({"content": "a"}), chunk({"content": "b"}, "stop"))
    assert [event["type"] for event in events].count("message_start") == 1


# Any chunking of the same answer adds up to the same message.

objects = st.dictionaries(
    st.text(max_size=6),
    st.integers() | st.text(max_size=12) | st.none() | st.lists(st.booleans(), max_size=3),
    max_size=3,
)


@st.composite
def pieces_of(draw, text):
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def answers(draw):
    """A whole message of chat, and chunks that say the same: words in order, calls mixed as they like."""
    thought, text = draw(st.text(max_size=20)), draw(st.text(max_size=20))
    arguments = [json.dumps(each, ensure_ascii=False) for each in draw(st.lists(objects, max_size=4))]
    chunks = [chunk({"reasoning_content": piece}) for piece in draw(pieces_of(thought))]
    chunks += [chunk({"content": piece}) for piece in draw(pieces_of(text))]
    begun = [calls(call(at, f"c{at}", f"f{at}", "")) for at in range(len(arguments))]
    waiting = [
        [calls(call(at, arguments=piece)) for piece in draw(pieces_of(each))] for at, each in enumerate(arguments)
    ]
    chunks += begun[:1]
    order = draw(st.permutations([at for at, parts in enumerate(waiting) for _ in parts]))
    chunks += begun[1:] + [waiting[at].pop(0) for at in order]
    whole = {
        "reasoning_content": thought,
        "content": text,
        "tool_calls": [
            {"id": f"c{at}", "function": {"name": f"f{at}", "arguments": each}} for at, each in enumerate(arguments)
        ],
    }
    return whole, chunks


@given(answers(), st.sampled_from(["stop", "length", "tool_calls"]))
def test_any_chunking_adds_up_to_the_same_message(answer, finish_reason):
    whole, chunks = answer
    completion = {
        "id": "chatcmpl-abc",
        "model": "qwen",
        "choices": [{"message": whole, "finish_reason": finish_reason}],
    }
    _, message = told(*chunks, chunk({}, finish_reason))
    assert message == message_of(completion, **KNOWN)


@given(answers(), st.randoms(use_true_random=False))
def test_words_between_calls_are_neither_lost_nor_torn(answer, random):
    """Everything mixed: the blocks may be more, their texts and inputs stay the same."""
    whole, chunks = answer
    words = [each for each in chunks if "tool_calls" not in each["choices"][0]["delta"]]
    others = [each for each in chunks if "tool_calls" in each["choices"][0]["delta"]]
    mixed = []
    while words or others:
        mixed.append((words if not others or (words and random.random() < 0.5) else others).pop(0))
    _, message = told(*mixed, chunk({}, "stop"))
    texts = {kind: "".join(b[kind] for b in message["content"] if b["type"] == kind) for kind in ("text", "thinking")}
    assert texts == {"text": whole["content"], "thinking": whole["reasoning_content"]}
    found = {block["id"]: block["input"] for block in message["content"] if block["type"] == "tool_use"}
    assert found == {each["id"]: json.loads(each["function"]["arguments"]) for each in whole["tool_calls"]}


wild = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
fragments = st.fixed_dictionaries(
    {},
    optional={
        "index": wild,
        "id": wild,
        "function": wild | st.fixed_dictionaries({}, optional={"name": wild, "arguments": wild}),
    },
)
names = ("content", "reasoning", "reasoning_content", "refusal", "tool_calls", "function_call")
deltas = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(names, wild) | {"tool_calls": st.lists(fragments, max_size=3)}
)


@given(
    st.lists(st.builds(chunk, deltas | wild, wild, usage=wild) | st.dictionaries(st.text(max_size=4), wild), max_size=6)
)
def test_whatever_a_server_sends_the_events_are_well_formed(chunks):
    teller = MessageEvents(**KNOWN)
    events = [event for each in chunks for event in teller.of(each)] + teller.end()
    for event in events:  # the arguments may be broken; the frames never are
        if event.get("delta", {}).get("type") == "input_json_delta":
            event["delta"]["partial_json"] = " "
    assert events[0]["type"] == "message_start"
    json.dumps(events, allow_nan=False)
    _nested(events)


def _nested(events):
    kinds = [event["type"] for event in events[1:-2]]
    depth = 0
    for kind in kinds:
        depth += {"content_block_start": 1, "content_block_stop": -1}.get(kind, 0)
        assert depth in (0, 1)
        assert kind != "content_block_delta" or depth == 1
    assert depth == 0


@pytest.mark.parametrize("index", [1, 2])
def test_other_choices_are_nobodys(index):
    other = chunk({"content": "other"})
    other["choices"][0]["index"] = index
    _, message = told(other, chunk({"content": "this"}, "stop"))
    assert message["content"] == [{"type": "text", "text": "this"}]
