"""Anthropic's own client against the translation, over real HTTP: its models and its stream helper are the judges."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from weighbridge.dialects.messages import MESSAGES, check_count
from weighbridge.dialects.messages_count import count_tokens
from weighbridge.errors import Cut, WeighbridgeError

anthropic = pytest.importorskip("anthropic")

READ = {"name": "Read", "description": "Read a file", "input_schema": {"type": "object", "properties": {}}}


class Server(ThreadingHTTPServer):
    """A Messages API whose model is the chat answer that the test wrote. chats: what a chat server would have got."""

    daemon_threads = True
    completion: dict[str, Any]
    chunks: list[dict[str, Any]]
    error: WeighbridgeError | None = None
    is_cut = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.chats: list[dict[str, Any]] = []
        self.paths: list[str] = []

    def answer(self, path: str, fields: dict[str, Any]) -> tuple[int, str, bytes]:
        self.paths.append(path)
        try:
            if self.error and not self.is_cut:
                raise self.error
            if path.startswith("/v1/messages/count_tokens"):
                check_count(fields)
                return 200, "application/json", json.dumps({"input_tokens": count_tokens(fields)}).encode()
            MESSAGES.check(fields)
            translation = MESSAGES.translation(fields)
            self.chats.append(translation.chat)
            if fields.get("stream"):
                return 200, "text/event-stream", self._stream(fields, translation)
            return 200, "application/json", json.dumps(translation.answer(self.completion)).encode()
        except WeighbridgeError as error:
            return error.status, "application/json", json.dumps(MESSAGES.error_body(error)).encode()

    def _stream(self, fields: dict[str, Any], translation: Any) -> bytes:
        relay = MESSAGES.relay(fields)
        sent = b"".join(relay.take([json.dumps(e).encode()]) for c in self.chunks for e in translation.events(c))
        if self.is_cut:
            return sent + MESSAGES.error_event(self.error or Cut("The upstream's answer ended in the middle."))
        return sent + b"".join(relay.take([json.dumps(e).encode()]) for e in translation.end()) + relay.end()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        fields = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, kind, body = self.server.answer(self.path, fields)
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    url = f"http://127.0.0.1:{server.server_port}"
    with anthropic.Anthropic(api_key="k", base_url=url, max_retries=0) as client:
        yield client


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "auto", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}], **fields}


def completion(message: dict[str, Any], finish_reason: str = "stop") -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "qwen",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}},
    }


def chunks(*deltas: dict[str, Any], finish_reason: str = "stop") -> list[dict[str, Any]]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "qwen"}
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish_reason})
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}
    return [*({**head, "choices": [choice]} for choice in choices), {**head, "choices": [], "usage": usage}]


def strictly(message: Any) -> Any:
    """The client builds its models without a look at the values; here they are held to their types."""
    plain = message.model_dump(mode="json", exclude_unset=True)
    return anthropic.types.Message.model_validate(plain)


def test_a_whole_answer_is_a_message(server: Server, client: Any) -> None:
    """litellm#13252: a chat server behind /v1/messages."""
    server.completion = completion({"content": "Hello", "reasoning_content": "hm"})
    message = client.messages.create(**ask(system="Be brief."))
    assert [block.type for block in strictly(message).content] == ["thinking", "text"]
    assert message.content[1].text == "Hello"
    assert (message.stop_reason, message.model) == ("end_turn", "qwen")
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (6, 3, 4)
    assert server.chats[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]


def test_a_stream_adds_up_to_the_same_message(server: Server, client: Any) -> None:
    server.completion = completion({"content": "Hello", "reasoning": "hm"})
    server.chunks = chunks(
        {"role": "assistant"}, {"reasoning": "h"}, {"reasoning": "m"}, {"content": "Hel"}, {"content": "lo"}
    )
    with client.messages.stream(**ask()) as stream:
        assert "".join(stream.text_stream) == "Hello"
        streamed = stream.get_final_message()
    whole = client.messages.create(**ask())
    assert strictly(streamed).model_dump() == strictly(whole).model_dump()
    assert server.chats[0]["stream"] is True


def test_calls_that_come_mixed_reach_the_client_whole(server: Server, client: Any) -> None:
    """litellm#13373: Claude Code fell back from streams with "Content block not found"."""
    server.chunks = chunks(
        {"content": "Let me see."},
        {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "Read", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "id": "c2", "type": "function", "function": {"name": "Read", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": '{"path": "b'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"path": "a"}'}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": '"}'}}]},
        finish_reason="tool_calls",
    )
    with client.messages.stream(**ask(tools=[READ])) as stream:
        message = strictly(stream.get_final_message())
    assert message.stop_reason == "tool_use"
    assert message.content[0].text == "Let me see."
    assert [(b.id, b.name, b.input) for b in message.content[1:]] == [
        ("c1", "Read", {"path": "a"}),
        ("c2", "Read", {"path": "b"}),
    ]


def test_a_tool_loop_goes_round(server: Server, client: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "Read", "arguments": '{"path": "a"}'}}
    server.completion = completion({"content": None, "tool_calls": [call]}, "tool_calls")
    first = client.messages.create(**ask(tools=[READ]))
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "42"}]},
    ]
    server.completion = completion({"content": "It says 42."})
    second = client.messages.create(**ask(tools=[READ], messages=turns))
    assert second.content[0].text == "It says 42."
    assistant, tool = server.chats[1]["messages"][1:]
    assert assistant["tool_calls"] == [{**call, "function": {"name": "Read", "arguments": '{"path": "a"}'}}]
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "42"}


def test_a_cut_stream_raises(server: Server, client: Any) -> None:
    """litellm#32086: it looked like a whole answer."""
    server.is_cut = True
    server.chunks = chunks({"content": "Hel"})[:1]
    with (
        pytest.raises(anthropic.APIStatusError, match="ended in the middle"),
        client.messages.stream(**ask()) as stream,
    ):
        stream.get_final_message()


def test_the_beta_client_is_served_the_same(server: Server, client: Any) -> None:
    """Claude Code and older clients call /v1/messages?beta=true."""
    server.completion = completion({"content": "Hello"})
    message = client.beta.messages.create(**ask(betas=["context-management-2025-06-27"]))
    assert message.content[0].text == "Hello"
    assert server.paths[0].partition("?")[0] == "/v1/messages"


def test_tokens_are_counted(server: Server, client: Any) -> None:
    counted = client.messages.count_tokens(model="auto", messages=[{"role": "user", "content": "hi " * 100}])
    assert 75 <= counted.input_tokens <= 120


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503, 504])
def test_errors_are_the_clients_own(server: Server, client: Any, status: int) -> None:
    error = WeighbridgeError("no")
    error.status = status
    server.error = error
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**ask())
    assert caught.value.status_code == status
    assert caught.value.body["error"]["message"] == "no"
    assert caught.value.body["type"] == "error"


def test_a_bad_request_is_refused_in_anthropics_words(server: Server, client: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.messages.create(**ask(max_tokens=-3))
