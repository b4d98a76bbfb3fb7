"""A local model before a remote one: what it spares, what it costs, and whether anything that must stay gets lost.

Generated conversations, with figures, links, code, calls of tools and a last ask, and generated sloppy asks go through
the whole gateway but for HTTP. The local model is simulated: it does its work, or is careless, changes a number, drops
a negation, chats, repeats itself, says nothing or fails, as often as `rig/helping.py` says. So this shows what the
checks let pass, and what the steps come to if a model does so; it cannot show how well a real model does.

    python benchmarks/preprocess.py [--texts 1000] [--seed 1] [--json]
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rig.helping import Helper, Onlooker
from rig.tables import machine

from weighbridge.config import load
from weighbridge.dialects.base import translated
from weighbridge.dialects.chat import CHAT
from weighbridge.parts import Parts, compose
from weighbridge.preprocess.keeping import found_in
from weighbridge.prices import usd_per_second
from weighbridge.schemas import Request
from weighbridge.upstreams.base import Electricity

CONFIG = """
schema_version = 1
classifier = { use = "constant", score = 0.9 }
routes.auto = { small = "local", large = "remote", policy = { use = "threshold", threshold = 0.5 } }
rules = [{ name = "help", when = { tokens_over = 0 }, then = { preprocess = ["compress", "clean"] } }]
preprocess.compress = { upstream = "local", budget_tokens = 1000, keep_last_turns = 1 }
preprocess.clean = { upstream = "local" }
ledger = { use = "sqlite", path = "LEDGER" }

[upstreams.local]
use = "rig.helping:Helper"
model = "small"
location = "local"
seed = SEED
input_usd_per_mtok = "0"
output_usd_per_mtok = "0"

[upstreams.remote]
use = "rig.helping:Onlooker"
model = "large"
location = "remote"
input_usd_per_mtok = "1.25"
output_usd_per_mtok = "10"
"""
CURRENT = Electricity(watts=60, usd_per_kwh="0.30")
MACHINE = Electricity(watts=60, usd_per_kwh="0.30", hardware_usd="1500")
REMOTE_USD_PER_MTOK = 1.25
KEPT = ("numbers", "code", "links")
PROSE = (
    "the committee talked about weather garden budget travel harvest music bridges letters winter supper and nobody "
    "minded since every neighbour had seen it before while others waited for news from town"
)
WORDS = PROSE.split(" ")
CODE = "```python\nfor i in range({n}):\n    print(i * {m})\n```"
TOOL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Oslo"}'}}
ASKS = (
    (
        "pls tell me hwo many days has {n} weeks and dont explain",
        "Please tell me how many days {n} weeks have, and don't explain.",
    ),
    (
        "i have {n} apples n give {m} away not more, how mny r left",
        "I have {n} apples and give {m} away, not more; how many are left?",
    ),
    (
        'whats the diffrence betwen "affect" and "effect" give {n} exmples',  # codespell:ignore
        'What is the difference between "affect" and "effect"? Give {n} examples.',
    ),
    (
        "wirte me a mail to Anna Berg that i wont come at {n}:30",  # codespell:ignore
        "Write me a mail to Anna Berg that I won't come at {n}:30.",
    ),
    (
        "cna you sort `a_list` without using sorted in {n} lines",  # codespell:ignore
        "Can you sort `a_list` without using sorted, in {n} lines?",
    ),
)


@dataclass
class Step:
    """What came of one step. lost, harmed: these must stay empty."""

    requests: int = 0
    used: int = 0
    bypassed: dict[str, int] = field(default_factory=dict)
    tokens_before: int = 0
    tokens_after: int = 0
    calls: int = 0
    declared_s: list[float] = field(default_factory=list)  # of a request's calls together
    overhead_ms: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    harmed: list[str] = field(default_factory=list)


def sentence(draw: random.Random) -> str:
    words = draw.choices(WORDS, k=draw.randint(8, 16))
    if (lot := draw.random()) < 0.12:
        words.insert(3, draw.choice([f"{draw.randrange(2, 9999)} euros", f"{draw.randrange(1, 29)}.5 percent"]))
    elif lot < 0.16:
        words.append(f"at https://{draw.choice(WORDS)}.example/{draw.randrange(999)}")
    elif lot < 0.2:
        words.append(f"in read_{draw.choice(WORDS)}.py")
    return " ".join(words).capitalize() + ". "


def conversation(draw: random.Random) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": "You help. " + sentence(draw)}]
    for _ in range(draw.randint(2, 5)):
        text = "".join(sentence(draw) for _ in range(draw.randint(10, 45)))
        if draw.random() < 0.3:
            text += "\n" + CODE.format(n=draw.randrange(99), m=draw.randrange(99)) + "\n"
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": sentence(draw)}]
        if draw.random() < 0.3:
            result = {"role": "tool", "tool_call_id": "call_1", "content": f"{draw.randrange(99)} degrees"}
            messages += [{"role": "assistant", "content": None, "tool_calls": [TOOL]}, result]
    return [*messages, {"role": "user", "content": f"```\n{draw.randrange(99)}\n```\nWhat of it?"}]


def texts_of(messages: list[dict[str, Any]]) -> str:
    return "\n".join(str(message.get("content")) for message in messages)


def check_history(step: Step, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    """Everything that must stay is there, and nothing that must not is new."""
    had, has = (set(found_in(texts_of(messages), KEPT)) for messages in (before, after))
    step.lost += sorted(had - has)
    step.harmed += sorted(has - had)
    never = [m for m in before if m["role"] in {"system", "tool"} or m.get("tool_calls")]
    step.lost += [str(m) for m in (*never, before[-1]) if m not in after]
    blocks = [b for m in before for b in str(m.get("content")).split("```")[1::2]]
    step.lost += [block for block in blocks if block not in texts_of(after)]


async def send(parts: Parts, messages: list[dict[str, Any]], step: Step, name: str) -> list[dict[str, Any]]:
    """One request through the gateway. What the remote saw of it."""
    local, remote = parts.config.upstreams["local"], parts.config.upstreams["remote"]
    assert isinstance(local, Helper)
    assert isinstance(remote, Onlooker)
    calls = len(local.did)
    parts.gateway._attempts.breakers["local"].succeeded()  # each request is on its own here
    body = translated({"model": "auto", "messages": messages})
    now = time.monotonic()
    request = Request(f"r{time.time_ns()}", CHAT, body, "bench", {}, now, datetime.now(UTC))
    answer = await parts.gateway.complete(request)
    seen: list[dict[str, Any]] = remote.seen[-1]["messages"]
    said = answer.trip.helped[name]
    prepared = answer.trip.plan.prepared
    step.requests += 1
    step.used += "tokens" in said
    if said.startswith("bypassed"):
        step.bypassed[said[10:-1]] = step.bypassed.get(said[10:-1], 0) + 1
    step.tokens_before += request.estimated_input_tokens
    step.tokens_after += request.estimated_input_tokens - (prepared.spared_tokens if prepared else 0)
    did = local.did[calls:]
    step.calls += len(did)
    step.declared_s.append(sum(seconds for *_, seconds in did))
    step.overhead_ms.append(answer.trip.overhead_s * 1000)
    return seen


async def measure(texts: int, seed: int) -> dict[str, Step]:
    draw = random.Random(seed)
    compress, clean = Step(), Step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        text = CONFIG.replace("SEED", str(seed)).replace("LEDGER", f"{folder}/ledger.db")
        path.write_text(text, encoding="utf-8")
        parts = compose(load(path, {}), {})
        await parts.aopen()
        helper = parts.config.upstreams["local"]
        assert isinstance(helper, Helper)
        for _ in range(texts):
            before = conversation(draw)
            check_history(compress, before, await send(parts, before, compress, "compress"))
        for _ in range(texts):
            n, m = draw.randrange(2, 60), draw.randrange(60, 99)
            sloppy, clear = (ask.format(n=n, m=m) for ask in draw.choice(ASKS))
            helper.clear[sloppy] = clear
            seen = (await send(parts, [{"role": "user", "content": sloppy}], clean, "clean"))[0]["content"]
            clean.harmed += [] if seen in {sloppy, clear} else [str(seen)]
        await parts.aclose()
    return {"compress": compress, "clean": clean}


HEAD = (
    *("", "requests", "used", "tokens before", "after", "remote cost spared", "local current", "and machine"),
    *("local time, median, as declared", "our own time, median", "lost or harmed"),
)


def row(name: str, step: Step) -> list[str]:
    spared = (step.tokens_before - step.tokens_after) * REMOTE_USD_PER_MTOK / 1e6
    current, machine_too = (sum(step.declared_s) * float(usd_per_second(power)) for power in (CURRENT, MACHINE))
    wrong = len(step.lost) + len(step.harmed)
    return [
        *(name, f"{step.requests:,}", f"{step.used / step.requests:.1%}"),
        *(f"{step.tokens_before:,}", f"{step.tokens_after:,}"),
        *(f"${usd:.3f}" for usd in (spared, current, machine_too)),
        *(f"{statistics.median(step.declared_s):.1f} s", f"{statistics.median(step.overhead_ms):.1f} ms"),
        f"{wrong}: {'FAIL' if wrong else 'PASS'}",
    ]


def rendered(steps: dict[str, Step], seed: int) -> str:
    lines = [f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}; seed {seed}", ""]
    rows = [list(HEAD), ["---"] * len(HEAD), *(row(name, step) for name, step in steps.items())]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    for name, step in steps.items():
        why = ", ".join(f"{doubt} {count:,}" for doubt, count in sorted(step.bypassed.items(), key=lambda x: -x[1]))
        lines += ["", f"Bypassed by {name}: {why or 'none'}."]
        lines += [f"- lost: {thing!r}" for thing in step.lost[:3]]
        lines += [f"- harmed: {thing!r}" for thing in step.harmed[:3]]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    steps = asyncio.run(measure(options.texts, options.seed))
    print(json.dumps({n: asdict(s) for n, s in steps.items()}) if options.json else rendered(steps, options.seed))
    return 1 if any(step.lost or step.harmed for step in steps.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
