"""Models without a chat template, behind servers that refuse what such servers refuse."""

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from scripted import ScriptedUpstream, Seen, raw_stream, respond
from serving import Server, _completions

from weighbridge.errors import Incapable
from weighbridge.upstreams.openai import OpenAI
from weighbridge.upstreams.prompting import answered, asked
from weighbridge.wire import parse

USER = {"role": "user", "content": "Summarize this: a long text"}
NO_TEMPLATE = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template if the "
    "tokenizer does not define one."
)


def of(**fields: Any) -> Any:
    return parse(json.dumps({"model": "auto", "messages": [USER], **fields}).encode())


async def chatless(seen: Seen, writer: Any) -> None:
    """A server whose model has no chat template."""
    if seen.path.endswith("/chat/completions"):
        await respond(400, {"error": {"message": NO_TEMPLATE, "type": "BadRequestError", "code": 400}})(seen, writer)
    else:
        await _completions(Server((), None, True), seen, "")(seen, writer)


@pytest.fixture
def server() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as scripted:
        yield scripted.always(chatless)


def upstream(server: ScriptedUpstream, **keys: Any) -> OpenAI:
    return OpenAI(base_url=server.url, model="m", location="remote", **keys)


async def test_t5_is_asked_through_completions_with_its_task_and_answers_as_a_chat(server) -> None:
    t5 = upstream(server, quirks=("encoder_decoder", "completions_only", "task_prefix"))
    completion = await t5.complete(of(max_completion_tokens=40, temperature=0.5, stop=["\n"]))
    (seen,) = server.chats
    assert seen.path == "/v1/completions"
    assert seen.json == {
        "model": "m",
        "prompt": "summarize: a long text",
        "max_tokens": 40,
        "temperature": 0.5,
        "stop": ["\n"],
    }
    answer = json.loads(completion.body)
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["message"]["content"].startswith("The quick")
    assert completion.usage is not None
    await t5.aclose()


async def test_a_stream_of_text_comes_as_a_stream_of_chat(server) -> None:
    base = upstream(server, quirks=("completions_only",))
    stream = await base.stream(of(stream=True))
    events: list[bytes] = []
    while read := await stream.read():
        events += read
        if events[-1] == b"[DONE]":
            break
    await stream.aclose()
    chunks = [orjson.loads(event) for event in events[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    said = "".join(choice["delta"]["content"] for chunk in chunks for choice in chunk["choices"])
    assert said.startswith("The quick brown fox")
    assert chunks[-1]["usage"]["prompt_tokens"] == 12
    assert server.chats[0].json["max_tokens"] == 512
    await base.aclose()


async def test_that_a_model_has_no_template_is_learnt_from_one_refusal(server) -> None:
    unknown = upstream(server)
    for _ in range(2):
        assert json.loads((await unknown.complete(of())).body)["object"] == "chat.completion"
    assert [seen.path for seen in server.chats] == ["/v1/chat/completions", "/v1/completions", "/v1/completions"]
    await unknown.aclose()


async def test_what_it_cannot_be_asked_is_never_sent(server) -> None:
    t5 = upstream(server, quirks=("encoder_decoder",))
    for fields in ({"tools": [{"type": "function"}]}, {"messages": [USER, {"role": "assistant"}, USER]}):
        with pytest.raises(Incapable):
            await t5.complete(of(**fields))
    assert not server.chats
    await t5.aclose()


async def test_a_template_without_a_system_role_teaches_to_fold_it(server) -> None:
    def gemma(seen: Seen) -> Any:
        if any(message["role"] == "system" for message in seen.json["messages"]):
            return respond(400, {"error": {"message": "System role not supported"}})
        return respond(200, {"choices": [], "model": "m"})

    async def act(seen: Seen, writer: Any) -> None:
        await gemma(seen)(seen, writer)

    server.always(act)
    model = upstream(server)
    await model.complete(of(messages=[{"role": "system", "content": "Be brief."}, USER]))
    assert server.chats[-1].json["messages"] == [{"role": "user", "content": f"Be brief.\n\n{USER['content']}"}]
    assert len(server.chats) == 2
    await model.aclose()


async def test_a_server_that_lacks_a_parser_of_calls_is_not_asked_with_tools_again(server) -> None:
    message = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    server.always(respond(400, {"error": {"message": message}}))
    model = upstream(server)
    for _ in range(2):
        with pytest.raises(Incapable, match="no tools"):
            await model.complete(of(tools=[{"type": "function", "function": {"name": "f"}}]))
    assert len(server.chats) == 1
    await model.aclose()


def test_probabilities_are_put_as_chat_has_them() -> None:
    sent = asked(of(logprobs=True, top_logprobs=2)).fields
    assert sent["logprobs"] == 2
    assert "top_logprobs" not in sent
    given = {"tokens": ["a", "b"], "token_logprobs": [None, -0.5], "top_logprobs": [None, {"b": -0.5, "c": -1.0}]}
    raw = {"choices": [{"index": 0, "text": "ab", "logprobs": given, "finish_reason": "stop"}]}
    (choice,) = json.loads(answered(json.dumps(raw).encode()))["choices"]
    (token,) = choice["logprobs"]["content"]
    assert (token["token"], token["logprob"]) == ("b", -0.5)
    assert [top["token"] for top in token["top_logprobs"]] == ["b", "c"]


async def test_an_error_in_a_stream_stays_one(server) -> None:
    server.always(raw_stream(b'data: {"error": {"message": "out of memory"}}\n\n'))
    base = upstream(server, quirks=("completions_only",))
    stream = await base.stream(of(stream=True))
    assert b"out of memory" in (await stream.read())[0]
    await stream.aclose()
    await base.aclose()
