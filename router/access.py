"""Who calls, and may they. No routing."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from weighbridge.errors import Denied, Unauthorized

ANYONE = "anyone"


@dataclass(frozen=True, slots=True)
class Access:
    """Lets callers in by their keys; without keys, by being on this machine.

    digests: SHA-256 of each key -> the caller's name. The keys themselves are not kept.
    """

    digests: Mapping[bytes, str]

    @classmethod
    def of_keys(cls, keys: str) -> "Access":
        """From a comma-separated list of keys. A caller is known by the start of its key's digest."""
        named = {hashlib.sha256(k.encode()).digest(): k for k in map(str.strip, keys.split(",")) if k}
        return cls({digest: f"key-{digest.hex()[:8]}" for digest in named})

    def caller(self, headers: Mapping[str, str]) -> str:
        """The caller's name. Raises Unauthorized, or Denied for a web page of another origin."""
        if not self.digests:
            _refuse_foreign_pages(headers)
            return ANYONE
        key = _key(headers)
        if not key:
            raise Unauthorized("A key is needed: send `Authorization: Bearer KEY`.")
        digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
        found = [name for known, name in self.digests.items() if hmac.compare_digest(known, digest)]
        if not found:
            raise Unauthorized("This key is not known.")
        return found[0]


def _key(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _refuse_foreign_pages(headers: Mapping[str, str]) -> None:
    """Without keys a page from the web, open in this machine's browser, must not be able to spend money."""
    origin = headers.get("origin")
    if origin and not _is_this_machine(urlsplit(origin).hostname):
        raise Denied("Pages of other origins are not served without a key.", code="origin_denied")
    host = headers.get("host")
    # A name that somebody else's DNS points here is not ours (DNS rebinding).
    if host and not _is_this_machine(urlsplit(f"//{host}").hostname):
        raise Denied(
            "Without keys only this machine is served, by the names localhost, 127.0.0.1 and [::1].", code="host_denied"
        )


@lru_cache(maxsize=256)
def _is_this_machine(hostname: str | None) -> bool:
    try:
        return hostname == "localhost" or ipaddress.ip_address(hostname or "").is_loopback
    except ValueError:
        return False
