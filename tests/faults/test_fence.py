"""P2: no private request reaches a remote upstream, however it is dressed and whatever fails.

`FENCE_CASES=100000 pytest tests/faults/test_fence.py` plays as many as that.
"""

import json
import os
import random
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from fencing import Case, Recorder, case, request_id

from weighbridge.attempts import Failure
from weighbridge.config import load
from weighbridge.errors import BadRequest
from weighbridge.gateway import Gateway
from weighbridge.parts import Parts, compose
from weighbridge.schemas import Request
from weighbridge.sessions import conversation_key, loop_key
from weighbridge.upstreams.base import Forward
from weighbridge.wire import Body

CASES = int(os.environ.get("FENCE_CASES", "1500"))
CONFIG = """
[upstreams.local]
use = "fencing:Recorder"
model = "small-1"
location = "local"
[upstreams.remote]
use = "fencing:Recorder"
model = "large-1"
location = "remote"
[classifier]
use = "constant"
score = 0.99
[routes.auto]
small = "local"
large = "remote"
recovery = "RECOVERY"
[[rules]]
name = "private"
when = { any = [
    { pii = ["email", "phone", "credit_card", "iban", "secret"] }, { header = { "x-data-class" = "private" } }
] }
then = { fence = "local" }
[ledger]
path = "LEDGER"
"""


async def test_nothing_private_reaches_a_remote_upstream(tmp_path: Path) -> None:
    """P1, P2, P4: generated requests, policies and faults: 0 bytes at the remote upstream."""
    seed = int(os.environ.get("FENCE_SEED", "20261121"))
    chance = random.Random(seed)
    seen: Counter[str] = Counter()
    for recovery in ("none", "buffer"):
        parts = composed(tmp_path, recovery)
        await parts.aopen()
        local, remote = parts.config.upstreams["local"], parts.config.upstreams["remote"]
        assert isinstance(local, Recorder)
        assert isinstance(remote, Recorder)
        for _ in range(CASES // 2):
            one = case(chance)
            local.fails(one.fault)
            outcome = await played(parts, one)
            assert not remote.reached, f"{one.dress} in {type(one.dialect).__name__}: {json.dumps(one.fields)[:300]}"
            seen[outcome] += 1
        await parts.aclose()
    # It is no proof if nothing got through to anybody.
    assert seen["answered"] > CASES / 20, seen
    assert seen["failed"] > CASES / 3, seen


def composed(folder: Path, recovery: str) -> Parts:
    path = folder / "config.toml"
    path.write_text(CONFIG.replace("RECOVERY", recovery).replace("LEDGER", str(folder / f"{recovery}.db")))
    return compose(load(path, {}), {})


async def played(parts: Parts, one: Case) -> str:
    """How a case ended. A breaker that is open would hide the fault, so each begins with closed ones."""
    gateway: Gateway = parts.gateway
    for breaker in gateway._attempts.breakers.values():
        breaker.succeeded()
    body = Body(json.dumps(one.fields), one.fields)
    try:
        one.dialect.check(one.fields)
    except BadRequest:
        return "refused"
    now = datetime.now(UTC)
    request = Request(request_id(), one.dialect, body, "anyone", one.headers, time.monotonic(), now)
    # Its session was with the remote upstream until now.
    parts.ledger.remember([loop_key(request, "auto"), conversation_key(request, "auto")], "remote")
    try:
        if one.dialect.path == "/moderations":
            opened = await gateway.forward(request, Forward("POST", "/moderations", "application/json", b"{}"))
            [part async for part in opened.parts]
        elif one.is_stream:
            opened = await gateway.stream(request)
            [part async for part in opened.parts]
        else:
            await gateway.complete(request)
    except Failure:
        return "failed"
    return "answered"
