"""Windows: no request is clipped in silence, whatever it is written in, and whatever the config believes."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import two_upstreams
from scripted import Behaviour, Seen, completion, respond
from tokenizers import Tokenizer

WINDOW = 1024
TOKENIZER = Path(__file__).parents[2] / "classifiers" / "artefact" / "tokenizer.json"
PROPS = {"default_generation_settings": {"n_ctx": WINDOW}, "total_slots": 1, "model_alias": "small-1"}
PROSE = "the quick brown fox jumps over a lazy dog while nobody counts tokens however improbable circumstances"
WORDS = PROSE.split(" ")


def _prose(draw: random.Random, size: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(size // 5))


def _code(draw: random.Random, size: int) -> str:
    line = "    for (int i{0} = 0; i{0} < n; ++i{0}) {{ total += values[i{0}] * weights[{0}]; }}\n"
    return "".join(line.format(draw.randrange(100)) for _ in range(size // 70))


def _from(first: int, last: int) -> Callable[[random.Random, int], str]:
    return lambda draw, size: "".join(chr(draw.randrange(first, last)) for _ in range(size))


def _json(draw: random.Random, size: int) -> str:
    rows = [{"id": draw.randrange(10**6), "name": draw.choice(WORDS), "ok": True} for _ in range(size // 50)]
    return json.dumps(rows)


def _base64(draw: random.Random, size: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return " ".join("".join(draw.choice(letters) for _ in range(76)) for _ in range(size // 77))


KINDS = (
    _prose,
    _code,
    _json,
    _base64,
    _from(0x4E00, 0x9FA5),
    _from(0x430, 0x44F),
    _from(0x3041, 0x3090),
    _from(48, 57),
)


class Clipping:
    """A server that cuts what is too long without a word, and counts how often it did."""

    def __init__(self) -> None:
        self.tokenizer = Tokenizer.from_file(str(TOKENIZER))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.clipped = 0
        self.answered = 0

    @property
    def behaviour(self) -> Behaviour:
        async def act(seen: Seen, writer: Any) -> None:
            self.clipped += self.tokens(seen.json["messages"][0]["content"]) > WINDOW
            self.answered += 1
            await completion()(seen, writer)

        return act

    def tokens(self, text: str) -> int:
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.fixture
def clipping(local):
    server = Clipping()
    local.always(server.behaviour)
    local.tells["/props"] = respond(200, PROPS)
    return server


@pytest.mark.parametrize("configured", [None, WINDOW, 32_768])
def test_a_thousand_requests_that_are_too_long_are_never_clipped(configured, start, local, remote, clipping):
    upstreams = two_upstreams(local.url, remote.url)["upstreams"]
    upstreams["local"] |= {"context_window": configured} if configured else {}
    gateway = start(upstreams=upstreams)
    draw = random.Random(7)
    too_long = 0
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        while too_long < 334:  # in each of three settings
            text = draw.choice(KINDS)(draw, draw.randrange(600, 6_000))
            is_too_long = clipping.tokens(text) > WINDOW
            too_long += is_too_long
            body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
            answer = client.post("/chat/completions", json=body)
            assert answer.status_code == 200
            if is_too_long:
                assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert clipping.clipped == 0
    assert clipping.answered > 10  # those that fit stay


def test_what_is_fenced_and_too_long_is_refused_in_plain_words(start, clipping, local, remote):
    gateway = start(rules=[{"name": "stays", "when": {"pii": ["email"]}, "then": {"fence": "local"}}])
    body = {"model": "auto", "messages": [{"role": "user", "content": "jane.doe@example.com " * 500}]}
    answer = httpx.post(f"{gateway.url}/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert not local.seen
    assert not remote.seen
