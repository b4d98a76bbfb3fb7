"""Cross-origin calls: which web pages may call, what a preflight is told, and which headers a page may read.

Credentials (cookies) are never allowed, since the gateway knows none; a page sends its key in a header as others do.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weighbridge.asgi import Header, Message, Scope, Send
from weighbridge.errors import Denied

METHODS = b"GET, HEAD, POST, DELETE"
MAX_AGE = b"7200"  # seconds, which is what browsers keep at most
_MOST_ASKED = 4096  # characters of header names that a preflight may ask for
_TOKENS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(\s*,\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
# What a page may read beyond what every page may: ours, and what we pass on of an upstream's.
_SHOWN = (b"x-weighbridge-", b"x-ratelimit-", b"x-litellm-", b"anthropic-ratelimit-", b"openai-", b"retry-after")
_ALSO_SHOWN = frozenset({b"x-request-id", b"request-id", b"x-should-retry", b"idempotent-replayed"})


@dataclass(frozen=True, slots=True)
class Cors:
    """What pages of these origins may do. "*" is every origin."""

    origins: frozenset[str]

    def allows(self, origin: str) -> bool:
        return "*" in self.origins or origin in self.origins

    def preflight(self, headers: Mapping[str, str]) -> list[Header]:
        """The answer to "may I?", besides what every answer gets. Raises Denied."""
        origin, asked = headers["origin"], headers.get("access-control-request-headers", "")
        if not self.allows(origin):
            raise Denied("Pages of this origin may not call (server.cors_origins).", code="origin_denied")
        answer: list[Header] = [(b"access-control-allow-methods", METHODS), (b"access-control-max-age", MAX_AGE)]
        if len(asked) <= _MOST_ASKED and _TOKENS.fullmatch(asked):
            answer.append((b"access-control-allow-headers", asked.encode()))
        if headers.get("access-control-request-private-network") == "true":
            # A page from the web that calls this machine; its origin is allowed by name.
            answer.append((b"access-control-allow-private-network", b"true"))
        return [*answer, (b"vary", b"access-control-request-method, access-control-request-headers")]

    def on_answer(self, origin: str | None, names: Iterable[bytes]) -> list[Header]:
        """What an answer with headers of these names gets besides."""
        added: list[Header] = [] if "*" in self.origins else [(b"vary", b"origin")]
        if origin is not None and self.allows(origin):
            added.append((b"access-control-allow-origin", b"*" if "*" in self.origins else origin.encode()))
            shown = dict.fromkeys(name for name in names if name.startswith(_SHOWN) or name in _ALSO_SHOWN)
            if shown:
                added.append((b"access-control-expose-headers", b", ".join(shown)))
        return added

    def marking(self, scope: Scope, send: Send) -> Send:
        """A send that adds them, to errors and streams, too."""
        origin = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), None)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                message = {**message, "headers": [*headers, *self.on_answer(origin, (name for name, _ in headers))]}
            await send(message)

        return marked


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """A browser asks before it calls. Only such an OPTIONS is answered without a key."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers
