"""`weighbridge init`: writes a commented config.toml from what is found on this machine. No key's value is read."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import typer

from weighbridge.cli import machine as machines
from weighbridge.cli.choosing import Choice, Specialist, best_installed, to_pull, with_specialists
from weighbridge.cli.console import console, print_finding, print_json
from weighbridge.cli.discovery import PROVIDERS, Place, Provider, Server, places, providers, servers
from weighbridge.cli.machine import Machine
from weighbridge.config import load

_LOCAL_END = "\n\n# How long one attempt may take"
_REMOTE_END = "\n\n# What scores the requests"
_ROUTE_END = "\n\n\n# Rules:"
_BY_TASK = re.compile(r"^# small_by_task = .*\n", re.MULTILINE)
_UNKNOWN = Machine(None, None)


def run(output: Path, *, force: bool, is_quiet: bool, as_json: bool) -> bool:
    """Look, write, and say what was found. False when there is a file already."""
    if output.exists() and not force:
        typer.echo(f"{output} is there already: --force writes over it, --output names another file.", err=True)
        return False
    looked_at, machine = places(os.environ), machines.look()
    found = asyncio.run(servers(looked_at))
    keys = providers(os.environ)
    model = None if is_quiet or as_json or not sys.stdin.isatty() else _asked(found, machine)
    choice = chosen(found, machine, model)
    _write(output, composed(found, keys, model, machine), force=force)
    load(output, {})  # what it writes, it can read
    if as_json:
        print_json(_findings(output, found, keys, machine, choice))
    else:
        _tell(output, looked_at, found, keys, machine, choice)
    return True


def chosen(found: Sequence[Server], machine: Machine, model: str | None = None) -> Choice | None:
    """The local model: of the first server that has one, or else one to pull."""
    usable = next((server for server in found if server.models), None)
    if usable is None:
        return to_pull(machine)
    return with_specialists(best_installed(usable, machine, model), usable, machine)


def composed(
    found: Sequence[Server], keys: Sequence[Provider], model: str | None = None, machine: Machine = _UNKNOWN
) -> str:
    """The config file's text: the default one, with what was found in the place of its upstreams."""
    text = files("weighbridge").joinpath("default.toml").read_text(encoding="utf-8")
    usable = [server for server in found if server.models]
    choice = chosen(found, machine, model)
    if choice:
        server = usable[0] if usable else None
        text = _replaced(text, "[upstreams.local]", _LOCAL_END, lambda block: _of_choice(block, choice, server))
        if server and choice.specialists:
            text = _with_specialists(text, server, choice.specialists)
    if keys:
        text = _replaced(text, "[upstreams.remote]", _REMOTE_END, lambda block: _of_provider(block, keys[0]))
    others = [_server_block(server) for server in usable[1:]] + [_provider_block(provider) for provider in keys[1:]]
    if others:
        intro = "# Found as well, and not in use: put their names into the route to change that.\n"
        text = text.replace(_REMOTE_END, f"\n\n{intro}" + "\n".join(others) + _REMOTE_END, 1)
    return text


def _replaced(text: str, start: str, end: str, change: Callable[[str], str]) -> str:
    """The text with one block of it changed."""
    begin = text.index(start)
    stop = text.index(end, begin)
    return text[:begin] + change(text[begin:stop]) + text[stop:]


def _of_choice(block: str, choice: Choice, server: Server | None) -> str:
    """The local upstream's block. Without a server it stays Ollama's, on this machine."""
    if server:
        block = _with(block, "use", server.place.use)
        block = _with(block, "base_url", server.place.base_url)
        block = _with(block, "location", "local" if server.is_local else "remote")
    block = _with(block, "model", choice.name)
    # Ollama is asked for a window; what others were started with only they know.
    block = _with(block, "context_window", choice.context_window)
    remarks = "".join(f"# {_one_line(remark)}\n" for remark in choice.remarks)
    return block.replace("\nmodel = ", f"\n{remarks}model = ", 1)


def _with_specialists(text: str, server: Server, specialists: Sequence[Specialist]) -> str:
    """Upstreams for them before the remote one, and the route's table of tasks."""
    blocks = "\n".join(_specialist_block(server, specialist) for specialist in specialists)
    intro = "# Small as well, and better at some tasks: [routes.auto.small_by_task] says at which."
    text = text.replace("[upstreams.remote]", f"{intro}\n{blocks}\n[upstreams.remote]", 1)
    rows = [
        f"{f'{task} = {json.dumps(s.upstream)}':<35} # the catalogue recommends {_one_line(s.title)} for it"
        for s in specialists
        for task in s.tasks
    ]
    words = "# What goes to the small side and is clearly of one of these tasks goes to another small upstream.\n"
    table = f"\n\n{words}[routes.auto.small_by_task]\n" + "\n".join(rows)
    return _BY_TASK.sub("", text, count=1).replace(_ROUTE_END, table + _ROUTE_END, 1)


def _specialist_block(server: Server, specialist: Specialist) -> str:
    remarks = "".join(f"# {_one_line(remark)}\n" for remark in specialist.choice.remarks)
    return remarks + _upstream_block(
        specialist.upstream, server, specialist.choice.name, specialist.choice.context_window
    )


def _one_line(text: str) -> str:
    """A server's name for its model is in it: nothing of that may leave the comment."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _of_provider(block: str, provider: Provider) -> str:
    block = _with(block, "use", provider.use)
    block = _with(block, "base_url", provider.base_url or None)
    block = _with(block, "model", provider.model)
    return _with(block, "api_key_env", provider.variable)


def _with(block: str, key: str, value: str | int | None) -> str:
    """The block with one key set; None comments it out. The remark at the end of the line stays in its column."""
    found = re.search(rf'^{key} = ("[^"\n]*"|[^\s#]+)[ ]*(#.*)?$', block, re.MULTILINE)
    if found is None:
        return block
    setting = f"# {key} = {found[1]}" if value is None else f"{key} = {json.dumps(value)}"
    line = f"{setting:<35} {found[2]}" if found[2] else setting
    return block[: found.start()] + line + block[found.end() :]


def _server_block(server: Server) -> str:
    name = re.sub(r"[^a-z]", "", server.place.name.lower())
    return _upstream_block(name, server, server.models[0], server.context_window)


def _upstream_block(name: str, server: Server, model: str, context_window: int | None) -> str:
    window = f"context_window = {context_window}\n" if context_window else ""
    return (
        f"[upstreams.{name}]\n"
        f'use = "{server.place.use}"\n'
        f'base_url = "{server.place.base_url}"\n'
        f"model = {json.dumps(model)}\n"
        f'location = "{"local" if server.is_local else "remote"}"\n'
        f'{window}input_usd_per_mtok = "0"\noutput_usd_per_mtok = "0"\n'
    )


def _provider_block(provider: Provider) -> str:
    url = f'base_url = "{provider.base_url}"\n' if provider.base_url else ""
    return (
        f"[upstreams.{provider.name}]\n"
        f'use = "{provider.use}"\n'
        f"{url}"
        f'model = "{provider.model}"\n'
        f'api_key_env = "{provider.variable}"\nlocation = "remote"\n'
    )


def _asked(found: Sequence[Server], machine: Machine) -> str | None:
    """Which of several local models is to be the small one."""
    server = next((server for server in found if server.models), None)
    if server is None or len(server.models) < 2:
        return None
    typer.echo(f"Local models: {', '.join(server.models)}")
    answer: str = typer.prompt("Which one is the small model?", default=best_installed(server, machine).name)
    return answer


def _write(output: Path, text: str, *, force: bool) -> None:
    """Whole or not at all, and never over a file that came in between."""
    try:
        if not force:
            with output.open("x", encoding="utf-8") as file:
                file.write(text)
            return
        beside = output.with_name(f"{output.name}.{os.getpid()}.new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(output)
    except OSError as error:
        typer.echo(f"{output} cannot be written: {error.strerror}; --output names another file.", err=True)
        raise typer.Exit(1) from None


def _findings(
    output: Path, found: Sequence[Server], keys: Sequence[Provider], machine: Machine, choice: Choice | None
) -> dict[str, Any]:
    return {
        "path": str(output),
        "servers": [{"name": s.place.name, "base_url": s.place.base_url, "models": list(s.models)} for s in found],
        "keys": [provider.variable for provider in keys],
        "memory_bytes": machine.memory_bytes,
        "card_bytes": machine.card_bytes,
        "model": choice.name if choice else None,
        "context_window": choice.context_window if choice else None,
        "small_by_task": {task: s.choice.name for s in choice.specialists for task in s.tasks} if choice else {},
        "is_installed": any(server.models for server in found),
    }


def _tell(  # noqa: PLR0913, PLR0917  # everything that was found
    output: Path,
    looked_at: Sequence[Place],
    found: Sequence[Server],
    keys: Sequence[Provider],
    machine: Machine,
    choice: Choice | None,
) -> None:
    out = console()
    answering = {server.place: server for server in found}
    for place in looked_at:
        server = answering.get(place)
        if server is None:
            print_finding(out, "warn", place.name, f"nothing answers at {place.base_url}")
        else:
            print_finding(out, "ok" if server.models else "warn", place.name, _about(server))
    print_finding(out, "ok" if machine.model_bytes else "warn", "memory", str(machine))
    if choice and any(server.models for server in found):
        print_finding(out, "ok", "local model", f"{choice.name}. {' '.join(choice.remarks)}")
        for specialist in choice.specialists:
            print_finding(out, "ok", "", f"{specialist.choice.name} for {', '.join(specialist.tasks)}")
    for provider in keys:
        print_finding(out, "ok", provider.variable, f"is set, for {provider.model}")
    if not keys:
        names = ", ".join(provider.variable for provider in PROVIDERS)
        print_finding(out, "warn", "keys", f"none of {names} is set")
    out.print(f"\nWrote {output}.")
    for step in _next(found, keys, choice):
        out.print(f"  {step}", markup=False)


def _about(server: Server) -> str:
    models = ", ".join(server.models[:8]) or "no model for chat"
    return f"answers at {server.place.base_url}, with {models}"


def _next(found: Sequence[Server], keys: Sequence[Provider], choice: Choice | None) -> list[str]:
    """How to go on."""
    steps = []
    if not any(server.models for server in found):
        pull = f"ollama pull {choice.name if choice else 'qwen2.5:3b'}"
        steps.append(f"{pull:<26} # a small local model; Ollama itself is at https://ollama.com")
    if not keys:
        steps.append("export OPENAI_API_KEY=...  # or put another provider's variable into the file")
    return [*steps, "weighbridge doctor         # is everything reachable?", "weighbridge serve"]
