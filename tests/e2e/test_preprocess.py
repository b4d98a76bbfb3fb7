"""Redaction through a whole gateway: what the remote sees to the byte, and what the client gets."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import httpx
import openai
import pytest
from running import two_upstreams
from scripted import Behaviour, Seen, chunk, completion_body, raw_stream, respond

MAIL, PHONE, CARD = "jane.doe@example.com", "+49 30 901820", "4111 1111 1111 1111"
KEY = "gh" + "p_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789"
SECRETS = (MAIL, PHONE, CARD, KEY)
TEXT = f"Write to {MAIL} or call {PHONE}; the card is {CARD} and the key {KEY}. <b>1 < 2</b>"
REDACT = {"name": "no names", "when": {"pii": ["email", "secret"]}, "then": {"preprocess": ["redact"]}}
HARD = {"use": "constant", "score": 0.9}
TOOLS = [{"type": "function", "function": {"name": "mail", "parameters": {"type": "object"}}}]


def said_in(fields: dict[str, Any]) -> str:
    """The last text of a request, in any dialect."""
    if "prompt" in fields:
        return str(fields["prompt"])
    last = fields["messages"][-1] if "messages" in fields else fields["input"]
    content = last["content"] if isinstance(last, dict) else last
    return content if isinstance(content, str) else str(content[0]["text"])


def pieces(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def echo() -> Behaviour:
    """Say back what was asked, a few characters at a time; with tools, as the argument of a call too."""

    async def act(seen: Seen, writer: Any) -> None:
        fields = seen.json
        made = {"/v1/messages": _message, "/v1/responses": _response}.get(seen.path, _chat)
        await made(fields, said_in(fields))(seen, writer)

    return act


def _chat(fields: dict[str, Any], text: str) -> Behaviour:
    call = {"id": "c1", "type": "function", "function": {"name": "mail", "arguments": json.dumps({"text": text})}}
    calls = [call] if fields.get("tools") else []
    finish = "tool_calls" if calls else "stop"
    if not fields.get("stream"):
        body = completion_body(fields["model"], text, (12, 17))
        body["choices"][0]["message"] |= {"tool_calls": calls} if calls else {}
        return respond(200, body)
    chunks = [chunk("m", {"role": "assistant", "content": ""}), *(chunk("m", {"content": p}) for p in pieces(text))]
    for call in calls:
        opened = {"index": 0, **call, "function": {**call["function"], "arguments": ""}}
        parts = [{"index": 0, "function": {"arguments": part}} for part in pieces(call["function"]["arguments"])]
        chunks += [chunk("m", {"tool_calls": [part]}) for part in (opened, *parts)]
    chunks.append(chunk("m", {}, finish))
    usage = {**chunk("m", {}), "choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 17}}
    return raw_stream(*(b"data: %b\n\n" % json.dumps(c).encode() for c in [*chunks, usage]), b"data: [DONE]\n\n")


def _typed(*events: dict[str, Any]) -> Behaviour:
    return raw_stream(*(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events))


def _message(fields: dict[str, Any], text: str) -> Behaviour:
    usage = {"input_tokens": 12, "output_tokens": 17}
    head = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None, "usage": usage}
    if not fields.get("stream"):
        return respond(200, {**head, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"})
    deltas = [{"type": "text_delta", "text": part} for part in pieces(text)]
    return _typed(
        {"type": "message_start", "message": {**head, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 17}},
        {"type": "message_stop"},
    )


def _response(fields: dict[str, Any], text: str) -> Behaviour:
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "i1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    whole = {
        "id": "r1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [item],
        "instructions": fields.get("instructions"), "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "usage": {"input_tokens": 12, "output_tokens": 17, "total_tokens": 29},
    }  # fmt: skip
    if not fields.get("stream"):
        return respond(200, whole)
    begun = {**whole, "status": "in_progress", "output": []}
    at = {"output_index": 0, "item_id": "i1", "content_index": 0}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **at, "delta": p, "logprobs": []} for p in pieces(text)),
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return _typed(*({**event, "sequence_number": number} for number, event in enumerate(events)))


def _before(start, local, remote, *endpoints: str):
    remote.always(echo())
    upstreams = two_upstreams(local.url, remote.url)["upstreams"]
    upstreams["remote"]["endpoints"] = list(endpoints)
    return start(classifier=HARD, rules=[REDACT], upstreams=upstreams)


@pytest.fixture
def gateway(start, local, remote):
    """Everything goes to the remote, which says back what it is sent, in terms of chat."""
    return _before(start, local, remote)


@pytest.fixture
def native(start, local, remote):
    """The same, and the remote speaks other dialects itself."""
    return _before(start, local, remote, "/messages", "/responses")


@pytest.fixture(autouse=True)
def _remote_sees_nothing(remote):
    """Whatever a test does: none of the values is in a byte that the remote has received."""
    yield
    received = b"".join(seen.head + seen.body for seen in remote.seen)
    for value in SECRETS:
        assert value.encode() not in received
        assert json.dumps(value)[1:-1].encode() not in received


@pytest.fixture
def client() -> Iterator[Callable[..., openai.OpenAI]]:
    """The real SDK, before a gateway."""
    with ExitStack() as clients:
        yield lambda gateway: clients.enter_context(openai.OpenAI(base_url=gateway.url, api_key="none", max_retries=0))


def test_a_chat_comes_back_as_if_nothing_had_been_replaced(client, gateway, remote):
    messages = [{"role": "system", "content": f"You serve {MAIL}."}, {"role": "user", "content": TEXT}]
    answer = client(gateway).chat.completions.create(model="auto", messages=messages, tools=TOOLS)
    message = answer.choices[0].message
    assert message.content == TEXT
    assert json.loads(message.tool_calls[0].function.arguments) == {"text": TEXT}
    assert remote.seen[0].json["messages"][0]["content"] == "You serve <EMAIL_1>."
    assert gateway.rows()[0]["input_tokens"] == 12


def test_a_streamed_chat_comes_back_as_if_nothing_had_been_replaced(client, gateway):
    with client(gateway).chat.completions.stream(
        model="auto", messages=[{"role": "user", "content": TEXT}], tools=TOOLS
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.content == TEXT
    assert json.loads(message.tool_calls[0].function.arguments) == {"text": TEXT}
    row = gateway.rows()[0]
    assert (row["end_reason"], row["output_tokens"]) == ("ok", 17)


@pytest.mark.parametrize("which", ["gateway", "native"])
def test_a_message_comes_back_whole_and_streamed(which, request):
    running = request.getfixturevalue(which)
    asked: Any = {"model": "auto", "max_tokens": 99, "system": MAIL, "messages": [{"role": "user", "content": TEXT}]}
    with anthropic.Anthropic(base_url=running.root, api_key="none", max_retries=0) as sdk:
        assert sdk.messages.create(**asked).content[0].text == TEXT
        with sdk.messages.stream(**asked) as stream:
            assert stream.get_final_message().content[0].text == TEXT


@pytest.mark.parametrize("which", ["gateway", "native"])
def test_a_response_comes_back_whole_and_streamed(client, which, request):
    running = request.getfixturevalue(which)
    asked: Any = {"model": "auto", "instructions": MAIL, "input": TEXT}
    whole = client(running).responses.create(**asked)
    assert whole.output_text == TEXT
    assert whole.instructions == MAIL
    with client(running).responses.stream(**asked) as stream:
        events = list(stream)
        assert stream.get_final_response().output_text == TEXT
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == TEXT
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_text_completion_comes_back(client, gateway):
    assert client(gateway).completions.create(model="auto", prompt=TEXT).choices[0].text == TEXT
    chunks = client(gateway).completions.create(model="auto", prompt=TEXT, stream=True)
    assert "".join(c.choices[0].text for c in chunks if c.choices) == TEXT


def test_the_local_upstream_gets_the_request_as_it_came(start, local, remote):
    gateway = start(rules=[REDACT])
    body = b'{"model" : "auto",  "messages":[{"role":"user","content":"%s"}], "x":1.50}' % TEXT.encode()
    assert httpx.post(f"{gateway.url}/chat/completions", content=body).status_code == 200
    assert local.seen[0].body == body.replace(b'"auto"', b'"small-1"')
    assert not remote.seen


def test_the_fallback_to_a_remote_is_redacted_too(client, start, local, remote):
    local.always(respond(500, {}))
    remote.always(echo())
    answer = client(start(rules=[REDACT])).chat.completions.create(
        model="auto", messages=[{"role": "user", "content": TEXT}]
    )
    assert answer.choices[0].message.content == TEXT
    assert len(remote.seen) == 1


def test_a_remote_asked_for_by_name_is_redacted_too(client, start, remote):
    remote.always(echo())
    ask = [{"role": "user", "content": TEXT}]
    answer = client(start(rules=[REDACT])).chat.completions.create(model="remote", messages=ask)
    assert answer.choices[0].message.content == TEXT


PICTURE = [{"type": "text", "text": MAIL}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]


def ask(gateway, content: Any, path: str = "chat/completions", **fields: Any) -> httpx.Response:
    body = {"model": "auto", "messages": [{"role": "user", "content": content}], **fields}
    return httpx.post(f"{gateway.url}/{path}", json=body)


def test_what_cannot_be_redacted_stays_local_and_says_why(gateway, local, remote):
    answer = ask(gateway, PICTURE)
    assert answer.headers["x-weighbridge-upstream"] == "local"
    assert answer.headers["x-weighbridge-reason"].startswith("fence no names: it holds a part that cannot be read")
    assert local.seen[0].json["messages"][0]["content"] == PICTURE
    assert not remote.seen
    row = gateway.rows()[0]
    assert (row["rule"], row["fence"]) == ("no names", "local")


def test_a_doubt_binds_the_fallback_too(gateway, local, remote):
    local.always(respond(500, {}))
    answer = ask(gateway, PICTURE)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "local_unavailable"
    assert not remote.seen


def test_a_doubt_is_refused_where_the_rule_says_so(start, local, remote):
    gateway = start(rules=[{**REDACT, "then": {"preprocess": ["redact"], "on_doubt": "refuse"}}])
    answer = ask(gateway, PICTURE)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "preprocess_doubt"
    assert not local.seen
    assert not remote.seen


def test_a_doubt_goes_before_the_upstream_that_a_rule_names(start, local, remote):
    rule = {**REDACT, "then": {"preprocess": ["redact"], "upstream": "remote"}}
    gateway = start(rules=[rule])
    remote.always(echo())
    assert ask(gateway, TEXT).headers["x-weighbridge-upstream"] == "remote"
    assert ask(gateway, PICTURE).headers["x-weighbridge-upstream"] == "local"


def test_uploads_and_other_bodies_of_which_nothing_is_known_stay_local(start, local, remote):
    always = {**REDACT, "when": {"tokens_over": 0}}
    gateway = start(classifier=HARD, rules=[always])
    local.always(respond(200, {"text": "sound"}))
    files = {"file": ("a.mp3", b"ID3 sound"), "model": (None, "whisper-1"), "prompt": (None, MAIL)}
    assert httpx.post(f"{gateway.url}/audio/transcriptions", files=files).status_code == 200
    assert not remote.seen


def test_redaction_applies_wherever_its_rule_stands(start, remote):
    remote.always(echo())
    large = {"name": "large", "when": {"has_tools": True}, "then": {"upstream": "remote"}}
    gateway = start(rules=[large, REDACT])
    answer = ask(gateway, TEXT, tools=TOOLS)
    assert answer.json()["choices"][0]["message"]["content"] == TEXT
    assert gateway.rows()[0]["rule"] == "large"


def test_a_fence_goes_before_redaction(start, local, remote):
    fence = {"name": "cards stay", "when": {"pii": ["credit_card"]}, "then": {"fence": "local"}}
    gateway = start(classifier=HARD, rules=[REDACT, fence])
    assert ask(gateway, TEXT).headers["x-weighbridge-upstream"] == "local"
    assert TEXT.encode() in local.seen[0].body
    assert not remote.seen


def test_the_decision_tells_how_much_would_be_replaced(gateway):
    body = {"model": "auto", "messages": [{"role": "user", "content": TEXT}]}
    told = httpx.post(f"{gateway.url}/route", json=body).json()
    assert told["rule"] == "no names"
    assert told["signals"]["preprocess"] == {"email": 1, "phone": 1, "credit_card": 1, "secret": 1}
    assert told["signals"]["steps"] == ["redact"]


def test_the_turns_of_a_conversation_are_redacted_alike(client, gateway, remote):
    first = [{"role": "user", "content": f"I am {MAIL}"}]
    ask_again = [
        *first,
        {"role": "assistant", "content": f"Hello {MAIL}"},
        {"role": "user", "content": "x@example.com"},
    ]
    for messages in (first, ask_again):
        client(gateway).chat.completions.create(model="auto", messages=messages)
    begun, gone_on = (seen.json["messages"] for seen in remote.seen)
    assert begun == gone_on[:1]
    assert [message["content"] for message in gone_on] == ["I am <EMAIL_1>", "Hello <EMAIL_1>", "<EMAIL_2>"]


def test_an_answer_that_breaks_is_not_ended_for_it(gateway, remote):
    remote.always(raw_stream(b'data: {"choices":[{"index":0,"delta":{"content":"to <EMAIL"}}]}\n\n'))
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": MAIL}]}
    text = httpx.post(f"{gateway.url}/chat/completions", json=body).text
    assert "upstream_cut" in text
    assert "[DONE]" not in text
