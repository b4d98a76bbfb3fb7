"""Anthropic's Messages: at servers that have only chat completions, and at one that has them."""

import json

from scenes_chat import CALLS, LOOK, PICTURE
from scripted import SENTENCE, completion_body, raw_stream, respond, stream
from serving import calling
from stage import LARGE, SMALL, Stage, scene

MESSAGES = "Messages"
PROMPT = "What is the capital of France?"
TOOL = {"name": "look", "description": "Look at a place", "input_schema": LOOK["function"]["parameters"]}


def body(**more: object) -> dict:
    return {"max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}], **more}


def is_the_sentence(said: dict) -> None:
    assert said["text"] == SENTENCE
    assert said.get("model", SMALL) == SMALL
    assert said.get("stop", "end_turn") == "end_turn"
    assert said.get("usage", [12, 17]) == [12, 17]


@scene(
    MESSAGES,
    "whole; system as blocks; fields that only Anthropic knows are tolerated",
    "litellm#13252, litellm#29764, Portkey: 500",
)
def message_whole(stage: Stage) -> None:
    system = [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}]
    is_the_sentence(stage.act("message", body=body(system=system, metadata={"user_id": "u"}, stop_sequences=["END"])))
    (seen,) = stage.local.chats
    assert seen.path == "/v1/chat/completions"
    assert seen.json["messages"][0]["role"] == "system"
    assert "Be short." in json.dumps(seen.json["messages"][0])
    assert seen.json["stop"] == ["END"]


@scene(MESSAGES, "stream: events in order", "litellm#24176, litellm#36553")
def message_stream(stage: Stage) -> None:
    said = stage.act("message_stream", body=body())
    is_the_sentence(said)
    if "events" in said:
        kinds = [k for at, k in enumerate(said["events"]) if at == 0 or said["events"][at - 1] != k]
        assert [k for k in kinds if k != "ping"] == [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]


@scene(MESSAGES, "parallel tool calls, whole and streamed", "litellm#30043, litellm#13373")
def message_tools(stage: Stage) -> None:
    for act in ("message", "message_stream"):
        stage.local.then(calling(*CALLS))
        said = stage.act(act, body=body(tools=[TOOL]))
        assert [(call["name"], call["input"]) for call in said["calls"]] == list(CALLS)
        assert len({call["id"] for call in said["calls"]}) == 2
        assert said["stop"] == "tool_use"
    assert stage.local.chats[0].json["tools"][0]["function"]["parameters"] == TOOL["input_schema"]


@scene(MESSAGES, "all turns of a tool loop go to one model")
def message_loop(stage: Stage) -> None:
    stage.own(routes={"auto": {"small": "local", "large": "remote", "policy": {"use": "stage:Turning"}}})
    stage.remote.then(calling(*CALLS), calling(CALLS[1]))
    said = stage.act("message_loop", prompt=PROMPT, functions=[TOOL])
    assert said["text"] == SENTENCE
    assert [len(stage.remote.chats), len(stage.local.chats)] == [3, 0]
    last = stage.remote.chats[-1].json["messages"]
    assert [m["role"] for m in last] == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert last[2]["tool_call_id"] == last[1]["tool_calls"][0]["id"]


@scene(MESSAGES, "a picture")
def message_picture(stage: Stage) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE.partition(",")[2]}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    said = stage.act("message", body=body(messages=[{"role": "user", "content": content}]))
    assert said["text"] == SENTENCE
    assert PICTURE.encode() in stage.local.chats[0].body


@scene(MESSAGES, "tokens are counted without asking anybody")
def message_count(stage: Stage) -> None:
    counted = stage.act("count_tokens", body={"messages": [{"role": "user", "content": "word " * 100}]})["tokens"]
    assert 50 <= counted <= 300
    assert not stage.seen


@scene(MESSAGES, "at a server that has them: straight through")
def message_native(stage: Stage) -> None:
    stage.own(upstreams={"local": {"endpoints": ["/messages"]}})
    is_the_sentence(stage.act("message", body=body()))
    is_the_sentence(stage.act("message_stream", body=body()))
    assert {seen.path.partition("?")[0] for seen in stage.local.chats} == {"/v1/messages"}


@scene(
    MESSAGES,
    "errors in Anthropic's shape: 400, 404, 429 with Retry-After, 5xx",
    "litellm#37754, litellm PR#37767, litellm#8821",
)
def message_errors(stage: Stage) -> None:
    stage.own()
    stage.local.then(respond(400, {"error": {"message": "Bad value.", "type": "x", "code": None}}))
    raised = stage.fails("message", body=body())
    assert raised.status == 400
    assert raised.body["error"]["type"] == "invalid_request_error"
    assert "Bad value." in raised.message
    stage.model = "nobody"
    raised = stage.fails("message", body=body())
    assert raised.status == 404
    assert raised.body["type"] == "error"
    assert raised.body["error"]["type"] == "not_found_error"
    stage.model = LARGE
    stage.remote.then(respond(429, {}, {"retry-after": "7"}))
    raised = stage.fails("message", body=body())
    assert raised.status == 429
    assert raised.body["error"]["type"] == "rate_limit_error"
    assert raised.headers["retry-after"] == "7"
    stage.remote.then(respond(500, b"Traceback"))
    raised = stage.fails("message", body=body())
    assert raised.status == 502
    assert "Traceback" not in raised.message


@scene(MESSAGES, "a cut stream, a truncated one and an error in the middle raise", "litellm#32086, litellm PR#39748")
def message_cut(stage: Stage) -> None:
    stage.own()
    for how in ("close", "clean"):
        stage.local.then(stream(cut_after=5, how=how))
        stage.fails("message_stream", body=body())
    stage.model = SMALL  # asked for by name: what comes in one piece must not fall back
    good = json.dumps(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": SMALL,
            "choices": [{"index": 0, "delta": {"content": "Par"}, "finish_reason": None}],
        }
    ).encode()
    stage.local.always(raw_stream(b"data: " + good + b"\n\n", b'data: {"error": {"message": "crashed"}}\n\n'))
    stage.fails("message_stream", body=body())


@scene(MESSAGES, "a stream whose first event is an error falls back", "llama.cpp#14566")
def message_fallback(stage: Stage) -> None:
    stage.own()
    stage.local.then(raw_stream(b'data: {"error": {"message": "out of memory"}}\n\n'))
    assert stage.act("message_stream", body=body())["text"] == SENTENCE
    assert len(stage.remote.chats) == 1


@scene(MESSAGES, "an answer at its limit, and one that was filtered")
def message_stops(stage: Stage) -> None:
    for finish, stop in (("length", "max_tokens"), ("content_filter", "refusal")):
        answer = completion_body(SMALL, SENTENCE, (12, 17))
        answer["choices"][0]["finish_reason"] = finish
        stage.local.then(respond(200, answer))
        assert stage.act("message", body=body())["stop"] == stop


@scene(MESSAGES, "a wrong key is a 401, the right one serves, in `x-api-key` or as Bearer")
def message_keys(stage: Stage) -> None:
    stage.own({"KEYS": stage.key}, server={"api_keys_env": "KEYS"})
    assert stage.act("message", body=body())["text"] == SENTENCE
    stage.key = "sk-client-wrong"
    raised = stage.fails("message", body=body())
    assert raised.status == 401
    assert raised.body["error"]["type"] == "authentication_error"


@scene(MESSAGES, "a client that gives up stops the upstream within a second", "litellm#13774")
def message_leave(stage: Stage) -> None:
    stage.local.then(stream(hold_after=3))
    assert stage.act("message_leave", body=body())["left"]
    assert stage.local.chats[0].left.wait(1), "the upstream goes on"


@scene(MESSAGES, "the list of models, as Anthropic's client reads it")
def message_models(stage: Stage) -> None:
    assert "auto" in stage.act("message_model_list")["ids"]
