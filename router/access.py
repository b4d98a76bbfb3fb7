"""Who calls, and may they. No routing."""

import errno
import hmac
import ipaddress
import logging
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from weighbridge.config import Config
from weighbridge.errors import Denied, Unauthorized
from weighbridge.keys import Key, KeysError, KeysFile, Scope, digest_of

log = logging.getLogger(__name__)

ANYONE = "anyone"
LOOK_S = 1.0  # how often a keys file is looked at, at most

_PROBES = frozenset(
    {"/health", "/health/live", "/health/ready", "/health/liveliness", "/health/readiness", "/healthz", "/readyz"}
)
_REPORTS = frozenset({"/", "/metrics"})
# The first word of a path of the API, behind its /v1.
_CHATS = frozenset(
    {"chat", "completions", "embeddings", "responses", "messages", "models", "moderations", "audio", "images"}
    | {"route", "feedback"}
)


def scope_of(path: str) -> Scope | None:
    """What a caller must hold for a path; None is nothing. What is not named here is for `admin` alone."""
    if path in _PROBES:
        return None
    if path in _REPORTS:
        return "report"
    behind = path[4:] if path.startswith("/v1/") else path[1:]
    return "chat" if behind.partition("/")[0] in _CHATS else "admin"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a key. expires_s: since the epoch."""

    name: str
    digest: bytes
    scopes: frozenset[Scope]
    expires_s: float = math.inf

    @classmethod
    def of(cls, key: Key) -> "Holder":
        expires_s = key.expires_at.timestamp() if key.expires_at else math.inf
        return cls(key.name, bytes.fromhex(key.sha256), frozenset(key.scopes), expires_s)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def holders_of(keys: str) -> list[Holder]:
    """From a comma-separated list of keys, which may do everything. Each is named by the start of its digest."""
    digests = (digest_of(key.encode()) for key in map(str.strip, keys.split(",")) if key)
    return [Holder(f"key-{digest.hex()[:8]}", digest, frozenset({"admin"})) for digest in digests]


class Keyring:
    """The holders in a keys file as it is now, and those who are there whatever it says.

    A changed file counts within a second. One that cannot be used lets nobody in until it can.
    """

    def __init__(
        self, always: Iterable[Holder], file: KeysFile | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._always = {holder.digest: holder for holder in always}
        self._file = file
        self._clock = clock
        self._holders = self._always
        self._looked_s = -math.inf
        self._seen: object = None

    @property
    def is_asked_for(self) -> bool:
        """Callers need keys, though there may be none to have."""
        return self._file is not None or bool(self._always)

    def find(self, key: bytes) -> Holder | None:
        if self._file is not None and self._clock() - self._looked_s >= LOOK_S:
            self._looked_s = self._clock()
            self._look(self._file)
        digest = digest_of(key)
        # Found by a digest that no caller can choose, and then compared in a time that tells nothing.
        holder = self._holders.get(digest)
        return holder if holder is not None and hmac.compare_digest(holder.digest, digest) else None

    def _look(self, file: KeysFile) -> None:
        seen = _stamp(file)
        if seen == self._seen:
            return
        try:
            found = [Holder.of(key) for key in file.read()]
        except KeysError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.EMFILE, errno.ENFILE):
                return  # says nothing about the file: those who were let in stay so, and the next look may read it
            log.error("%s; its keys are refused until then", error)
            found = []
        else:
            if not found:
                log.warning("%s holds no keys, so it lets nobody in: `weighbridge keys add NAME` makes one", file.path)
        self._seen = seen
        self._holders = {**self._always, **{holder.digest: holder for holder in found}}


def _stamp(file: KeysFile) -> object:
    """Changes when the file does; None when it is not there."""
    try:
        found = os.stat(file.path)  # noqa: PTH116  # once a second on the event loop, and half the price of Path's
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


class Access:
    """Lets callers in by their keys; without keys, by being on this machine.

    origins: of web pages that may call without being on this machine (server.cors_origins).
    """

    def __init__(self, keys: Keyring, origins: Collection[str] = (), clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._origins = frozenset(origins)
        self._clock = clock

    @classmethod
    def of(cls, config: Config, environ: Mapping[str, str]) -> "Access":
        """As the config and the environment have it."""
        always = holders_of(environ.get(config.server.api_keys_env, "")) if config.server.api_keys_env else []
        file = KeysFile(config.keys_path) if config.keys_path else None
        return cls(Keyring(always, file), config.server.cors_origins)

    def admit(self, path: str, headers: Mapping[str, str]) -> str:
        """The caller's name. Raises Unauthorized, or Denied for a web page of another origin or a missing scope."""
        scope = scope_of(path)
        if scope is None:
            return ANYONE
        if not self._keys.is_asked_for:
            _refuse_foreign_pages(headers, self._origins)
            return ANYONE
        key = _key(headers)
        if not key:
            raise Unauthorized("A key is needed: send `Authorization: Bearer KEY`.")
        holder = self._keys.find(key)
        if holder is None:
            raise Unauthorized("This key is not known.")
        if holder.expires_s <= self._clock():
            raise Unauthorized("This key has expired.")
        if not holder.may(scope):
            raise Denied(f"This key may not do that: {path[:200]} needs the scope {scope}.", code="scope_denied")
        return holder.name


def _key(headers: Mapping[str, str]) -> bytes:
    """As it came over the wire: in Latin-1 a byte is a character."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    key = bearer.strip() if scheme.lower() == "bearer" else ""
    return (key or headers.get("x-api-key", "")).encode("latin-1", "replace")


def _refuse_foreign_pages(headers: Mapping[str, str], origins: Collection[str]) -> None:
    """Without keys a page from the web, open in this machine's browser, must not be able to spend money."""
    origin = headers.get("origin")
    if origin and origin not in origins and not _is_this_machine(origin):
        raise Denied("Pages of other origins are not served without a key.", code="origin_denied")
    host = headers.get("host")
    # A name that somebody else's DNS points here is not ours (DNS rebinding).
    if host and not _is_this_machine(f"//{host}"):
        raise Denied(
            "Without keys only this machine is served, by the names localhost, 127.0.0.1 and [::1].", code="host_denied"
        )


@lru_cache(maxsize=256)
def _is_this_machine(url: str) -> bool:
    try:
        hostname = urlsplit(url).hostname
        return hostname == "localhost" or ipaddress.ip_address(hostname or "").is_loopback
    except ValueError:
        return False
