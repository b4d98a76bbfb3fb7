"""Callers' keys in a file: whose they are, what each may do, and until when. Of the keys themselves only digests."""

import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

Scope = Literal["chat", "report", "admin"]

PREFIX = "wb-"
MOST_BYTES = 8 << 20  # some thirty thousand keys; what is larger is not a keys file
_RANDOM_BYTES = 32
_LOCK_S = 5.0  # how long to wait for another command that writes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# These stand for callers without a key in the file.
_TAKEN = re.compile(r"anyone|key-[0-9a-f]{8}", re.IGNORECASE)


class KeysError(Exception):
    """The file cannot be used, or what was asked of it not done. One sentence, with a remedy."""


class BadName(KeysError):
    """No key can have this name."""


class Key(BaseModel):
    """One caller's key, without the key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class _Contents(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    keys: tuple[Key, ...] = ()


def digest_of(key: bytes) -> bytes:
    """SHA-256 is enough: a key of 256 random bits cannot be guessed, however fast the guesses."""
    return hashlib.sha256(key).digest()


class KeysFile:
    """The file at `path`: JSON, replaced as a whole, for its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Key, ...]:
        """The keys in it; an empty file holds none. Raises KeysError."""
        try:
            with self.path.open("rb") as file:
                raw = self._of_owner(file).read(MOST_BYTES)
        except FileNotFoundError as error:
            remedy = "make it with `weighbridge keys add NAME`"
            raise KeysError(f"{self.path}: there is no such keys file; {remedy}") from error
        except OSError as error:
            raise KeysError(f"{self.path}: cannot be read: {error.strerror or error}; check its owner") from error
        return self._parsed(raw)

    def add(self, name: str, scopes: Sequence[Scope], expires_at: datetime | None) -> str:
        """Make a key, and keep its digest. The key, which nobody can read again."""
        if not _NAME.fullmatch(name) or _TAKEN.fullmatch(name):
            raise BadName(
                f"{name!r} cannot be a key's name: write up to 64 letters, digits and the signs . _ @ - "
                "(anyone and key-12345678 are taken)"
            )
        key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        with self._changing() as (keys, file):
            if any(known.name.casefold() == name.casefold() for known in keys):
                remedy = f"take another name, or take that key away first: `weighbridge keys revoke {name}`"
                raise KeysError(f"{self.path}: there is a key {name} already; {remedy}")
            made = Key(
                name=name,
                sha256=digest_of(key.encode()).hex(),
                scopes=tuple(dict.fromkeys(scopes)),
                created_at=datetime.now(UTC).replace(microsecond=0),
                expires_at=expires_at,
            )
            _write(file, (*keys, made))
        return key

    def revoke(self, name: str) -> None:
        """Take a key away. Raises KeysError when there is none of that name."""
        self.read()  # a file that is not there is told, and not made
        with self._changing() as (keys, file):
            left = tuple(key for key in keys if key.name.casefold() != name.casefold())
            if len(left) == len(keys):
                known = ", ".join(key.name for key in keys) or "none"
                raise KeysError(f"{self.path}: there is no key {name}; known: {known}")
            _write(file, left)

    @contextmanager
    def _changing(self) -> Iterator[tuple[tuple[Key, ...], BinaryIO]]:
        """The keys as they are, and a file for the new ones, which then takes the place of the old one.

        The new file is the lock, too: it can be made only once, and is gone when it has taken its place.
        """
        path = self.path.resolve()  # behind a symbolic link lies what has to change
        new = path.with_name(f"{path.name}.new")
        file = self._only_one(new)
        try:
            with file:
                old = self.read() if path.exists() else ()
                if path.exists():
                    _give_to_owner_of(path, file)
                yield old, file
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def _only_one(self, new: Path) -> BinaryIO:
        until_s = time.monotonic() + _LOCK_S
        while True:
            try:
                return os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
            except FileExistsError as error:
                if time.monotonic() > until_s:
                    remedy = "if no other `weighbridge keys` is running, remove it"
                    raise KeysError(f"{new}: is there already, and is not going away; {remedy}") from error
                time.sleep(0.02)
            except OSError as error:
                remedy = "check server.keys_path and the owner of the folder"
                raise KeysError(f"{self.path}: cannot be written: {error.strerror or error}; {remedy}") from error

    def _of_owner(self, file: BinaryIO) -> BinaryIO:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o022:
            # Whoever can write it can let themselves in.
            raise KeysError(f"{self.path}: others than its owner may write it; run `chmod 600 {self.path}`")
        return file

    def _parsed(self, raw: bytes) -> tuple[Key, ...]:
        if not raw.strip():
            return ()
        try:
            keys = _Contents.model_validate_json(raw).keys
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "its text"
            remedy = "restore it, or move it away and add the keys anew"
            raise KeysError(f"{self.path}: is not a keys file ({place}: {first['msg']}); {remedy}") from None
        if len({key.name.casefold() for key in keys}) < len(keys):
            raise KeysError(f"{self.path}: two keys in it have the same name; remove one of them")
        return keys


def _write(file: BinaryIO, keys: tuple[Key, ...]) -> None:
    contents = _Contents(keys=keys).model_dump(mode="json", exclude_none=True)
    file.write(json.dumps(contents, indent=2).encode() + b"\n")


def _give_to_owner_of(path: Path, file: BinaryIO) -> None:
    """What root changes for a service must stay the service's own."""
    if os.geteuid() == 0:
        owner = path.stat()
        os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
