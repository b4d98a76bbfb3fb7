"""Reserve, settle, restart, in any order: the ledger and the budgets against a model of twenty lines."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from bookkeeping import closing, opening, reservation, settlement
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from weighbridge.budgets import Budget, Budgets, Exhausted, Hold
from weighbridge.ledger.base import Ledger
from weighbridge.ledger.chain import audit
from weighbridge.ledger.sqlite import SQLite
from weighbridge.state.memory import Memory

CAP = 1000  # nano-USD
AMOUNTS = st.integers(0, 400)


@dataclass
class Attempt:
    """What the model knows of one."""

    held: int
    hold: Hold
    status: str = "open"
    cost: int | None = None

    @property
    def owed(self) -> int:
        return 0 if self.status == "released" else self.held if self.cost is None else self.cost


@dataclass
class Asked:
    """A request, as the model has it."""

    request_id: str
    status: str = "open"
    attempts: list[Attempt] = field(default_factory=list)


class Bookkeeping(RuleBasedStateMachine):
    """Whatever is done, in whatever order: every row is where it should be, and the counters are what the rows say."""

    open_ones = Bundle("open_ones")
    closed_ones = Bundle("closed_ones")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.asked: list[Asked] = []
        self._start()

    def _start(self) -> None:
        """A new process, as far as the ledger and the counters can tell."""
        self.ledger: Ledger = SQLite(path=str(Path(self.folder.name, "ledger.db")))
        self.state = Memory()
        self.budget = Budget(name="day", usd=f"0.{CAP:09d}", at_cap="refuse")
        self.budgets = Budgets([self.budget], self.state, self.ledger.spent, self.ledger.under_way)
        self.runner.run(self.ledger.aopen())

    def teardown(self) -> None:
        self.runner.run(self.ledger.aclose())
        assert audit(self.ledger.links()).findings == []
        self.runner.close()
        self.folder.cleanup()

    @property
    def owed(self) -> int:
        return sum(attempt.owed for one in self.asked for attempt in one.attempts)

    def _claimed(self, amount: int) -> Hold | None:
        claim = self.budgets.claim("ann", "auto", is_local=False, counted=set(), cost=amount, tokens=0, holder="")
        found = self.runner.run(claim)
        assert isinstance(found, Exhausted) == (self.owed + amount > CAP)
        return None if isinstance(found, Exhausted) else found

    def _reserved(self, one: Asked, amount: int, hold: Hold) -> None:
        one.attempts.append(Attempt(amount, hold))
        ids = {"request_id": one.request_id, "attempt_no": len(one.attempts)}
        first = (
            opening(**ids, created_at=datetime.now(UTC), caller="ann", score=1.0) if len(one.attempts) == 1 else None
        )
        self.runner.run(
            _done(self.ledger.reserve(first, reservation(**ids, reserved_nano_usd=amount, location="remote")))
        )

    def _settled(self, one: Asked, status: str, cost: int | None, *, is_last: bool) -> None:
        last, cost = one.attempts[-1], cost if status == "settled" else 0 if status == "released" else None
        is_new = last.status == "open"
        if is_new:  # else the first word stands
            last.status, last.cost = status, cost
        ids = {"request_id": one.request_id, "attempt_no": len(one.attempts), "status": status}
        costs = [attempt.cost for attempt in one.attempts]
        whole = None if None in costs else sum(cost for cost in costs if cost is not None)
        end = closing(**ids, attempts=len(costs), cost_nano_usd=whole, overhead_s=0.0) if is_last else None
        self.runner.run(_done(self.ledger.settle(settlement(**ids, cost_nano_usd=cost), end)))
        if is_new:
            self.runner.run(self.budgets.settle(last.hold, cost=cost, tokens=None))

    @rule(target=open_ones, amount=AMOUNTS)
    def begin(self, amount: int) -> object:
        hold = self._claimed(amount)
        if hold is None:
            return multiple()
        one = Asked(f"request-{len(self.asked)}")
        self._reserved(one, amount, hold)
        self.asked.append(one)
        return one

    @rule(one=open_ones, amount=AMOUNTS, status=st.sampled_from(["released", "unknown"]))
    def try_again(self, one: Asked, amount: int, status: str) -> None:
        if one.status != "open":
            return  # it died with its process
        self._settled(one, status, None, is_last=False)
        hold = self._claimed(amount)
        if hold is not None:
            self._reserved(one, amount, hold)

    @rule(
        target=closed_ones,
        one=consumes(open_ones),
        status=st.sampled_from(["settled", "released", "unknown"]),
        share=st.floats(0, 1),
    )
    def end(self, one: Asked, status: str, share: float) -> Asked:
        self._settled(one, status, int(one.attempts[-1].held * share), is_last=True)
        if one.status == "open":
            one.status = status
        return one

    @rule(one=closed_ones, status=st.sampled_from(["settled", "released"]))
    def end_once_more(self, one: Asked, status: str) -> None:
        self._settled(one, status, 999, is_last=True)

    @precondition(lambda self: self.asked)
    @rule()
    def restart(self) -> None:
        """The requests that are under way die with the process."""
        self.runner.run(self.ledger.aclose())
        for one in self.asked:
            for attempt in one.attempts:
                attempt.status = "unknown" if attempt.status == "open" else attempt.status
                attempt.hold = Hold()
            one.status = "unknown" if one.status == "open" else one.status
        self._start()

    @invariant()
    def the_rows_are_the_models(self) -> None:
        found = {entry.request_id: entry for entry in self.ledger.entries()}
        assert {name: _status(entry.status) for name, entry in found.items()} == {
            one.request_id: one.status for one in self.asked
        }
        assert sum(one.nano_usd for one in self.ledger.spent(self.budget.since(datetime.now(UTC)))) == self.owed <= CAP

    @invariant()
    def the_counter_is_what_the_rows_say(self) -> None:
        if self.state._is_built:  # by the first claim after a start
            key = self.budget.key("ann", "auto", datetime.now(UTC))
            assert self.runner.run(self.state.levels([key])) == [self.owed]


def _status(status: str) -> str:
    return "open" if status in {"reserved", "sent"} else status


async def _done(written: object) -> None:
    await written  # type: ignore[misc]


Bookkeeping.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestBookkeeping = Bookkeeping.TestCase  # what pytest collects
