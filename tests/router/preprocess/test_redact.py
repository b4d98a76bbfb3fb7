"""Redaction and restoring without a wire: what a remote would see, and what comes back of it."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.dialects.base import Dialect, translated
from weighbridge.dialects.chat import CHAT
from weighbridge.dialects.completions import COMPLETIONS
from weighbridge.dialects.embeddings import EMBEDDINGS
from weighbridge.dialects.messages import MESSAGES
from weighbridge.dialects.opaque import Opaque
from weighbridge.dialects.responses import RESPONSES
from weighbridge.preprocess.base import Doubt, Prepared
from weighbridge.preprocess.redact import redacted
from weighbridge.upstreams.base import Stream

MAIL, PHONE, CARD = "jane.doe@example.com", "+49 30 901820", "4111 1111 1111 1111"
IBAN, KEY = "DE89 3704 0044 0532 0130 00", "gh" + "p_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789"
VALUES = (MAIL, PHONE, CARD, IBAN, KEY, "123-45-6789", "93.184.216.34", "amFuZS5kb2VAZXhhbXBsZS5jb20=")
HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def prepared(fields: dict[str, Any], dialect: Dialect = CHAT) -> Prepared:
    return redacted(translated(fields), dialect)


def chat(*texts: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text} for text in texts], **fields}


def sent(fields: dict[str, Any], dialect: Dialect = CHAT) -> dict[str, Any]:
    return prepared(fields, dialect).body.fields


class Scripted(Stream):
    """These events, a read each."""

    def __init__(self, events: list[Any]) -> None:
        self._events = [e if isinstance(e, bytes) else json.dumps(e).encode() for e in events]

    async def read(self) -> list[bytes]:
        return [self._events.pop(0)] if self._events else []

    async def aclose(self) -> None:
        pass


def streamed(prepared: Prepared, events: list[Any]) -> list[Any]:
    """What becomes of these events on their way back."""

    async def read() -> list[bytes]:
        stream = prepared.undo.stream(Scripted(events)) if prepared.undo else Scripted(events)
        found: list[bytes] = []
        while some := await stream.read():
            found += some
        return found

    return [event if event == b"[DONE]" else json.loads(event) for event in asyncio.run(read())]


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def split(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def said(events: list[Any], *path: object) -> str:
    """The text that the deltas of a chat's first choice make, at a path."""
    found = ""
    for event in events:
        for choice in event["choices"] if isinstance(event, dict) else ():
            value: Any = choice["delta"]
            for step in path:
                value = value[step] if isinstance(value, list) or step in value else ""
                if not value:
                    break
            found += value or ""
    return found


def test_each_kind_gets_a_name_of_its_kind_and_the_same_value_the_same():
    body = sent(chat(f"{MAIL} and {PHONE}", f"{CARD}, {IBAN}, {KEY}, again {MAIL}, other@example.com"))
    assert [message["content"] for message in body["messages"]] == [
        "<EMAIL_1> and <PHONE_1>",
        "<CARD_1>, <IBAN_1>, <SECRET_1>, again <EMAIL_1>, <EMAIL_2>",
    ]


def test_a_request_without_anything_personal_is_sent_as_it_came():
    body = translated(chat("What is 2+2?"))
    assert redacted(body, CHAT) == Prepared(body)


def test_names_stay_the_same_while_a_conversation_grows():
    tools = [{"type": "function", "function": {"name": "mail", "description": f"e.g. {MAIL}", "parameters": {}}}]
    first = {**chat(f"I am {PHONE}"), "tools": tools, "user": "other@example.com"}
    grown = {**chat(f"I am {PHONE}", "and new@example.com"), "tools": tools, "user": "other@example.com"}
    assert sent(first)["messages"] == sent(grown)["messages"][:1]
    assert sent(first)["tools"] == sent(grown)["tools"]


def test_names_are_given_in_the_order_of_a_prompt_however_its_fields_are_ordered():
    fields = ["metadata", "prompt", "input", "messages", "functions", "tools", "instructions", "system"]
    body = sent({key: f"m{at}@example.com" for at, key in enumerate(fields)})
    assert body == {key: f"<EMAIL_{8 - at}>" for at, key in enumerate(fields)}


def test_what_was_replaced_is_counted_by_its_kind_and_a_value_once():
    made = prepared(chat(f"{MAIL} {PHONE}", f"{MAIL} other@example.com"))
    assert made.counts == {"email": 2, "phone": 1}


def test_the_order_of_the_fields_is_kept():
    fields = {"messages": [{"role": "user", "content": MAIL}], "model": "auto", "tools": [], "seed": 2**70}
    assert list(sent(fields)) == list(fields)
    assert sent(fields)["seed"] == 2**70


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        (CHAT, {"messages": [{"role": "system", "content": [{"type": "text", "text": MAIL}]}]}),
        (CHAT, {"messages": [{"role": "tool", "tool_call_id": "call_1", "content": f'{{"to": "{MAIL}"}}'}]}),
        (COMPLETIONS, {"prompt": ["a", MAIL], "suffix": PHONE}),
        (MESSAGES, {"system": MAIL, "max_tokens": 9, "messages": [{"role": "user", "content": PHONE}]}),
        (
            MESSAGES,
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {"name": MAIL}}]},
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": IBAN}]}
                        ],
                    },
                ]
            },
        ),
        (
            RESPONSES,
            {
                "instructions": MAIL,
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": CARD}]},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": json.dumps({"a": KEY})},
                    {"type": "function_call_output", "call_id": "c", "output": PHONE},
                ],
            },
        ),
    ],
)  # fmt: skip
def test_nothing_personal_is_left_wherever_it_stands(dialect, fields):
    body = {"model": "auto", **fields}
    assert any(value in json.dumps(body) for value in VALUES)
    text = prepared(body, dialect).body.text
    assert not [value for value in VALUES if value in text or json.dumps(value)[1:-1] in text]


def test_arguments_stay_json():
    arguments = json.dumps({"to": MAIL, "text": f'call\n{PHONE}\t"now" \\ {KEY}', "password": "tr0ub4dor&3x"}, indent=1)
    call = {"id": "call_1", "type": "function", "function": {"name": "mail", "arguments": arguments}}
    body = sent({"model": "auto", "messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]})
    assert json.loads(body["messages"][0]["tool_calls"][0]["function"]["arguments"]) == {
        "to": "<EMAIL_1>",
        "text": 'call\n<PHONE_1>\t"now" \\ <SECRET_1>',
        "password": "<SECRET_2>",
    }


TOKEN = '{"card": 4111111111111111}'  # where a name in its place would not be JSON


@pytest.mark.parametrize(
    ("message", "seen"),
    [
        ({"arguments": f' ["{MAIL}"]'}, {"arguments": ' ["<EMAIL_1>"]'}),
        ({"arguments": CARD}, {"arguments": "<CARD_1>"}),
        ({"content": TOKEN}, {"content": '{"card": <CARD_1>}'}),
        ({"input": {"arguments": TOKEN}}, {"input": {"arguments": '{"card": <CARD_1>}'}}),
        ({"input": {"content": [{"type": "x"}, MAIL]}}, {"input": {"content": [{"type": "x"}, "<EMAIL_1>"]}}),
        ({"content": [MAIL, {"type": "text", "text": PHONE}]}, {"content": [
            "<EMAIL_1>", {"type": "text", "text": "<PHONE_1>"}]}),
        ({"content": f"data: {MAIL}"}, {"content": "data: <EMAIL_1>"}),
        ({"content": f"see data:x;base64,QUJD of {MAIL}"}, {"content": "see data:x;base64,QUJD of <EMAIL_1>"}),
        ({"role": "user", "n": 1, "content": MAIL}, {"role": "user", "n": 1, "content": "<EMAIL_1>"}),
    ],
)  # fmt: skip
def test_a_value_is_replaced_by_where_it_stands(message, seen):
    assert sent({"messages": [message]}) == {"messages": [seen]}


def test_what_an_application_tags_a_request_with_is_data():
    tags = {"user_id": MAIL, "name": PHONE, "content": [{"type": "odd"}], "n": 1}
    assert sent(chat("hi", metadata=tags))["metadata"] == {**tags, "user_id": "<EMAIL_1>", "name": "<PHONE_1>"}


@pytest.mark.parametrize("key", ["input", "prompt"])
def test_a_prompt_may_be_several_texts_and_messages(key):
    items = [MAIL, {"role": "user", "content": PHONE}, {"type": "message", "role": "user", "content": CARD}]
    assert sent({key: items}, RESPONSES) == {
        key: [
            "<EMAIL_1>",
            {"role": "user", "content": "<PHONE_1>"},
            {"type": "message", "role": "user", "content": "<CARD_1>"},
        ]
    }


@pytest.mark.parametrize(
    ("dialect", "fields", "is_json"),
    [
        (CHAT, chat(MAIL), False),
        (CHAT, chat(MAIL, modalities=["text"]), False),
        (CHAT, chat(MAIL, response_format={"type": "text"}), False),
        (CHAT, chat(MAIL, response_format="json_object", text="words"), False),
        (CHAT, chat(MAIL, response_format={"type": "json_object"}), True),
        (CHAT, chat(MAIL, response_format={"type": "json_schema", "json_schema": {"name": "x"}}), True),
        (RESPONSES, {"input": MAIL, "text": {"verbosity": "low"}}, False),
        (RESPONSES, {"input": MAIL, "text": {"format": {"type": "text"}}}, False),
        (RESPONSES, {"input": MAIL, "text": {"format": {"type": "json_object"}}}, True),
        (RESPONSES, {"input": MAIL, "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}, True),
    ],
)
def test_it_is_known_whether_the_answer_will_be_json(dialect, fields, is_json):
    assert prepared(fields, dialect).undo.is_json is is_json


def test_what_servers_read_is_left_alone():
    fields = chat(
        "hi " + MAIL, tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    )
    body = sent(fields)
    assert body["tools"] == fields["tools"]
    assert body["model"] == "auto"


@pytest.mark.parametrize(
    ("dialect", "fields", "why"),
    [
        (CHAT, chat([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]), "image_url"),
        (CHAT, chat([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]), "input_audio"),
        (CHAT, chat([{"type": "file", "file": {"file_id": "f-1"}}]), "file"),
        (CHAT, chat([{"text": "no type"}]), "None"),
        (CHAT, chat("data:image/png;base64,iVBORw0KGgo="), "not text"),
        (CHAT, chat("hi", modalities=["text", "audio"]), "not text alone"),
        (CHAT, chat("hi", seed=4111111111111111), "credit_card"),
        (CHAT, {"model": "auto", "messages": [{"role": "user", "name": MAIL, "content": "hi"}]}, "email"),
        (CHAT, chat("hi", metadata={MAIL: "x"}), "email"),
        (CHAT, chat("hi", user_id=MAIL), "email"),
        (CHAT, {"messages": [{"role": "assistant", "arguments": f" {TOKEN}"}]}, "credit_card"),
        (CHAT, {"messages": [{"role": "assistant", "arguments": f"[{TOKEN}]"}]}, "credit_card"),
        (COMPLETIONS, {"prompt": ["hi", [1, 2]]}, "tokens"),
        (RESPONSES, {"input": [{"content": "neither type nor role"}]}, "None"),
        (COMPLETIONS, {"model": "auto", "prompt": [1, 2, 3]}, "tokens"),
        (EMBEDDINGS, {"model": "auto", "input": MAIL}, "/embeddings"),
        (Opaque("/audio/speech"), {"model": "auto", "input": MAIL}, "/audio/speech"),
        (MESSAGES, chat([{"type": "document", "source": {"type": "base64", "data": "AAAA"}}]), "document"),
        (MESSAGES, {"model": "auto", "messages": [], "system": [{"source": {"type": "base64"}}]}, "not text"),
        (RESPONSES, {"model": "auto", "input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        (RESPONSES, {"model": "auto", "input": "hi", "previous_response_id": "resp_1"}, "keeps"),
        (RESPONSES, {"model": "auto", "input": "hi", "conversation": "conv_1"}, "keeps"),
    ],
)  # fmt: skip
def test_what_cannot_be_replaced_or_seen_is_a_doubt(dialect, fields, why):
    with pytest.raises(Doubt, match=why):
        prepared(fields, dialect)


def test_a_doubt_repeats_nothing_of_the_request():
    with pytest.raises(Doubt) as doubt:
        prepared(chat("hi", metadata={MAIL: "x"}))
    assert MAIL not in str(doubt.value)


def test_a_body_too_deep_to_walk_is_a_doubt():
    deep: Any = MAIL
    for _ in range(3000):
        deep = [deep]
    body = translated(chat(MAIL))
    body.fields["metadata"] = deep
    with pytest.raises(Doubt, match="deeply"):
        redacted(body, CHAT)


def answered(text: str, **message: Any) -> bytes:
    body = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **message}}],
        "usage": {"n": 2**70},
    }
    return json.dumps(body).encode()


def test_a_whole_answer_has_its_values_again():
    made = prepared(chat(f"{MAIL} {PHONE}"))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"to": "<EMAIL_1>"}'}}
    answer = json.loads(made.undo.whole(answered("Dear <EMAIL_1>, <PHONE_1> or <EMAIL_2>?", tool_calls=[call])))
    message = answer["choices"][0]["message"]
    assert message["content"] == f"Dear {MAIL}, {PHONE} or <EMAIL_2>?"
    assert message["tool_calls"][0]["function"]["arguments"] == f'{{"to": "{MAIL}"}}'
    assert answer["usage"] == {"n": 2**70}


def test_an_answer_without_a_name_passes_to_the_letter():
    raw = b'{"choices" : [{"message":{"content":"4.0"} }],  "x":1.50}'
    assert prepared(chat(MAIL)).undo.whole(raw) is raw


KEY_BLOCK = '-----BEGIN PRIVATE KEY-----\nMIIE"vQ\\IB\n-----END PRIVATE KEY-----'


@pytest.mark.parametrize("form", ["<SECRET_1>", "\\u003cSECRET_1\\u003e", "\\u003CSECRET_1\\u003E"])
def test_a_value_is_escaped_where_the_answer_is_json(form):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": f'{{"key": "{form}"}}'}}
    answer = json.loads(prepared(chat(KEY_BLOCK)).undo.whole(answered("", tool_calls=[call])))
    arguments = answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"key": KEY_BLOCK}


def test_a_value_is_escaped_twice_where_the_json_is_within_json():
    inner = json.dumps({"key": "SECRET"}).replace("SECRET", "\\u003cSECRET_1\\u003e")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"body": inner})}}
    answer = json.loads(prepared(chat(KEY_BLOCK)).undo.whole(answered("", tool_calls=[call])))
    arguments = answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(json.loads(arguments)["body"]) == {"key": KEY_BLOCK}


@pytest.mark.parametrize("form", [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "x"}}])
def test_an_answer_that_was_asked_for_in_json_stays_json(form):
    made = prepared(chat(KEY_BLOCK, response_format=form))
    answer = json.loads(made.undo.whole(answered('{"key": "<SECRET_1>"}')))
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"key": KEY_BLOCK}


def test_a_name_in_html_has_its_value_in_html():
    answer = json.loads(prepared(chat('password = "a&b1c2d3e4"')).undo.whole(answered("&lt;SECRET_1&gt;")))
    assert answer["choices"][0]["message"]["content"] == "a&amp;b1c2d3e4"


def test_names_that_the_request_holds_itself_are_left_alone():
    made = prepared(chat(f"<EMAIL_1> is a tag, EMAIL_2 a name, {MAIL} and other@example.com are not"))
    content = made.body.fields["messages"][0]["content"]
    assert content == "<EMAIL_1> is a tag, EMAIL_2 a name, <EMAIL_3> and <EMAIL_4> are not"
    assert b"<EMAIL_1> of " + MAIL.encode() in made.undo.whole(answered("<EMAIL_1> of <EMAIL_3>"))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 100])
def test_a_name_split_among_chunks_is_put_together(size):
    text = "<b>Dear</b> <EMAIL_1>: 1 < 2 &amp; <<PHONE_1>> \\u003cEMAIL_1\\u003e <EMAIL_9> <EMAIL_"
    arguments = json.dumps({"to": "<EMAIL_1>", "x": "<"})
    made = prepared(chat(f"{MAIL} {PHONE}"))
    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": part}) for part in split(text, size)]
    events += [
        chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": part}}]})
        for part in split(arguments, size)
    ]
    usage = {**HEAD, "choices": [], "usage": {"prompt_tokens": 1}}
    found = streamed(made, [*events, chunk({}, "tool_calls"), usage, b"[DONE]"])
    assert said(found, "content") == f"<b>Dear</b> {MAIL}: 1 < 2 &amp; <{PHONE}> {MAIL} <EMAIL_9> <EMAIL_"
    assert json.loads(said(found, "tool_calls", 0, "function", "arguments")) == {"to": MAIL, "x": "<"}
    assert found[-3:] == [chunk({}, "tool_calls"), usage, b"[DONE]"]


def test_choices_that_come_mixed_are_kept_apart():
    made = prepared(chat(MAIL))
    parts = ["a <", "EMA", "IL_1", "> z"]
    events = [chunk({"content": f"{part}"}, index=index) for part in parts for index in (0, 1)]
    found = streamed(made, [*events, chunk({}, "stop"), chunk({}, "stop", index=1), b"[DONE]"])
    for index in (0, 1):
        mine = [{"choices": [c]} for e in found if e != b"[DONE]" for c in e["choices"] if c["index"] == index]
        assert said(mine, "content") == f"a {MAIL} z"


def test_what_is_held_leaves_with_the_chunk_that_ends_the_answer():
    found = streamed(prepared(chat(MAIL)), [chunk({"content": "if a "}), chunk({"content": "<"}, "stop"), b"[DONE]"])
    assert said(found, "content") == "if a <"
    assert len(found) == 3


def test_what_is_held_leaves_before_the_end_of_a_stream_that_tells_none():
    found = streamed(prepared(chat(MAIL)), [chunk({"content": "if a <"})])
    assert said(found, "content") == "if a <"


def test_chunks_without_a_sign_pass_to_the_letter():
    raw = b'{"choices" : [{"index":0, "delta":{"content":"hello"}}] }'
    made = prepared(chat(MAIL))

    async def read() -> list[bytes]:
        return await made.undo.stream(Scripted([raw])).read()

    assert asyncio.run(read()) == [raw]


def test_text_completions_have_their_values_again():
    made = prepared({"model": "auto", "prompt": MAIL}, COMPLETIONS)
    events = [
        {**HEAD, "choices": [{"index": 0, "text": part, "finish_reason": None}]} for part in ("to <EM", "AIL_1", ">")
    ]
    found = streamed(
        made, [*events, {**HEAD, "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}, b"[DONE]"]
    )
    assert "".join(e["choices"][0]["text"] for e in found if e != b"[DONE]") == f"to {MAIL}"


@pytest.mark.parametrize("size", [1, 4, 100])
def test_messages_have_their_values_again_in_every_block(size):
    made = prepared({"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": MAIL}]}, MESSAGES)
    texts = [
        ("thinking_delta", "thinking", "about <EMAIL_1>"),
        ("text_delta", "text", "to <EMAIL_1> <"),
        ("input_json_delta", "partial_json", '{"to": "<EMAIL_1>"}'),
    ]
    events: list[Any] = []
    for index, (kind, key, text) in enumerate(texts):
        deltas = [{"type": kind, key: part} for part in split(text, size)]
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events += [{"type": "content_block_stop", "index": index}]
    found = streamed(made, [*events, {"type": "message_stop"}])
    joined = [
        "".join(e["delta"][key] for e in found if e.get("delta", {}).get("type") == kind) for kind, key, _ in texts
    ]
    assert joined == [f"about {MAIL}", f"to {MAIL} <", f'{{"to": "{MAIL}"}}']
    assert [e["type"] for e in found if e["type"] != "content_block_delta"] == [
        *["content_block_stop"] * 3,
        "message_stop",
    ]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_responses_have_their_values_again_and_their_events_are_numbered_without_a_gap(size):
    made = prepared({"model": "auto", "input": MAIL}, RESPONSES)
    text, arguments = "to <EMAIL_1> <", '{"to": "<EMAIL_1>"}'
    at = {"item_id": "m", "output_index": 0, "content_index": 0}
    events = [{"type": "response.output_text.delta", **at, "delta": part} for part in split(text, size)]
    events += [{"type": "response.output_text.done", **at, "text": text}]
    called = {"item_id": "f", "output_index": 1}
    events += [
        {"type": "response.function_call_arguments.delta", **called, "delta": part} for part in split(arguments, size)
    ]
    events += [{"type": "response.function_call_arguments.done", **called, "arguments": arguments}]
    events += [{"type": "response.completed", "response": {"output": [{"content": [{"text": text}]}]}}]
    found = streamed(made, [{**event, "sequence_number": number} for number, event in enumerate(events)])
    deltas = {kind: "".join(e["delta"] for e in found if e["type"] == f"response.{kind}.delta") for kind in KINDS}
    assert deltas == {"output_text": f"to {MAIL} <", "function_call_arguments": f'{{"to": "{MAIL}"}}'}
    assert [e["sequence_number"] for e in found] == list(range(len(found)))
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == f"to {MAIL} <"


KINDS = ("output_text", "function_call_arguments")


def test_what_is_no_event_of_ours_passes():
    made = prepared(chat(MAIL))
    assert made.undo is not None

    async def read() -> list[bytes]:
        stream = made.undo.stream(Scripted([b"{not json <", b'[1, "<"]']))
        return [*await stream.read(), *await stream.read()]

    assert asyncio.run(read()) == [b"{not json <", b'[1, "<"]']


PIECES = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(
        ["<EMAIL_1>", "EMAIL_", "<EMAIL_", "<", ">", "\\u003c", "&lt;", "\\", '"', "\n", "_1>", "<SECRET_2"]
    ),
    st.sampled_from([" and ", " the quick brown fox ", ", ", " password is ", "é", "\u200b", "👩‍👩‍👧", "{", "}"]),
    st.text(max_size=12),
    st.emails(),
    st.from_regex(r"\+49 30 [0-9]{6}", fullmatch=True),
)
TEXTS = (
    st.lists(PIECES, max_size=12)
    .map("".join)
    .filter(lambda text: not set(text) & {chr(c) for c in range(0xD800, 0xE000)})
)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, size=st.integers(1, 9))
def test_every_text_comes_back_equal_whole_and_in_chunks(text, size):
    try:
        made = prepared(chat(text))
    except Doubt:
        return
    seen = made.body.fields["messages"][0]["content"]
    if made.undo is None:
        assert seen == text
        return
    whole = json.loads(made.undo.whole(answered(seen)))
    assert whole["choices"][0]["message"]["content"] == text
    events = [chunk({"content": part}) for part in split(seen, size)]
    assert said(streamed(made, [*events, chunk({}, "stop"), b"[DONE]"]), "content") == text


@settings(max_examples=100, deadline=None)
@given(text=TEXTS, size=st.integers(1, 9))
def test_every_argument_comes_back_equal(text, size):
    arguments = json.dumps({"text": text, "to": MAIL}, ensure_ascii=bool(size % 2))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    try:
        made = prepared({"model": "auto", "messages": [{"role": "assistant", "tool_calls": [call]}]})
    except Doubt:
        return
    seen = made.body.fields["messages"][0]["tool_calls"][0]["function"]["arguments"]
    json.loads(seen)
    parts = [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in split(seen, size)]
    found = streamed(made, [*map(chunk, parts), chunk({}, "tool_calls")])
    assert json.loads(said(found, "tool_calls", 0, "function", "arguments")) == {"text": text, "to": MAIL}
