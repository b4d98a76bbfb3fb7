"""Questions to Redis: sent together, answered in time or not at all, and not asked where nobody answers."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from weighbridge.breaker import Breaker
from weighbridge.state.base import Unreachable

_SCRIPTS = ("take", "give", "leave", "levels", "rebuild", "forget", "swap")
_AT_ONCE = 128

log = logging.getLogger(__name__)


class _Question(NamedTuple):
    script: str
    keys: Sequence[str]
    arguments: Sequence[str | int]
    answer: "asyncio.Future[Any]"


class Link:
    """A connection to one Redis, made when it is first needed. Use it on one event loop.

    lost: how many questions have got no answer, so far.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        """Raises ValueError, whose words may hold a part of the password, where it is no URL."""
        tls = {"ssl_check_hostname": True} if url.startswith("rediss:") else {}
        pool = ConnectionPool.from_url(
            url,
            socket_connect_timeout=None,  # the time is ours to measure
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            decode_responses=True,
            **tls,
        )
        self.lost = 0
        self._client = Redis(connection_pool=pool)
        self._scripts = {name: self._client.register_script(_text(name)) for name in _SCRIPTS}
        self._timeout_s = timeout_s
        self._breaker = Breaker(time.monotonic)
        self._waiting: deque[_Question] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def ask(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        """What a script answers. Raises Unreachable."""
        if not self._breaker.admits():
            self.lost += 1
            raise Unreachable
        answer = self._answer(script, keys, arguments)
        try:
            found = await _in_time(answer, self._timeout_s)
        except (RedisError, OSError, ValueError) as error:  # ValueError: a reply, or a host's name, makes no sense
            self._failed(error)
            raise Unreachable from None
        except BaseException:
            self._breaker.left()
            raise
        finally:
            answer.cancel()
        if self._breaker.is_open:
            log.warning("Redis answers again")
        self._breaker.succeeded()
        return found

    async def aclose(self) -> None:
        if self._sending:
            await self._sending
        await self._client.aclose(close_connection_pool=True)

    def _answer(self, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> "asyncio.Future[Any]":
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Question(script, keys, arguments, answer))
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._send())
        return answer

    async def _send(self) -> None:
        """Send what waits, all that has come meanwhile at once. One after the other, so that no answer is mistaken."""
        while batch := self._next():
            answers: Sequence[Any]
            try:
                # By then nobody waits any more. Cut short, the connection is closed.
                async with asyncio.timeout(2 * self._timeout_s):
                    answers = await self._answers(batch)
            except (RedisError, OSError, ValueError) as error:
                answers = [error] * len(batch)
            for question, answer in zip(batch, answers, strict=True):
                if question.answer.done():
                    continue  # nobody waits for it any more
                if isinstance(answer, Exception):
                    question.answer.set_exception(answer)
                else:
                    question.answer.set_result(answer)
        self._sending = None

    def _next(self) -> list[_Question]:
        batch: list[_Question] = []
        while self._waiting and len(batch) < _AT_ONCE:
            question = self._waiting.popleft()
            if not question.answer.done():
                batch.append(question)
        return batch

    async def _answers(self, batch: Sequence[_Question]) -> list[Any]:
        answers = await self._executed(batch)
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            for script in self._scripts.values():
                await self._client.script_load(script.script)
            for i, answer in zip(unknown, await self._executed([batch[i] for i in unknown]), strict=True):
                answers[i] = answer
        return answers

    async def _executed(self, batch: Sequence[_Question]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for script, keys, arguments, _ in batch:
            pipeline.evalsha(self._scripts[script].sha, len(keys), *keys, *arguments)
        return await pipeline.execute(raise_on_error=False)

    def _failed(self, error: Exception) -> None:
        self.lost += 1
        was_open = self._breaker.is_open
        # A refusal costs nothing, so a few may come; who has waited once for nothing does not wait again.
        self._breaker.failed(for_good=isinstance(error, TimeoutError | RedisTimeout))
        if self._breaker.is_open and not was_open:
            log.warning("Redis does not answer: %s", _named(error))


async def _in_time(answer: "asyncio.Future[Any]", timeout_s: float) -> Any:
    """Wait no longer than that. Raises TimeoutError.

    A loop that was held up hears late of what came in time: so the last fifth begins when the others are over.
    """
    for share in (0.8, 0.2):
        done, _ = await asyncio.wait({answer}, timeout=share * timeout_s)
        if done:
            return answer.result()
    raise TimeoutError


def _text(script: str) -> str:
    return files("weighbridge.state").joinpath(f"{script}.lua").read_text(encoding="utf-8")


def _named(error: Exception) -> str:
    """An error's kind, with the code that Redis gave it; never its words."""
    code = str(error).partition(" ")[0]
    return f"{type(error).__name__} {code}" if code.isalpha() and code.isupper() else type(error).__name__
