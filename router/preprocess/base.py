"""What a step before a remote upstream is: it makes another body, and may have to undo itself in the answer. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from weighbridge.upstreams.base import Stream
from weighbridge.wire import Body


class Doubt(Exception):
    """A step cannot be sure of its work. Its words are ours, without anything from the request."""


class Undo(ABC):
    """Takes back, in an answer, what a step did to the request."""

    @abstractmethod
    def whole(self, answer: bytes) -> bytes:
        """A whole answer of the request's dialect."""

    @abstractmethod
    def stream(self, stream: Stream) -> Stream:
        """The same for one that comes in events of the dialect."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a remote upstream is sent in place of the request's own body.

    undo: None where nothing in the answer has to be taken back. counts: how much was done, by words of the step's own.
    spared_tokens: about how many of the request's own it does not have.
    """

    body: Body
    undo: Undo | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    spared_tokens: int = 0
