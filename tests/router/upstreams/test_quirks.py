"""The faults of local servers, as they were seen on the wire, and what a client makes of the mended answer."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from weighbridge.upstreams.quirks import Tidy, tidied

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "small"}
MADE = re.compile(r"call_[0-9a-f]{24}")


def chunk(delta, finish_reason=None, index=0, **fields):
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({**HEAD, "choices": [choice], **fields}).encode()


def calls(*fragments, **fields):
    return chunk({"tool_calls": list(fragments)}, **fields)


def fragment(index=None, id=None, name=None, arguments=None, **fields):  # noqa: A002
    function = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not None}
    given = {"index": index, "id": id}
    return {**{k: v for k, v in given.items() if v is not None}, "function": function, **fields}


def mended(*events):
    tidy = Tidy("small", now=lambda: 7.9)
    return [tidy.chunk(event) for event in events]


def understood(events):
    """What OpenAI's own client makes of a stream: its calls as (id, name, arguments), and the finish reason."""
    state = ChatCompletionStreamState()
    for event in events:
        state.handle_chunk(ChatCompletionChunk.model_validate_json(event))
    (choice,) = state.get_final_completion().choices
    assert choice.message.role == "assistant"
    found = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]
    return found, choice.finish_reason


OPENING = chunk({"role": "assistant", "content": None})
WEATHER, TIME = '{"city": "Oslo"}', '{"zone": "CET"}'
STREAMS = {
    "as it should be": (
        [fragment(0, "a", "weather", "", type="function")],
        [fragment(0, arguments='{"city": ')],
        [fragment(0, arguments='"Oslo"}')],
        [fragment(1, "b", "time", "", type="function")],
        [fragment(1, arguments=TIME)],
    ),
    "Ollama: whole calls, each at index 0, in one chunk": (
        [fragment(0, "a", "weather", WEATHER), fragment(0, "b", "time", TIME)],
    ),
    "Ollama: whole calls, each at index 0, in a chunk each": (
        [fragment(0, "a", "weather", WEATHER)],
        [fragment(0, "b", "time", TIME)],
    ),
    "no index": (
        [fragment(None, "a", "weather", '{"city": ')],
        [fragment(None, arguments='"Oslo"}')],
        [fragment(None, "b", "time", TIME)],
    ),
    "an index of 1 for all": (
        [fragment(1, "a", "weather", WEATHER)],
        [fragment(1, "b", "time", TIME)],
    ),
    "vLLM: index 0 for all, and an empty id with each later fragment": (
        [fragment(0, "a", "weather", "", type="function")],
        [fragment(0, "", arguments=WEATHER, type="function")],
        [fragment(0, "b", "time", "", type="function")],
        [fragment(0, "", arguments=TIME, type="function")],
    ),
    "SGLang: index 0 for all, id and name with each fragment": (
        [fragment(0, "a", "weather", "", type="function")],
        [fragment(0, "a", "weather", '{"city": ', type="function")],
        [fragment(0, "a", "weather", '"Oslo"}', type="function")],
        [fragment(0, "b", "time", "", type="function")],
        [fragment(0, "b", "time", TIME, type="function")],
    ),
    "an index that counts every fragment": (
        [fragment(0, "a", "weather", '{"city": ')],
        [fragment(1, arguments='"Oslo"}')],
        [fragment(2, "b", "time", '{"zone": ')],
        [fragment(3, arguments='"CET"}')],
    ),
    "another id with each fragment": (
        [fragment(0, "a", "weather", '{"city": ')],
        [fragment(0, "x", arguments='"Oslo"}')],
        [fragment(1, "b", "time", '{"zone": ')],
        [fragment(1, "y", arguments='"CET"}')],
    ),
    "arguments that are null first": (
        [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": None}}],
        [fragment(0, arguments=WEATHER)],
        [{"index": 1, "id": "b", "function": {"name": "time"}}],
        [fragment(1, arguments=TIME)],
    ),
    "arguments that are objects": (
        [fragment(0, "a", "weather", {"city": "Oslo"}), fragment(0, "b", "time", {"zone": "CET"})],
    ),
}


@pytest.mark.parametrize("fragments", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("finish_reason", ["stop", "tool_calls"])
def test_a_client_understands_the_calls_of_a_stream(fragments, finish_reason):
    events = mended(OPENING, *(calls(*entries) for entries in fragments), chunk({}, finish_reason))
    assert understood(events) == ([("a", "weather", WEATHER), ("b", "time", TIME)], "tool_calls")


@pytest.mark.parametrize("given_id", [None, ""])
@pytest.mark.parametrize("index", [None, 0])
def test_calls_without_an_id_get_one_each_and_keep_it(index, given_id):
    def named(arguments):
        return calls(fragment(index, given_id, "weather", arguments))

    later = calls(fragment(index, given_id, arguments='"Oslo"}'))
    events = mended(OPENING, named('{"city": '), later, named('{"city": '), later, chunk({}, "stop"))
    found, _ = understood(events)
    assert [(name, arguments) for _, name, arguments in found] == [("weather", WEATHER)] * 2
    assert len({id_ for id_, _, _ in found}) == 2
    assert all(MADE.fullmatch(id_) for id_, _, _ in found)


def test_a_name_that_is_said_again_begins_no_call_while_its_arguments_are_coming():
    parts = ['{"city"', ": ", '"Oslo"}']
    found, _ = understood(mended(OPENING, *(calls(fragment(0, None, "weather", part)) for part in parts)))
    assert [(name, arguments) for _, name, arguments in found] == [("weather", WEATHER)]


def test_the_calls_of_parallel_choices_are_counted_apart():
    events = mended(
        calls(fragment(None, "a", "weather", WEATHER), index=0),
        calls(fragment(None, "b", "weather", WEATHER), index=1),
        calls(fragment(None, "c", "time", TIME), index=1),
        chunk({}, "stop", index=1),
        chunk({}, "stop", index=2),
    )
    choices = [json.loads(event)["choices"][0] for event in events]
    assert [c["delta"]["tool_calls"][0]["index"] for c in choices[:3]] == [0, 0, 1]
    # Only the choice that called something ended with it.
    assert [c["finish_reason"] for c in choices[3:]] == ["tool_calls", "stop"]


def test_only_what_is_wrong_is_changed():
    event = (
        b'{ "id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"small" , "x":1.50e+2,'
        b'"choices":[{"delta":{"tool_calls":[{"id":"a","type":"function","index":0,"function":{"name":"f",'
        b'"arguments":{"n": 123456789012345678901234567890, "f":0.10}}}]},"index":0, "p":-0.0}]}'
    )
    expected = event.replace(
        b'{"n": 123456789012345678901234567890, "f":0.10}', rb'"{\"n\": 123456789012345678901234567890, \"f\":0.10}"'
    )
    assert mended(event) == [expected]


def test_a_role_is_said_once():
    first, second, last = mended(*[chunk({"role": "assistant", "content": word}) for word in "ab"], chunk({}, "stop"))
    assert json.loads(first)["choices"][0]["delta"] == {"role": "assistant", "content": "a"}
    assert json.loads(second)["choices"][0]["delta"] == {"content": "b"}
    assert json.loads(last)["choices"][0]["finish_reason"] == "stop"


def test_a_fault_behind_a_chunk_of_the_same_shape_is_seen():
    fine = chunk({"content": "a"})
    faulty = chunk({"content": "a", "role": "assistant", "x": ""})
    *_, last = mended(OPENING, fine, fine, faulty)
    assert last == chunk({"content": "a", "x": ""})


def test_an_empty_finish_reason_is_none():
    assert [json.loads(e)["choices"][0]["finish_reason"] for e in mended(chunk({}, ""), chunk({}, "stop"))] == [
        None,
        "stop",
    ]


def test_what_chunks_lack_is_made_once_for_the_stream():
    bare = json.dumps({"choices": [{"index": 0, "delta": {"content": "a"}}]}).encode()
    extra = json.dumps({"choices": [], "usage": {"prompt_tokens": 1}}).encode()
    first, *others = (json.loads(event) for event in mended(bare, bare, extra))
    head = {name: first[name] for name in ("id", "object", "created", "model")}
    assert head["id"].startswith("chatcmpl-")
    assert head == {"id": head["id"], "object": "chat.completion.chunk", "created": 7, "model": "small"}
    assert all(head.items() <= other.items() for other in others)


def test_chunks_of_one_stream_say_the_same_about_it():
    other = {**HEAD, "id": "chatcmpl-2", "created": 1_700_000_001}
    later = json.dumps({**other, "choices": [{"index": 0, "delta": {"content": "b"}}]}).encode()
    assert HEAD.items() <= json.loads(mended(OPENING, later)[1]).items()


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_chunk_without_a_fault_is_the_same_object(separators):
    events = [
        json.dumps(json.loads(event), separators=separators).encode()
        for event in (
            OPENING,
            chunk({"content": "stop"}),
            chunk({"content": "word"}),
            chunk({"content": '"tool_calls" "role"'}),
            chunk({"content": ""}),
            chunk({"reasoning_content": "\\"}),
            calls(fragment(0, "a", "weather", "", type="function")),
            calls(fragment(0, arguments=WEATHER)),
            chunk({"content": "stop"}),
            chunk({}, "tool_calls"),
            chunk({}, "function_call"),
        )
    ]
    assert all(new is old for new, old in zip(mended(*events), events, strict=True))


STRANGE = [
    b"[DONE]",
    b'{"error":{"message":"no"}}',
    b'{"choices":[',
    b"[]",
    b"\xff\xfe",
    b'{"choices":null}',
    b'{"choices":[1,null,{"delta":null},{"delta":{"tool_calls":[null,{"function":"f"},{"function":null}]}}]}',
    b'{"choices":[{"index":[],"delta":{"tool_calls":{}}}]}',
    b'{"choices":1,"choices":[{"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}',
]


@pytest.mark.parametrize("event", STRANGE)
def test_nothing_is_made_of_what_makes_no_sense(event):
    for result in (*mended(event, OPENING, event)[::2], tidied(event)):
        if event in STRANGE[:6]:
            assert result is event
        else:
            assert isinstance(result, bytes)


_NAMES = ("choices", "delta", "message", "tool_calls", "function", "name", "arguments", "id", "index", "type", "role")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_NAMES),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(events=st.lists(_JSON, max_size=4))
def test_no_json_at_all_raises(events):
    tidy = Tidy("small")
    for event in events:
        for value in (event, {"choices": event}, {"choices": [{"delta": event, "message": event}]}):
            raw = json.dumps(value).encode()
            assert isinstance(json.loads(tidy.chunk(raw)), type(value))
            assert isinstance(json.loads(tidied(raw)), type(value))


def whole(message, finish_reason="stop", **fields):
    head = {**HEAD, "object": "chat.completion"}
    return json.dumps({**head, "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}], **fields})


def test_a_whole_answer_with_calls_says_so():
    message = {
        "role": "assistant",
        "tool_calls": [
            {"function": {"name": "weather", "arguments": {"city": "Oslo"}}},
            {"id": "", "type": None, "function": {"name": "time", "arguments": None}},
            {"id": "c", "type": "custom", "custom": {"name": "c", "input": "1"}},
        ],
    }
    answer = json.loads(tidied(whole(message).encode()))
    ChatCompletion.model_validate(answer, strict=True)
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    first, second, third = choice["message"]["tool_calls"]
    assert (first["type"], first["function"]["arguments"]) == ("function", WEATHER)
    assert (second["type"], second["function"]["arguments"]) == ("function", "{}")
    assert MADE.fullmatch(first["id"])
    assert MADE.fullmatch(second["id"])
    assert first["id"] != second["id"]
    assert third == message["tool_calls"][2]


@pytest.mark.parametrize(
    ("finish_reason", "expected"),
    [("stop", "tool_calls"), (None, "tool_calls"), ("", "tool_calls"), ("length", "length"), ("tool_calls",) * 2],
)
def test_a_reason_that_says_something_else_stays(finish_reason, expected):
    message = {"content": "", "tool_calls": [{"id": "a", "type": "function", "function": {"arguments": "{}"}}]}
    answer = json.loads(tidied(whole(message, finish_reason).encode()))
    assert answer["choices"][0]["finish_reason"] == expected


@pytest.mark.parametrize("none", [None, []])
def test_no_calls_are_no_field(none):
    raw = whole({"role": "assistant", "content": "a", "tool_calls": none}).encode()
    assert tidied(raw) == whole({"role": "assistant", "content": "a"}).encode()


def test_a_message_without_content_says_so():
    raw = b'{"choices":[{"index":0,"finish_reason":"","message":{"role":"assistant"}}],"timings":{"ms":1.10}}'
    assert tidied(raw) == (
        b'{"choices":[{"index":0,"finish_reason":null,"message":{"role":"assistant","content":null}}],'
        b'"timings":{"ms":1.10}}'
    )


def test_a_whole_answer_without_a_fault_is_the_same_object():
    for message, reason in [({"content": "a"}, "stop"), ({"content": '"tool_calls":[]'}, "length")]:
        raw = whole(message, reason).encode()
        assert tidied(raw) is raw
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    raw = whole({"content": None, "tool_calls": [call]}, "tool_calls").encode()
    assert tidied(raw) is raw
