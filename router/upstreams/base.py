"""What an upstream is: it completes a chat, whole or as a stream."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from weighbridge.dialects.base import Dialect
from weighbridge.dialects.chat import CHAT
from weighbridge.errors import NotServed
from weighbridge.units import Usage, usd_per_mtok
from weighbridge.upstreams.families import Quirk, quirks_of
from weighbridge.wire import Body

# What an answer of a server can be: another model's, or of a prompt that it did not read to the end.
Oddity = Literal["other_model", "read_less"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer.

    body: an answer of the dialect as JSON bytes, as the upstream sent it.
    usage: None when the upstream did not say.
    headers: those of the upstream's that the client may see (rate limits, processing time), names in lower case.
    """

    body: bytes
    usage: Usage | None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forward:
    """A request whose body is nobody's business on the way: uploads, pictures, sound. path: with its query."""

    method: str
    path: str
    content_type: str
    body: bytes


class Stream(ABC):
    """An answer as it comes. Read until it returns nothing, then close; close at any time to stop the upstream."""

    headers: Mapping[str, str] = {}
    content_type = "text/event-stream; charset=utf-8"

    @abstractmethod
    async def read(self) -> list[bytes]:
        """The next events' data, at least one: each an event of the dialect as JSON bytes, or `[DONE]`.

        Of a forwarded request: the next bytes. An empty list is the end of the connection. Raises UpstreamError, never
        a foreign exception.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Stop the upstream's work and free the connection. Safe to call twice."""


# Wh, from ... to.
WhPerTokens = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]


def ascending(bounds: WhPerTokens | None) -> WhPerTokens | None:
    """A range whose ends are in order. ValueError for others."""
    if bounds and bounds[0] > bounds[1]:
        raise ValueError("is not a range: write the lower number first")
    return bounds


class Limits(BaseModel):
    """How long one attempt may take, in seconds. A connection that breaks one is closed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_s: float = Field(default=5, gt=0)
    load_s: float = Field(default=300, gt=0)
    first_token_s: float = Field(default=120, gt=0)
    idle_s: float = Field(default=60, gt=0)
    total_s: float = Field(default=600, gt=0)


class Electricity(BaseModel):
    """What a local machine costs while it works: electricity, and its own price spread over its years of use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    watts: float = Field(ge=0)
    usd_per_kwh: str
    hardware_usd: str = "0"
    amortise_years: float = Field(default=3, gt=0)
    utilisation: float = Field(default=0.2, gt=0, le=1)  # the share of its life in which it works

    _amounts = field_validator("usd_per_kwh", "hardware_usd")(lambda text: usd_per_mtok(text) is not None and text)


class Upstream(BaseModel, ABC):
    """One model at one server. The constructor's arguments are the keys of `[upstreams.NAME]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)
    location: Literal["local", "remote"]
    context_window: int | None = Field(default=None, gt=0)
    input_usd_per_mtok: str | None = None
    output_usd_per_mtok: str | None = None
    cached_usd_per_mtok: str | None = None
    electricity: Electricity | None = None
    wh_per_1k_output_tokens: WhPerTokens | None = None
    limits: Limits = Limits()
    max_concurrent: int | None = Field(default=None, gt=0)
    queue: int = Field(default=32, ge=0)
    spill_after_s: float | None = Field(default=None, ge=0)
    loading: Literal["spill", "wait", "refuse"] = "spill"
    quirks: tuple[Quirk, ...] | None = None
    task_prefix: str | None = None

    _order = field_validator("wh_per_1k_output_tokens")(ascending)

    @field_validator("input_usd_per_mtok", "output_usd_per_mtok", "cached_usd_per_mtok")
    @classmethod
    def _is_an_amount(cls, text: str | None) -> str | None:
        if text is not None:
            usd_per_mtok(text)
        return text

    @property
    def window(self) -> int | None:
        """What its context holds as far as is known: `context_window`, or less where the server itself has less."""
        return self.context_window

    @property
    def is_loading(self) -> bool:
        """The server says that it loads the model: neither dead nor ready."""
        return False

    @cached_property
    def noticed(self) -> Counter[Oddity]:
        """How often an answer was not what it should be."""
        return Counter()

    def notice(self, oddity: Oddity, what: str) -> None:
        """An answer was not what it should be. It is counted, and told once."""
        if not self.noticed[oddity]:
            log.warning("the upstream of %s %s", self.model, what)
        self.noticed[oddity] += 1

    async def known_quirks(self) -> frozenset[Quirk]:
        """What its model does not know: as configured, or as the catalogue has it."""
        if self.quirks is not None:
            return frozenset(self.quirks)
        return await asyncio.to_thread(quirks_of, self.model)  # the catalogue is read once, and takes a moment

    async def loaded(self, within_s: float) -> bool:
        """Wait for as long as it says that it loads. False where it still does in the end."""
        return not self.is_loading

    def serves(self, path: str) -> bool:
        """Whether it speaks the API at this path itself. Every upstream speaks chat completions."""
        return path == CHAT.path

    @abstractmethod
    async def complete(self, body: Body, dialect: Dialect = CHAT) -> Completion:
        """The whole answer to a body of a dialect that it serves. It puts its own model's name into the body.

        Raises UpstreamError; NotServed where it only now turns out that the server lacks the path.
        """

    @abstractmethod
    async def stream(self, body: Body, dialect: Dialect = CHAT) -> Stream:
        """Open a stream; it returns once the upstream has answered with its headers. Raises as `complete` does."""

    async def forward(self, sending: Forward) -> Stream:
        """Send bytes as they are to a path that it serves; the answer comes as it is. Raises UpstreamError."""
        raise NotServed(sending.path)

    async def check(self) -> str:
        """One cheap look at the server for `doctor` and readiness: what was found, in words. Raises UpstreamError."""
        return "nothing to check"

    async def aopen(self) -> None:
        """Make the clients. Called once, on the event loop that will use them."""

    async def aclose(self) -> None:
        """Close them."""
