"""What is never told, in no error and no log line: the keys of this process, and whatever looks like one."""

import re

_LEAST = 8  # characters; a shorter key would also be a piece of plain words
_KEY = re.compile(r"\b(?:sk|pk|key|xai|gsk|wb|AIza)[-_]?[A-Za-z0-9*_-]{8,}|Bearer\s+\S+", re.IGNORECASE)
_LOGGED_KEY = re.compile(r"\b(?:sk|pk|xai|gsk|wb)[-_][A-Za-z0-9*_-]{16,}|\bAIza[\w-]{20,}|Bearer\s+\S+")
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_PASSWORD = re.compile(r"(?<=://)[^\s/@]+(?=@)")
_GONE = "[removed]"
_kept: set[str] = set()  # of the process: its environment has one value of each


def keep(secret: str) -> None:
    """Never tell this one again, whatever it looks like."""
    if len(secret) >= _LEAST:
        _kept.add(secret)


def for_clients(text: str) -> str:
    """A text of others as a client may see it: without keys and addresses."""
    return _KEY.sub(_GONE, _URL.sub(_GONE, _without_kept(text)))


def for_the_log(text: str) -> str:
    """A line of ours: addresses stay, passwords in them and keys do not."""
    return _LOGGED_KEY.sub(_GONE, _PASSWORD.sub(_GONE, _without_kept(text)))


def _without_kept(text: str) -> str:
    for secret in _kept:
        text = text.replace(secret, _GONE)
    return text
