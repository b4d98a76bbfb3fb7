"""Facts: what a rule may look at. Plain values in, and what is worked out from them once, when a rule first asks."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property

from weighbridge.classifiers.base import Assessment
from weighbridge.policies.detect import Findings
from weighbridge.policies.language import language_of
from weighbridge.policies.normal import folded, plain


@dataclass(frozen=True)
class Facts:
    """One request, as rules see it.

    text: every string in the request, system prompt, tools and tool results included.
    ask: what is scored, the last genuine user ask.
    tokens: the estimated size of the whole input.
    model: the name that the client asked for.
    key: the caller's name.
    headers: names in lower case.
    score, task: what the classifier said; None until it did, and where it cannot tell.
    """

    text: str
    ask: str = ""
    tokens: int = 0
    model: str = ""
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    has_tools: bool = False
    has_image: bool = False
    has_json_schema: bool = False
    score: float | None = None
    task: str | None = None

    def with_assessment(self, assessment: Assessment | None) -> "Facts":
        """The same facts with the classifier's word. What was worked out already is kept."""
        judged = copy(self)
        if assessment is not None:
            score = None if assessment.abstained else assessment.score
            judged.__dict__.update(score=score, task=assessment.task)  # a copy of our own, seen by nobody yet
        return judged

    @cached_property
    def of_ask(self) -> "Facts":
        """The same request, as if the ask were all of its text."""
        return replace(self, text=self.ask)

    @cached_property
    def normal(self) -> str:
        """The text without escapes and invisible characters, in NFKC; case is kept."""
        return plain(self.text)

    @cached_property
    def folded(self) -> str:
        """The normal text without case, in which letters that look alike are the same letter."""
        return folded(self.normal)

    @cached_property
    def pii(self) -> Findings:
        """Which kinds of personal data and secrets the text holds: `"email" in facts.pii`."""
        return Findings(self.text)

    @cached_property
    def language(self) -> str | None:
        """The ask's language (ISO 639-1), None where it cannot be told."""
        return language_of(self.ask)
