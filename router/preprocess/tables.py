"""`[preprocess]`: which local upstream works on a request before a remote one sees it, and what it must not lose."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from weighbridge.policies.rules import Rule
from weighbridge.tables import Table

Kind = Literal["numbers", "code", "links", "quotes", "names", "negations"]


class Assist(Table):
    """What every such step needs.

    upstream: a local one. time_limit_s: for the whole step; after that the request goes as it is.
    """

    upstream: str
    time_limit_s: float = Field(default=20, gt=0)


class Compress(Assist):
    """`[preprocess.compress]`.

    budget_tokens: a request of more is shortened to about as many. keep_last_turns: those that stay as they are.
    least_tokens: shorter texts are not worth a call. must_keep: a sentence that holds such a thing is not lost.
    """

    budget_tokens: int = Field(default=4000, ge=100)
    keep_last_turns: int = Field(default=2, ge=1)
    least_tokens: int = Field(default=200, ge=20)
    must_keep: tuple[Kind, ...] = ("numbers", "code", "links")


class Clean(Assist):
    """`[preprocess.clean]`.

    most_tokens: a longer ask is left alone. must_keep: where one of them is lost or new, the ask goes as it is.
    """

    time_limit_s: float = Field(default=5, gt=0)
    most_tokens: int = Field(default=300, ge=10)
    must_keep: tuple[Kind, ...] = ("numbers", "code", "links", "quotes", "names", "negations")


class Preprocess(Table):
    """`[preprocess]`: a table for each step that a local model does."""

    compress: Compress | None = None
    clean: Clean | None = None

    @property
    def steps(self) -> dict[str, Assist]:
        named = {"compress": self.compress, "clean": self.clean}
        return {name: table for name, table in named.items() if table}


Problem = tuple[tuple[str | int, ...], object, str]


def problems(preprocess: Preprocess, rules: Mapping[int, Rule], upstreams: Mapping[str, Any]) -> Iterator[Problem]:
    """What does not fit together: where, what stands there, and what to do."""
    for name, table in preprocess.steps.items():
        place = ("preprocess", name, "upstream")
        named = upstreams.get(table.upstream)
        if named is None:
            yield place, table.upstream, "is not an upstream: name a local one"
        elif isinstance(named, dict) and named.get("location") != "local":
            yield place, table.upstream, "is not local: what is worked on must not leave for that"
    for i, rule in rules.items():
        yield from _without_table(i, rule.then.preprocess, preprocess)


def _without_table(i: int, steps: Iterable[str], preprocess: Preprocess) -> Iterator[Problem]:
    for step in steps:
        if step != "redact" and step not in preprocess.steps:
            what = f'needs a local model: add [preprocess.{step}] with upstream = "NAME"'
            yield ("rules", i, "then", "preprocess"), step, what
