"""What a dialect is: an API that clients speak, how its requests are read and how its answers are followed. Pure.

A dialect is at home at an upstream that serves its path: then bytes pass as they are. Where the upstream has only chat
completions, the dialect's `Translation` puts the request in those terms and the answer back.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from weighbridge.errors import BadRequest, WeighbridgeError
from weighbridge.streaming import Relay
from weighbridge.units import Usage
from weighbridge.wire import Body

Fields = Mapping[str, Any]


class Translation(ABC):
    """One request put in terms of chat completions, and its answer put back. Made anew for each attempt.

    chat: the fields of a chat completion request; the upstream names its own model.
    """

    chat: dict[str, Any]

    @abstractmethod
    def answer(self, completion: Fields) -> dict[str, Any]:
        """A whole `chat.completion` as a whole answer of the dialect."""

    @abstractmethod
    def events(self, chunk: Fields) -> list[dict[str, Any]]:
        """The events that one `chat.completion.chunk` becomes, the opening ones before the first.

        Chunks come in order; the last ones carry the finish reason, then the usage with `choices: []`.
        """

    @abstractmethod
    def end(self) -> list[dict[str, Any]]:
        """The closing events, after the last chunk of an answer that has its finish reason."""


class Dialect(ABC):
    """One API. Stateless: one instance serves every request.

    path: under an upstream's base URL. fields: a request's body, after `check` has let it pass; None stands for absent.
    """

    path: ClassVar[str]
    keeps_answers: ClassVar[bool] = False  # upstreams may keep them, to be asked for or gone on from
    knows_our_models: ClassVar[bool] = True  # False where any name may stand for a model of an upstream's own
    is_chat: ClassVar[bool] = True  # False where who speaks it answers otherwise than in a chat
    is_scored: ClassVar[bool] = True  # False where nothing is generated from an ask

    @abstractmethod
    def check(self, fields: Fields) -> None:
        """Refuse what no upstream could answer. BadRequest names the field."""

    @abstractmethod
    def messages(self, fields: Fields) -> Sequence[Mapping[str, Any]]:
        """The conversation as chat messages, for what is scored and which session it is. Parts may keep their types."""

    @abstractmethod
    def output_limit(self, fields: Fields) -> int:
        """The most tokens that the request lets one choice have; 0 without a limit."""

    def choices(self, fields: Fields) -> int:
        """How many answers it asks for at once; 0 where nothing is generated."""
        return 1

    @abstractmethod
    def wants_json_schema(self, fields: Fields) -> bool:
        """Whether the answer must fit a schema."""

    @abstractmethod
    def is_answer(self, answer: Fields) -> bool:
        """Whether a 200 is an answer of this API at all."""

    @abstractmethod
    def usage_of(self, answer: Fields) -> Usage | None:
        """The usage of a whole answer; None where it says nothing that makes sense."""

    @abstractmethod
    def relay(self, fields: Fields) -> Relay:
        """What follows the stream that answers this request."""

    def goes_on_from(self, fields: Fields) -> str | None:
        """The id of an earlier answer, kept at the upstream that gave it, from which this request goes on."""
        return None

    def kept_id(self, answer: Fields) -> str | None:
        """The id under which its upstream keeps this whole answer, to be asked for or gone on from."""
        return None

    def translation(self, fields: Fields) -> Translation:
        """For an upstream that has only chat completions. BadRequest where the request cannot be put so."""
        raise BadRequest(f"The upstream that this request goes to does not serve {self.path}.", code="not_supported")

    def stream_changes(self, fields: Fields) -> dict[str, Any]:
        """What we ask of a stream beyond what the client asked, so that it can be accounted for."""
        return {}

    def error_body(self, error: WeighbridgeError) -> dict[str, Any]:
        """An error as a whole answer."""
        return error.body()

    def error_headers(self, error: WeighbridgeError) -> Mapping[str, str]:
        """What its clients look for beside the status."""
        return {}

    def error_event(self, error: WeighbridgeError) -> bytes:
        """An error after the first byte: one event, so that a cut answer cannot pass for a whole one."""
        return b"data: %b\n\n" % orjson.dumps(self.error_body(error))


def translated(fields: dict[str, Any]) -> Body:
    """Fields that we made ourselves, as a body."""
    return Body(json.dumps(fields, ensure_ascii=False), fields)


def expect(fields: Fields, name: str, kind: type | tuple[type, ...], words: str) -> None:
    """Refuse a field of another type. None stands for absent; true is no number."""
    value = fields.get(name)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if value is not None and type(value) not in kinds:
        raise BadRequest(f"`{name}` must be {words}.", param=name)


def expect_model(fields: Fields) -> None:
    """Every request names a model, or a route."""
    model = fields.get("model")
    if not isinstance(model, str) or not model.strip():
        raise BadRequest('`model` must be a string: a route such as "auto", or an upstream\'s name.', param="model")


def expect_at_least_one(fields: Fields, *names: str) -> None:
    """Whole numbers from 1, where they are given."""
    for name in names:
        expect(fields, name, int, "a whole number")
        if fields.get(name) is not None and fields[name] < 1:
            raise BadRequest(f"`{name}` must be at least 1.", param=name)
