"""Making labels: the user's prompts go to both of the user's own models, and what comes back is judged.

Every prompt becomes a line in a file that only grows, with the label, its source and what it cost, so a run that was
stopped goes on where it was. The cap on the spend holds over all runs of one file.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from weighbridge.learning import judging
from weighbridge.learning.calls import Answer, CallFailed, Capped, Model, Purse
from weighbridge.learning.drafts import as_fields, shown_by
from weighbridge.learning.files import BadFile, Placed
from weighbridge.learning.judging import Worth
from weighbridge.learning.labels import prompt_of
from weighbridge.learning.refusals import Unusable
from weighbridge.learning.schema import UnknownKeyword
from weighbridge.learning.schema import check as check_schema
from weighbridge.units import NanoUsd, as_usd

MOST_OUTPUT_TOKENS = 1024  # of one answer, so that its worst case is known
_JUDGE_TOKENS = 512
_AT_ONCE = 4
_GIVE_UP_AFTER = 5  # failures in a row
_SAY_EVERY = 10

Say = Callable[[str], None]
AskUser = Callable[[str, str, str], str | None]


class CannotGoOn(Unusable):
    """Making labels ends here; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt to be labelled, and how its answers can be judged. row: as it stands in the file."""

    key: str
    prompt: str
    messages: Sequence[Any]
    reference: str | None
    schema: Mapping[str, Any] | None
    domain: str
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class How:
    """How to judge answers that have neither reference nor schema: the first of these that is there."""

    check: str | None = None
    judge: Model | None = None
    ask_user: AskUser | None = None

    @property
    def is_any(self) -> bool:
        return bool(self.check or self.judge or self.ask_user)


@dataclass(frozen=True, slots=True)
class Made:
    """What a run came to. known: labels of earlier runs. spent_nano_usd: by all runs of the file."""

    labelled: int
    known: int
    failed: int
    left: int
    spent_nano_usd: NanoUsd
    is_capped: bool


@dataclass(slots=True)
class Maker:
    """Labels prompts with two models. path: the file of labels.

    hold_tokens: how much of a stream a cascade judges. samples: how often the small model drafts.
    """

    path: Path
    small: Model
    large: Model
    how: How
    cap_nano_usd: NanoUsd
    say: Say
    hold_tokens: int = 48
    samples: int = 1
    _purse: Purse = field(init=False, repr=False)
    _failures: int = field(init=False, default=0, repr=False)

    async def make(self, asks: Sequence[Ask], allowed: Callable[[Ask], Awaitable[bool]]) -> Made:
        """Label what the file does not hold yet. allowed: whether a prompt may go to both models at all.

        Raises CannotGoOn; what was labelled by then is in the file.
        """
        self._check(asks)
        known, spent = self._resume()
        self._purse = Purse(self.cap_nano_usd, spent)
        new = [ask for ask in {ask.key: ask for ask in asks}.values() if ask.key not in known]
        todo = [ask for ask in new if await allowed(ask)]
        if len(todo) < len(new):
            self.say(f"{len(new) - len(todo):,} prompts are left out: a rule keeps them from one of the models.")
        models = {model.name: model for model in (self.small, self.large, self.how.judge) if model}.values()
        for model in models:
            await model.upstream.aopen()
        try:
            return await self._all(todo, len(known))
        finally:
            for model in models:
                await model.upstream.aclose()

    def _check(self, asks: Sequence[Ask]) -> None:
        bare = sum(ask.reference is None and ask.schema is None for ask in asks)
        if bare and not self.how.is_any:
            raise CannotGoOn(
                f"{bare:,} prompts have neither `reference` nor `schema`, so nothing tells a good answer from a bad"
                " one: name a judge with --judge UPSTREAM, a program with --check COMMAND, or judge yourself with --ask"
            )

    def _resume(self) -> tuple[set[str], int]:
        """What the file holds: the labelled prompts, and what all its lines cost."""
        if not self.path.exists():
            return set(), 0
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):  # the last run ended within a line
            os.truncate(self.path, len(whole))
        known, spent = set(), 0
        models = (self.small.upstream.model, self.large.upstream.model)
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = orjson.loads(line)
                key, theirs = row["key"], (row["small_model"], row["large_model"])
                spent += int(row["cost_nano_usd"])
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                raise CannotGoOn(
                    f"{self.path}:{number}: not a label of ours; name another file with --labels"
                ) from None
            if theirs != models:
                made = f"was made with {' and '.join(theirs)}, not with {' and '.join(models)}"
                raise CannotGoOn(f"{self.path}:{number}: {made}; name another file with --labels")
            if not row.get("failed"):
                known.add(key)
        return known, spent

    async def _all(self, asks: Sequence[Ask], known: int) -> Made:
        waiting = list(reversed(asks))
        ended: list[bool] = []  # for each prompt that was done with, whether it has a label
        capped = asyncio.Event()

        async def work() -> None:
            while waiting and not capped.is_set():
                ask = waiting.pop()
                try:
                    ended.append(await self._one(ask))
                except Capped:
                    waiting.append(ask)
                    capped.set()
                    return
                if len(ended) % _SAY_EVERY == 0 or not waiting:
                    self.say(f"{len(ended):,} of {len(asks):,} prompts, ${as_usd(self._purse.spent)} spent")

        workers = [asyncio.create_task(work()) for _ in range(1 if self.how.ask_user else _AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        spent = NanoUsd(self._purse.spent)
        return Made(sum(ended), known, len(ended) - sum(ended), len(waiting), spent, capped.is_set())

    async def _one(self, ask: Ask) -> bool:
        """Label one prompt, and write down what became of it. False where there is no label."""
        paid: list[int] = []
        small = large = worth = None
        others: list[Answer] = []
        failed = ""
        try:
            small = await self._purse.call(self.small, ask.messages, MOST_OUTPUT_TOKENS, paid, ask_logprobs=True)
            others = await self._others(ask, paid)
            large = await self._purse.call(self.large, ask.messages, MOST_OUTPUT_TOKENS, paid)
            worth = await self._worth(ask, small, large, paid)
            failed = "" if worth else "no_verdict"
        except CallFailed as error:
            failed = str(error)
        except Capped:
            if paid:  # half a label: its money counts in the next run, too
                self._write(ask, [small, *others], large, None, "capped", sum(paid))
            raise
        self._write(ask, [small, *others], large, worth, failed, sum(paid))
        self._count(failed)
        return worth is not None

    async def _others(self, ask: Ask, paid: list[int]) -> list[Answer]:
        """Further drafts of the small model; one that fails is no reason to give up the label."""
        found = []
        for _ in range(self.samples - 1):
            with suppress(CallFailed):
                found.append(await self._purse.call(self.small, ask.messages, MOST_OUTPUT_TOKENS, paid))
        return found

    def _count(self, failed: str) -> None:
        self._failures = self._failures + 1 if failed and failed != "no_verdict" else 0
        if self._failures >= _GIVE_UP_AFTER:
            raise CannotGoOn(
                f"{self._failures} prompts in a row failed, the last with {failed}: `weighbridge doctor` looks at the"
                f" upstreams. What was labelled is in {self.path}; the same command goes on from there"
            )

    async def _worth(self, ask: Ask, small: Answer, large: Answer, paid: list[int]) -> Worth | None:
        """What both answers are worth; None where nobody could say."""
        if ask.reference is not None:
            match = judging.exact_match
            return Worth(match(small.text, ask.reference), match(large.text, ask.reference), "exact match")
        if ask.schema is not None:
            fits = judging.matches_schema
            return Worth(fits(small.text, ask.schema), fits(large.text, ask.schema), "schema")
        if self.how.check:
            both = [await judging.checked(self.how.check, ask.prompt, a.text, ask.row) for a in (small, large)]
            return Worth(both[0], both[1], "check")
        if self.how.judge:
            return await self._judged(self.how.judge, ask, small, large, paid)
        verdict = self.how.ask_user(ask.prompt, small.text, large.text) if self.how.ask_user else None
        return judging.worth_of(verdict, "user") if verdict else None

    async def _judged(self, judge: Model, ask: Ask, small: Answer, large: Answer, paid: list[int]) -> Worth | None:
        """Asked twice, the second time with the answers in each other's place."""
        verdicts = []
        for first, second in ((small, large), (large, small)):
            text = judging.question(ask.prompt, first.text, second.text)
            try:
                reply = await self._purse.call(judge, [{"role": "user", "content": text}], _JUDGE_TOKENS, paid)
            except CallFailed as error:
                raise CallFailed(f"judge_{error}") from error
            verdicts.append(judging.verdict_of(reply.text))
        return judging.agreed(verdicts[0], verdicts[1], judge.name)

    def _write(  # noqa: PLR0913, PLR0917  # the parts of a line
        self,
        ask: Ask,
        drafts: Sequence[Answer | None],
        large: Answer | None,
        worth: Worth | None,
        failed: str,
        cost: int,
    ) -> None:
        small = drafts[0]
        whole, beginning = _evidence(drafts, ask.prompt, self.hold_tokens)
        row = {
            "key": ask.key,
            "prompt": ask.prompt,
            "small_score": worth.small if worth else None,
            "large_score": worth.large if worth else None,
            "domain": ask.domain,
            "source": worth.source if worth else None,
            "failed": failed or None,
            "small_model": self.small.upstream.model,
            "large_model": self.large.upstream.model,
            "evidence": whole,
            "beginning": beginning,
            "small_answer": small.text if small else None,
            "large_answer": large.text if large else None,
            "small_cost_usd": as_usd(small.cost_nano_usd) if small else None,
            "large_cost_usd": as_usd(large.cost_nano_usd) if large else None,
            "cost_nano_usd": cost,
        }
        # Only its owner may read it: it holds prompts and answers.
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(orjson.dumps(row) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _evidence(
    drafts: Sequence[Answer | None], prompt: str, hold_tokens: int
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What the small model's answer shows of its own worth, for a cascade. The limit was ours, so it tells nothing."""
    answers = [draft.fields for draft in drafts if draft]
    if not answers:
        return None, None
    whole, beginning = shown_by(answers, {"max_tokens": MOST_OUTPUT_TOKENS}, prompt, hold_tokens)
    return as_fields(whole), as_fields(beginning) if beginning else None


def asks_of(rows: Sequence[Placed]) -> list[Ask]:
    """Raises BadFile for what is no prompt, and for a schema that is not understood."""
    return [_ask(placed) for placed in rows]


def _ask(placed: Placed) -> Ask:
    prompt = prompt_of(placed)
    given = _as_json(placed, "messages")
    messages = given or [{"role": "user", "content": placed.get("prompt")}]
    schema = _as_json(placed, "schema")
    try:
        if schema is not None:
            check_schema(schema)
    except UnknownKeyword as error:
        raise BadFile(f"{placed.place}: schema: {error}") from None
    reference = placed.get("reference")
    return Ask(
        key=hashlib.sha256(orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)).hexdigest()[:24],
        prompt=prompt,
        messages=messages,
        reference=None if reference is None else str(reference),
        schema=schema,
        domain=str(placed.get("domain") or ""),
        row=placed.row,
    )


def _as_json(placed: Placed, name: str) -> Any:
    """A column that holds JSON, as text where the file knows nothing else."""
    value = placed.get(name)
    try:
        return orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        raise BadFile(f"{placed.place}: {name} is not JSON") from None
