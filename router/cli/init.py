"""`weighbridge init`: writes a commented config.toml from what is found on this machine. No key's value is read."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import typer

from weighbridge.cli.console import console, print_finding, print_json
from weighbridge.cli.discovery import PROVIDERS, Place, Provider, Server, places, providers, servers
from weighbridge.config import load

_LOCAL_END = "\n\n# How long one attempt may take"
_REMOTE_END = "\n\n# What scores the requests"


def run(output: Path, *, force: bool, is_quiet: bool, as_json: bool) -> bool:
    """Look, write, and say what was found. False when there is a file already."""
    if output.exists() and not force:
        typer.echo(f"{output} is there already: --force writes over it, --output names another file.", err=True)
        return False
    looked_at = places(os.environ)
    found = asyncio.run(servers(looked_at))
    keys = providers(os.environ)
    model = None if is_quiet or as_json or not sys.stdin.isatty() else _asked(found)
    _write(output, composed(found, keys, model), force=force)
    load(output, {})  # what it writes, it can read
    if as_json:
        print_json(
            {
                "path": str(output),
                "servers": [
                    {"name": s.place.name, "base_url": s.place.base_url, "models": list(s.models)} for s in found
                ],
                "keys": [provider.variable for provider in keys],
            }
        )
    else:
        _tell(output, looked_at, found, keys)
    return True


def composed(found: Sequence[Server], keys: Sequence[Provider], model: str | None = None) -> str:
    """The config file's text: the default one, with what was found in the place of its upstreams."""
    text = files("weighbridge").joinpath("default.toml").read_text(encoding="utf-8")
    usable = [server for server in found if server.models]
    if usable:
        text = _replaced(text, "[upstreams.local]", _LOCAL_END, lambda block: _of_server(block, usable[0], model))
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


def _of_server(block: str, server: Server, model: str | None) -> str:
    block = _with(block, "use", server.place.use)
    block = _with(block, "base_url", server.place.base_url)
    block = _with(block, "model", model or server.models[0])
    block = _with(block, "location", "local" if server.is_local else "remote")
    if server.context_window:
        return _with(block, "context_window", server.context_window)
    # Ollama is asked for a window; what others were started with only they know.
    return block if server.place.use == "ollama" else _with(block, "context_window", None)


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
    window = f"context_window = {server.context_window}\n" if server.context_window else ""
    return (
        f"[upstreams.{name}]\n"
        f'use = "{server.place.use}"\n'
        f'base_url = "{server.place.base_url}"\n'
        f"model = {json.dumps(server.models[0])}\n"
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


def _asked(found: Sequence[Server]) -> str | None:
    """Which of several local models is to be the small one."""
    models = next((server.models for server in found if server.models), ())
    if len(models) < 2:
        return None
    typer.echo(f"Local models: {', '.join(models)}")
    answer: str = typer.prompt("Which one is the small model?", default=models[0])
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


def _tell(output: Path, looked_at: Sequence[Place], found: Sequence[Server], keys: Sequence[Provider]) -> None:
    out = console()
    answering = {server.place: server for server in found}
    for place in looked_at:
        server = answering.get(place)
        if server is None:
            print_finding(out, "warn", place.name, f"nothing answers at {place.base_url}")
        else:
            print_finding(out, "ok" if server.models else "warn", place.name, _about(server))
    for provider in keys:
        print_finding(out, "ok", provider.variable, f"is set, for {provider.model}")
    if not keys:
        names = ", ".join(provider.variable for provider in PROVIDERS)
        print_finding(out, "warn", "keys", f"none of {names} is set")
    out.print(f"\nWrote {output}.")
    for step in _next(found, keys):
        out.print(f"  {step}")


def _about(server: Server) -> str:
    models = ", ".join(server.models[:8]) or "no model for chat"
    return f"answers at {server.place.base_url}, with {models}"


def _next(found: Sequence[Server], keys: Sequence[Provider]) -> list[str]:
    """How to go on."""
    steps = []
    if not any(server.models for server in found):
        steps.append("ollama pull qwen2.5:3b     # a small local model; Ollama itself is at https://ollama.com")
    if not keys:
        steps.append("export OPENAI_API_KEY=...  # or put another provider's variable into the file")
    return [*steps, "weighbridge doctor         # is everything reachable?", "weighbridge serve"]
