"""Batched: a classifier for the event loop. Worker threads, a cache, a time limit; the loop never waits for a score.

Identical texts in flight share one computation. Who waits longer than the limit gets None, and work that nobody waits
for any more is dropped. Not on the shelf: the gateway puts it round whatever classifier the config names.
"""

import asyncio
import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeAlias

from weighbridge.classifiers.base import Assessment, Classifier

_log = logging.getLogger(__name__)

_Key: TypeAlias = str | bytes
_Waiter: TypeAlias = asyncio.Future[Assessment | None]

_PLAIN_KEY_CHARS = 256  # a longer text is remembered by its digest, so that the cache stays small
_CACHED_CHARS = 1_000_000  # hashing more than this would hold up the loop
_MAX_WAITING = 10_000
_CLOSING_S = 5.0
_LOG_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the calls so far. Every call is counted once, but for `failed`, which counts texts."""

    cached: int
    scored: int
    timed_out: int
    failed: int
    refused: int  # answered None at once: the queue was longer than the limit allows, or closed


@dataclass(slots=True, eq=False)
class _Job:
    """One text to be scored, and who waits for it."""

    key: _Key
    text: str
    loop: asyncio.AbstractEventLoop
    waiters: set[_Waiter] = field(default_factory=set)


class Batched:
    """Scores texts in `workers` threads, up to `max_batch` at a time. All of one object's calls come from one loop."""

    def __init__(
        self,
        classifier: Classifier,
        *,
        workers: int = 2,
        time_limit_s: float = 0.5,
        max_batch: int = 8,
        cache_size: int = 4096,
    ) -> None:
        self.classifier = classifier
        self.time_limit_s = time_limit_s
        self._workers = workers
        self._max_batch = max_batch
        self._cache_size = cache_size
        self._cache: OrderedDict[_Key, Assessment] = OrderedDict()
        self._jobs: dict[_Key, _Job] = {}  # waiting or being scored; touched by the loop only
        self._waiting: dict[_Key, _Job] = {}  # in order of arrival; guarded by _news
        self._news = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._ended = asyncio.Event()  # no thread runs
        self._ended.set()
        self._running = 0
        self._closed = False
        self._seconds_per_text = 0.0
        self._last_log_s = float("-inf")
        self._cached = self._scored = self._timed_out = self._failed = self._refused = 0

    async def assess(self, text: str) -> Assessment | None:
        """The assessment of a text; None when the limit passed, the classifier failed or too much is waiting."""
        key = _key_of(text)
        known = self._cache.get(key)
        if known is not None:
            self._cache.move_to_end(key)
            self._cached += 1
            return known
        job = self._jobs.get(key) or self._queued(key, text)
        if job is None:
            self._refused += 1
            return None
        return await self._wait_for(job)

    @property
    def counts(self) -> Counts:
        return Counts(self._cached, self._scored, self._timed_out, self._failed, self._refused)

    async def aclose(self) -> None:
        """Answer None to all who wait, and end the threads. Safe to call twice."""
        with self._news:
            self._closed = True
            self._waiting.clear()
            self._news.notify_all()
        for job in list(self._jobs.values()):
            self._finish(job, None)
        # A batch that runs is waited for; a classifier that hangs is left behind, its thread ends with the process.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _CLOSING_S)
            for thread in self._threads:
                thread.join()

    def _queued(self, key: _Key, text: str) -> _Job | None:
        """A new job, or None where it could not be served in time."""
        waiting = len(self._waiting)
        expected_s = waiting * self._seconds_per_text / self._workers
        if self._closed or waiting >= _MAX_WAITING or (waiting and expected_s > self.time_limit_s):
            return None
        loop = asyncio.get_running_loop()
        self._start(loop)
        job = _Job(key, text, loop)
        self._jobs[key] = job
        with self._news:
            self._waiting[key] = job
            self._news.notify()
        return job

    async def _wait_for(self, job: _Job) -> Assessment | None:
        waiter: _Waiter = job.loop.create_future()
        job.waiters.add(waiter)
        # A handle costs a quarter of asyncio.timeout.
        limit = job.loop.call_later(self.time_limit_s, self._give_up, waiter)
        try:
            return await waiter
        finally:
            limit.cancel()
            self._leave(job, waiter)

    def _give_up(self, waiter: _Waiter) -> None:
        if not waiter.done():
            self._timed_out += 1
            waiter.set_result(None)

    def _leave(self, job: _Job, waiter: _Waiter) -> None:
        """Drop the work when the last one who waited for it has gone and no thread has taken it yet."""
        job.waiters.discard(waiter)
        if job.waiters or self._jobs.get(job.key) is not job:
            return
        with self._news:
            dropped = self._waiting.get(job.key) is job and self._waiting.pop(job.key)
        if dropped:
            del self._jobs[job.key]

    def _finish(self, job: _Job, assessment: Assessment | None) -> None:
        """Answer all who wait for a job."""
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]
        for waiter in job.waiters:
            if not waiter.done():
                waiter.set_result(assessment)
                self._scored += assessment is not None

    def _deliver(self, jobs: Sequence[_Job], found: Sequence[Assessment | None], seconds: float) -> None:
        """On the loop: what a thread has found."""
        share = seconds / len(jobs)
        self._seconds_per_text += 0.2 * (share - self._seconds_per_text) if self._seconds_per_text else share
        for job, assessment in zip(jobs, found, strict=True):
            if assessment is None:
                self._failed += 1
            elif self._cache_size and len(job.text) <= _CACHED_CHARS:
                self._cache[job.key] = assessment
            self._finish(job, assessment)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        while len(self._threads) < self._workers:
            name = f"classifier-{len(self._threads)}"
            thread = threading.Thread(target=self._work, args=(loop,), name=name, daemon=True)
            self._threads.append(thread)
            self._running += 1
            self._ended.clear()
            thread.start()

    def _one_ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._ended.set()

    # From here on: in the worker threads.

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop was closed without aclose
            while jobs := self._take():
                began = monotonic()
                found = self._scores_of([job.text for job in jobs])
                loop.call_soon_threadsafe(self._deliver, jobs, found, monotonic() - began)
            loop.call_soon_threadsafe(self._one_ended)

    def _take(self) -> list[_Job]:
        """The next batch, this thread's fair share of what waits; empty once closed."""
        with self._news:
            while not self._waiting and not self._closed:
                self._news.wait()
            share = -(-len(self._waiting) // self._workers)
            keys = [key for key, _ in zip(self._waiting, range(min(self._max_batch, share)), strict=False)]
            return [self._waiting.pop(key) for key in keys]

    def _scores_of(self, texts: list[str]) -> list[Assessment | None]:
        try:
            found = self.classifier.assess(texts)
            if len(found) != len(texts):
                raise ValueError("not one assessment per text")
            return [_sound(assessment) for assessment in found]
        except Exception as error:  # whatever a classifier raises, the request goes on without a score
            if len(texts) > 1:  # one bad text must not cost the others their scores
                return [self._scores_of([text])[0] for text in texts]
            self._report(error)
            return [None]

    def _report(self, error: Exception) -> None:
        # The class only: the message could quote the prompt.
        if monotonic() - self._last_log_s >= _LOG_EVERY_S:
            self._last_log_s = monotonic()
            _log.warning("the classifier failed with %s", type(error).__name__)


def _key_of(text: str) -> _Key:
    if len(text) <= _PLAIN_KEY_CHARS:
        return text
    if len(text) > _CACHED_CHARS:
        return b"%d" % id(text)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _sound(assessment: Assessment) -> Assessment:
    if not 0 <= assessment.score <= 1:  # NaN too
        raise ValueError("a score outside 0..1")
    return assessment
