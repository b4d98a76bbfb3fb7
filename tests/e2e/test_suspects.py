"""A server that is not what it says: another answers, or prompts are cut. Noticed, told, and refused where asked."""

import logging
import re

import httpx
import pytest
from running import two_upstreams
from scripted import completion

BODY = {"model": "auto", "messages": [{"role": "user", "content": "word " * 400}]}


@pytest.fixture
def begin(start, local, remote):
    def gateway(**keys):
        upstreams = two_upstreams(local.url, remote.url)["upstreams"]
        upstreams["local"] |= keys
        return start(upstreams=upstreams)

    return gateway


def ask(gateway, *, stream: bool = False) -> httpx.Response:
    return httpx.post(f"{gateway.url}/chat/completions", json={**BODY, "stream": stream}, timeout=30)


def noticed(gateway) -> dict[str, float]:
    """What the metrics tell, by kind."""
    text = httpx.get(f"{gateway.root}/metrics").text
    found = re.findall(r'^weighbridge_suspect_answers_total\{kind="(\w+)",upstream="local"\} (\S+)', text, re.MULTILINE)
    return {kind: float(many) for kind, many in found}


def other(model: str = "llama-3.2-1b"):
    async def act(seen, writer):
        seen.body = seen.body.replace(b'"small-1"', f'"{model}"'.encode())
        await completion(usage=(450, 17))(seen, writer)

    return act


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_another_models_name_is_counted_and_told_once(begin, local, caplog, stream):
    gateway = begin()
    local.always(other())
    with caplog.at_level(logging.WARNING, "weighbridge"):
        for _ in range(2):
            answer = ask(gateway, stream=stream)
            assert answer.status_code == 200
            assert answer.headers["x-weighbridge-upstream"] == "local"
    assert noticed(gateway) == {"other_model": 2}
    assert [r.message for r in caplog.records if "llama" in r.message] == [
        "the upstream of small-1 answers as 'llama-3.2-1b'"
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_it_is_refused_where_the_config_says_so(begin, local, remote, stream):
    gateway = begin(other_model="refuse")
    local.always(other())
    answer = ask(gateway, stream=stream)
    assert answer.status_code == 200
    assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert answer.headers["x-weighbridge-reason"] == "fallback local upstream_other_model"
    assert gateway.rows("attempts")[0]["error_code"] == "upstream_other_model"


@pytest.mark.parametrize("folder", ["models/", "/home/somebody/" + "models/" * 40])
def test_a_name_that_says_more_is_the_same_model(begin, local, folder):
    gateway = begin(other_model="refuse")
    local.always(other(f"{folder}small-1-instruct-q4_k_m.gguf"))
    assert ask(gateway).headers["x-weighbridge-upstream"] == "local"
    assert noticed(gateway) == {}


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_was_not_read_to_its_end_is_noticed(begin, local, stream):
    gateway = begin()
    local.always(completion(usage=(128, 17)))
    assert ask(gateway, stream=stream).status_code == 200
    local.always(completion(usage=(420, 17)))
    assert ask(gateway, stream=stream).status_code == 200
    assert noticed(gateway) == {"read_less": 1}
