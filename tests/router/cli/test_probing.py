"""Probing: a server that does not do what it says is found out and named."""

from collections.abc import Callable, Iterator

import pytest
from commanding import ConfigFile
from scripted import Behaviour, ScriptedUpstream, Seen, completion, respond

from weighbridge.cli.probing import probed
from weighbridge.upstreams.openai import OpenAI

WINDOW = 4096
PROPS = {"default_generation_settings": {"n_ctx": WINDOW}, "total_slots": 1, "model_alias": "m"}


def reading(most: int, name: str = "m") -> Behaviour:
    """A server that reads so many tokens at most, two to a word, and says nothing of the rest."""

    async def act(seen: Seen, writer: object) -> None:
        if seen.method == "GET":
            await respond(200, {"data": [{"id": "sim-small"}]})(seen, writer)  # type: ignore[arg-type]
            return
        words = len(seen.json["messages"][0]["content"].split())
        await completion(usage=(min(most, 10 + 2 * words), 1), model=name)(seen, writer)  # type: ignore[arg-type]

    return act


@pytest.fixture
def server() -> Iterator[Callable[..., ScriptedUpstream]]:
    with ScriptedUpstream() as scripted:

        def tells(behaviour: Behaviour) -> ScriptedUpstream:
            scripted.tells = {"/props": respond(200, PROPS)}
            return scripted.always(behaviour)

        yield tells


async def found(scripted: ScriptedUpstream, **keys: int) -> list[str]:
    upstream = OpenAI(base_url=scripted.url, model="m", location="local", **keys)  # type: ignore[arg-type]
    await upstream.aopen()
    try:
        return [words async for words in probed(upstream)]
    finally:
        await upstream.aclose()


async def test_an_honest_server_has_nothing_against_it(server) -> None:
    assert await found(server(reading(WINDOW))) == []


async def test_a_server_that_cuts_without_a_word_is_named(server) -> None:
    said = await found(server(reading(2048)))
    assert said == ["cuts without a word: of 3,686 tokens it read 2,048; set context_window = 2048"]


async def test_a_server_that_holds_less_than_it_says_is_named(server) -> None:
    scripted = server(reading(WINDOW))
    too_long = {"error": {"message": "the request exceeds the available context size", "code": 400}}
    scripted.then(reading(WINDOW), reading(WINDOW), respond(400, too_long))
    (said,) = await found(scripted)
    assert said.startswith("is to hold 4,096 tokens, but of 3,686 it says: ")


async def test_a_server_with_another_model_is_named(server) -> None:
    (said,) = await found(server(reading(WINDOW, name="llama-3.2-1b")))
    assert said == "asked for m, it answers as llama-3.2-1b"


async def test_a_small_window_is_filled_as_well(server) -> None:
    assert await found(server(reading(WINDOW)), context_window=500) == []
    (said,) = await found(server(reading(300)), context_window=500)
    assert "it read 300; set context_window = 300" in said


async def test_the_doctor_tells_what_it_found(config: ConfigFile, server, weighbridge) -> None:
    scripted = server(reading(2048, name="sim-small"))
    config.change('use = "simulated"', f'use = "openai"\nbase_url = "{scripted.url}"')
    assert "without a word" not in (await weighbridge("doctor")).out
    assert "cuts without a word" in " ".join((await weighbridge("doctor", "--probe")).out.split())


async def test_the_doctor_tells_what_a_running_gateway_has_noticed(config: ConfigFile, listening, weighbridge) -> None:
    noticed = b'weighbridge_suspect_answers_total{kind="read_less",upstream="small"} 3.0\n'
    port = (await listening({"/metrics": noticed, "/health/ready": {"upstreams": {}}})).rpartition(":")[2]
    out = (await weighbridge("doctor", env={"WEIGHBRIDGE_SERVER__PORT": port})).out
    assert "warn  upstream small: 3 times since its start it read fewer tokens than the request had words" in out
