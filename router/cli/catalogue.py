"""`weighbridge models list`, `show` and `recommend`: the catalogue of small models, filtered, in full, and ranked."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from weighbridge.catalogue.entries import (
    PRECISIONS,
    QUIRKS,
    ROLES,
    TASKS,
    TERMS,
    Fact,
    Model,
    Shape,
    Task,
    catalogue,
    found,
)
from weighbridge.catalogue.memory import GB, needed_bytes, weights
from weighbridge.catalogue.ranking import Need, Place, objections, ranked
from weighbridge.cli.console import console, print_json

_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "": 3}


def list_models(  # noqa: PLR0913  # one for each option of the verb
    *, role: str | None, task: str | None, licence: str | None, language: str | None, memory: str | None, as_json: bool
) -> None:
    """Print those that meet every filter, as the file orders them."""
    _check(role, ROLES, "role")
    wanted = _need(task, memory, language, licence, None)
    models = [model for model in catalogue().values() if role in {None, model.role} and _meets(model, wanted)]
    if as_json:
        print_json({"models": [_summary(model) for model in models]})
        return
    table = Table()
    for heading in ("Name", "Size", "Context", "int4", "Tools", "Licence"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in {"Size", "Context", "int4"} else "left")
    for model in models:
        table.add_row(*_row(model))
    console().print(table)
    console().print(f"{len(models)} of {len(catalogue())}. `weighbridge models show NAME` says all about one.")


def show(name: str, *, as_json: bool) -> None:
    """Print everything about one model, with who says it."""
    model = found(name, catalogue())
    if model is None:
        _refuse(name, {known for entry in catalogue().values() for known in entry.names()}, "model")
    if as_json:
        print_json({**_summary(model), "facts": [_fact(field, fact) for field, fact in model.facts()]})
        return
    out = console()
    out.print(f"{model.title} ({model.name}): {'answers' if model.role == 'answering' else 'a classifier backbone'}")
    for field, fact in model.facts():
        kind = f" ({fact.kind})" if fact.kind else ""
        said = f"{fact.source.page}, {fact.source.as_of}"
        out.print(f"  {field}: {_words(fact.value)}{kind}\n      {said}", markup=False)
    for precision in PRECISIONS:
        weight = weights(model, precision)
        origin = "published" if weight.is_published else "from the parameters"
        out.print(f"  weights at {precision}: {weight.size_bytes / GB:.2f} GB, {origin}")
    for quirk in model.quirks.value if model.quirks else ():
        out.print(f"  {quirk}: {QUIRKS[quirk]}", markup=False)
    if model.terms:
        out.print(f"  {model.terms}: {TERMS[model.terms]}")


def recommend(  # noqa: PLR0913  # one for each option of the verb
    *, task: str, memory: str | None, language: str | None, licence: str | None, context: int, limit: int, as_json: bool
) -> bool:
    """Print the models that suit a task, the best first, and why. False where there is none."""
    need = _need(task, memory, language, licence, context)
    places = ranked(catalogue().values(), need)
    others = objections(catalogue().values(), need)
    if as_json:
        print_json({"task": task, "models": [_placed(p) for p in places[:limit]], "left_out": dict(others)})
        return bool(places)
    out = console()
    for number, place in enumerate(places[:limit], 1):
        _print_place(out, number, place)
    out.print("Left out: " + "; ".join(f"{count} {reason}" for reason, count in others.most_common()) + ".")
    return bool(places)


def memory_bytes(text: str) -> int:
    """`8GB`, `8 GiB`, `500MB`; a bare number is GB."""
    read = _MEMORY.fullmatch(text.strip())
    if read is None or float(read[1]) == 0:
        _end(f"{text} is no amount of memory; write it as 8GB or 500MB")
    return int(float(read[1]) * (1024 if read[3] else 1000) ** _POWERS[read[2].lower()])


def _need(task: str | None, memory: str | None, language: str | None, licence: str | None, context: int | None) -> Need:
    known: Mapping[str, Task] = {name: name for name in TASKS}
    if task and _normal(task) not in known:
        _refuse(task, set(TASKS), "task")
    licences = {model.licence.value for model in catalogue().values() if model.licence}
    if licence and licence.lower() not in {name.lower() for name in licences}:
        _refuse(licence, licences, "licence")
    if language and not re.fullmatch("[a-z]{2,3}", language.lower()):
        _end(f"{language} is no language code; write it as de or en")
    need = Need(
        task=known[_normal(task)] if task else None,
        memory_bytes=memory_bytes(memory) if memory else None,
        language=language.lower() if language else None,
        licence=licence,
    )
    return need if context is None else Need(need.task, need.memory_bytes, need.language, need.licence, context)


def _normal(task: str) -> str:
    return task.lower().replace("-", "_").replace(" ", "_")


def _meets(model: Model, need: Need) -> bool:
    """A list filters by what is written, and lets encoders through; a ranking asks for more."""
    return (
        (need.task is None or need.task in model.tasks)
        and (need.language is None or bool(model.languages and need.language in model.languages.value))
        and (need.licence is None or bool(model.licence and model.licence.value.lower() == need.licence.lower()))
        and (need.memory_bytes is None or _smallest(model) <= need.memory_bytes)
    )


def _smallest(model: Model) -> int:
    """What it needs with a usual context; a classifier keeps none."""
    if model.role == "classifier":
        return weights(model, "int8").size_bytes
    tokens = Need().context_tokens
    return needed_bytes(model, "int4", min(tokens, model.window or tokens))


def _row(model: Model) -> tuple[str, ...]:
    published = "" if weights(model, "int4").is_published else "~"
    return (
        model.name,
        _size(model.size),
        f"{model.window:,}" if model.window else "?",
        f"{published}{weights(model, 'int4').size_bytes / GB:.2f} GB",
        {True: "yes", False: "no", None: "?"}[model.tools.value if model.tools else None],
        model.licence.value if model.licence else "?",
    )


def _size(parameters: int) -> str:
    return f"{parameters / GB:.1f}B" if parameters >= GB else f"{parameters / 1_000_000:.0f}M"


def _print_place(out: Console, number: int, place: Place) -> None:
    pull = f"  (ollama pull {place.model.ollama.value[0]})" if place.model.ollama else ""
    out.print(f"{number}. {place.model.title}, {place.model.name}{pull}", markup=False)
    out.print(f"   {'; '.join(place.reasons)}", markup=False)


def _placed(place: Place) -> dict[str, Any]:
    return {**_summary(place.model), "precision": place.precision, "reasons": list(place.reasons)}


def _summary(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "title": model.title,
        "role": model.role,
        "architecture": model.architecture.value,
        "parameters": model.size,
        "context_window": model.window,
        "licence": _value(model.licence),
        "terms": model.terms,
        "languages": _value(model.languages),
        "language_count": _value(model.language_count),
        "tasks": list(model.tasks),
        "memory_bytes": {p: weights(model, p).size_bytes for p in PRECISIONS},
        "published_memory": [p for p in PRECISIONS if weights(model, p).is_published],
        "ollama": _value(model.ollama),
        "huggingface": _value(model.huggingface),
        "gguf": _value(model.gguf),
        "tools": _value(model.tools),
        "json": _value(model.json),
        "quirks": _value(model.quirks) or (),
        "released": _value(model.released),
    }


def _value(fact: Fact[Any] | None) -> Any:
    return fact.value if fact else None


def _fact(field: str, fact: Fact[Any]) -> dict[str, Any]:
    return {
        "field": field,
        "is": _words(fact.value),
        "kind": fact.kind,
        "source": fact.source.page,
        "as_of": fact.source.as_of.isoformat(),
    }


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Shape):
        return f"{value.layers} layers, {value.key_value_heads} key-value heads of {value.head_size}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _check(word: str | None, known: Iterable[str], kind: str) -> None:
    if word and word not in known:
        _refuse(word, set(known), kind)


def _refuse(word: str, known: set[str], kind: str) -> NoReturn:
    """Say that there is no such thing, and what is nearest to it."""
    lower = {name.lower(): name for name in sorted(known)}
    close = [lower[name] for name in get_close_matches(word.lower(), lower, n=3, cutoff=0.4)]
    few = f"known: {', '.join(sorted(known))}" if len(known) <= 20 else "`weighbridge models list` has them all"
    _end(f"{word} is no {kind} of the catalogue; " + (f"did you mean {' or '.join(close)}?" if close else few))


def _end(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(2)
