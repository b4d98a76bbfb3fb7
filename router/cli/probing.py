"""For `doctor`: does a server do what it says? Short requests tell, and what a running gateway has noticed."""

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator, Iterator
from random import choices

import orjson

from weighbridge.dialects.base import translated
from weighbridge.errors import Failed, UpstreamError
from weighbridge.upstreams.base import Upstream
from weighbridge.upstreams.presence import is_same_model

PROBE_S = 120.0  # one request: a whole window takes a slow machine a while
_MOST = 300  # words of the requests that tell how many tokens a word has
_FILLED = 0.9  # of what a server says that it holds
_READ = 0.9  # of what it was sent, for a server that reads all
_BEGINNINGS = ("one", "two", "red", "blue", "day", "night", "sun", "tree", "go", "see", "old", "new")
_SUSPECTS = re.compile(r'^weighbridge_suspect_answers_total\{kind="(\w+)",upstream="([^"]+)"\} (\S+)', re.MULTILINE)
_WORDS = {
    "other_model": "answered in another model's name",
    "read_less": "read fewer tokens than the request had words",
}


async def probed(upstream: Upstream) -> AsyncIterator[str]:
    """What a local server does other than it says, in words. Raises UpstreamError where it does not answer at all."""
    most = min(_MOST, (upstream.window or _MOST) // 8)  # words that surely fit
    less, name = await _asked(upstream, most // 4)
    if name and not is_same_model(name, upstream.model):
        yield f"asked for {upstream.model}, it answers as {name[:200]}"
    more, _ = await _asked(upstream, most)
    if upstream.window is None or less is None or more is None:
        return
    to_a_word = (more - less) / (most - most // 4)
    if to_a_word <= 0:
        yield "counts the tokens of requests wrongly, so whether it cuts them cannot be told"
        return
    words = most + int((_FILLED * upstream.window - more) / to_a_word)
    expected = round(more + (words - most) * to_a_word)
    try:
        read, _ = await _asked(upstream, words)
    except UpstreamError as error:
        yield f"is to hold {upstream.window:,} tokens, but of {expected:,} it says: {error.message}"
        return
    if read is not None and read < _READ * expected:
        yield f"cuts without a word: of {expected:,} tokens it read {read:,}; set context_window = {read}"


async def _asked(upstream: Upstream, words: int) -> tuple[int | None, str | None]:
    """How many tokens a request of so many words has, as the server says, and in whose name it answers."""
    # Each begins in another way, so that nothing of it is in the server's cache, which some leave out of the count.
    text = " ".join([*choices(_BEGINNINGS, k=4), *["tick"] * words])  # noqa: S311  # no secret
    body = translated({"messages": [{"role": "user", "content": text}], "max_tokens": 1})
    try:
        async with asyncio.timeout(PROBE_S):
            completion = await upstream.complete(body)
    except TimeoutError:
        raise Failed(f"No answer to {words} words within {PROBE_S:g} s.") from None
    name = orjson.loads(completion.body).get("model")
    return completion.usage.input_tokens if completion.usage else None, name if isinstance(name, str) else None


def noticed_at(url: str) -> Iterator[tuple[str, str]]:
    """What a running gateway has noticed of its upstreams, each with its name. Nothing where it does not tell."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:  # noqa: S310  # our own address
            text = answer.read(1 << 20).decode("utf-8", "replace")
    except OSError:
        return
    for kind, upstream, many in _SUSPECTS.findall(text):
        yield upstream, f"{float(many):.0f} times since its start it {_WORDS.get(kind, kind)}"
