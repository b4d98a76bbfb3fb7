"""Conditions: what the `when` of a rule can ask. One class each, named as in config.toml."""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, StrictBool, StrictInt

from weighbridge.policies import detect, language
from weighbridge.policies.facts import Facts
from weighbridge.policies.normal import folded, plain

Need = Literal["text", "score", "task"]


class Condition(BaseModel, ABC):
    """Holds or does not. value: what config.toml gives it. needs: what must be worked out before it can be asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[frozenset[Need]] = frozenset()

    @abstractmethod
    def holds(self, facts: Facts) -> bool:
        """Is it so? Pure."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for who misspelt a name."""
    known = sorted(known)
    close = get_close_matches(word.lower(), known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"


def _one_of(known: Collection[str], what: str) -> AfterValidator:
    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"{name!r} is not a {what}; {nearest(name, known)}")
        return name

    return AfterValidator(check)


Count = Annotated[StrictInt, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Text = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(lambda text: (text.strip() and text) or _refuse("a blank text matches nothing anybody means")),
]
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]
Kinds = Annotated[tuple[Annotated[str, _one_of(detect.KINDS, "kind of personal data")], ...], Field(min_length=1)]
Languages = Annotated[
    tuple[Annotated[str, _one_of(language.KNOWN, "language that can be told (ISO 639-1)")], ...], Field(min_length=1)
]


def _refuse(problem: str) -> str:
    raise ValueError(problem)


class TokensOver(Condition):
    value: Count

    def holds(self, facts: Facts) -> bool:
        return facts.tokens > self.value


class TokensUnder(Condition):
    value: Count

    def holds(self, facts: Facts) -> bool:
        return facts.tokens < self.value


class Keyword(Condition):
    """Whole words, whatever their case; in scripts without spaces between words, anywhere."""

    needs = frozenset({"text"})
    value: Texts
    _patterns: list[tuple[str, re.Pattern[str]]] = PrivateAttr()

    def model_post_init(self, _: object) -> None:
        self._patterns = [_word_pattern(folded(plain(word))) for word in self.value]

    def holds(self, facts: Facts) -> bool:
        return any(first in facts.folded and pattern.search(facts.folded) for first, pattern in self._patterns)


class Regex(Condition):
    """Searched in the text as it came and in its normal form. Keep it linear: Python sets a pattern no time limit."""

    needs = frozenset({"text"})
    value: Text
    _pattern: re.Pattern[str] = PrivateAttr()

    def model_post_init(self, _: object) -> None:
        try:
            self._pattern = re.compile(self.value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{self.value!r} is not a regular expression: {error}") from error

    def holds(self, facts: Facts) -> bool:
        if self._pattern.search(facts.text):
            return True
        return facts.normal != facts.text and self._pattern.search(facts.normal) is not None


class Pii(Condition):
    needs = frozenset({"text"})
    value: Kinds

    def holds(self, facts: Facts) -> bool:
        return any(kind in facts.pii for kind in self.value)


class Header(Condition):
    """Every named header has that value, whatever its case; "*" is any value."""

    value: Annotated[dict[Text, str], Field(min_length=1)]

    def holds(self, facts: Facts) -> bool:
        return all(_is_header(facts.headers.get(name.lower()), wanted) for name, wanted in self.value.items())


class Model(Condition):
    """The name that the client asked for."""

    value: Text | Texts

    def holds(self, facts: Facts) -> bool:
        return _is_among(facts.model, self.value)


class Key(Condition):
    """The caller's name."""

    value: Text | Texts

    def holds(self, facts: Facts) -> bool:
        return _is_among(facts.key, self.value)


class HasTools(Condition):
    value: StrictBool

    def holds(self, facts: Facts) -> bool:
        return facts.has_tools is self.value


class HasImage(Condition):
    value: StrictBool

    def holds(self, facts: Facts) -> bool:
        return facts.has_image is self.value


class HasJsonSchema(Condition):
    value: StrictBool

    def holds(self, facts: Facts) -> bool:
        return facts.has_json_schema is self.value


class Language(Condition):
    """The ask's language. One that cannot be told is none of them."""

    value: Languages

    def holds(self, facts: Facts) -> bool:
        return facts.language in self.value


class Task(Condition):
    """What kind of work the classifier takes it for. Which kinds there are is in the classifier's manifest."""

    needs = frozenset({"task"})
    value: Texts

    def holds(self, facts: Facts) -> bool:
        return facts.task is not None and _is_among(facts.task, self.value)


class ScoreOver(Condition):
    needs = frozenset({"score"})
    value: Share

    def holds(self, facts: Facts) -> bool:
        return facts.score is not None and facts.score > self.value


class ScoreUnder(Condition):
    needs = frozenset({"score"})
    value: Share

    def holds(self, facts: Facts) -> bool:
        return facts.score is not None and facts.score < self.value


# Scripts that write words without spaces between them.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def _word_pattern(word: str) -> tuple[str, re.Pattern[str]]:
    """A part of it that must be there in any case, and the whole pattern."""
    parts = word.split()
    inner = r"\s+".join(map(re.escape, parts))
    before = r"(?<!\w)" if re.match(r"\w", word) and not _UNSPACED.match(word[0]) else ""
    after = r"(?!\w)" if re.match(r"\w", word[-1]) and not _UNSPACED.match(word[-1]) else ""
    return max(parts, key=len), re.compile(before + inner + after)


def _is_header(actual: str | None, wanted: str) -> bool:
    return actual is not None and (wanted == "*" or actual.strip().casefold() == wanted.strip().casefold())


def _is_among(name: str, wanted: str | tuple[str, ...]) -> bool:
    names = (wanted,) if isinstance(wanted, str) else wanted
    return name.casefold() in (each.casefold() for each in names)


def _named(condition: type[Condition]) -> str:
    return re.sub(r"(?<=.)(?=[A-Z])", "_", condition.__name__).lower()


CONDITIONS: dict[str, type[Condition]] = {_named(condition): condition for condition in Condition.__subclasses__()}
