"""What is wrong with a config, in sentences: where, the key, its value, and what to do. Secrets are masked."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from weighbridge.policies.when import ConditionError
from weighbridge.toml_lines import Key, line_of

MASK = "********"
_SHOWN_CHARACTERS = 80

_SECRET_NAME = re.compile(r"key|token|secret|passw", re.IGNORECASE)
# A key whose text is a secret itself, and not the name of a variable that holds one.
_IS_SECRET = re.compile(
    r"(?:^|[-_.])(?:api[-_]?key|key|token|secret|password|passwd|passphrase|authorization|cookie)$", re.IGNORECASE
)
_HARMLESS = frozenset({"keyword", "keep_alive"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOKS_LIKE_A_KEY = re.compile(r"(?:sk|pk|rk|gsk|hf|xai|ghp|key|AIza)[-_]?[A-Za-z0-9_-]{16,}")
_URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]*:([^/@\s]+)(?=@)")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Problems:
    """Collects the mistakes of one file, one for each key, so that all are told at once.

    origins: the keys whose values came from the environment, and the variable that each came from.
    """

    def __init__(self, path: Path, text: str, data: Mapping[str, Any], origins: Mapping[Key, str]) -> None:
        self._path = path
        self._text = text
        self._origins = origins
        self._secrets = sorted(set(_secrets(data)), key=len, reverse=True)
        self._found: dict[Key, str] = {}

    @property
    def sentences(self) -> list[str]:
        return list(self._found.values())

    def add(self, key: Key, value: object, what: str) -> None:
        """Keep a problem, unless its key has one already. value: None where there is none to show."""
        shown = "" if value is None or isinstance(value, Mapping | list) else f" = {_shown(key, value)}"
        self._found.setdefault(key, f"{self._where(key)}: {dotted(key)}{self._scrubbed(f'{shown} {what}')}")

    def _where(self, key: Key) -> str:
        for size in range(len(key), 0, -1):
            if name := self._origins.get(key[:size]):
                return f"environment variable {name}"
        line = line_of(self._text, key)
        return f"{self._path}:{line}" if line else f"{self._path}"

    def _scrubbed(self, sentence: str) -> str:
        for secret in self._secrets:
            sentence = sentence.replace(secret, MASK)
        return sentence


def dotted(key: Key) -> str:
    """A key as one writes it: routes.auto.small, rules[0].then."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else json.dumps(part))
    return text


def nearest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """The end of a sentence about an unknown name."""
    close = get_close_matches(word.lower(), list(known), n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(sorted(known)) or 'none'}"


def is_secret(name: str, value: object) -> bool:
    """By its key's name, the value itself is a secret."""
    return isinstance(value, str) and value != "" and bool(_IS_SECRET.search(name))


def is_variable(text: str) -> bool:
    """It can be the name of an environment variable, and does not look like the key itself, put there by mistake."""
    return bool(_VARIABLE.fullmatch(text)) and not _LOOKS_LIKE_A_KEY.fullmatch(text)


def url_password(text: str) -> str | None:
    """The password within a URL such as https://user:password@host."""
    found = _URL_PASSWORD.search(text)
    return found[1] if found else None


def leaves(value: object, key: Key = ()) -> Iterator[tuple[Key, object]]:
    """Every value that holds no others, with where it stands."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, (*key, name))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, (*key, i))
    else:
        yield key, value


def of_validation(errors: list[ErrorDetails], options: object, cls: type[BaseModel]) -> Iterator[tuple[Key, Any, str]]:
    """Pydantic's findings in our words: where, the value, what to do. What is said of one place is said once."""
    said: dict[Key, tuple[Any, list[str]]] = {}
    for error in errors:
        key = _place(error, options)
        cause = error.get("ctx", {}).get("error")
        if isinstance(cause, ConditionError):  # it knows its place within the `when`
            key = (*key, *cause.path)
        value = None if error["type"] == "missing" else _at(options, key)
        sentence = _told(cause.problem, value) if isinstance(cause, ConditionError) else _sentence(error, key, cls)
        sentences = said.setdefault(key, (value, []))[1]
        if sentence not in sentences:
            sentences.append(sentence)
    for key, (value, sentences) in said.items():
        yield key, value, " or ".join([sentences[0], *(s.removeprefix("must be ") for s in sentences[1:])])


def _place(error: ErrorDetails, options: object) -> Key:
    """Where in the file: pydantic adds the names of a union's branches, which are no keys."""
    place: list[str | int] = []
    for part in error["loc"]:
        inner = _at(options, (part,))
        if inner is not None:
            options = inner
        elif not (error["type"] == "missing" and part == error["loc"][-1]):
            continue
        place.append(part)
    return tuple(place)


def _at(options: object, key: Key) -> object:
    for part in key:
        try:
            options = options[part]  # type: ignore[index]
        except (LookupError, TypeError):
            return None
    return options


_NUMBER_ENDS = {"greater_than": "above {gt}", "greater_than_equal": "at least {ge}",
                "less_than": "below {lt}", "less_than_equal": "at most {le}"}  # fmt: skip


def _sentence(error: ErrorDetails, key: Key, cls: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    name = str(key[-1]) if key else ""
    if kind == "extra_forbidden":
        return "is not a known key" + nearest(str(error["loc"][-1]), _keys_around(cls, error["loc"]))
    if kind == "missing":
        return f"is missing: add {name} = ..."
    if kind in _NUMBER_ENDS:
        return f"must be {_NUMBER_ENDS[kind].format_map({name: f'{end:g}' for name, end in context.items()})}"
    if kind == "literal_error":
        return "must be " + str(context["expected"]).replace("'", '"')
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "string_type" and "usd" in name and isinstance(error["input"], int | float):
        return f'must be in quotes, so that it stays exact: write "{error["input"]}"'
    for start, words in _TYPES.items():
        if kind.startswith(start):
            return f"must be {words}{', without quotes' if _is_quoted(error['input'], start) else ''}"
    return _told(str(error["msg"]).removeprefix("Value error, "), error["input"])


def _is_quoted(value: object, wanted: str) -> bool:
    """It would be right without its quotes."""
    if not isinstance(value, str):
        return False
    if wanted == "bool":
        return value in {"true", "false"}
    return wanted in {"int", "float"} and bool(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value))


def _told(message: str, value: object) -> str:
    """A finding of our own classes, which may repeat the value that the sentence begins with."""
    message = message.removeprefix(f"{value!r} ").replace(f" (it is {value!r})", "")
    if message.startswith(("is ", "must ", "has ", "holds ", "cannot ")):
        return message
    return f"is refused: {message[:1].lower()}{message[1:]}"


_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text in quotes",
          "dict": "a table", "model": "a table", "list": "a list", "tuple": "a list", "set": "a list",
          "frozen_set": "a list"}  # fmt: skip


def _keys_around(cls: type[BaseModel], loc: tuple[str | int, ...]) -> Mapping[str, Any]:
    """The keys that the table knows in which an unknown one stands."""
    for part in loc[:-1]:
        field = cls.model_fields.get(str(part))
        inner = _model_in(field.annotation) if field else None
        cls = inner or cls
    return {field.alias or name: field for name, field in cls.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _shown(key: Key, value: object) -> str:
    name = next((part for part in reversed(key) if isinstance(part, str)), "")
    if isinstance(value, str) and (is_secret(name, value) or _hides(name) or not _may_be_shown(name, value)):
        return MASK
    text = json.dumps(value, ensure_ascii=False, default=str) if _is_plain(value) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _is_plain(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _hides(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not name.endswith("_env") and name not in _HARMLESS


def _may_be_shown(name: str, value: str) -> bool:
    return not name.endswith("_env") or is_variable(value)


def _secrets(data: Mapping[str, Any]) -> Iterator[str]:
    """Every text that no message may repeat, wherever it turns up in one."""
    for key, value in leaves(data):
        name = next((part for part in reversed(key) if isinstance(part, str)), "")
        if not isinstance(value, str) or not value:
            continue
        if is_secret(name, value) or not _may_be_shown(name, value):
            yield value
        if password := url_password(value):
            yield password
