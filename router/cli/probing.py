"""For `doctor`: does a server do what it says? Short requests tell, and what a running gateway has noticed."""

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator, Iterator
from os import urandom

import orjson

from weighbridge.dialects.base import translated
from weighbridge.errors import Failed, UpstreamError
from weighbridge.upstreams.base import Upstream
from weighbridge.upstreams.presence import is_same_model

PROBE_S = 120.0  # one request: a whole window takes a slow machine a while
_FEW, _MORE = 100, 300  # words of the requests that tell how many tokens a word has
_FILLED = 0.9  # of what a server says that it holds
_READ = 0.95  # of what it was sent, for a server that reads all
_SUSPECTS = re.compile(r'^weighbridge_suspect_answers_total\{kind="(\w+)",upstream="([^"]+)"\} (\S+)', re.MULTILINE)
_WORDS = {
    "other_model": "answered in another model's name",
    "read_less": "read fewer tokens than the request had words",
}


async def probed(upstream: Upstream) -> AsyncIterator[str]:
    """What a local server does other than it says, in words. Raises UpstreamError where it does not answer at all."""
    few, name = await _asked(upstream, _FEW)
    if name and not is_same_model(name, upstream.model):
        yield f"asked for {upstream.model}, it answers as {name[:200]}"
    more, _ = await _asked(upstream, _MORE)
    if upstream.window is None or few is None or more is None:
        return
    tokens = (more - few) / (_MORE - _FEW)  # to a word
    if tokens <= 0:
        yield "counts the tokens of requests wrongly, so whether it cuts them cannot be told"
        return
    words = int((_FILLED * upstream.window - few) / tokens) + _FEW
    if words <= _MORE:
        return
    expected = round(few + (words - _FEW) * tokens)
    try:
        read, _ = await _asked(upstream, words)
    except UpstreamError as error:
        yield f"is to hold {upstream.window:,} tokens, but of {expected:,} it says: {error.message}"
        return
    if read is not None and read < _READ * expected:
        yield f"cuts without a word: of {expected:,} tokens it read {read:,}; set context_window = {read}"


async def _asked(upstream: Upstream, words: int) -> tuple[int | None, str | None]:
    """How many tokens a request of so many words has, as the server says, and in whose name it answers."""
    # What it begins with is new, so that nothing of it is in the server's cache, which some leave out of the count.
    text = f"{urandom(4).hex()} {'tick ' * words}"
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
