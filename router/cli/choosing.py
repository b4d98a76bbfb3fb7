"""Which local model `weighbridge init` writes down: the best that is installed, or else one to pull, and its window."""

from dataclasses import dataclass

from weighbridge.catalogue.entries import Model, catalogue, found
from weighbridge.catalogue.memory import GB, fitting_window
from weighbridge.catalogue.ranking import Need, ranked
from weighbridge.cli.discovery import Server
from weighbridge.cli.machine import Machine

_DEFAULT_WINDOW = 8192  # the default file's
_LEAST_WINDOW = 4096  # what is installed may stay, even if no more than this fits beside it


@dataclass(frozen=True, slots=True)
class Choice:
    """A model by the server's name for it. remarks: why this one, and why this window."""

    name: str
    context_window: int | None
    remarks: tuple[str, ...]


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
    window, remark = _window(server, name, entry, memory_bytes)
    return Choice(name, window, (*_about(name, entry), *remark))


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


def _about(name: str, entry: Model | None) -> tuple[str, ...]:
    if entry is None:
        return (f"The catalogue does not know {name}.",)
    return (f"{entry.title}; `weighbridge models show {name}` tells more.",)


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
