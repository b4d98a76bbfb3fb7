"""Which local model `weighbridge init` writes down: the best that is installed, or else one to pull, and its window."""

import re
from dataclasses import dataclass, replace

from weighbridge.catalogue.entries import Model, catalogue, found
from weighbridge.catalogue.memory import GB, fitting_window, needed_bytes
from weighbridge.catalogue.ranking import Need, ranked, small_by_task
from weighbridge.classifiers.base import TASKS
from weighbridge.cli.discovery import Server
from weighbridge.cli.machine import Machine

_DEFAULT_WINDOW = 8192  # the default file's
_LEAST_WINDOW = 4096  # what is installed may stay, even if no more than this fits beside it


@dataclass(frozen=True, slots=True)
class Choice:
    """A model by the server's name for it. remarks: why this one, and why this window.

    specialists: installed as well, and better at some tasks by what the catalogue says.
    """

    name: str
    context_window: int | None
    remarks: tuple[str, ...]
    specialists: tuple["Specialist", ...] = ()


@dataclass(frozen=True, slots=True)
class Specialist:
    """A model for some tasks. upstream: what it is called in the file."""

    upstream: str
    title: str
    choice: Choice
    tasks: tuple[str, ...]


def best_installed(server: Server, machine: Machine, name: str | None = None) -> Choice:
    """The installed model that ranks first for chat and fits; where the catalogue knows none, the likeliest.

    name: the one that the user has chosen, whatever its rank.
    """
    memory_bytes = machine.model_bytes if server.is_local else None
    known = {n: entry for n in server.models if (entry := found(n, catalogue()))}
    if name is None:
        places = ranked(
            {e.name: e for e in known.values()}.values(), Need("chat", memory_bytes, context_tokens=_LEAST_WINDOW)
        )
        name = next((n for p in places[:1] for n, entry in known.items() if entry.name == p.model.name), None)
    name = name or server.models[0]
    entry = known.get(name)
    return Choice(name, *_described(server, name, entry, memory_bytes))


def with_specialists(choice: Choice, server: Server, machine: Machine) -> Choice:
    """The choice with those beside it that rank before it for some task, as long as memory holds all of them at once.

    Where the memory or the chosen model is not known there are none: nobody could say that they are better, or fit.
    """
    known = {n: entry for n in (choice.name, *server.models) if (entry := found(n, catalogue()))}
    memory_bytes = machine.model_bytes
    if not server.is_local or memory_bytes is None or choice.name not in known:
        return choice
    tasks: dict[str, tuple[str, ...]] = {}
    for task, name in small_by_task(_fitting(choice.name, known, memory_bytes)).items():
        if name != choice.name and task in TASKS:
            tasks[name] = (*tasks.get(name, ()), task)
    together: list[str] = [choice.name]
    for name in sorted(tasks, key=lambda n: -len(tasks[n])):
        if sum(_least_bytes(known[n]) for n in (*together, name)) <= memory_bytes:
            together.append(name)
    if len(together) == 1:
        return choice
    # Each has what the others leave it at their least.
    left = {n: memory_bytes - sum(_least_bytes(known[o]) for o in together if o != n) for n in together}
    chosen = {n: Choice(n, *_described(server, n, known[n], left[n])) for n in together}
    others = (Specialist(_slug(known[n].name), known[n].title, chosen[n], tasks[n]) for n in together[1:])
    return replace(chosen[choice.name], specialists=tuple(others))


def to_pull(machine: Machine) -> Choice | None:
    """The model of Ollama's that ranks first for chat on this machine; None where nothing fits or nothing is known."""
    if machine.model_bytes is None:
        return None
    places = ranked((m for m in catalogue().values() if m.ollama), Need("chat", machine.model_bytes))
    if not places or not places[0].model.ollama:
        return None
    model, name = places[0].model, places[0].model.ollama.value[0]
    remarks = (f"Not installed yet: ollama pull {name}", *_about(name, model))
    return Choice(name, fitting_window(model, machine.model_bytes) or _smaller(model.window), remarks)


def _fitting(chosen: str, known: dict[str, Model], memory_bytes: int) -> dict[str, Model]:
    """Those that memory holds beside the chosen one."""
    left = memory_bytes - _least_bytes(known[chosen])
    return {n: entry for n, entry in known.items() if n == chosen or _least_bytes(entry) <= left}


def _least_bytes(model: Model) -> int:
    return needed_bytes(model, "int4", _LEAST_WINDOW)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def _about(name: str, entry: Model | None) -> tuple[str, ...]:
    if entry is None:
        return (f"The catalogue does not know {name}.",)
    return (f"{entry.title}; `weighbridge models show {name}` tells more.",)


def _described(
    server: Server, name: str, entry: Model | None, memory_bytes: int | None
) -> tuple[int | None, tuple[str, ...]]:
    window, remarks = _window(server, name, entry, memory_bytes)
    return window, (*_about(name, entry), *remarks)


def _window(
    server: Server, name: str, entry: Model | None, memory_bytes: int | None
) -> tuple[int | None, tuple[str, ...]]:
    """The window to ask for. What a server was started with goes first, then what it says of its model."""
    if server.context_window or server.place.use != "ollama":
        return server.context_window, ()
    real = server.windows.get(name) or (entry.window if entry else None)
    fits = fitting_window(entry, memory_bytes) if entry and memory_bytes else None
    if real is None or fits is None:
        return _smaller(real), ()
    if fits >= real:
        return real, (f"Its window is {real:,} tokens.",)
    return fits, (f"Its window is {real:,} tokens; {fits:,} fit into {(memory_bytes or 0) / GB:.1f} GB beside it.",)


def _smaller(window: int | None) -> int:
    return min(window or _DEFAULT_WINDOW, _DEFAULT_WINDOW)
