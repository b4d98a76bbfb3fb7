"""Which process serves a config file: noted while it does, so that `weighbridge reload` finds it."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def noted(config: Path) -> Iterator[None]:
    """Say while it lasts that this process serves the file."""
    note = _note(config)
    with suppress(OSError):
        note.unlink(missing_ok=True)
        # Nobody else's file is followed or written into.
        handle = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(handle, str(os.getpid()).encode())
        os.close(handle)
    try:
        yield
    finally:
        if serving(config) == os.getpid():
            with suppress(OSError):
                note.unlink(missing_ok=True)


def serving(config: Path) -> int | None:
    """The process that serves the file, if one does."""
    note = _note(config)
    try:
        if note.lstat().st_uid != os.getuid():
            return None
        process = int(note.read_text())
        os.kill(process, 0)
    except (OSError, ValueError):
        return None
    return process


def _note(config: Path) -> Path:
    digest = hashlib.sha256(str(config.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"weighbridge-{os.getuid()}-{digest}.pid"
