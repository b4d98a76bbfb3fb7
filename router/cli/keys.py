"""`weighbridge keys`: makes, lists and takes away the keys that callers show."""

import os
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, get_args

import typer
from rich.table import Table

from weighbridge.cli.console import console, print_json
from weighbridge.config import ConfigError, load
from weighbridge.keys import BadName, Key, KeysFile, Scope

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add(path: Path, name: str, *, scopes: Sequence[str], expires: str | None) -> None:
    """Print the new key alone to standard output, so that a script can take it, and the rest beside it."""
    wanted = _scopes(scopes)
    until = _until(expires, datetime.now(UTC))
    file = _file(path)
    try:
        key = file.add(name, wanted, until)
    except BadName as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    typer.echo(key)
    end = _day(until) if until else "it is revoked"
    told = f"Key {name} ({', '.join(wanted)}; until {end}) is in {file.path}. It is shown only this once."
    typer.echo(told, err=True)


def show(path: Path, *, as_json: bool) -> None:
    """Print whose keys there are."""
    file = _file(path)
    keys, now = file.read(), datetime.now(UTC)
    if as_json:
        print_json({"path": str(file.path), "keys": [_plain(key, now) for key in keys]})
        return
    out = console()
    if not keys:
        out.print(f"{file.path} holds no keys, so nobody is let in by it; `weighbridge keys add NAME` makes one.")
        return
    table = Table("Name", "Scopes", "Made", "Until")
    for key in keys:
        table.add_row(key.name, ", ".join(key.scopes), _day(key.created_at), _end_of(key, now))
    out.print(table)


def revoke(path: Path, name: str) -> None:
    """Take one away, and say so."""
    file = _file(path)
    file.revoke(name)
    left = len(file.read())
    typer.echo(f"Key {name} is revoked." + ("" if left else " It was the last one: the file lets nobody in now."))


def _file(path: Path) -> KeysFile:
    config = load(path, os.environ)
    if config.keys_path is None:
        raise ConfigError([f'{path}: server.keys_path is not set: add keys_path = "keys.json" to [server]'])
    return KeysFile(config.keys_path)


def _scopes(texts: Sequence[str]) -> tuple[Scope, ...]:
    known: tuple[Scope, ...] = get_args(Scope)
    for text in texts:
        if text not in known:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(known)}.", param_hint="--scope")
    return tuple(scope for scope in known if scope in texts)


def _until(text: str | None, now: datetime) -> datetime | None:
    """`90d` from now, or the beginning of a day (UTC)."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    try:
        if found:
            until = now.replace(microsecond=0) + timedelta(**{_UNITS[found[2]]: int(found[1])})
        else:
            until = datetime.combine(date.fromisoformat(text), time(), UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is not a time: write 90d, 12h, 30m, 2w, or 2030-01-31.", param_hint="--expires"
        ) from None
    if until <= now:
        raise typer.BadParameter(f"{text!r} is not in the future.", param_hint="--expires")
    return until


def _plain(key: Key, now: datetime) -> dict[str, Any]:
    """For programs. Without the digest: it is of no use to them."""
    return {**key.model_dump(mode="json", exclude={"sha256"}), "has_expired": key.has_expired(now)}


def _end_of(key: Key, now: datetime) -> str:
    if key.expires_at is None:
        return "revoked"
    return _day(key.expires_at) + (" (has expired)" if key.has_expired(now) else "")


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
