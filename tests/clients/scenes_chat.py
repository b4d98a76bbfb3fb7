"""Chat completions: what every client must get through the gateway, and what must reach the server."""

import json
from contextlib import suppress
from typing import Any

from scripted import SENTENCE, chunk, completion, completion_body, hang, raw_stream, respond, stream
from serving import calling
from stage import LARGE, SMALL, Absent, Stage, scene

CHAT = "Chat completions"
TOOLS = "Tools"
PROMPT = "What is the capital of France?"
PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look at a place",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "how": {"$ref": "#/$defs/how"}},
            "required": ["place"],
            "$defs": {"how": {"type": "string", "enum": ["long", "short"]}},
            "x-kept": {"deeper": 1.50},
        },
    },
}
CALLS = (("look", {"place": "Göteborg", "how": "long"}), ("look", {"place": 'the "Pont Neuf"'}))
CITY = {"name": "Paris", "people": 2_100_000}


def messages(prompt: str = PROMPT) -> list[dict[str, Any]]:
    return [{"role": "user", "content": prompt}]


def is_forwarded(stage: Stage, body: dict[str, Any], model: str) -> None:
    """The server got this body, with its own model's name, and nothing else."""
    (seen,) = stage.local.chats if model == SMALL else stage.remote.chats
    assert seen.json == {**body, "model": model}


@scene(CHAT, "whole answer, with the served model's name and the upstream's own usage", "mlx-dspark#37")
def chat_whole(stage: Stage) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 17, "total_tokens": 29}
    details = {"prompt_tokens_details": {"cached_tokens": 7}, "completion_tokens_details": {"reasoning_tokens": 3}}
    body = completion_body(SMALL, SENTENCE, (12, 17)) | {"usage": usage | details}
    stage.local.then(respond(200, body))
    said = stage.act("chat", prompt=PROMPT)
    assert said["text"] == SENTENCE
    assert said.get("model", SMALL) == SMALL
    assert said.get("finish", "stop") == "stop"
    assert said.get("usage", [12, 17]) == [12, 17]
    assert said.get("cached", 7) == 7
    assert said.get("request_id", "wb-").startswith("wb-")
    assert PROMPT in stage.local.chats[0].body.decode()


@scene(CHAT, "stream", "litellm#28735, litellm#8450, Portkey#267")
def chat_stream(stage: Stage) -> None:
    said = stage.act("stream", prompt=PROMPT)
    assert said["text"] == SENTENCE
    assert said.get("models", [SMALL]) == [SMALL]
    assert len(said.get("ids", ["one"])) == 1
    assert said.get("roles", ["assistant"]) == ["assistant"]
    assert said.get("finishes", ["stop"]) == ["stop"]


@scene(CHAT, "no usage chunk for a stream that did not ask for one", "kubeai#283, vllm#36379, litellm#8349")
def no_usage_unasked(stage: Stage) -> None:
    said = stage.act("send_stream", body={"model": "auto", "messages": messages()})
    assert said["text"] == SENTENCE
    assert said["usages"] == []
    assert all(chunk["choices"] for chunk in said["chunks"])
    assert stage.gateway.rows()[-1]["usage_source"] == "provider"


@scene(CHAT, "stream with its usage, once", "litellm#28735, guidellm#603, vllm#36379")
def chat_stream_usage(stage: Stage) -> None:
    said = stage.act("stream", prompt=PROMPT, usage=True)
    assert said["text"] == SENTENCE
    assert [[u["prompt_tokens"], u["completion_tokens"]] for u in said["usages"]] == [[12, 17]]


@scene(CHAT, "fields known to nobody arrive to the letter", "litellm#18039, litellm#34926, litellm#28991, Portkey#1487")
def unknown_fields(stage: Stage) -> None:
    body = {
        "model": "auto",
        "messages": [
            {"role": "system", "content": "Be short.", "cache_control": {"type": "ephemeral"}},
            {"role": "user", "content": [{"type": "text", "text": PROMPT, "x": None}], "name": "ann"},
            {"role": "assistant", "content": "", "reasoning_content": "Hm.", "annotations": []},
            {"role": "user", "content": "And?"},
        ],
        "seed": 9_007_199_254_740_991,
        "top_k": 40,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "chat_template_kwargs": {"enable_thinking": False},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "verbosity": "low",
        "user": "u",
        "metadata": {"a": "b"},
        "prompt_cache_retention": "24h",
        "stop": None,
        "x_float": 0.1,
        "x_small": 1e-7,
    }
    stage.act("send", body=body)
    is_forwarded(stage, body, SMALL)


@scene(CHAT, "integers above 2^53 arrive to the letter", "Portkey rounds them")
def big_integers(stage: Stage) -> None:
    seed = 123_456_789_012_345_678_901
    body = {"model": "auto", "messages": messages(), "seed": 9_007_199_254_740_993, "x": {"deep": [seed]}}
    stage.act("send", body=body)
    is_forwarded(stage, body, SMALL)
    assert b"9007199254740993" in stage.local.chats[0].body


@scene(
    CHAT, "fields known to nobody come back to the letter", "litellm drops message.refusal; Portkey rounds above 2^53"
)
def unknown_answer(stage: Stage) -> None:
    raw = json.dumps(completion_body(SMALL, SENTENCE, (12, 17)))[:-1].encode()
    raw += b', "x_big": 9007199254740993, "x_float": 0.10000000000000001, "service_tier": "flex",'
    raw += b' "system_fingerprint": "fp", "x": {"deep": [1.0, 1e-7, null]}}'
    raw = raw.replace(
        b'"role": "assistant",', b'"role": "assistant", "refusal": null, "x_new": [1], "annotations": [],'
    )
    stage.local.then(respond(200, raw))
    said = stage.act("send", body={"model": "auto", "messages": messages()})
    assert said["text"] == raw.decode()


@scene(CHAT, "fields known to nobody come back in streams", "litellm#20246, strands#2182")
def unknown_in_stream(stage: Stage) -> None:
    deltas = [
        {"role": "assistant", "content": "", "refusal": None},
        {"reasoning_content": "Let me ", "x_new": 1},
        {"reasoning": "see."},
        {"content": "Paris."},
    ]
    chunks = [chunk(SMALL, delta, service_tier="flex", x_top=9_007_199_254_740_993) for delta in deltas]
    chunks.append(chunk(SMALL, {}, "stop"))
    stage.local.then(raw_stream(*(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks), b"data: [DONE]\n\n"))
    said = stage.act("send_stream", body={"model": "auto", "messages": messages()})
    assert said["text"] == "Paris."
    got = [c["choices"][0]["delta"] for c in said["chunks"]]
    assert got[1].get("reasoning_content") == "Let me "
    assert got[2].get("reasoning") == "see."
    assert {c.get("service_tier") for c in said["chunks"][:4]} == {"flex"}


@scene(CHAT, "log probabilities and several choices")
def choices(stage: Stage) -> None:
    body = completion_body(SMALL, "one", (12, 17))
    probabilities = {
        "content": [{"token": "one", "logprob": -0.25, "bytes": [111], "top_logprobs": []}],
        "refusal": None,
    }
    body["choices"][0]["logprobs"] = probabilities
    body["choices"].append({**body["choices"][0], "index": 1})
    stage.local.then(respond(200, body))
    asked = {"model": "auto", "messages": messages(), "n": 2, "logprobs": True, "top_logprobs": 0}
    said = json.loads(stage.act("send", body=asked)["text"])
    assert [choice["index"] for choice in said["choices"]] == [0, 1]
    assert said["choices"][1]["logprobs"] == probabilities
    is_forwarded(stage, asked, SMALL)


@scene(CHAT, "developer role, and `system` for a server that has none", "llama.cpp says so with a 500: 0xku/kon#5")
def developer(stage: Stage) -> None:
    body = {"model": "auto", "messages": [{"role": "developer", "content": "Be short."}, *messages()]}
    in_plain_words = respond(400, {"error": {"message": "Invalid role: developer", "type": "x", "code": None}})
    by_its_template = respond(
        500, {"error": {"code": 500, "message": "\nError: Jinja Exception: Unexpected message role."}}
    )
    for refusing in (in_plain_words, by_its_template):
        stage.own()
        stage.act("send", body=body)
        assert stage.local.chats[-1].json["messages"][0]["role"] == "developer"
        stage.local.then(refusing)
        stage.act("send", body=body)
        assert stage.local.chats[-1].json["messages"][0] == {"role": "system", "content": "Be short."}
    assert not stage.remote.chats


@scene(CHAT, "structured output", "llama.cpp#11988, llama.cpp#9522, lmstudio#189")
def structured(stage: Stage) -> None:
    stage.local.then(completion(json.dumps(CITY)))
    said = stage.act("parse", prompt=PROMPT)
    assert said["parsed"] == CITY
    asked = stage.local.chats[0].json
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["response_format"]["json_schema"]["schema"]["properties"].keys() == CITY.keys()


@scene(CHAT, "a picture as data: URL", "a gateway that fetches or re-encodes it")
def picture(stage: Stage) -> None:
    said = stage.act("image", prompt="What is this?", url=PICTURE)
    assert said["text"] == SENTENCE
    assert PICTURE.encode() in stage.local.chats[0].body


@scene(
    CHAT,
    "event streams in any spelling: CRLF, comments, bytes split inside a character, no [DONE]",
    "mnfst/llm-gateway#2053, OmniRoute#7031, openai-go#227",
)
def any_spelling(stage: Stage) -> None:
    text = "Grüße aus Zürich 🌉 and back."
    stage.local.then(
        stream(text, separator=b"\r\n\r\n", slices=3, before=b": a comment\r\n\r\n"),
        stream(text, before=b": OPENROUTER PROCESSING\n\n", done=False),
    )
    assert stage.act("stream", prompt=PROMPT)["text"] == text
    assert stage.act("stream", prompt=PROMPT)["text"] == text


@scene(CHAT, "a base URL without its /v1", "ollama#2474")
def without_v1(stage: Stage) -> None:
    assert stage.act("chat", root_is_url=True, prompt=PROMPT)["text"] == SENTENCE
    assert stage.local.chats[0].path == "/v1/chat/completions"


@scene(CHAT, "an upstream by its name, with `/` and `:`")
def by_name(stage: Stage) -> None:
    stage.model = LARGE
    assert stage.act("chat", prompt=PROMPT)["text"] == SENTENCE
    stage.model = SMALL
    assert stage.act("chat", prompt=PROMPT)["text"] == SENTENCE
    assert [len(stage.local.chats), len(stage.remote.chats)] == [1, 1]


@scene(CHAT, "request id, rate limits and route in the answer's headers")
def headers(stage: Stage) -> None:
    body = completion_body(SMALL, SENTENCE, (12, 17))
    stage.local.then(respond(200, body, {"x-ratelimit-remaining-tokens": "149984", "openai-processing-ms": "12"}))
    got = stage.act("send", body={"model": "auto", "messages": messages()})["headers"]
    assert got["x-request-id"].startswith("wb-")
    assert got["x-ratelimit-remaining-tokens"] == "149984"
    assert got["openai-processing-ms"] == "12"
    assert got["x-weighbridge-model"] == SMALL
    assert got["x-weighbridge-location"] == "local"


@scene(
    CHAT,
    "a client that gives up stops a stream's upstream within a second",
    "litellm#13774, litellm#14304, litellm#37140",
)
def leave_stream(stage: Stage) -> None:
    stage.local.then(stream(hold_after=3))
    assert stage.act("leave", prompt=PROMPT, streamed=True)["left"]
    assert stage.local.chats[0].left.wait(1), "the upstream goes on"


@scene(
    CHAT,
    "a client that gives up stops a whole answer's upstream within a second",
    "litellm#30245, claude-code-proxy#114",
)
def leave_whole(stage: Stage) -> None:
    stage.local.then(hang())
    assert stage.act("leave", prompt=PROMPT, streamed=False)["left"]
    assert stage.local.chats[0].left.wait(1), "the upstream goes on"


# Tools.


@scene(TOOLS, "parallel calls, whole; definitions arrive as they are")
def tools_whole(stage: Stage) -> None:
    stage.local.then(calling(*CALLS))
    said = stage.act("tools", prompt=PROMPT, functions=[LOOK])
    are_calls(said)
    function = stage.local.chats[0].json["tools"][0]["function"]
    assert function["name"] == "look"
    assert function["parameters"]["properties"]["place"]["type"] == "string"


@scene(
    TOOLS, "parallel calls, streamed in fragments", "litellm#38926, Portkey#1275, Portkey PR#1537, llama_index#17927"
)
def tools_streamed(stage: Stage) -> None:
    stage.local.then(calling(*CALLS))
    are_calls(stage.act("tools", prompt=PROMPT, functions=[LOOK], streamed=True))


@scene(TOOLS, "definitions to the letter: strict, $defs, x- keys, tool_choice", "litellm#34926")
def tool_definitions(stage: Stage) -> None:
    tool = {**LOOK, "function": {**LOOK["function"], "strict": True}}
    choice = {"type": "function", "function": {"name": "look"}}
    body = {
        "model": "auto",
        "messages": messages(),
        "tools": [tool],
        "tool_choice": choice,
        "parallel_tool_calls": False,
    }
    stage.local.then(calling(CALLS[0]))
    stage.act("send", body=body)
    is_forwarded(stage, body, SMALL)


@scene(
    TOOLS,
    "a local server's odd calls, mended: index always 0, none, arguments as an object, finish_reason stop",
    "ollama#15457, ollama#7881, litellm#21041, litellm#12481, vllm#9209, vercel/ai#12218",
)
def tools_mended(stage: Stage) -> None:
    pieces = [
        {"index": 0, "id": f"c{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for at, (name, given) in enumerate(CALLS)
    ]
    del pieces[1]["index"]
    chunks = [chunk(SMALL, {"role": "assistant"}), *(chunk(SMALL, {"tool_calls": [p]}) for p in pieces)]
    chunks.append(chunk(SMALL, {}, "stop"))
    stage.local.then(raw_stream(*(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks), b"data: [DONE]\n\n"))
    are_calls(stage.act("tools", prompt=PROMPT, functions=[LOOK], streamed=True))
    body = completion_body(SMALL, "", (12, 17))
    body["choices"][0]["message"]["tool_calls"] = [
        {"type": "function", "function": {"name": name, "arguments": given}} for name, given in CALLS
    ]
    stage.local.then(respond(200, body))
    are_calls(stage.act("tools", prompt=PROMPT, functions=[LOOK]))


@scene(TOOLS, "all turns of a tool loop go to one model", "tool_call ids are the model's own")
def tool_loop(stage: Stage) -> None:
    stage.own(routes={"auto": {"small": "local", "large": "remote", "policy": {"use": "stage:Turning"}}})
    stage.remote.then(calling(*CALLS), calling(CALLS[1]))
    said = stage.act("loop", prompt=PROMPT, functions=[LOOK])
    assert said["text"] == SENTENCE
    assert [len(stage.remote.chats), len(stage.local.chats)] == [3, 0]
    last = stage.remote.chats[-1].json["messages"]
    assert [m["role"] for m in last] in (
        ["user", "assistant", "tool", "tool", "assistant", "tool"],
        ["system", "user", "assistant", "tool", "tool", "assistant", "tool"],
        ["developer", "user", "assistant", "tool", "tool", "assistant", "tool"],
    )
    given = next(m for m in last if m.get("tool_calls"))["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in given] == [arguments for _, arguments in CALLS]
    assert [m["tool_call_id"] for m in last if m["role"] == "tool"][:2] == [call["id"] for call in given]


@scene(TOOLS, "structured output by way of a tool, whole and streamed")
def parsed_by_tool(stage: Stage) -> None:
    stage.local.then(calling(("City", CITY)))
    assert stage.act("parse_by_tool", prompt=PROMPT)["parsed"] == CITY
    stage.local.then(calling(("City", CITY)))
    with suppress(Absent):
        assert stage.act("parse_by_tool", prompt=PROMPT, streamed=True)["parsed"] == CITY


def are_calls(said: dict[str, Any]) -> None:
    """The two calls, with ids that tell them apart."""
    got = [(call["name"], as_object(call["arguments"])) for call in said["calls"]]
    assert got == list(CALLS)
    ids = [call["id"] for call in said["calls"] if "id" in call]
    assert len(set(ids)) == len(ids)
    assert all(ids)
    assert said.get("finish", "tool_calls") == "tool_calls"


def as_object(arguments: Any) -> Any:
    return json.loads(arguments) if isinstance(arguments, str) else arguments
