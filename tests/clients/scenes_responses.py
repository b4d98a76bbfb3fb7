"""Responses: at servers that have them, and at the usual local server, which has only chat completions."""

import json

from scenes_chat import CALLS, CITY, LOOK, PICTURE
from scripted import SENTENCE, chunk, completion, completion_body, raw_stream, respond, stream
from serving import calling
from stage import LARGE, SMALL, Stage, scene

RESPONSES = "Responses"
PROMPT = "What is the capital of France?"
FUNCTION = {"type": "function", **LOOK["function"], "strict": False}
ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def is_in_order(said: dict) -> None:
    """Each kind of event where it belongs, and all of them numbered."""
    if "events" not in said:
        return
    kinds = [kind for at, kind in enumerate(said["events"]) if at == 0 or said["events"][at - 1] != kind]
    assert kinds == ORDER
    assert said.get("numbers", []) in ([], list(range(len(said["events"]))))


def is_the_sentence(said: dict) -> None:
    assert said["text"] == SENTENCE
    assert said.get("model", SMALL) == SMALL
    assert said.get("status", "completed") == "completed"
    assert said.get("usage", [12, 17]) == [12, 17]


@scene(RESPONSES, "whole, at a server that has them")
def respond_native(stage: Stage) -> None:
    is_the_sentence(stage.act("respond", body={"input": PROMPT}))
    assert [seen.path for seen in stage.seen] == ["/v1/responses"]


@scene(
    RESPONSES,
    "stream, at a server that has them: events in order, numbered",
    "openai/codex#12798, litellm#28899, litellm#32724",
)
def respond_native_stream(stage: Stage) -> None:
    said = stage.act("respond_stream", body={"input": PROMPT})
    is_the_sentence(said)
    is_in_order(said)


@scene(RESPONSES, "whole, at a server that has only chat", "LiteLLM: 404 on all of it")
def respond_through_chat(stage: Stage) -> None:
    stage.only_chat()
    is_the_sentence(stage.act("respond", body={"input": PROMPT, "instructions": "Be short."}))
    (seen,) = stage.local.chats
    assert seen.path == "/v1/chat/completions"
    assert [m["role"] for m in seen.json["messages"]][-1] == "user"
    assert seen.json["messages"][0]["content"] == "Be short."


@scene(
    RESPONSES,
    "stream, at a server that has only chat: events in order, numbered",
    "openai/codex#12798, litellm#28899: sequence_number is null, llm-rosetta#56, ogx#5309",
)
def respond_stream_through_chat(stage: Stage) -> None:
    stage.only_chat()
    said = stage.act("respond_stream", body={"input": PROMPT})
    is_the_sentence(said)
    is_in_order(said)


@scene(RESPONSES, "reasoning of a chat server becomes a reasoning item")
def respond_reasoning(stage: Stage) -> None:
    stage.only_chat()
    body = completion_body(SMALL, SENTENCE, (12, 17))
    body["choices"][0]["message"]["reasoning_content"] = "Let me see."
    stage.local.then(respond(200, body))
    said = stage.act("respond", body={"input": PROMPT})
    assert said["text"] == SENTENCE
    assert said.get("types", ["reasoning", "message"]) == ["reasoning", "message"]


@scene(RESPONSES, "parallel calls, whole and streamed, at a server that has only chat", "litellm#36268")
def respond_tools(stage: Stage) -> None:
    stage.only_chat()
    for act in ("respond", "respond_stream"):
        stage.local.then(calling(*CALLS))
        said = stage.act(act, body={"input": PROMPT, "tools": [FUNCTION]})
        got = [(call["name"], json.loads(call["arguments"])) for call in said["calls"]]
        assert got == list(CALLS)
        assert len({call["id"] for call in said["calls"]}) == 2
    assert stage.local.chats[0].json["tools"][0]["function"]["parameters"] == LOOK["function"]["parameters"]


@scene(RESPONSES, "all turns of a tool loop go to one model")
def respond_loop(stage: Stage) -> None:
    turning = {"auto": {"small": "local", "large": "remote", "policy": {"use": "stage:Turning"}}}
    stage.own(routes=turning, upstreams={"local": {"endpoints": []}, "remote": {"endpoints": []}})
    stage.remote.then(calling(*CALLS), calling(CALLS[1]))
    said = stage.act("respond_loop", prompt=PROMPT, functions=[FUNCTION])
    assert said["text"] == SENTENCE
    assert [len(stage.remote.chats), len(stage.local.chats)] == [3, 0]
    roles = [m["role"] for m in stage.remote.chats[-1].json["messages"] if m["role"] != "system"]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool"]


@scene(RESPONSES, "structured output, at a server that has only chat")
def respond_structured(stage: Stage) -> None:
    stage.only_chat()
    stage.local.then(completion(json.dumps(CITY)))
    assert stage.act("respond_parse", prompt=PROMPT)["parsed"] == CITY
    assert stage.local.chats[0].json["response_format"]["type"] == "json_schema"


@scene(RESPONSES, "a picture, at a server that has only chat")
def respond_picture(stage: Stage) -> None:
    stage.only_chat()
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": PICTURE, "detail": "auto"},
    ]
    assert stage.act("respond", body={"input": [{"role": "user", "content": parts}]})["text"] == SENTENCE
    assert PICTURE.encode() in stage.local.chats[0].body


@scene(RESPONSES, "kept ones: asked for, gone on from and deleted where they are kept", "LiteLLM's chat bridge: 404")
def respond_kept(stage: Stage) -> None:
    stage.own(classifier={"use": "constant", "score": 0.9})
    said = stage.act("response_kept", prompt=PROMPT)
    assert said["gone"]
    assert said["first"] == said["again"] == said["previous"]
    assert not stage.local.seen


@scene(RESPONSES, "one that nobody knows is refused, not ignored")
def respond_unknown(stage: Stage) -> None:
    raised = stage.fails("respond", body={"input": "And?", "previous_response_id": "resp_unknown"})
    assert raised.status in (400, None)
    assert raised.code in ("previous_response_not_found", None)


@scene(RESPONSES, "a cut stream raises, at both kinds of server", "litellm PR#39748")
def respond_cut(stage: Stage) -> None:
    stage.only_chat()
    for how in ("close", "clean"):
        stage.local.then(stream(cut_after=5, how=how))
        stage.fails("respond_stream", body={"input": PROMPT})
    stage.own()
    created = {
        "type": "response.created",
        "sequence_number": 0,
        "response": {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": "in_progress",
            "model": SMALL,
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "temperature": 1.0,
            "top_p": 1.0,
        },
    }
    stage.local.then(raw_stream(f"event: response.created\ndata: {json.dumps(created)}\n\n".encode()))
    stage.fails("respond_stream", body={"input": PROMPT})


@scene(RESPONSES, "an answer at its limit is incomplete, not completed")
def respond_incomplete(stage: Stage) -> None:
    stage.only_chat()
    body = completion_body(SMALL, SENTENCE, (12, 17))
    body["choices"][0]["finish_reason"] = "length"
    stage.local.then(respond(200, body))
    assert stage.act("respond", body={"input": PROMPT, "max_output_tokens": 17})["status"] == "incomplete"
    assert [v for k, v in stage.local.chats[0].json.items() if k in ("max_tokens", "max_completion_tokens")] == [17]


@scene(RESPONSES, "an upstream's error is raised: 400, 429, first event", "codex#12798")
def respond_errors(stage: Stage) -> None:
    stage.only_chat()
    stage.model = LARGE
    error = {"error": {"message": "Bad value.", "type": "invalid_request_error", "param": "temperature", "code": "bad"}}
    stage.remote.then(respond(400, error))
    raised = stage.fails("respond", body={"input": PROMPT})
    assert raised.status in (400, None)
    assert "Bad value." in raised.message
    stage.remote.then(respond(429, error, {"retry-after": "7"}))
    raised = stage.fails("respond", body={"input": PROMPT})
    assert raised.status in (429, None)
    stage.remote.then(raw_stream(b'data: {"error": {"message": "out of memory"}}\n\n'))
    assert stage.fails("respond_stream", body={"input": PROMPT}).status in (502, None)
    first = chunk(LARGE, {"role": "assistant", "content": "Par"})
    stage.remote.then(
        raw_stream(b"data: " + json.dumps(first).encode() + b"\n\n", b'data: {"error": {"message": "x"}}\n\n')
    )
    stage.fails("respond_stream", body={"input": PROMPT})
