"""Batched: scores for the event loop, in time or not at all."""

import asyncio
import logging
import math
import sys
import threading
from collections.abc import Callable, Sequence

import pytest
from pydantic import PrivateAttr

from weighbridge.classifiers.base import Assessment, Classifier
from weighbridge.classifiers.batched import Batched
from weighbridge.classifiers.constant import Constant


class Gated(Classifier):
    """Scores by length once its gate is open, and remembers what it was asked."""

    _gate: threading.Event = PrivateAttr(default_factory=threading.Event)
    _began: threading.Event = PrivateAttr(default_factory=threading.Event)
    _batches: list[list[str]] = PrivateAttr(default_factory=list)

    def assess(self, texts: Sequence[str]) -> list[Assessment]:
        self._batches.append(list(texts))
        self._began.set()
        assert self._gate.wait(20)
        return [Assessment(min(1.0, len(text) / 1000)) for text in texts]

    @property
    def asked(self) -> list[str]:
        return [text for batch in self._batches for text in batch]

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self._began.wait, 20)


class Broken(Classifier):
    """Raises on some texts."""

    def assess(self, texts: Sequence[str]) -> list[Assessment]:
        if any("bad" in text for text in texts):
            raise KeyError("a secret prompt")
        return [Assessment(math.nan if "nan" in text else 0.5) for text in texts]


@pytest.fixture
async def wrapped():
    made: list[Batched] = []

    def wrap(classifier: Classifier, **keys: object) -> Batched:
        made.append(Batched(classifier, **{"time_limit_s": 20.0, **keys}))
        return made[-1]

    yield wrap
    for batched in made:
        if isinstance(batched.classifier, Gated):
            batched.classifier._gate.set()
        await batched.aclose()


Wrap = Callable[..., Batched]


async def test_a_text_is_scored(wrapped: Wrap):
    batched = wrapped(Constant(score=0.3))
    assert await batched.assess("hi") == Assessment(0.3)
    assert batched.counts.scored == 1


async def test_a_repeat_is_answered_from_the_cache(wrapped: Wrap):
    classifier = Gated()
    classifier._gate.set()
    batched = wrapped(classifier)
    long = "y" * 5000
    for text in ("hi", long, "hi", long, "hi"):
        assert (await batched.assess(text)).score == min(1, len(text) / 1000)
    assert sorted(classifier.asked) == ["hi", long]
    assert batched.counts.cached == 3


async def test_long_texts_that_differ_in_one_letter_are_not_confused(wrapped: Wrap):
    classifier = Gated()
    classifier._gate.set()
    batched = wrapped(classifier)
    await batched.assess("a" * 999 + "x")
    await batched.assess("a" * 999 + "y")
    assert len(classifier.asked) == 2


async def test_the_cache_forgets_what_was_used_least_recently(wrapped: Wrap):
    classifier = Gated()
    classifier._gate.set()
    batched = wrapped(classifier, cache_size=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        await batched.assess(text)
    assert classifier.asked == ["a", "b", "c", "b"]


async def test_no_cache_is_a_cache_of_none(wrapped: Wrap):
    classifier = Gated()
    classifier._gate.set()
    batched = wrapped(classifier, cache_size=0)
    await batched.assess("a")
    await batched.assess("a")
    assert classifier.asked == ["a", "a"]


async def test_identical_texts_in_flight_share_one_computation(wrapped: Wrap):
    classifier = Gated()
    batched = wrapped(classifier)
    calls = [asyncio.create_task(batched.assess("same")) for _ in range(50)]
    await classifier.until_begun()
    classifier._gate.set()
    assert {a.score for a in await asyncio.gather(*calls)} == {0.004}
    assert classifier.asked == ["same"]


async def test_what_waits_is_taken_together(wrapped: Wrap):
    classifier = Gated()
    batched = wrapped(classifier, workers=1, max_batch=4)
    first = asyncio.create_task(batched.assess("first"))
    await classifier.until_begun()
    rest = [asyncio.create_task(batched.assess(f"text {i}")) for i in range(6)]
    await asyncio.sleep(0)
    classifier._gate.set()
    await asyncio.gather(first, *rest)
    assert [len(batch) for batch in classifier._batches] == [1, 4, 2]


async def test_workers_share_what_waits(wrapped: Wrap):
    classifier = Gated()
    batched = wrapped(classifier, workers=2, max_batch=8)
    calls = [asyncio.create_task(batched.assess(f"text {i}")) for i in range(12)]
    await classifier.until_begun()
    classifier._gate.set()
    await asyncio.gather(*calls)
    assert max(len(batch) for batch in classifier._batches) <= 6
    assert sorted(classifier.asked) == sorted(f"text {i}" for i in range(12))


async def test_none_is_the_answer_when_the_limit_has_passed(wrapped: Wrap):
    """C6: a slow classifier: no score, and the request goes on."""
    classifier = Gated()
    batched = wrapped(classifier, time_limit_s=0.02)
    assert await batched.assess("slow") is None
    assert batched.counts.timed_out == 1


async def test_a_score_that_came_too_late_serves_the_next_one(wrapped: Wrap):
    classifier = Gated()
    batched = wrapped(classifier, time_limit_s=0.02)
    assert await batched.assess("slow") is None
    batched.time_limit_s = 20
    again = asyncio.create_task(batched.assess("slow"))
    await asyncio.sleep(0)
    classifier._gate.set()
    assert (await again).score == 0.004
    assert classifier.asked == ["slow"]


async def test_work_that_all_have_given_up_is_dropped(wrapped: Wrap):
    classifier = Gated()
    batched = wrapped(classifier, workers=1)
    first = asyncio.create_task(batched.assess("first"))
    await classifier.until_begun()
    batched.time_limit_s = 0.02
    assert await batched.assess("given up") is None
    cancelled = asyncio.create_task(batched.assess("cancelled"))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    classifier._gate.set()
    await first
    assert classifier.asked == ["first"]


async def test_one_who_leaves_does_not_take_the_work_from_the_others(wrapped: Wrap):
    classifier = Gated()
    batched = wrapped(classifier, workers=1)
    first = asyncio.create_task(batched.assess("first"))
    await classifier.until_begun()
    leaves, stays = (asyncio.create_task(batched.assess("shared")) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    classifier._gate.set()
    assert (await stays).score == 0.006
    await first


async def test_more_than_can_be_served_in_time_is_refused_at_once(wrapped: Wrap):
    classifier = Gated()
    batched = wrapped(classifier, workers=1)
    batched._seconds_per_text = 5.0  # what it measured so far
    calls = [asyncio.create_task(batched.assess("running"))]
    await classifier.until_begun()
    calls += [asyncio.create_task(batched.assess(f"waits {i}")) for i in range(5)]
    await asyncio.sleep(0)
    assert await batched.assess("too many") is None
    assert batched.counts.refused == 1
    classifier._gate.set()
    assert all(await asyncio.gather(*calls))


@pytest.mark.parametrize("text", ["bad", "nan"])
async def test_a_classifier_that_fails_gives_none(wrapped: Wrap, text: str):
    """C7: a classifier that fails: no score, and the request goes on."""
    batched = wrapped(Broken())
    assert await batched.assess(text) is None
    assert batched.counts.failed == 1
    assert await batched.assess("fine") == Assessment(0.5)


async def test_one_bad_text_does_not_cost_the_others_their_scores(wrapped: Wrap):
    batched = wrapped(Broken(), workers=1)
    found = await asyncio.gather(*(batched.assess(text) for text in ("one", "bad", "two", "three")))
    assert [a and a.score for a in found] == [0.5, None, 0.5, 0.5]


async def test_a_failure_is_logged_without_the_prompt(wrapped: Wrap, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        await wrapped(Broken()).assess("bad")
    assert "KeyError" in caplog.text
    assert "secret" not in caplog.text


async def test_closing_answers_all_who_wait_and_ends_the_threads():
    classifier = Gated()
    batched = Batched(classifier, workers=2, time_limit_s=20)
    calls = [asyncio.create_task(batched.assess(f"text {i}")) for i in range(20)]
    await classifier.until_begun()
    closing = asyncio.create_task(batched.aclose())
    assert await asyncio.gather(*calls) == [None] * 20
    classifier._gate.set()
    await closing
    await batched.aclose()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("classifier-")]
    assert await batched.assess("after") is None


async def test_closing_before_the_first_text_is_fine():
    await Batched(Constant()).aclose()


async def test_the_shipped_classifier_under_load(minilm, wrapped: Wrap):
    batched = wrapped(minilm)
    texts = [f"What is {i % 40} plus {i % 7}?" for i in range(300)]
    found = await asyncio.gather(*(batched.assess(text) for text in texts))
    expected = {text: minilm.assess([text])[0] for text in set(texts)}
    assert found == [expected[text] for text in texts]


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not made for Windows")
def test_it_works_on_uvloop():
    uvloop = pytest.importorskip("uvloop")

    async def story() -> list[Assessment | None]:
        batched = Batched(Constant(score=0.2), time_limit_s=20)
        found = await asyncio.gather(*(batched.assess(f"text {i}") for i in range(100)))
        await batched.aclose()
        return list(found)

    assert uvloop.run(story()) == [Assessment(0.2)] * 100
