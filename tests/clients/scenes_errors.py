"""Failures: each client must raise what its users look for, and half an answer must never pass for a whole one."""

import json

from scripted import SENTENCE, closed_port, completion, raw_stream, reset, respond, stream
from serving import serving
from stage import SMALL, Stage, scene

ERRORS = "Errors"
PROMPT = "What is the capital of France?"


def error(message: str, code: str | None = None, param: str | None = None, kind: str = "invalid_request_error") -> dict:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


@scene(ERRORS, "400: message, param and code are the upstream's", "litellm#4970, litellm PR#39521, RouteLLM#6")
def bad_request(stage: Stage) -> None:
    said = error("Invalid value: 'x'.", "invalid_value", "temperature")
    stage.local.then(respond(400, said))
    raised = stage.fails("chat", prompt=PROMPT)
    assert raised.status in (400, None)
    assert "Invalid value: 'x'." in raised.message
    assert raised.code in ("invalid_value", None)
    assert raised.param in ("temperature", None)
    assert not stage.remote.chats


@scene(ERRORS, "an upstream that refuses our key is a 502, and nothing leaks", "litellm#8821, RouteLLM#6")
def upstream_auth(stage: Stage) -> None:
    stage.own()
    for upstream in (stage.local, stage.remote):
        upstream.always(respond(401, error("Incorrect API key provided: sk-upst**0123. See https://x.example/keys")))
    raised = stage.fails("chat", prompt=PROMPT)
    assert raised.status in (502, None)
    assert "sk-upst" not in raised.message
    assert "x.example" not in raised.message


@scene(ERRORS, "404 `model_not_found`, and the next caller is served", "LiteLLM puts the model into cooldown for all")
def model_not_found(stage: Stage) -> None:
    stage.model = "nobody"
    raised = stage.fails("chat", prompt=PROMPT)
    assert raised.status in (404, None)
    assert raised.code in ("model_not_found", None)
    assert "nobody" in raised.message
    stage.model = "auto"
    assert stage.act("chat", prompt=PROMPT)["text"] == SENTENCE


@scene(ERRORS, "429 with the upstream's Retry-After", "litellm#37754, litellm PR#37767")
def rate_limited(stage: Stage) -> None:
    stage.own()
    for upstream in (stage.local, stage.remote):
        upstream.always(respond(429, error("Slow down.", "rate_limit_exceeded"), {"retry-after": "7"}))
    raised = stage.fails("chat", prompt=PROMPT)
    assert raised.status in (429, None)
    assert (raised.headers or {}).get("retry-after", "7") == "7"


@scene(ERRORS, "5xx of both upstreams is a 502", "mlflow#25898")
def server_error(stage: Stage) -> None:
    stage.own()
    for upstream in (stage.local, stage.remote):
        upstream.always(respond(500, b"<html>Traceback (most recent call last)</html>", {"content-type": "text/html"}))
    raised = stage.fails("chat", prompt=PROMPT)
    assert raised.status in (502, None)
    assert "Traceback" not in raised.message


@scene(ERRORS, "no upstream is up: 503 in the API's shape", "mlflow#25898, easychen/openai-api-proxy#33")
def nobody_there(stage: Stage) -> None:
    gone = {"base_url": f"http://127.0.0.1:{closed_port()}/v1"}
    stage.own(upstreams={"local": gone, "remote": gone})
    raised = stage.fails("chat", prompt=PROMPT)
    assert raised.status in (503, None)
    assert raised.code in ("upstream_unavailable", None)


@scene(ERRORS, "the local upstream fails: the remote one answers", "Portkey#1047")
def fallback(stage: Stage) -> None:
    stage.own()
    stage.local.then(reset(), reset(), respond(503, error("loading")), respond(200, b"garbled"))
    for _ in range(3):
        assert stage.act("chat", prompt=PROMPT)["text"] == SENTENCE
    assert len(stage.remote.chats) == 3


@scene(ERRORS, "a stream whose first event is an error falls back", "llama.cpp#14566, Portkey#1047")
def first_event_is_an_error(stage: Stage) -> None:
    stage.own()
    stage.local.then(raw_stream(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'))
    assert stage.act("stream", prompt=PROMPT)["text"] == SENTENCE
    assert len(stage.remote.chats) == 1


@scene(ERRORS, "a stream whose first event is an error, and nothing to fall back on", "llama.cpp#14566")
def only_an_error(stage: Stage) -> None:
    stage.own()
    for upstream in (stage.local, stage.remote):
        upstream.always(raw_stream(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'))
    assert stage.fails("stream", prompt=PROMPT).status in (502, None)


@scene(
    ERRORS, "a cut stream raises", "litellm PR#39748, litellm#32086, Portkey#1142, any-llm#847, preloop#117, vllm#37937"
)
def cut_stream(stage: Stage) -> None:
    stage.own()
    for how in ("close", "reset"):
        stage.local.then(stream(cut_after=5, how=how))
        stage.fails("stream", prompt=PROMPT)
    assert {row["end_reason"] for row in stage.gateway.rows()} == {"upstream_cut"}


@scene(ERRORS, "a stream that ends cleanly but too early raises", "LiteLLM invents finish_reason stop; vllm#27572")
def truncated_stream(stage: Stage) -> None:
    stage.own()
    stage.local.then(stream(cut_after=5, how="clean"))
    stage.fails("stream", prompt=PROMPT)


@scene(ERRORS, "an error in the middle of a stream raises", "litellm PR#39748, mistral.rs#1874")
def error_in_the_middle(stage: Stage) -> None:
    stage.own()
    stage.model = SMALL  # asked for by name: what comes in one piece must not fall back
    good = json.dumps(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": SMALL,
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Par"}, "finish_reason": None}],
        }
    ).encode()
    stage.local.always(raw_stream(b"data: " + good + b"\n\n", b'data: {"error": {"message": "crashed"}}\n\n'))
    stage.fails("stream", prompt=PROMPT)


@scene(ERRORS, "a whole answer that is an error in disguise falls back", "ollama#9905, worker-vllm#57")
def error_in_disguise(stage: Stage) -> None:
    stage.own()
    stage.local.then(respond(200, {"error": "model runner has stopped"}), completion(usage=None))
    assert stage.act("chat", prompt=PROMPT)["text"] == SENTENCE
    assert len(stage.remote.chats) == 1


@scene(ERRORS, "a wrong key is a 401 `invalid_api_key`, the right one serves", "litellm#8821")
def keys(stage: Stage) -> None:
    stage.own({"KEYS": stage.key}, server={"api_keys_env": "KEYS"})
    assert stage.act("chat", prompt=PROMPT)["text"] == SENTENCE
    stage.key = "sk-client-wrong"
    raised = stage.fails("chat", prompt=PROMPT)
    assert raised.status in (401, None)
    assert raised.code in ("invalid_api_key", None)


@scene(ERRORS, "a body over the limit is a 413")
def too_large(stage: Stage) -> None:
    stage.own(server={"max_body_mb": 0.02})
    raised = stage.fails("chat", prompt="word " * 10_000)
    assert raised.status in (413, None)


@scene(ERRORS, "a prompt too long for one model goes to the next")
def too_long(stage: Stage) -> None:
    stage.own()
    message = "This model's maximum context length is 8192 tokens."
    stage.local.then(respond(400, error(message, "context_length_exceeded", "messages")))
    stage.remote.always(serving())
    assert stage.act("chat", prompt=PROMPT)["text"] == SENTENCE
    assert len(stage.remote.chats) == 1


@scene(
    ERRORS,
    "a conversation that one model's template refuses goes to the next",
    "picoclaw#207, sdialog#122, nanobot#965",
)
def template_refuses(stage: Stage) -> None:
    stage.own()
    message = (
        "\n------------\nWhile executing CallExpression\nError: Jinja Exception: Conversation roles must alternate."
    )
    refusing = respond(500, {"error": {"code": 500, "message": message, "type": "server_error"}})
    stage.local.then(refusing)
    assert stage.act("chat", prompt=PROMPT)["text"] == SENTENCE
    assert len(stage.remote.chats) == 1
    stage.model = SMALL
    stage.local.always(refusing)
    raised = stage.fails("chat", prompt=PROMPT)
    assert raised.status in (400, None)
    assert "CallExpression" not in raised.message
