"""State in Redis: the counters of several gateways, so that together they keep within one budget, and their notes.

Counters belong to an epoch, whose name is the mark. A store without a mark knows nothing: it came back empty, or a
gateway that had been cut off took the mark away, because what passed meanwhile is not counted. The next epoch begins
with what the ledger knows, and the counters of the last one are left to run out.
"""

import asyncio
import os
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import uuid4

from pydantic import Field, PrivateAttr

from weighbridge.ledger.base import CannotOpen
from weighbridge.state.base import NOTE_BYTES, Claim, Forgotten, Held, State, Unreachable

if TYPE_CHECKING:
    from weighbridge.state._redis_link import Link

T = TypeVar("T")

_MOST = 2**63 - 1  # what a counter of Redis holds
_LATER = 8  # times that a place is given back again where nobody counts: a rebuild takes no longer
_TRIES = 3  # to meet an epoch: another gateway may begin one between the question and the answer


class Redis(State):
    """Counters in a Redis server from 6.0 on, or one that speaks as it does.

    redis_url_env: the variable that holds redis://user:password@host:port/database, or rediss:// for TLS.
    prefix: how our keys begin. timeout_s: how long an answer may take, with the connection where there is none yet.
    """

    is_shared: ClassVar[bool] = True
    lag_s: ClassVar[float] = 0.25

    redis_url_env: str = Field(default="WEIGHBRIDGE_REDIS_URL", min_length=1)
    prefix: str = Field(default="weighbridge", pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    timeout_s: float = Field(default=0.25, gt=0)

    _link: "Link | None" = PrivateAttr(default=None)
    _notes: "Link | None" = PrivateAttr(default=None)  # of its own: a large answer holds up no counter
    _epoch: str = PrivateAttr(default="")
    _lost: int = PrivateAttr(default=0)  # of the link's lost answers, those that the counters have recovered from
    _work: set["asyncio.Task[Any]"] = PrivateAttr(default_factory=set)

    async def aopen(self) -> None:
        from weighbridge.state._redis_link import Link  # noqa: PLC0415  # only who asks for this state needs its driver

        url = os.environ.get(self.redis_url_env)
        remedy = "it holds the URL of Redis, as redis://user:password@host:6379/0"
        if not url:
            raise CannotOpen(f"the environment variable {self.redis_url_env} is not set: {remedy}")
        try:
            self._link, self._notes = Link(url, self.timeout_s), Link(url, self.timeout_s)
        except ValueError:
            raise CannotOpen(f"the environment variable {self.redis_url_env} holds no URL of Redis: {remedy}") from None

    async def aclose(self) -> None:
        await asyncio.gather(*self._work, return_exceptions=True)
        links = (self._link, self._notes)
        self._link = self._notes = None
        for link in links:
            if link:
                await link.aclose()

    async def take(self, claims: Sequence[Claim]) -> str | None:
        taking = self._begun(self._take(claims))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._begun(self._untake(taking, claims))
            raise

    async def _take(self, claims: Sequence[Claim]) -> str | None:
        if self._link and self._link.lost > self._lost:
            await self.forget()
        each = [(min(c.cap, _MOST) - c.amount, c.amount, _ms(c.ttl_s), c.holder) for c in claims]
        found = await self._met("take", [c.key for c in claims], *(n for four in each for n in four))
        if found is None:
            raise Forgotten
        refused = int(found[0])
        return claims[refused - 1].key if refused else None

    async def _untake(self, taking: "asyncio.Task[str | None]", claims: Sequence[Claim]) -> None:
        """Whoever claimed has gone, and nobody else would give it back."""
        with suppress(Unreachable, Forgotten):
            if await taking is None:
                await self._give({claim.key: -claim.amount for claim in claims if not claim.holder})
                await self._leave({claim.key: claim.holder for claim in claims if claim.holder})

    async def give(self, amounts: Mapping[str, int]) -> None:
        await asyncio.shield(self._begun(self._give(amounts)))

    async def _give(self, amounts: Mapping[str, int]) -> None:
        await self._met("give", list(amounts), *amounts.values())

    async def leave(self, places: Mapping[str, str]) -> None:
        await asyncio.shield(self._begun(self._leave(places)))

    async def _leave(self, places: Mapping[str, str]) -> None:
        try:
            if not places or await self._met("leave", list(places), *places.values()) is not None:
                return
        except Unreachable:
            self._begun(self._leave_later(places))
            raise
        self._begun(self._leave_later(places))

    async def _leave_later(self, places: Mapping[str, str]) -> None:
        """An epoch that is just being made may hold what has been given back meanwhile."""
        for _ in range(_LATER):
            await asyncio.sleep(self.lag_s)
            with suppress(Unreachable):
                if await self._met("leave", list(places), *places.values()) is not None:
                    return

    async def levels(self, keys: Sequence[str]) -> list[int]:
        found = await self._met("levels", keys)
        return [0] * len(keys) if found is None else [int(level) for level in found]

    async def rebuild(self, levels: Mapping[str, tuple[int, float]], places: Mapping[str, Held] | None = None) -> bool:
        epoch, places = uuid4().hex, places or {}
        each = [(min(level, _MOST), _ms(ttl_s), "") for level, ttl_s in levels.values()]
        each += [(0, _ms(held.ttl_s), "\n".join(held.holders)) for held in places.values()]
        return bool(await self._ask("rebuild", epoch, [*levels, *places], *(n for three in each for n in three)))

    async def forget(self) -> None:
        before = self._lost
        self._lost = self._link.lost if self._link else 0
        try:
            await self._ask("forget", "", ())
        except Unreachable:
            self._lost = before
            raise

    async def swap(self, name: str, was: str | None, becomes: str | None, ttl_s: float) -> str | None:
        return await asyncio.shield(self._begun(self._swap(name, was or "", becomes or "", ttl_s)))

    async def _swap(self, name: str, was: str, becomes: str, ttl_s: float) -> str | None:
        if self._notes is None:
            raise Unreachable
        keys = [f"{{{self.prefix}}}:{key}" for key in (f"note:{name}", "notes", "sizes")]
        there: str = await self._notes.ask("swap", keys, was, becomes, _ms(ttl_s), self.most_of_notes, NOTE_BYTES)
        return there or None

    async def _met(self, script: str, counters: Sequence[str], *arguments: str | int) -> list[Any] | None:
        """What a script says of counters of the present epoch; None where there is no epoch. Raises Unreachable."""
        for _ in range(_TRIES):
            epoch = self._epoch
            there, *found = await self._ask(script, epoch, counters, *arguments)
            if there is None:
                return None
            if there == epoch:
                return list(found)
            self._epoch = there
        raise Unreachable

    async def _ask(self, script: str, epoch: str, counters: Iterable[str], *arguments: str | int) -> Any:
        if self._link is None:
            raise Unreachable
        mark = f"{{{self.prefix}}}"  # the braces keep our keys together where Redis is a cluster
        keys = [mark, *(f"{mark}:{epoch}:{counter}" for counter in counters)]
        return await self._link.ask(script, keys, epoch, *arguments)

    def _begun(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Work that goes on when its caller leaves, so that no counter is left in the middle of a change."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._work.discard(task)
        if not task.cancelled():
            task.exception()  # whoever has left need not be told


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
