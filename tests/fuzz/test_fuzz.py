"""Odd bodies over kept connections: never a 5xx, never a dropped connection, and each connection goes on serving.

$WEIGHBRIDGE_FUZZ_BODIES says how many; by default it is a small part of what `just fuzz` sends.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from bodies import Body, bodies
from hypothesis import HealthCheck, Phase, given, settings
from lenient import lenient
from line import Answer, Line
from running import two_upstreams
from schemas import OPERATIONS, document
from schemathesis import Case, GenerationMode
from scripted import SENTENCE, ScriptedUpstream
from served import ServedGateway

MANY = int(os.environ.get("WEIGHBRIDGE_FUZZ_BODIES", "2000"))
OF_EACH_SHAPE = max(10, MANY // 200)  # for each of five operations, with good bodies and with bad ones
LINES = 4
SHAPES = schemathesis.openapi.from_dict(document())
GOOD = Body(
    "/v1/chat/completions", json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}]}).encode()
)


class Fuzzed:
    """A gateway under fire: its lines, and what came of it."""

    def __init__(self, gateway: ServedGateway, upstream: ScriptedUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.lines = [Line(gateway.port) for _ in range(LINES)]
        self.statuses: Counter[int] = Counter()

    def line(self) -> Line:
        line = self.lines.pop(0)
        self.lines.append(line)
        return line

    def renew(self) -> None:
        """After a failure: so that what comes next, when the example is made smaller, has a fair start."""
        for line in self.lines:
            line.close()
        self.lines = [Line(self.gateway.port) for _ in range(LINES)]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with ScriptedUpstream() as upstream:
        upstream.always(lenient)
        config = two_upstreams(upstream.url, upstream.url)
        config["server"] = {"idle_timeout_s": 3600}  # thinking up a body may take longer than a client may be idle
        config["upstreams"]["chat"] = {**config["upstreams"]["local"], "model": "chat-1", "endpoints": []}
        with ServedGateway(tmp_path_factory.mktemp("fuzz"), config) as gateway:
            target = Fuzzed(gateway, upstream)
            yield target
            total = sum(target.statuses.values())
            told = ", ".join(f"{count:,} times {status}" for status, count in sorted(target.statuses.items()))
            sys.stdout.write(f"\n{total:,} odd bodies, a good one after each: {told}\n")
            for line in target.lines:
                line.close()


GENERATING = settings(
    max_examples=MANY,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@GENERATING
@given(body=bodies())
def test_no_body_makes_a_5xx_or_breaks_its_connection(fuzzed: Fuzzed, body: Body) -> None:
    is_endured(fuzzed, body)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("path", OPERATIONS)
def test_no_body_of_the_published_shapes_or_against_them_does(fuzzed: Fuzzed, path: str, mode: GenerationMode) -> None:
    @settings(GENERATING, max_examples=OF_EACH_SHAPE)
    @given(case=SHAPES[path]["POST"].as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        raw = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
        is_endured(fuzzed, Body(path, raw))

    send()


def is_endured(target: Fuzzed, body: Body) -> None:
    """It is answered as it should be, and the next one on its connection too."""
    line = target.line()
    try:
        answer = line.post(body.path, body.raw)
        target.statuses[answer.status] += 1
        is_well_answered(body, answer)
        good = line.post(GOOD.path, GOOD.raw)
        assert good.status == 200
        assert good.json["choices"][0]["message"]["content"] == SENTENCE
        is_well_sent(target.upstream)
    except BaseException:
        target.renew()
        raise


def is_well_sent(upstream: ScriptedUpstream) -> None:
    """What reached the server is proper JSON, for one of its models."""
    arrived = upstream.seen[:]
    upstream.seen.clear()
    for seen in arrived:
        assert strict(seen.body)["model"] in {"small-1", "large-1", "chat-1"}


def is_well_answered(body: Body, answer: Answer) -> None:
    """A whole and proper answer, or a refusal in the shape of its API."""
    assert answer.status < 500, answer.body
    assert answer.headers["x-request-id"]
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.status == 200
        assert is_ended(body.path, answer.body), answer.body[-300:]
        return
    said = strict(answer.body)
    if answer.status == 200:
        assert "error" not in said or said["error"] is None
        return
    if body.path.startswith("/v1/messages"):
        assert said.keys() == {"type", "error"}
        assert said["type"] == "error"
        assert said["error"].keys() == {"type", "message"}
    else:
        assert said.keys() == {"error"}
        assert said["error"].keys() == {"message", "type", "param", "code"}
    assert isinstance(said["error"]["message"], str)
    assert said["error"]["message"]


def is_ended(path: str, raw: bytes) -> bool:
    events = raw.rstrip().split(b"\n\n")
    if path == "/v1/messages":
        return events[-1].startswith(b"event: message_stop\n")
    if path == "/v1/responses":
        return events[-1].startswith((b"event: response.completed\n", b"event: response.incomplete\n"))
    return events[-1] == b"data: [DONE]"


def strict(raw: bytes) -> Any:
    """JSON as the standard has it: no NaN, no name twice, no half of a surrogate pair."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs), raw[:300]
        return dict(pairs)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(raw.decode(), object_pairs_hook=unique, parse_constant=refuse)


def test_as_many_as_were_asked_for_and_none_was_unforeseen(fuzzed: Fuzzed) -> None:
    assert sum(fuzzed.statuses.values()) >= MANY
    assert "unhandled" not in fuzzed.gateway.complaints
