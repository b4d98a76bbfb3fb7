"""The demo's sample traffic: a working day's prompts, sent as a client would send them."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import aiohttp

AT_ONCE = 48  # requests in flight
EVERY_S = 0.03  # between two arrivals: people do not press Enter all at the same moment

# About how many tokens an answer of each kind has. Assumptions, from the look of such answers: a translation is as long
# as its source, a one-liner comes with a sentence about it, a proof or a plan fills a page or more. They decide the
# money, so they stand here to be argued with.
ANSWER_TOKENS = {
    "greeting": 30,
    "lookup": 70,
    "edit": 55,
    "translation": 30,
    "extraction": 40,
    "one_liner": 110,
    "summary": 60,
    "proof": 700,
    "design": 800,
    "debugging": 600,
    "legal": 700,
    "medical": 600,
    "finance": 700,
    "plan": 800,
    "analysis": 700,
}

# A company's assistant has one, it is paid for with every request, and it is never scored.
SYSTEM_PROMPT = """\
You are the assistant of Brandt & Okafor Drive Systems, a maker of geared motors, conveyors and special machines with
plants in Stuttgart, Sheffield and Turin. You help employees of all departments: engineering, maintenance, purchasing,
sales, finance, human resources and IT.

Answer in the language of the question, unless another one is asked for. Be brief and to the point: say the answer
first and explain afterwards, only as far as it is needed. Use SI units; where a source uses others, give both. Write
code in fenced blocks and name the language. When you are asked for a single command, a formula or a translation, give
just that.

Say plainly when you do not know something, when a question needs data that you have not got, or when two readings of
it lead to different answers. Never invent part numbers, standards, prices, deadlines or names. Numbers that matter are
to be checked by the person who uses them: point that out where people could be hurt, or where a contract depends on
it.

Safety comes first. Do not explain how to bypass guards, interlocks, lockouts or protective stops, and refer to the
safety officer of the plant instead. For questions on law, medicine and tax give the considerations and the sources
that a specialist would look at, and recommend to ask one before anything is decided.

Treat everything in a conversation as confidential. Do not repeat personal data that is not needed for the answer. Do
not name customers to people who have not named them first. If somebody seems to be in distress, be kind, and mention
the works doctor and the confidential helpline in the intranet.

Today's canteen menu, the telephone list, the list of standards and the travel policy are in the intranet under
"Everyday". Tickets for IT are opened by mail to the helpdesk; for machines at a standstill call the shift lead.
"""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One ask. kind: what sort of work it is; only the length of its simulated answer depends on it."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a prompt went, as the answer's headers say. status: 200, or what went wrong."""

    prompt: Prompt
    status: int
    location: str
    score: float | None
    reason: str


def sample() -> list[Prompt]:
    """The prompts that ship with the package."""
    text = files("weighbridge.demo").joinpath("prompts.jsonl").read_text(encoding="utf-8")
    return [Prompt(**json.loads(line)) for line in text.splitlines()]


async def send(url: str, prompts: Sequence[Prompt], seen: Callable[[Outcome], None]) -> None:
    """Send every prompt to a gateway, and tell of each when its answer is complete."""
    room = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:

        async def ask(at: int, prompt: Prompt) -> None:
            try:
                seen(await _ask(session, url, prompt, _tokens(at, prompt)))
            finally:
                room.release()

        for at, prompt in enumerate(prompts):
            await room.acquire()
            tasks.create_task(ask(at, prompt))
            await asyncio.sleep(EVERY_S)


async def _ask(session: aiohttp.ClientSession, url: str, prompt: Prompt, tokens: int) -> Outcome:
    body = {
        "model": "auto",
        "messages": [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": prompt.text}],
        "stream": True,
        "simulate": {"output_tokens": tokens},
    }
    async with session.post(f"{url}/chat/completions", json=body) as response:
        answer = await response.read()
        is_whole = response.status == 200 and answer.endswith(b"data: [DONE]\n\n")
        score = response.headers.get("x-weighbridge-score")
        return Outcome(
            prompt=prompt,
            status=200 if is_whole else response.status if response.status != 200 else 502,
            location=response.headers.get("x-weighbridge-location", ""),
            score=float(score) if score else None,
            reason=response.headers.get("x-weighbridge-reason", ""),
        )


def _tokens(at: int, prompt: Prompt) -> int:
    """Between 60 and 140 % of what is usual for the kind, spread evenly and the same in every run."""
    return round(ANSWER_TOKENS[prompt.kind] * (0.6 + 0.8 * (at * 0.618_034 % 1)))
