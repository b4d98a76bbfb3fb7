"""Which model suits a task on this machine: hard limits first, then an order, and the reason for each place in words.

No benchmark is in it. The order goes by what sources say: what a model is recommended for, how large it is, how long
a text it takes, its licence, and its age.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import log2

from weighbridge.catalogue.entries import OURS, TASKS, Model, Precision, Task
from weighbridge.catalogue.memory import GB, best_precision, needed_bytes

CONTEXT_TOKENS = 8192
_WINDOWS = (4_000, 8_000, 32_000, 128_000)  # a window counts by how many of these it reaches
_FREEDOM = {"open": 2, "conditions": 1}
_CRITERIA = (
    "fit for the task",
    "certainty about the language",
    "size",
    "context window",
    "licence",
    "release date",
    "parameters",
    "name",
)


@dataclass(frozen=True, slots=True)
class Need:
    """What is asked for. context_tokens: how long the longest request is; a shorter window is made do with."""

    task: Task | None = None
    memory_bytes: int | None = None
    language: str | None = None
    licence: str | None = None
    context_tokens: int = CONTEXT_TOKENS


@dataclass(frozen=True, slots=True)
class Place:
    """A model that meets the need. precision: the finest that fits, None where no memory was given."""

    model: Model
    precision: Precision | None
    reasons: tuple[str, ...]


def ranked(models: Iterable[Model], need: Need) -> tuple[Place, ...]:
    """Those that meet the need, the best first."""
    order = sorted((m for m in models if objection(m, need) is None), key=lambda m: _key(m, need))
    return tuple(_place(model, order[at - 1] if at else None, need) for at, model in enumerate(order))


def objections(models: Iterable[Model], need: Need) -> Counter[str]:
    """Why the others were left out, each by the first thing against it."""
    return Counter(found for model in models if (found := objection(model, need)))


def objection(model: Model, need: Need) -> str | None:
    """The first thing that speaks against a model; None where nothing does."""
    if model.role != "answering":
        return "classifies, does not answer"
    if need.task and not _fit(model, need.task):
        return f"not meant for {need.task}"
    if need.language and not _knows(model, need.language):
        return f"no source says that it knows {need.language}"
    if need.licence and not (model.licence and model.licence.value.lower() == need.licence.lower()):
        return f"not under {need.licence}"
    if need.memory_bytes is not None and best_precision(model, _tokens(model, need), need.memory_bytes) is None:
        return f"needs more than {need.memory_bytes / GB:.1f} GB"
    return None


def small_by_task(installed: Mapping[str, Model]) -> dict[Task, str]:
    """For each task the upstream whose model is recommended for it and ranks first. installed: model by upstream."""
    names: dict[str, str] = {}
    for upstream, model in installed.items():
        names.setdefault(model.name, upstream)
    best = {task: ranked(installed.values(), Need(task=task)) for task in TASKS}
    return {task: names[p[0].model.name] for task, p in best.items() if p and task in p[0].model.tasks}


def size_class(model: Model) -> int:
    """Doublings: 2.8 to 5.6 billion parameters are one class, 5.6 to 11.3 the next."""
    return round(log2(model.size / GB))


def _fit(model: Model, task: Task) -> int:
    """2: recommended for it; 1: a chat model that can be asked for anything; 0: not to be asked for it."""
    if task == "tool_use" and not (model.tools and model.tools.value):
        return 0
    return 2 if task in model.tasks else int("chat" in model.tasks)


def _knows(model: Model, language: str) -> int:
    """2: the source names the language; 1: it claims many without naming this one; 0: neither."""
    if model.languages and language in model.languages.value:
        return 2
    named = len(model.languages.value) if model.languages else 0
    return int(bool(model.language_count) and model.language_count is not None and model.language_count.value > named)


def _tokens(model: Model, need: Need) -> int:
    return min(need.context_tokens, model.window or need.context_tokens)


def _key(model: Model, need: Need) -> tuple[int | str, ...]:
    """Sorts the best first: one number for each criterion, in their order."""
    released = model.released.value.replace("-", "").ljust(8, "0") if model.released else "0"
    return (
        -_fit(model, need.task) if need.task else 0,
        -_knows(model, need.language) if need.language else 0,
        -size_class(model),
        -sum((model.window or 0) >= step for step in _WINDOWS),
        -_FREEDOM.get(model.terms or "", 0),
        -int(released),
        -model.size,
        model.name,
    )


def _place(model: Model, above: Model | None, need: Need) -> Place:
    fits = best_precision(model, _tokens(model, need), need.memory_bytes) if need.memory_bytes is not None else None
    reasons = [_of_task(model, need), _of_language(model, need), _of_size(model, fits, need), *_of_the_rest(model)]
    if above:
        pairs = zip(_CRITERIA, _key(above, need), _key(model, need), strict=True)
        reasons.append(f"behind {above.name} by its {next(name for name, theirs, own in pairs if theirs != own)}")
    return Place(model, fits, tuple(reason for reason in reasons if reason))


def _of_task(model: Model, need: Need) -> str:
    if need.task is None:
        return ""
    if _fit(model, need.task) == 2:
        sources = {fact.source.key for fact in model.recommended if need.task in fact.value}
        return f"recommended for {need.task}" + (", in our own reading" if sources == {OURS} else "")
    return f"a chat model; nobody singles it out for {need.task}"


def _of_language(model: Model, need: Need) -> str:
    if need.language is None:
        return ""
    if _knows(model, need.language) == 2:
        return f"{need.language} is among its languages"
    count = model.language_count.value if model.language_count else 0
    return f"claims {count} languages, {need.language} not by name"


def _of_size(model: Model, precision: Precision | None, need: Need) -> str:
    words = f"{model.size / GB:.1f}B parameters" if model.size >= GB else f"{model.size // 1_000_000}M parameters"
    if precision is None:
        return words
    tokens = _tokens(model, need)
    return f"{words}; at {precision} {needed_bytes(model, precision, tokens) / GB:.1f} GB with {tokens:,} tokens"


def _of_the_rest(model: Model) -> list[str]:
    window = f"takes {model.window:,} tokens" if model.window else "its context window is not known"
    licence = model.licence.value if model.licence else "its licence is not known"
    return [window, licence, f"released {model.released.value}" if model.released else "release date not known"]
