"""Ollama's own API, against a scripted server on loopback."""

import asyncio
import json
import threading

import pytest
from scripted import ScriptedUpstream, closed_port, hang, respond

from weighbridge.errors import BadRequest, Cut, Failed, Limited, Refused, TimedOut, Unreachable
from weighbridge.plugins import build
from weighbridge.upstreams.base import Limits, Upstream
from weighbridge.upstreams.ollama import Ollama
from weighbridge.upstreams.ollama_translation import Incapable
from weighbridge.wire import parse

MODEL = "qwen2.5:3b"
LINES = [
    {"model": MODEL, "message": {"role": "assistant", "content": "Grüß"}, "done": False},
    {"model": MODEL, "message": {"role": "assistant", "content": " Gott €"}, "done": False},
    {
        "model": MODEL,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 26,
        "eval_count": 5,
    },
]
WHOLE = {**LINES[-1], "message": {"role": "assistant", "content": "Grüß Gott €"}}


def ask(**fields):
    return parse(json.dumps({"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **fields}).encode())


def lines(*answers, size=None, cut=False, hold=False):
    """Stream these as lines of JSON, `size` bytes at a time."""

    async def act(seen, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
        raw = b"".join(json.dumps(answer, ensure_ascii=False).encode() + b"\n" for answer in answers)
        step = size or len(raw)
        for part in (raw[at : at + step] for at in range(0, len(raw), step)):
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
        if hold:
            await hang()(seen, writer)
        if cut:
            writer.close()
        else:
            writer.write(b"0\r\n\r\n")

    return act


@pytest.fixture
def server():
    with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture
async def ollama(server):
    """Makes upstreams and closes them."""
    made = []

    async def make(**keys):
        base_url = f"http://127.0.0.1:{server.port}"
        upstream = Ollama(**{"model": MODEL, "location": "local", "base_url": base_url, **keys})
        await upstream.aopen()
        made.append(upstream)
        return upstream

    yield make
    for upstream in made:
        await upstream.aclose()


async def drained(stream):
    found = []
    while read := await stream.read():
        found += read
    await stream.aclose()
    return found


async def everyone_left(server):
    """Whether the upstream closed every connection that it had opened."""
    return await asyncio.to_thread(lambda: all(asked.left.wait(5) for asked in server.chats))


async def test_a_whole_answer_is_asked_for_in_ollamas_words_and_read_in_ours(server, ollama):
    server.then(respond(200, WHOLE))
    upstream = await ollama(context_window=8192, keep_alive="10m")
    completion = await upstream.complete(ask(temperature=0.2, max_tokens=50))
    [asked] = server.chats
    assert asked.path == "/api/chat"
    assert asked.json == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "truncate": False,
        "shift": False,
        "options": {"temperature": 0.2, "num_predict": 50, "num_ctx": 8192},
        "keep_alive": "10m",
    }
    answer = json.loads(completion.body)
    assert answer["choices"][0]["message"]["content"] == "Grüß Gott €"
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (26, 5)


@pytest.mark.parametrize("size", [1, 2, 7, 50, None])
async def test_a_stream_is_read_however_the_network_cuts_it(server, ollama, size):
    server.then(lines(*LINES, size=size))
    found = await drained(await (await ollama()).stream(ask(stream=True)))
    assert server.chats[0].json["stream"] is True
    assert found[-1] == b"[DONE]"
    chunks = [json.loads(event) for event in found[:-1]]
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    assert text == "Grüß Gott €"
    assert chunks[-1]["usage"] == {"prompt_tokens": 26, "completion_tokens": 5, "total_tokens": 31}


async def test_a_last_line_without_its_newline_counts(server, ollama):
    async def act(_, writer):
        raw = b"\n".join(json.dumps(line).encode() for line in LINES)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: " + str(len(raw)).encode() + b"\r\n\r\n" + raw)

    server.then(act)
    assert (await drained(await (await ollama()).stream(ask())))[-1] == b"[DONE]"


async def test_two_requests_share_a_connection(server, ollama):
    server.always(lines(*LINES))
    upstream = await ollama()
    for _ in range(2):
        assert await drained(await upstream.stream(ask()))
    assert len(server.chats) == 2


async def test_a_clean_end_in_the_middle_is_no_answer(server, ollama):
    server.then(lines(*LINES[:2]))
    stream = await (await ollama()).stream(ask())
    assert await stream.read()
    with pytest.raises(Cut):
        await drained(stream)
    await stream.aclose()


async def test_a_broken_connection_in_the_middle_is_no_answer(server, ollama):
    server.then(lines(*LINES[:2], cut=True))
    stream = await (await ollama()).stream(ask())
    with pytest.raises((Cut, Failed)) as caught:
        await drained(stream)
    assert caught.value.code == "upstream_cut"
    await stream.aclose()


async def test_an_error_in_the_middle_is_an_error_without_its_inner_workings(server, ollama):
    server.then(lines(LINES[0], {"error": "an error was encountered while running the model: CUDA error at /usr/lib"}))
    stream = await (await ollama()).stream(ask())
    with pytest.raises(Failed) as caught:
        await drained(stream)
    assert "CUDA" not in caught.value.message
    await stream.aclose()


async def test_an_error_in_a_good_status_is_an_error(server, ollama):
    server.always(respond(200, {"error": "boom"}))
    upstream = await ollama()
    with pytest.raises(Failed):
        await upstream.complete(ask())
    with pytest.raises(Failed):
        await drained(await upstream.stream(ask()))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'"x"', b""])
async def test_nonsense_is_a_failure_of_the_upstream(server, ollama, body):
    server.always(respond(200, body))
    upstream = await ollama()
    with pytest.raises(Failed):
        await upstream.complete(ask())
    stream = await upstream.stream(ask())
    with pytest.raises((Failed, Cut)):
        await drained(stream)
    await stream.aclose()


async def test_a_line_without_end_is_refused(server, ollama):
    async def act(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + b"x" * 3_000_000)

    server.then(act)
    stream = await (await ollama()).stream(ask())
    with pytest.raises(Failed) as caught:
        await drained(stream)
    assert caught.value.code == "upstream_too_large"
    await stream.aclose()


async def test_a_missing_model_says_how_to_get_it(server, ollama):
    server.then(respond(404, {"error": f'model "{MODEL}" not found, try pulling it first'}))
    with pytest.raises(Unreachable, match=r"ollama pull qwen2\.5:3b") as caught:
        await (await ollama()).complete(ask())
    assert caught.value.code == "model_not_installed"
    assert caught.value.may_fall_back


OVERFLOW = {
    "error": json.dumps(
        {
            "error": {
                "code": 400,
                "message": "request (2622 tokens) exceeds the available context size (512 tokens), try increasing it",
                "type": "exceed_context_size_error",
            }
        }
    )
}


@pytest.mark.parametrize("error", [OVERFLOW, {"error": "the input length exceeds the context length"}])
async def test_a_prompt_that_is_too_long_may_go_elsewhere(server, ollama, error):
    server.then(respond(400, error))
    with pytest.raises(Refused) as caught:
        await (await ollama()).complete(ask())
    assert caught.value.code == "context_length_exceeded"
    assert "{" not in caught.value.message
    assert caught.value.may_fall_back


@pytest.mark.parametrize(
    "message",
    [
        "registry.ollama.ai/library/gemma:2b does not support tools",
        '{"error":{"code":400,"message":"Multimodal data provided, but model does not support multimodal requests."}}',
    ],
)
async def test_what_the_model_cannot_do_may_go_elsewhere(server, ollama, message):
    server.then(respond(400, {"error": message}))
    with pytest.raises(Incapable) as caught:
        await (await ollama()).complete(ask())
    assert caught.value.may_fall_back


async def test_other_refusals_are_the_clients(server, ollama):
    server.then(respond(400, {"error": 'option "temperature" must be of type float32'}))
    with pytest.raises(Refused, match="temperature") as caught:
        await (await ollama()).complete(ask(temperature="hot"))
    assert caught.value.status == 400
    assert not caught.value.may_fall_back


async def test_what_cannot_be_translated_never_reaches_the_server(server, ollama):
    upstream = await ollama()
    with pytest.raises(Incapable):
        await upstream.complete(ask(n=3))
    with pytest.raises(BadRequest):
        await upstream.stream(ask(tools="all"))
    assert server.seen == []


async def test_a_model_that_cannot_think_is_asked_once_more_and_remembered(server, ollama):
    refusal = respond(400, {"error": f'"{MODEL}" does not support thinking'})
    server.then(refusal, respond(200, WHOLE), respond(200, WHOLE))
    upstream = await ollama()
    assert await upstream.complete(ask(reasoning_effort="high"))
    assert await upstream.complete(ask(reasoning_effort="high"))
    assert ["think" in asked.json for asked in server.chats] == [True, False, False]


@pytest.mark.parametrize(
    ("status", "kind"), [(429, Limited), (500, Failed), (503, Failed), (401, Failed), (403, Failed), (302, Failed)]
)
async def test_other_statuses(server, ollama, status, kind):
    server.then(respond(status, {"error": "server busy, please try again.  maximum pending requests exceeded"}))
    with pytest.raises(kind):
        await (await ollama()).complete(ask())


async def test_nobody_there_is_unreachable_and_free():
    upstream = Ollama(model=MODEL, location="local", base_url=f"http://127.0.0.1:{closed_port()}")
    await upstream.aopen()
    with pytest.raises(Unreachable) as caught:
        await upstream.stream(ask())
    assert not caught.value.billable
    with pytest.raises(Unreachable):
        await upstream.check()
    await upstream.aclose()


async def test_the_limits_close_the_connection(server, ollama):
    server.then(hang(), hang(), lines(LINES[0], hold=True))
    impatient = await ollama(limits=Limits(first_token_s=0.05, total_s=0.1))
    with pytest.raises(TimedOut):
        await impatient.complete(ask())
    with pytest.raises(TimedOut):
        await impatient.stream(ask())
    stream = await (await ollama(limits=Limits(idle_s=0.05))).stream(ask())
    assert await stream.read()
    with pytest.raises(TimedOut):
        await stream.read()
    await stream.aclose()
    assert await everyone_left(server)


async def test_a_client_that_leaves_stops_ollama(server, ollama):
    arrived = threading.Event()

    async def arrive_and_hang(seen, writer):
        arrived.set()
        await hang()(seen, writer)

    server.then(arrive_and_hang, lines(LINES[0], hold=True))
    upstream = await ollama()
    task = asyncio.create_task(upstream.complete(ask()))
    assert await asyncio.to_thread(arrived.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stream = await upstream.stream(ask())
    await stream.read()
    await stream.aclose()
    await stream.aclose()
    assert await everyone_left(server)


def checked(version, show):
    """Answers the three looks that `check` takes."""

    async def act(seen, writer):
        status, fields = {
            "/api/version": (200, {"version": version}),
            "/api/show": show,
            "/api/tags": (200, {"models": [{"name": "llama3.2:1b"}]}),
        }[seen.path]
        await respond(status, fields)(seen, writer)

    return act


SHOWN = (200, {"model_info": {"general.architecture": "qwen2", "qwen2.context_length": 32768}})


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (8192, "32,768 tokens; context_window = 8192"),
        (None, "context_window is not set"),
        (65536, "more than it can hold"),
    ],
)
async def test_check_compares_the_windows(server, ollama, window, words):
    server.always(checked("0.13.0", SHOWN))
    found = await (await ollama(context_window=window)).check()
    assert "Ollama 0.13.0 has qwen2.5:3b" in found
    assert words in found
    assert "update" not in found


async def test_check_warns_of_a_version_that_cuts_silently(server, ollama):
    server.always(checked("0.12.5", SHOWN))
    assert "update it" in await (await ollama()).check()


async def test_check_says_what_is_installed_when_the_model_is_not(server, ollama):
    server.always(checked("0.13.0", (404, {"error": f"model '{MODEL}' not found"})))
    with pytest.raises(Unreachable, match=r"ollama pull qwen2\.5:3b.*llama3\.2:1b"):
        await (await ollama()).check()


def test_config_builds_it_by_name_and_refuses_the_other_endpoint():
    upstream = build("weighbridge.upstreams", "ollama", {"model": MODEL, "location": "local"}, Upstream)
    assert isinstance(upstream, Ollama)
    with pytest.raises(ValueError, match="leave out the /v1"):
        Ollama(model=MODEL, location="local", base_url="http://127.0.0.1:11434/v1/")


async def test_a_model_without_a_system_role_or_tools_is_asked_as_it_can_be(server, ollama):
    server.always(respond(200, WHOLE))
    upstream = await ollama(quirks=("no_system_role", "no_tools"))
    await upstream.complete(
        ask(messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
    )
    assert server.chats[0].json["messages"] == [{"role": "user", "content": "Be brief.\n\nHi"}]
    with pytest.raises(Incapable):
        await upstream.complete(ask(tools=[{"type": "function", "function": {"name": "f"}}]))
    assert len(server.chats) == 1


async def test_a_base_model_gets_a_conversation_as_one_text(server, ollama):
    server.always(respond(200, WHOLE))
    upstream = await ollama(quirks=("completions_only",))
    turns = [("user", "Hi"), ("assistant", "Ho"), ("user", "Hu")]
    await upstream.complete(ask(messages=[{"role": role, "content": text} for role, text in turns]))
    (message,) = server.chats[0].json["messages"]
    assert message == {"role": "user", "content": "User: Hi\n\nAssistant: Ho\n\nUser: Hu\n\nAssistant:"}
