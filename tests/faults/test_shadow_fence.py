"""A fenced request is never shadowed: whatever the configuration, it reaches no remote upstream, and no judge."""

import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fencing import Case, Recorder, case, played

from weighbridge.config import load
from weighbridge.dialects.chat import CHAT
from weighbridge.parts import Parts, compose

CASES = 8  # in each of the eighteen configurations
CONFIG = """
[upstreams.local]
use = "fencing:Recorder"
model = "small-1"
location = "local"
INPUT
[upstreams.other]
use = "fencing:Recorder"
model = "small-2"
location = "local"
INPUT
[upstreams.remote]
use = "fencing:Recorder"
model = "large-1"
location = "remote"
INPUT
[upstreams.judge]
use = "fencing:Recorder"
model = "judge-1"
location = "remote"
INPUT
[classifier]
use = "constant"
score = SCORE
[routes.auto]
small = "SMALL"
large = "LARGE"
policy = { use = "threshold", threshold = 0.5 }
[routes.auto.shadow]
share = 1
usd_per_day = "100"
judge = "JUDGE"
at_once = 8
keep_texts = true
[[rules]]
name = "private"
when = { any = [
    { pii = ["email", "phone", "credit_card", "iban", "secret"] }, { header = { "x-data-class" = "private" } }
] }
then = { fence = "local" }
[ledger]
path = "LEDGER"
"""
PRICES = 'input_usd_per_mtok = "0"\noutput_usd_per_mtok = "0"'
SIDES = [("local", "remote"), ("remote", "local"), ("local", "other")]


JUDGES = ("judge", "remote", "other")
SCORES = (0.1, 0.9)


@pytest.fixture(params=itertools.product(SIDES, JUDGES, SCORES), ids=str)
async def parts(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Parts]:
    (small, large), judge, score = request.param
    text = CONFIG.replace("INPUT", PRICES).replace("SMALL", small).replace("LARGE", large).replace("JUDGE", judge)
    path = tmp_path / "config.toml"
    path.write_text(text.replace("SCORE", str(score)).replace("LEDGER", str(tmp_path / "ledger.db")))
    found = compose(load(path, {}), {})
    await found.aopen()
    yield found
    await found.aclose()


async def test_no_fenced_request_is_shadowed(parts: Parts) -> None:
    route = parts.config.routes["auto"]
    chance = random.Random(f"{route.small} {route.large} {route.shadow}")
    for _ in range(CASES):
        one = case(chance)
        await played(parts, one)
        await parts.shadowing.settled()
        assert reached(parts, "remote", "judge") == 0, f"{one.dress}: {one.fields}"
    assert list(parts.ledger.shadows()) == []


async def test_the_same_request_without_a_secret_is(parts: Parts) -> None:
    """It would be no proof if nothing were ever shadowed."""
    fields = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
    for is_stream in (False, True):
        plain = Case(CHAT, {**fields, "stream": is_stream}, {}, None, is_stream, "nothing")
        await played(parts, plain)
        await parts.shadowing.settled()
    assert len(list(parts.ledger.shadows())) == 2


def reached(parts: Parts, *names: str) -> int:
    found = [parts.config.upstreams[name] for name in names]
    assert all(isinstance(one, Recorder) for one in found)
    return sum(len(one.reached) for one in found if isinstance(one, Recorder))
