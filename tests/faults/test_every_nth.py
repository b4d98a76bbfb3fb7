"""Whatever fails, fail each of them in turn: every statement of the ledger, every byte of an upstream's answer.

After each, three views must agree: what the caller got, what went over the wire, and what the ledger says.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from failing import Failing
from fencing import Recorder
from scripted import SENTENCE, Behaviour, Seen, completion_body, events

from weighbridge.api import new_request_id
from weighbridge.attempts import Failure
from weighbridge.config import load
from weighbridge.dialects.chat import CHAT
from weighbridge.errors import Unreachable
from weighbridge.ledger.base import Entry
from weighbridge.ledger.chain import audit
from weighbridge.parts import Parts, compose
from weighbridge.schemas import Request
from weighbridge.wire import Body

CONFIG = """
[upstreams.local]
use = "fencing:Recorder"
model = "small-1"
location = "local"
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
[upstreams.remote]
use = "fencing:Recorder"
model = "large-1"
location = "remote"
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
[classifier]
use = "constant"
score = 0.2
[routes.auto]
small = "local"
large = "remote"
[ledger]
use = "failing:Failing"
path = "LEDGER"
[[budgets]]
name = "day"
usd = "1000"
at_cap = "refuse"
"""


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.replace("LEDGER", str(tmp_path / "ledger.db")))
    made = compose(load(path, {}), {})
    await made.aopen()
    yield made
    await made.aclose()
    rows = list(made.ledger.links())
    assert audit(rows).findings == []
    assert not [entry for entry in made.ledger.entries() if entry.status in {"reserved", "sent"}]


def asking(*, is_stream: bool) -> Request:
    fields = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], "stream": is_stream}
    body = Body(json.dumps(fields), fields)
    return Request(new_request_id(), CHAT, body, "ann", {}, time.monotonic(), datetime.now(UTC))


async def got(parts: Parts, request: Request) -> str:
    """`ok`, or the code of the error that the caller got."""
    try:
        if request.is_stream:
            assert b"[DONE]" in b"".join([part async for part in (await parts.gateway.stream(request)).parts])
        else:
            await parts.gateway.complete(request)
    except Failure as failure:
        return failure.error.code
    return "ok"


def wire(parts: Parts) -> int:
    return sum(len(upstream.reached) for upstream in parts.config.upstreams.values() if isinstance(upstream, Recorder))


async def settled(parts: Parts, since: int) -> dict[str, Entry]:
    """The entries, once what could not be written is: with the next request, or by itself."""
    assert await got(parts, asking(is_stream=False)) == "ok"
    deadline = time.monotonic() + 10
    while True:
        entries = {entry.request_id: entry for entry in parts.ledger.entries()}
        is_open = any(entry.status in {"reserved", "sent"} for entry in entries.values())
        if sum(entry.attempts for entry in entries.values()) == wire(parts) and not is_open:
            return entries
        assert time.monotonic() < deadline, (wire(parts), entries)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "until it is healed"])
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("is_falling_back", [False, True], ids=["one attempt", "two attempts"])
async def test_every_statement_of_the_ledger_may_fail(
    parts: Parts, is_falling_back: bool, is_stream: bool, is_lasting: bool
) -> None:
    """S1: the n-th write fails, for each n: no answer without its row, no attempt without its row, nothing twice."""
    ledger, local = parts.ledger, parts.config.upstreams["local"]
    assert isinstance(ledger, Failing)
    assert isinstance(local, Recorder)
    local.fails(Unreachable("gone") if is_falling_back else None)
    refused = 0
    for n in range(1, 100):
        parts.gateway._attempts.breakers["local"].succeeded()
        request = asking(is_stream=is_stream)
        before = wire(parts)
        ledger.fault.arm(n, is_lasting=is_lasting)
        outcome = await got(parts, request)
        ledger.fault.heal()
        went_out = wire(parts) - before
        entry = (await settled(parts, before)).get(request.request_id)
        if outcome == "ok":
            assert entry is not None
            assert (entry.status, entry.end_reason, entry.attempts) == ("settled", "ok", went_out)
            assert entry.cost_nano_usd is not None
        else:
            refused += 1
            assert outcome == "ledger_unavailable"
            # Before the first row nothing may go out; later, what went out is on record.
            assert went_out == 0 if entry is None else entry.attempts == went_out <= 1 + is_falling_back
        if not ledger.fault.has_struck:
            break
    assert refused > 0
    assert n > 5
    await agree(parts)


async def agree(parts: Parts) -> None:
    """The counters stand where the ledger does."""
    (budget,) = parts.config.budgets
    now = datetime.now(UTC)
    (level,) = await parts.config.state.levels([budget.key("ann", "auto", now)])
    assert level == sum(one.nano_usd for one in parts.ledger.spent(budget.since(now)))


def torn(seen: Seen, after: int) -> bytes:
    """The first bytes of a good answer."""
    if seen.json["stream"]:
        told = b"".join(b"data: " + one + b"\n\n" for one in events("m", "one two", (12, 2), asked_usage=True))
        head, body = "text/event-stream\r\ntransfer-encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(told), told)
    else:
        body = json.dumps(completion_body("m", SENTENCE, (12, 17))).encode()
        head = f"application/json\r\ncontent-length: {len(body)}"
    return (f"HTTP/1.1 200 OK\r\ncontent-type: {head}\r\n\r\n".encode() + body)[:after]


def cut(after: int) -> Behaviour:
    async def act(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(torn(seen, after))
        await writer.drain()
        writer.close()

    return act


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_may_be_cut_at_every_byte(start, local, is_stream: bool) -> None:
    """U6: cut after n bytes, for each n: whole or an error, never a part that looks whole."""
    gateway = start()
    fields = {"model": "local", "messages": [{"role": "user", "content": "hello"}], "stream": is_stream}
    size = len(torn(Seen("POST", "/", {}, json.dumps(fields).encode()), 1 << 20))
    ends = [*range(0, size, 11), size - 1, size]
    outcomes: dict[str, bool] = {}
    with httpx.Client() as client:
        for after in ends:
            gateway.app.parts.gateway._attempts.breakers["local"].succeeded()
            local.then(cut(after))
            answer = client.post(f"{gateway.url}/chat/completions", json=fields, timeout=30)
            outcomes[answer.headers["x-request-id"]] = is_whole(answer, is_stream)
    assert len(local.chats) == len(ends)
    assert [row["request_id"] for row in gateway.rows()] == list(outcomes)
    assert [row["end_reason"] == "ok" for row in gateway.rows()] == list(outcomes.values())
    assert outcomes.popitem()[1]  # the last one got every byte
    assert sum(outcomes.values()) <= 1


def is_whole(answer: httpx.Response, is_stream: bool) -> bool:
    """An answer, or an error that says so; nothing between."""
    if answer.status_code != 200:
        assert answer.json()["error"]["code"]
        return False
    if not is_stream:
        assert answer.json()["choices"][0]["message"]["content"] == SENTENCE
        return True
    *told, last = [line[6:] for line in answer.text.split("\n\n") if line]
    if last != "[DONE]":
        assert json.loads(last)["error"]["code"]
        return False
    said = "".join(json.loads(one)["choices"][0]["delta"].get("content", "") for one in told)
    assert said == "one two"
    return True
