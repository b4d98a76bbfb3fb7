"""Budgets: what may be spent, asked and held at once, and how routing leans towards local as one is used up.

A budget is a counter with a cap. The worst that an attempt can cost is claimed before the wire is touched and put right
when the true figure is known, so that parallel callers can never overshoot together.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from weighbridge.ledger.base import CannotOpen, Spent, UnderWay
from weighbridge.state.base import Claim, Forgotten, Held, State, Unreachable
from weighbridge.units import nano_usd

T = TypeVar("T")

Over = Literal["all", "caller", "route"]
Kind = Literal["usd", "requests", "tokens", "concurrency"]
_REBUILDS = 3  # counters may be forgotten again meanwhile, by a gateway that had been cut off
_KNOWN = "budgets-"  # and a digest of them: the counter by which a store shows that it counts for these
_KNOWN_S = 366 * 86400.0
HELD_S = 3600.0  # a place among those at once is given up after so long, should its holder have died


class Budget(BaseModel):
    """A table of `[[budgets]]`: one cap over a span of time, or (`concurrency`) over what runs at once.

    over: one allowance for all, or one for each caller or each route. callers, routes: only these count; empty is all.
    pressure_from: the used share from which routing begins to lean towards local, fully so at the cap.
    at_cap: "local" counts what goes to remote upstreams, and keeps it from them; "refuse" counts everything, and
        answers 429 with the time to wait.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"\S", max_length=80)
    over: Over = "all"
    callers: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    per: Literal["minute", "day", "month"] = "day"
    timezone: str = "UTC"
    usd: str | None = None
    requests: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    concurrency: int | None = Field(default=None, ge=1)
    pressure_from: float = Field(default=0.8, ge=0, le=1)
    at_cap: Literal["local", "refuse"] = "local"

    @field_validator("usd")
    @classmethod
    def _is_an_amount(cls, text: str | None) -> str | None:
        if text is not None:
            nano_usd(text)
        return text

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is not a time zone: write a name such as UTC or Europe/Berlin") from error
        return name

    @model_validator(mode="after")
    def _has_one_cap(self) -> "Budget":
        if len([cap for cap in (self.usd, self.requests, self.tokens, self.concurrency) if cap is not None]) != 1:
            raise ValueError("write exactly one of usd, requests, tokens and concurrency")
        return self

    @property
    def kind(self) -> Kind:
        return next(kind for kind in ("usd", "requests", "tokens", "concurrency") if getattr(self, kind) is not None)

    @property
    def cap(self) -> int:
        """In nano-USD, requests, tokens or attempts at once."""
        return nano_usd(self.usd) if self.usd is not None else int(getattr(self, self.kind))

    def holds_for(self, caller: str, route: str) -> bool:
        return (not self.callers or caller in self.callers) and (not self.routes or route in self.routes)

    def key(self, caller: str, route: str, now: datetime) -> str:
        """The counter of this moment."""
        who = {"all": "", "caller": caller, "route": route}[self.over]
        since = "" if self.kind == "concurrency" else self.since(now).isoformat()
        return json.dumps([self.name, who, since], separators=(",", ":"))

    def since(self, now: datetime) -> datetime:
        """When the present span began, in the budget's time zone."""
        local = now.astimezone(ZoneInfo(self.timezone))
        if self.per == "minute":
            return local.replace(second=0, microsecond=0)
        day = local.replace(hour=0, minute=0, second=0, microsecond=0)
        return day if self.per == "day" else day.replace(day=1)

    def left_s(self, now: datetime) -> float:
        """Seconds until the present span ends."""
        since = self.since(now)
        if self.per == "minute":
            after = since + timedelta(minutes=1)
        elif self.per == "day":
            after = since + timedelta(days=1)  # by the wall clock, so a day with a change of hour has its own length
        else:
            after = (since + timedelta(days=32)).replace(day=1)
        return max(0.001, after.timestamp() - now.timestamp())


class Exhausted(NamedTuple):
    """A budget that has no room for an attempt."""

    budget: Budget
    retry_after_s: float


@dataclass(slots=True)
class Hold:
    """What one attempt has claimed: counter -> (kind, amount). holder: its name at the counters of places."""

    amounts: dict[str, tuple[Kind, int]] = field(default_factory=dict)
    holder: str = ""

    @property
    def requests(self) -> set[str]:
        """The counters of requests among them: they count a request once, however many attempts it takes."""
        return {key for key, (kind, _) in self.amounts.items() if kind == "requests"}


class Budgets:
    """Every budget of a config, over one state."""

    def __init__(
        self,
        budgets: Sequence[Budget],
        state: State,
        spent: Callable[[datetime], list[Spent]],
        under_way: Callable[[datetime], list[UnderWay]],
    ) -> None:
        self._budgets = budgets
        self._state = state
        self._spent = spent
        self._under_way = under_way
        self._rebuilding = asyncio.Lock()
        self._known = _KNOWN + hashlib.sha256("".join(map(str, budgets)).encode()).hexdigest()[:16]
        self._is_known = False

    def __bool__(self) -> bool:
        return bool(self._budgets)

    async def pressure(self, caller: str, route: str) -> float:
        """How far routing leans towards local, 0..1: as far as the budget asks that is used up most."""
        now = datetime.now(UTC)
        pressing = [b for b in self._of(caller, route) if b.at_cap == "local" and b.kind != "concurrency"]
        if not pressing:
            return 0.0
        try:
            levels = await self._state.levels([b.key(caller, route, now) for b in pressing])
        except Unreachable:
            return 0.0
        return max(_pressure(b, level) for b, level in zip(pressing, levels, strict=True))

    async def claim(  # noqa: PLR0913  # two names, and by keyword what an attempt is
        self, caller: str, route: str, *, is_local: bool, counted: AbstractSet[str], cost: int, tokens: int, holder: str
    ) -> Hold | Exhausted:
        """Claim an attempt's worst case, cost in nano-USD. Raises Unreachable where nothing may pass uncounted.

        counted: the counters of requests that have counted this one, at an earlier attempt.
        holder: the attempt, as UnderWay names it.
        """
        now = datetime.now(UTC)
        worst = {"usd": cost, "requests": 1, "tokens": tokens, "concurrency": 1}
        counting = (b for b in self._of(caller, route) if not (is_local and b.at_cap == "local"))
        by_key = {b.key(caller, route, now): b for b in counting}
        places = {key for key, budget in by_key.items() if budget.kind == "concurrency"}
        claims = [
            Claim(key, 0 if key in counted else worst[b.kind], b.cap, _ttl_s(b, now), holder if key in places else "")
            for key, b in by_key.items()
        ]
        if not claims:
            return Hold()
        try:
            refused_by = await self._take(claims)
        except Unreachable:
            if self._state.fail == "open":
                # While it runs, a rebuild finds it in the ledger and gives it its place.
                return Hold(dict.fromkeys(places, ("concurrency", 1)), holder)
            raise
        if refused_by is not None:
            budget = by_key[refused_by]
            return Exhausted(budget, 1.0 if budget.kind == "concurrency" else budget.left_s(now))
        return Hold({claim.key: (by_key[claim.key].kind, claim.amount) for claim in claims}, holder)

    async def settle(self, hold: Hold, *, cost: int | None, tokens: int | None) -> None:
        """The attempt has ended. None: what it really took is not known, so its claim stands."""
        true = {"usd": cost, "tokens": tokens}
        amounts = {}
        for key, (kind, claimed) in hold.amounts.items():
            taken = true.get(kind, claimed)
            if taken is not None and taken != claimed:
                amounts[key] = taken - claimed
        places = {key: hold.holder for key, (kind, _) in hold.amounts.items() if kind == "concurrency"}
        with suppress(Unreachable):  # the ledger knows better, and rebuilds the counters from what it holds
            if places:
                await self._state.leave(places)
            if amounts:
                await self._state.give(amounts)

    async def rebuild(self) -> None:
        """Set the counters to what the ledger knows. Raises Unreachable."""
        await asyncio.sleep(self._state.lag_s)
        now = datetime.now(UTC)
        timed = [b for b in self._budgets if b.kind != "concurrency"]
        levels: dict[str, tuple[int, float]] = {}
        for since in {budget.since(now) for budget in timed}:
            spent = await _read(self._spent, since)
            for budget in (b for b in timed if b.since(now) == since):
                for one in spent:
                    if _counts(budget, one):
                        key = budget.key(one.caller, one.route or "", now)
                        level = levels.get(key, (0, 0.0))[0] + _taken(budget, one)
                        levels[key] = (level, budget.left_s(now))
        levels[self._known] = (1, _KNOWN_S)
        await self._state.rebuild(levels, await self._held(now))

    async def _held(self, now: datetime) -> dict[str, Held]:
        """Who holds a place at this moment, in any gateway. A process that counts by itself has not forgotten it."""
        placed = [b for b in self._budgets if b.kind == "concurrency"]
        if not placed or not self._state.is_shared:
            return {}
        holders: dict[str, list[str]] = {}
        for one in await _read(self._under_way, now - timedelta(seconds=HELD_S)):
            for budget in placed:
                if _counts(budget, one):
                    holders.setdefault(budget.key(one.caller, one.route or "", now), []).append(one.attempt)
        return {key: Held(names, HELD_S) for key, names in holders.items()}

    async def _take(self, claims: Sequence[Claim]) -> str | None:
        if not self._is_known:
            await self._introduce()
        try:
            return await self._state.take(claims)
        except Forgotten:
            pass
        async with self._rebuilding:  # one at a time: the next one finds the counters there
            for _ in range(_REBUILDS):
                with suppress(Forgotten):
                    return await self._state.take(claims)
                await self.rebuild()
        raise Unreachable

    async def _introduce(self) -> None:
        """A store that has counted for other budgets so far must begin anew: for these the ledger knows more."""
        async with self._rebuilding:
            if not self._is_known and await self._state.levels([self._known]) == [0]:
                await self._state.forget()
            self._is_known = True

    def _of(self, caller: str, route: str) -> list[Budget]:
        return [budget for budget in self._budgets if budget.holds_for(caller, route)]


async def _read(ask: Callable[[datetime], T], since: datetime) -> T:
    """What the ledger says. Raises Unreachable."""
    try:
        return await asyncio.to_thread(ask, since)
    except CannotOpen as error:
        raise Unreachable from error


def _pressure(budget: Budget, level: int) -> float:
    if budget.cap == 0 or level >= budget.cap:
        return 1.0
    beyond = level / budget.cap - budget.pressure_from
    return max(0.0, beyond / (1 - budget.pressure_from)) if budget.pressure_from < 1 else 0.0


def _ttl_s(budget: Budget, now: datetime) -> float:
    return HELD_S if budget.kind == "concurrency" else budget.left_s(now)


def _taken(budget: Budget, one: Spent) -> int:
    """What a budget would have counted of this."""
    if budget.kind == "requests":
        return one.requests if budget.at_cap == "local" else one.begun
    return one.nano_usd if budget.kind == "usd" else one.tokens


def _counts(budget: Budget, one: Spent | UnderWay) -> bool:
    if budget.at_cap == "local" and one.location != "remote":
        return False
    return budget.holds_for(one.caller, one.route or "")
