"""Rules: the first one that matches and decides does so before the classifier is asked.

A rule that only says what is done before a remote upstream decides nothing, so it ends nothing: all of those that match
apply, wherever they stand.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from weighbridge.policies.conditions import Condition, Need, Task
from weighbridge.policies.facts import Facts
from weighbridge.policies.when import leaves_of, parse

Step = Literal["redact", "compress", "clean"]
Name = Annotated[str, Field(min_length=1, pattern=r"\S")]


class Then(BaseModel):
    """What a rule does: exactly one thing, or `preprocess` with or without an upstream.

    fence: only upstreams of that location may be reached, by any later step; the policy then chooses among them.
    upstream: that one answers.
    deny: nobody answers; the client reads this message.
    preprocess: the steps that are done before a remote upstream sees the request. Local ones get it as it came.
    on_doubt: what becomes of a request that cannot be redacted for sure: it stays local, or is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fence: Literal["local"] | None = None
    upstream: Name | None = None
    deny: Name | None = None
    preprocess: tuple[Step, ...] = ()
    on_doubt: Literal["local", "refuse"] = "local"

    @model_validator(mode="after")
    def _is_one_thing(self) -> "Then":
        if self.preprocess:
            if self.fence is not None or self.deny is not None:
                raise ValueError("preprocess is for what goes to a remote upstream: take fence and deny away")
        elif sum(action is not None for action in (self.fence, self.upstream, self.deny)) != 1:
            what = 'fence = "local", upstream = "NAME" and deny = "message"'
            raise ValueError(f'write exactly one of {what}, or preprocess = ["redact"]')
        elif self.on_doubt != "local":
            raise ValueError("on_doubt says what becomes of a step: it belongs to preprocess")
        if self.on_doubt != "local" and "redact" not in self.preprocess:
            raise ValueError('on_doubt is for preprocess = ["redact"]: in doubt, other steps are left out')
        return self

    @property
    def decides(self) -> bool:
        """It says where the request goes, so the rules below it are not asked for that."""
        return not self.preprocess or self.upstream is not None


class Rule(BaseModel):
    """A table of `[[rules]]`.

    over: what `keyword`, `regex` and `pii` read: the whole request, or only what is scored. Agents send long system
        prompts, in which every word occurs; a rule that picks an upstream by a word wants "ask", a fence never does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    when: dict[str, object]
    then: Then
    over: Literal["request", "ask"] = "request"
    _condition: Condition = PrivateAttr()
    _leaves: tuple[Condition, ...] = PrivateAttr()

    @model_validator(mode="after")
    def _fences_look_everywhere(self) -> "Rule":
        if (self.then.fence or "redact" in self.then.preprocess) and self.over == "ask":
            what = "a fence" if self.then.fence else "a rule that redacts"
            raise ValueError(f'{what} reads the whole request: take over = "ask" away')
        return self

    @field_validator("when")
    @classmethod
    def _makes_sense(cls, when: dict[str, object]) -> dict[str, object]:
        parse(when)
        return when

    def model_post_init(self, _: object) -> None:
        self._condition = parse(self.when)
        self._leaves = tuple(leaves_of(self._condition))

    def matches(self, facts: Facts) -> bool:
        return self._condition.holds(facts.of_ask if self.over == "ask" else facts)

    def _needs(self, need: Need) -> bool:
        return any(need in leaf.needs for leaf in self._leaves)

    @property
    def needs_score(self) -> bool:
        return self._needs("score")

    @property
    def needs_task(self) -> bool:
        return self._needs("task")

    @property
    def needs_text(self) -> bool:
        """It reads the whole request, which then must be gathered."""
        return self.over == "request" and self._needs("text")

    @property
    def tasks(self) -> frozenset[str]:
        """The kinds of work it names; the classifier's manifest says which there are."""
        return frozenset(task for leaf in self._leaves if isinstance(leaf, Task) for task in leaf.value)
