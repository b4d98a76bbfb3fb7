"""What is noted under a request's Idempotency-Key: who is at work on it, or its answer. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from weighbridge.cache import Kept, key_of

HEADER = "idempotency-key"


class Note(NamedTuple):
    """What the state holds under a key.

    digest: of the request that came with it. request_id: who works on it, or answered. kept: None while it is open.
    """

    digest: str
    request_id: str
    kept: Kept | None = None

    @property
    def text(self) -> str:
        """As it is stored. The answer's bytes are one character each, whatever they mean."""
        note: list[object] = [self.digest, self.request_id]
        if self.kept:
            parts = [part.decode("latin-1") for part in self.kept.parts]
            note += [self.kept.upstream, self.kept.content_type, parts]
        return orjson.dumps(note).decode()

    @classmethod
    def of(cls, text: str) -> "Note | None":
        """None for one that another release wrote."""
        try:
            digest, request_id, *answer = orjson.loads(text)
            if not answer:
                return cls(digest, request_id)
            upstream, content_type, parts = answer
            kept = Kept(upstream, tuple(part.encode("latin-1") for part in parts), None, content_type)
        except (ValueError, TypeError, AttributeError):
            return None
        return cls(digest, request_id, kept)


def name_of(caller: str, path: str, fence: str | None, key: str) -> str:
    """Where the note of a key is. Callers do not share one; nor do a fenced request and one that was not."""
    return key_of((caller, path, fence or "", key), {}) or ""


def digest_of(key: str, fields: Mapping[str, Any]) -> str | None:
    """Of all that a request says; with its key, so that no short text can be found out by trying. None: too deep."""
    return key_of((key,), fields)


def digest_of_bytes(key: str, raw: bytes, content_type: str) -> str:
    """The same of what passes as it is. The boundary of a form is another one with each try."""
    boundary = content_type.partition("boundary=")[2].partition(";")[0].strip().strip('"').encode("latin-1")
    said = raw.replace(boundary, b"") if boundary else raw
    return key_of((key, hashlib.sha256(said).hexdigest()), {}) or ""
