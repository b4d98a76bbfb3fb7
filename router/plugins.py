"""From a name in config.toml to an object. The only importlib."""

from collections.abc import Mapping
from importlib import import_module
from importlib.resources import files
from typing import Any, TypeVar

from pydantic import BaseModel

T = TypeVar("T", bound=BaseModel)


class UnknownPlugin(ValueError):
    """No such implementation; the message names those there are."""


def on_shelf(shelf: str) -> list[str]:
    """The implementations that a shelf has, by the names of their files."""
    names = (entry.name for entry in files(shelf).iterdir())
    return sorted(n[:-3] for n in names if n.endswith(".py") and not n.startswith("_") and n != "base.py")


def find(shelf: str, use: str, base: type[T]) -> type[T]:
    """The class that `use` names: a file on the shelf ("threshold"), or somebody's own ("acme.routing:MyPolicy")."""
    module_name, _, class_name = use.partition(":")
    if not class_name and module_name not in on_shelf(shelf):
        raise UnknownPlugin(f"{use!r} is not one of {', '.join(implementations(shelf, base))}, nor module:Class")
    try:
        module = import_module(module_name if class_name else f"{shelf}.{module_name}")
    except ImportError as error:
        raise UnknownPlugin(f"{use!r} cannot be imported: {error}") from error
    wanted = (class_name or module_name.replace("_", "")).lower()
    for name, value in vars(module).items():
        if name.lower() == wanted and isinstance(value, type) and issubclass(value, base):
            return value
    raise UnknownPlugin(f"{use!r}: {module.__name__} has no {base.__name__} named {class_name or module_name!r}")


def implementations(shelf: str, base: type[T]) -> list[str]:
    """Those files of a shelf that hold an implementation of its base."""
    return [name for name in on_shelf(shelf) if _implements(shelf, name, base)]


def build(shelf: str, use: str, options: Mapping[str, Any], base: type[T]) -> T:
    """Make it: the table's other keys are the constructor's arguments."""
    return find(shelf, use, base)(**options)


def _implements(shelf: str, name: str, base: type[BaseModel]) -> bool:
    try:
        find(shelf, f"{shelf}.{name}:{name.replace('_', '')}", base)
    except UnknownPlugin:
        return False
    return True
