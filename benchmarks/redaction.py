"""Redaction there and back: texts with personal data in them, seen by a remote and said back whole and in pieces.

Each text is made of words, markup and values of every kind, drawn anew. It goes through a request of one of four APIs.
A remote that says back what it sees must not have seen any value, and the client must get the text as it was, whole
and in a stream of fragments of one to nine characters. A text that cannot be redacted is counted as kept back.

    python benchmarks/redaction.py [--texts 10000] [--seed 1] [--json]
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from rig.tables import machine

from weighbridge.dialects.base import Dialect, translated
from weighbridge.dialects.chat import CHAT
from weighbridge.dialects.completions import COMPLETIONS
from weighbridge.dialects.messages import MESSAGES
from weighbridge.dialects.responses import RESPONSES
from weighbridge.preprocess.base import Doubt, Prepared, Undo
from weighbridge.preprocess.redact import redacted
from weighbridge.upstreams.base import Stream

PROSE = (
    "the quick brown fox jumps over a lazy dog while nobody counts every single token please answer soon Grüße aus "
    "Köln über 12 people in 2024 cost $3.50 and more"
)
WORDS = PROSE.split(" ")
MARKS = (
    *("<EMAIL_1>", "<b>", "</b>", "<", ">", "&lt;", "&amp;", "_1>", "EMAIL_2", "%20"),
    *("\\", "\\n", '"', "\n", "\t", "{", "}", "👩‍👩‍👧", "version 10.0.19045;"),
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class Tally:
    """What came of it. leaked, unequal: these must stay empty."""

    texts: int = 0
    values: int = 0
    kept_back: int = 0
    leaked: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)
    prepare_ms: list[float] = field(default_factory=list)
    restore_us: list[float] = field(default_factory=list)


def _digits(draw: random.Random, size: int) -> str:
    return "".join(str(draw.randrange(10)) for _ in range(size))


def _name(draw: random.Random, least: int = 3) -> str:
    return "".join(draw.choice(LETTERS) for _ in range(draw.randint(least, 9)))


def email(draw: random.Random) -> str:
    name = draw.choice(["", ".", "_", "+", "-"]).join((_name(draw), _name(draw)))
    return f"{name}@{_name(draw)}.{draw.choice(['com', 'de', 'co.uk'])}"


def phone(draw: random.Random) -> str:
    return draw.choice(
        [f"+49 30 {_digits(draw, 6)}", f"+44 20 7946 0{_digits(draw, 3)}", f"(212) 555-{_digits(draw, 4)}"]
    )


def card(draw: random.Random) -> str:
    digits = "4" + _digits(draw, 14)
    check = next(d for d in "0123456789" if _luhn(digits + d))
    whole = digits + check
    groups = [whole[at : at + 4] for at in range(0, 16, 4)]
    return draw.choice(["", " ", "-"]).join(groups)


def _luhn(digits: str) -> bool:
    doubled = [sum(divmod(int(d) * 2, 10)) for d in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def iban(draw: random.Random) -> str:
    account = _digits(draw, 18)
    return f"DE{98 - int(account + '131400') % 97:02d}{account}"


def secret(draw: random.Random) -> str:
    letters = LETTERS + LETTERS.upper() + "0123456789"
    return "gh" + "p_" + "7" + "".join(draw.sample(letters, 35))


def address(draw: random.Random) -> str:
    return f"93.184.{draw.randrange(1, 255)}.{draw.randrange(1, 255)}"


KINDS: Sequence[Callable[[random.Random], str]] = (email, phone, card, iban, secret, address)


def text_of(draw: random.Random) -> tuple[str, list[str]]:
    """A text and the values in it."""
    parts, values = [], []
    for _ in range(draw.randint(3, 40)):
        lot = draw.random()
        if lot < 0.12:
            values.append(draw.choice(values) if values and lot < 0.03 else draw.choice(KINDS)(draw))
            parts.append(f" {values[-1]} ")
        else:
            parts.append(draw.choice(MARKS) if lot < 0.2 else f"{draw.choice(WORDS)} ")
    return "".join(parts), values


def asked(text: str, turn: int) -> tuple[Dialect, dict[str, Any]]:
    """A request that holds the text, in one of the APIs."""
    users = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    responses = {"model": "auto", "input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}]}
    requests = ((CHAT, users), (MESSAGES, {**users, "max_tokens": 99}), (RESPONSES, responses))
    return (*requests, (COMPLETIONS, {"model": "auto", "prompt": text}))[turn % 4]


def seen_in(fields: dict[str, Any]) -> str:
    """The text as the remote sees it."""
    if "prompt" in fields:
        return str(fields["prompt"])
    content = (fields.get("messages") or fields["input"])[-1]["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


def answers(dialect: Dialect, text: str, parts: Sequence[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A whole answer that says the text, and the events of a stream that does."""
    if dialect is MESSAGES:
        deltas = [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": p}} for p in parts
        ]
        return {"type": "message", "content": [{"type": "text", "text": text}]}, [
            *deltas,
            {"type": "content_block_stop", "index": 0},
        ]
    if dialect is RESPONSES:
        at = {"output_index": 0, "item_id": "m", "content_index": 0}
        deltas = [{"type": "response.output_text.delta", **at, "delta": part} for part in parts]
        events = [*deltas, {"type": "response.output_text.done", **at, "text": text}]
        return {"object": "response", "output": [{"content": [{"type": "output_text", "text": text}]}]}, [
            {**event, "sequence_number": number} for number, event in enumerate(events)
        ]
    of_text = dialect is COMPLETIONS
    said = [{"text": p} if of_text else {"delta": {"content": p}} for p in parts]
    last = {"index": 0, "finish_reason": "stop", **({"text": ""} if of_text else {"delta": {}})}
    events = [{"choices": [{"index": 0, "finish_reason": None, **one}]} for one in said]
    whole = {"text": text} if of_text else {"message": {"role": "assistant", "content": text}}
    return {"choices": [{"index": 0, **whole}]}, [*events, {"choices": [last]}]


def said_in(answer: Any) -> str:
    """All texts of an answer or an event."""
    if isinstance(answer, dict):
        if str(answer.get("type", "")).endswith(".done"):
            return ""  # says again what the deltas have said
        keys = ("content", "text", "delta", "message", "choices", "output")
        return "".join(said_in(answer[key]) for key in keys if key in answer)
    if isinstance(answer, list):
        return "".join(map(said_in, answer))
    return answer if isinstance(answer, str) else ""


class Scripted(Stream):
    """Events from a list."""

    def __init__(self, events: Sequence[bytes]) -> None:
        self._events = list(reversed(events))

    async def read(self) -> list[bytes]:
        return [self._events.pop()] if self._events else []

    async def aclose(self) -> None:
        pass


async def streamed(undo: Undo, events: Sequence[dict[str, Any]]) -> str:
    stream = undo.stream(Scripted([json.dumps(event).encode() for event in events]))
    said = ""
    while some := await stream.read():
        said += "".join(said_in(json.loads(event)) for event in some)
    return said


async def one(turn: int, draw: random.Random, tally: Tally) -> None:
    """One text there and back."""
    text, values = text_of(draw)
    dialect, fields = asked(text, turn)
    began_s = time.perf_counter()
    try:
        prepared: Prepared = redacted(translated(fields), dialect)
    except Doubt:
        tally.kept_back += 1
        return
    finally:
        tally.prepare_ms.append((time.perf_counter() - began_s) * 1000)
        tally.texts += 1
        tally.values += len(values)
    body = json.dumps(prepared.body.fields, ensure_ascii=False)
    tally.leaked += [value for value in values if value in body or json.dumps(value)[1:-1] in prepared.body.text]
    seen = seen_in(prepared.body.fields)
    if prepared.undo is None:
        tally.unequal += [] if seen == text else [text]
        return
    size = draw.randint(1, 9)
    whole, events = answers(dialect, seen, [seen[at : at + size] for at in range(0, len(seen), size)])
    back = said_in(json.loads(prepared.undo.whole(json.dumps(whole).encode())))
    began_s = time.perf_counter()
    in_parts = await streamed(prepared.undo, events)
    tally.restore_us.append((time.perf_counter() - began_s) * 1e6 / len(events))
    tally.unequal += [] if back == in_parts == text else [text]


def rendered(tally: Tally, seed: int) -> str:
    p95 = statistics.quantiles(tally.prepare_ms, n=20)[-1]
    verdict = "FAIL" if tally.leaked or tally.unequal else "PASS"
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}; seed {seed}",
        "",
        f"- {tally.texts:,} texts with {tally.values:,} values, through four APIs, whole and streamed",
        f"- came back unequal: {len(tally.unequal)}; values that the remote saw: {len(tally.leaked)}: {verdict}",
        f"- kept back as doubtful: {tally.kept_back}",
        f"- to redact a request: {statistics.median(tally.prepare_ms):.2f} ms median, {p95:.2f} ms p95",
        f"- to restore a streamed event: {statistics.median(tally.restore_us):.0f} us median",
        *(f"- unequal: {text!r}" for text in tally.unequal[:3]),
        *(f"- seen: {value!r}" for value in tally.leaked[:3]),
    ]
    return "\n".join(lines)


async def measure(texts: int, seed: int) -> Tally:
    draw, tally = random.Random(seed), Tally()
    for turn in range(texts):
        await one(turn, draw, tally)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tally = asyncio.run(measure(options.texts, options.seed))
    print(json.dumps(asdict(tally)) if options.json else rendered(tally, options.seed))
    return 1 if tally.leaked or tally.unequal or tally.kept_back > tally.texts // 100 else 0


if __name__ == "__main__":
    sys.exit(main())
