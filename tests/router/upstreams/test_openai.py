"""Any OpenAI-compatible server, byte by byte."""

import asyncio
import json

import pytest
from scripted import ScriptedUpstream, completion, respond, stream

from weighbridge.errors import Failed
from weighbridge.units import Usage
from weighbridge.upstreams.openai import OpenAI
from weighbridge.wire import parse

BODY = parse(b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}], "x": 1.0}')
STREAM = parse(b'{"model":"auto","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"a":1}}')


@pytest.fixture
async def pair():
    with ScriptedUpstream() as script:
        server = OpenAI(model="m", location="local", base_url=script.url + "/", api_key_env="NO_SUCH_KEY")
        await server.aopen()
        yield script, server
        await server.aclose()


async def test_the_body_arrives_with_the_model_named_and_nothing_else_changed(pair):
    script, server = pair
    answer = await server.complete(BODY)
    assert script.chats[0].body == BODY.text.replace('"auto"', '"m"').encode()
    assert script.chats[0].path == "/v1/chat/completions"
    assert "authorization" not in script.chats[0].headers
    assert script.chats[0].headers["accept-encoding"] == "identity"
    assert answer.usage == Usage(12, 17)


async def test_a_model_that_the_answer_lacks_is_named(pair):
    script, server = pair
    script.then(respond(200, b'{"id": 1, "choices": []}'))
    assert json.loads((await server.complete(BODY)).body)["model"] == "m"


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"choices": 1}', b'{"error": "loading"}', b"<html>"])
async def test_a_200_that_is_no_answer_is_a_failure(pair, raw):
    script, server = pair
    script.then(respond(200, raw))
    with pytest.raises(Failed) as caught:
        await server.complete(BODY)
    assert caught.value.code == "upstream_malformed"


async def test_usage_is_asked_for_beside_the_clients_own_options(pair):
    script, server = pair
    opened = await server.stream(STREAM)
    while await opened.read():
        pass
    await opened.aclose()
    assert script.chats[0].json["stream_options"] == {"a": 1, "include_usage": True}


async def test_the_connection_of_a_finished_stream_serves_again(pair):
    script, server = pair
    script.always(stream())
    for _ in range(3):
        opened = await server.stream(STREAM)
        while b"[DONE]" not in await opened.read():
            pass
        await opened.aclose()
    assert len(script.connections) == 1


async def test_a_closed_stream_stops_the_upstream(pair):
    script, server = pair
    script.then(stream(hold_after=3))
    opened = await server.stream(STREAM)
    await opened.read()
    await opened.aclose()
    await opened.aclose()
    assert await asyncio.to_thread(script.chats[0].left.wait, 5)


async def test_a_look_at_the_server_says_whether_it_lists_the_model(pair):
    script, server = pair
    script.always(completion())
    assert "serves m" in await server.check()
