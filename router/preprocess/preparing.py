"""Preparing: the steps that a request's rules ask for, one after the other. Pure."""

from collections.abc import Collection

from weighbridge.dialects.base import Dialect
from weighbridge.preprocess.base import Prepared
from weighbridge.preprocess.redact import redacted
from weighbridge.wire import Body


def prepared(steps: Collection[str], body: Body, dialect: Dialect) -> Prepared:
    """What a remote upstream is sent. Raises Doubt."""
    return redacted(body, dialect) if "redact" in steps else Prepared(body)
