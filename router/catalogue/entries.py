"""The entries of the catalogue, read from catalogue.toml. Each fact names its source; what no source says is absent."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Generic, Literal, TypeVar, get_args

Role = Literal["classifier", "answering"]
Task = Literal[
    "chat",
    "classification",
    "code",
    "creative_writing",
    "extraction",
    "question_answering",
    "reasoning",
    "summarization",
    "tool_use",
    "translation",
]
Precision = Literal["int4", "int8", "fp16"]
Terms = Literal["open", "conditions", "non-commercial"]

ROLES: tuple[Role, ...] = get_args(Role)
TASKS: tuple[Task, ...] = get_args(Task)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
TERMS: Mapping[Terms, str] = {
    "open": "any use, with the notices that the licence asks for",
    "conditions": "commercial use is allowed under conditions of the maker's own; read them",
    "non-commercial": "no commercial use, or only by a separate agreement",
}
QUIRKS: Mapping[str, str] = {
    "no_system_role": "its chat template knows no system role; the text belongs at the head of the first user message",
    "completions_only": "a base model without a chat template: it continues text, and is asked through /v1/completions",
    "encoder_decoder": "reads with one half and writes with the other; few servers run it, and none of them as a chat",
    "task_prefix": "was trained with the task in words before the text, such as `summarize: `",
    "can_think": "can write its thoughts before the answer; whether it does by default is the server's to say",
    "thinks_first": "writes its thoughts before the answer unless it is told not to; they cost tokens and time",
    "always_thinks": "cannot be told not to write its thoughts before the answer",
    "harmony_format": "answers in OpenAI's harmony format only, which the server must know",
    "custom_code": "brings Python code of its own, which transformers and vLLM run only when told to trust it",
    "needs_tuning": "made to be tuned for one task; as it comes it answers poorly",
}

OURS = "ours"  # the source of what this project reads out of the others

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """A page, and the day on which it, or a stored copy of it, was read."""

    key: str
    page: str
    as_of: date


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """One thing that one source says. kind: which of several figures it is, such as a window's."""

    value: T
    source: Source
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the memory for the context follows from."""

    layers: int
    key_value_heads: int
    head_size: int


@dataclass(frozen=True, slots=True)
class Model:
    """One small model. Of several figures for one thing the first is the one that counts.

    windows: in tokens; of kind "config" is what the model's own files allow, "advertised" what its maker says.
    language_count: how many languages its maker claims, named or not.
    """

    name: str
    title: str
    role: Role
    architecture: Fact[str]
    parameters: tuple[Fact[int], ...]
    recommended: tuple[Fact[tuple[Task, ...]], ...]
    active_parameters: Fact[int] | None = None
    windows: tuple[Fact[int], ...] = ()
    licence: Fact[str] | None = None
    languages: Fact[tuple[str, ...]] | None = None
    language_count: Fact[int] | None = None
    shape: Fact[Shape] | None = None
    file_bytes: Mapping[Precision, Fact[int]] = field(default_factory=dict)
    ollama: Fact[tuple[str, ...]] | None = None
    huggingface: Fact[str] | None = None
    gguf: Fact[str] | None = None
    tools: Fact[bool] | None = None
    json: Fact[bool] | None = None
    quirks: Fact[tuple[str, ...]] | None = None
    released: Fact[str] | None = None

    @property
    def size(self) -> int:
        """Its parameters."""
        return self.parameters[0].value

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What it is recommended for, by whomever."""
        return tuple(sorted({task for fact in self.recommended for task in fact.value}))

    @property
    def window(self) -> int | None:
        """The tokens that it really takes; None where no source says."""
        return self.windows[0].value if self.windows else None

    @property
    def terms(self) -> Terms | None:
        """What its licence lets one do; None where the licence is not known."""
        return next((terms for terms in TERMS if self.licence and self.licence.kind == terms), None)

    def names(self) -> Iterator[str]:
        """Every name that it goes by."""
        yield self.name
        yield from self.ollama.value if self.ollama else ()
        for fact in (self.huggingface, self.gguf):
            if fact:
                yield fact.value

    def facts(self) -> Iterator[tuple[str, Fact[Any]]]:
        """Everything that is said about it, with the field's name."""
        for key in _SEVERAL:
            yield from ((key, fact) for fact in getattr(self, key))
        yield from ((f"file_bytes.{precision}", fact) for precision, fact in self.file_bytes.items())
        yield from ((key, fact) for key in _ONE if (fact := getattr(self, key)))


_SEVERAL: Mapping[str, Callable[[Any], Any]] = {"parameters": int, "windows": int, "recommended": tuple}
_ONE: Mapping[str, Callable[[Any], Any]] = {
    "architecture": str,
    "active_parameters": int,
    "licence": str,
    "languages": tuple,
    "language_count": int,
    "shape": lambda value: Shape(**value),
    "ollama": tuple,
    "huggingface": str,
    "gguf": str,
    "tools": bool,
    "json": bool,
    "quirks": tuple,
    "released": str,
}


@cache
def catalogue() -> Mapping[str, Model]:
    """Every model by its name, as catalogue.toml has them."""
    return parsed(files("weighbridge.catalogue").joinpath("catalogue.toml").read_text(encoding="utf-8"))


def parsed(text: str) -> dict[str, Model]:
    """The models of a file in the catalogue's form. A misspelt field or an unknown source raises."""
    data = tomllib.loads(text)
    sources = {key: Source(key, **fields) for key, fields in data["sources"].items()}
    return {fields["name"]: _model(fields, sources) for fields in data["models"]}


def _model(fields: Mapping[str, Any], sources: Mapping[str, Source]) -> Model:
    def fact(said: Mapping[str, Any], read: Callable[[Any], Any]) -> Fact[Any]:
        return Fact(read(said["is"]), sources[said["by"]], said.get("kind", ""))

    given = dict(fields)
    for key, read in _SEVERAL.items():
        given[key] = tuple(fact(said, read) for said in given.get(key, ()))
    given["file_bytes"] = {key: fact(said, int) for key, said in given.get("file_bytes", {}).items()}
    given |= {key: fact(fields[key], read) for key, read in _ONE.items() if key in fields}
    return Model(**given)


def found(name: str, models: Mapping[str, Model]) -> Model | None:
    """The model that goes by this name at Ollama, on the hub, as a GGUF file's repository, or in the catalogue.

    Ollama's tags say more after a hyphen (`qwen3:4b-q8_0`); the longest one that fits is meant.
    """
    wanted = _plain(name)
    candidates = {_plain(known): model for model in models.values() for known in model.names()}
    fitting = [known for known in candidates if wanted == known or (":" in known and wanted.startswith(f"{known}-"))]
    return candidates[max(fitting, key=len)] if fitting else None


def _plain(name: str) -> str:
    """A name without what servers add to it: the library's address, `:latest`, a file's ending, another case."""
    name = name.strip().lower().removesuffix(":latest").removesuffix(".gguf")
    return re.sub(r"^(registry\.ollama\.ai/)?library/|^hf\.co/|^huggingface\.co/", "", name)
