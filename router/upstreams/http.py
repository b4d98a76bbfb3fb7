"""Upstreams reached over HTTP: one client each, four time limits, and every failure in our own words."""

import asyncio
import os
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import orjson
from pydantic import Field, field_validator

from weighbridge.errors import Failed, Incapable, Limited, Loading, Refused, TimedOut, Unreachable, UpstreamError
from weighbridge.upstreams.base import Forward, Limits, Upstream
from weighbridge.upstreams.link import Broken, Client, Link, NoConnection
from weighbridge.upstreams.presence import LOOKS_AS, Presence, Watch, narrowed, of_openai_server
from weighbridge.wire import error_fields

MAX_ANSWER_BYTES = 64 << 20
MAX_ERROR_BYTES = 64 << 10

# What of an upstream's headers the client may see.
_VISIBLE = ("x-ratelimit-", "openai-processing-ms", "openai-version", "retry-after")
_BUSY = {503: 503, 504: 504, 529: 503}  # statuses of an upstream that tell the client more than a 502 would
_JSON = "application/json"
# llama.cpp says 500 where a template refuses a role, or the order of roles. The server is well.
# OpenAI says so with a 403, which has nothing to do with our key.
_NO_LOGPROBS = re.compile(r"not allowed to request logprobs", re.IGNORECASE)
_TEMPLATE = re.compile(r"Jinja Exception: (.+)")
# llama.cpp says "Loading model", others that the model "is currently loading".
_LOADING = re.compile(r"\bloading (?:the )?model\b|\bmodel\b.{0,80}\bis (?:currently |still )?loading\b", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"context[ _](?:length|window|size)|maximum context|too many tokens|prompt is too long", re.IGNORECASE
)


class HttpUpstream(Upstream):
    """An upstream with a base URL and, perhaps, a key."""

    base_url: str
    api_key_env: str = ""
    headers: dict[str, str] = Field(default_factory=dict)  # sent with every request

    @field_validator("base_url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", url):
            raise ValueError(f"{url!r} is not a URL: write http://HOST:PORT or https://HOST/v1")
        return url.rstrip("/")

    @cached_property
    def _client(self) -> Client:
        """Made on first use. A private attribute of pydantic's costs more to read on every request."""
        key = os.environ.get(self.api_key_env, "") if self.api_key_env else ""
        own = {
            # A compressed answer can be a bomb, and would have to be unpacked to be accounted.
            "accept-encoding": "identity",
            "user-agent": "weighbridge",
            **({"authorization": f"Bearer {key}"} if key else {}),
        }
        return Client(self.base_url, {**own, **self.headers}, self.limits.connect_s)

    @cached_property
    def _root(self) -> Client:
        """For looks at the server: what it says of itself lies beside its API, not under it."""
        url = urlsplit(self.base_url)
        key = os.environ.get(self.api_key_env, "") if self.api_key_env else ""
        known = {"authorization": f"Bearer {key}"} if key else {}
        own = {"accept-encoding": "identity", **known, **self.headers, "user-agent": LOOKS_AS}
        return Client(f"{url.scheme}://{url.netloc}", own, self.limits.connect_s)

    @cached_property
    def _watch(self) -> Watch:
        return Watch(self.look)

    async def look(self) -> Presence:
        """What a local server says of itself now. Raises OSError."""
        return await of_openai_server(self._root, self.model)

    @property
    def presence(self) -> Presence:
        """What the last look found; of remote servers nothing."""
        return self._watch.presence

    @property
    def is_loading(self) -> bool:
        return self.presence.is_loading is True

    async def loaded(self, within_s: float) -> bool:
        return await self._watch.loaded(within_s)

    @property
    def window(self) -> int | None:
        return narrowed(self.context_window, self.presence)

    async def aopen(self) -> None:
        _ = self._client
        if self.location == "local":
            await self._watch.aopen()

    async def aclose(self) -> None:
        await self._watch.aclose()
        self._root.close()
        self._client.close()
        del self._watch, self._root, self._client
        await asyncio.sleep(0)  # the sockets are closed at the loop's next turn

    async def post(self, path: str, body: bytes, *, first_token_s: float | None) -> "Reply":
        """Send, and return once the headers of a good answer are here. Raises UpstreamError on everything else."""
        return await self._request(Forward("POST", path, _JSON, body), first_token_s)

    async def send(self, sending: Forward) -> "Reply":
        """The same for a body of any kind, under the limits of a stream."""
        return await self._request(sending, self.limits.first_token_s)

    async def get(self, path: str) -> Any:
        """A small JSON answer, for looking at the server."""
        reply = await self._request(Forward("GET", path, _JSON, b""), self.limits.connect_s)
        return parsed(await reply.body())

    async def _request(self, sending: Forward, first_token_s: float | None) -> "Reply":
        found = self.presence
        # The first request makes it load, and waits for that as well.
        is_cold = found.is_loaded is False and found.is_installed is not False
        if is_cold and first_token_s is not None:
            first_token_s += self.limits.load_s
        watchdog = Watchdog(self.limits, first_token_s)
        try:
            link = await self._client.request(sending.method, sending.path, sending.body, sending.content_type)
        except OSError as error:
            watchdog.stop()
            raise _unanswered(error) from error
        except asyncio.CancelledError:
            watchdog.stop()
            if watchdog.has_bitten and _uncancel():
                raise _too_slow(is_cold=is_cold) from None
            raise
        reply = Reply(link, watchdog)
        if not 200 <= link.status < 300:
            refused = await _refusal(reply)
            if isinstance(refused, Loading) and self.location == "local":
                self._watch.found_loading()
            raise refused
        return reply


class Reply:
    """An upstream's answer whose body is still to be read, under the watchdog's eyes."""

    def __init__(self, link: Link, watchdog: "Watchdog") -> None:
        self._link = link
        self._watchdog = watchdog
        watchdog.guard(link)
        self.status = link.status
        self.content_type = link.headers.get("content-type", "")
        self.raw_headers = link.headers

    @property
    def headers(self) -> dict[str, str]:
        """Those that the client may see."""
        return {name: value for name, value in self.raw_headers.items() if name.startswith(_VISIBLE)}

    async def chunk(self) -> bytes:
        """What has arrived, or nothing at the end of the body. Raises UpstreamError when that is not a proper end."""
        self._watchdog.is_waiting = True
        try:
            return await self._link.read()
        except Broken as error:
            if self._watchdog.has_bitten:
                raise TimedOut("The upstream stopped sending.") from error
            raise Failed("The upstream's connection broke.", code="upstream_cut") from error
        finally:
            # While the client is slow to take what we have, the upstream is not to blame.
            self._watchdog.is_waiting = False

    async def body(self, most: int = MAX_ANSWER_BYTES) -> bytes:
        """The whole body; the connection is free afterwards."""
        parts: list[bytes] = []
        size = 0
        try:
            while chunk := await self.chunk():
                parts.append(chunk)
                size += len(chunk)
                if size > most:
                    raise Failed("The upstream's answer is too large.", code="upstream_too_large")
        finally:
            self.close()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def has_ended(self) -> bool:
        """The whole body is here."""
        return self._link.is_done

    def progress(self) -> None:
        """Content came: the idle limit starts again. Pings are not content."""
        self._watchdog.progress()

    def close(self) -> None:
        """Stop the upstream if it is still working; otherwise give its connection back."""
        self._watchdog.stop()
        self._link.close()


class Watchdog:
    """Closes what hangs: the first token, the gap between tokens, the whole.

    One timer for an attempt, however many chunks: it looks at when content last came, and sleeps again.
    """

    def __init__(self, limits: Limits, first_token_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._link: Link | None = None
        self._idle_s = limits.idle_s
        now = self._loop.time()
        self._end = now + limits.total_s
        self._due = now + (first_token_s or limits.total_s)
        self.is_waiting = True
        self.has_bitten = False
        self._set()

    def guard(self, link: Link) -> None:
        self._link = link

    def progress(self) -> None:
        self._due = self._loop.time() + self._idle_s
        if self._due < self._rings:  # the gap may be shorter than the first wait was; later the due time only grows
            self._timer.cancel()
            self._set()

    def stop(self) -> None:
        self._timer.cancel()

    def _set(self) -> None:
        self._rings = min(self._due, self._end)
        self._timer = self._loop.call_at(self._rings, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if not self.is_waiting:
            self._due = max(self._due, now + min(1.0, self._idle_s))
        if now < min(self._due, self._end):
            self._set()
            return
        self.has_bitten = True
        if self._link is not None:
            self._link.abort()  # the read that waits for it fails now
        elif self._task is not None:
            self._task.cancel()


def parsed(body: bytes) -> Any:
    """An upstream's JSON. Raises Failed where it is something else."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Failed("The upstream's answer is not JSON.", code="upstream_malformed") from None


def _unanswered(error: OSError) -> UpstreamError:
    """Why there is no answer, without the address that the error names."""
    if isinstance(error, NoConnection):
        return Unreachable("The upstream cannot be reached.")
    if isinstance(error, ssl.SSLError):
        return Failed("The upstream's TLS certificate is not valid.", code="upstream_tls")
    broken = Failed("The upstream's connection broke before it answered.", code="upstream_cut")
    broken.may_retry = broken.is_accident = True
    return broken


def _too_slow(*, is_cold: bool) -> UpstreamError:
    if not is_cold:
        return TimedOut("The upstream did not answer in time.")
    error = Loading("The upstream did not load its model in time.")
    error.billable, error.may_retry = True, False
    return error


async def _refusal(reply: Reply) -> UpstreamError:
    """An answer that is not 200, as an error of ours."""
    try:
        raw = await reply.body(MAX_ERROR_BYTES)
    except UpstreamError:
        raw = b""
    error = refusal(reply.status, reply.raw_headers, raw)
    error.headers = {name: value for name, value in reply.headers.items() if name != "retry-after"}
    return error


def refusal(status: int, headers: Mapping[str, str], raw: bytes) -> UpstreamError:
    """What an upstream's status means for the client.

    Its own 4xx about the request keeps status and message. That it refuses *our* key is no fault of the client's.
    """
    retry_after_s = retry_after(headers)
    if status in {401, 403, 407} and not _NO_LOGPROBS.search(error_fields(raw)[0] or ""):
        return Failed("The upstream refused the gateway's credentials.", code="upstream_auth")
    if status == 429:
        message, _, param, code = error_fields(raw)
        told = message or "The upstream's rate limit is reached."
        return Limited(told, param=param, code=code, retry_after_s=retry_after_s)
    if status == 408:
        return TimedOut("The upstream did not answer in time.")
    if 400 <= status < 500:
        return _refused(status, raw)
    if status == 500 and (said := _TEMPLATE.search(error_fields(raw)[0] or "")):
        return Incapable(f"The model's chat template refuses the request: {said[1]}")
    if 300 <= status < 400:
        return Failed("The upstream answered with a redirect, which is not followed.", code="upstream_redirect")
    if status == 503 and _LOADING.search(error_fields(raw)[0] or ""):
        return Loading("The upstream loads its model.", retry_after_s=retry_after_s)
    error = Failed(f"The upstream failed with status {status}.", retry_after_s=retry_after_s)
    error.status = _BUSY.get(status, 502)
    error.billable = False
    error.may_retry = True
    error.is_accident = status in {500, 502}  # the others say that it is busy, or down
    return error


def _refused(status: int, raw: bytes) -> Refused:
    message, kind, param, code = error_fields(raw)
    if status == 404 and code is None:
        code = "model_not_found" if message and "model" in message.lower() else "not_found"
    if status in {400, 413} and message and _TOO_LONG.search(message):
        code = "context_length_exceeded"
    return Refused(
        message or f"The upstream refused the request with status {status}.",
        status=status,
        type=kind or "invalid_request_error",
        param=param,
        code=code,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms`, or `retry-after` in seconds or as a date."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after", "")
        if not value:
            return None
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _uncancel() -> bool:
    """Take back the watchdog's own cancel; False when somebody else has cancelled the task as well."""
    task = asyncio.current_task()
    return task is not None and task.uncancel() == 0
