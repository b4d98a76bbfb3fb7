"""P2: no private request reaches a remote upstream, however it is dressed and whatever fails.

`FENCE_CASES=100000 pytest tests/faults/test_fence.py` plays as many as that.
"""

import json
import os
import random
from collections import Counter
from pathlib import Path

from fencing import Recorder, case, played

from weighbridge.config import load
from weighbridge.parts import Parts, compose

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
    """P2: generated requests, policies, faults and disguises: 0 bytes at the remote upstream."""
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
