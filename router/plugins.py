"""From a name in config.toml to an object. The only importlib."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.resources import files
from inspect import isabstract
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel

T = TypeVar("T", bound=BaseModel)


class UnknownPlugin(ValueError):
    """No such implementation; the message names those there are."""


def on_shelf(shelf: str) -> list[str]:
    """The implementations that a shelf has, by the names of their files."""
    names = (entry.name for entry in files(shelf).iterdir())
    return sorted(n[:-3] for n in names if n.endswith(".py") and not n.startswith("_") and n != "base.py")


def find(shelf: str, use: object, base: type[T]) -> type[T]:
    """The class that `use` names: a file on the shelf ("threshold"), or somebody's own ("acme.routing:MyPolicy")."""
    if not isinstance(use, str):
        raise UnknownPlugin(
            f"must be text in quotes: one of {', '.join(implementations(shelf, base))}, or module:Class"
        )
    module_name, colon, class_name = use.partition(":")
    if colon:
        found = _class_in(_imported(module_name), class_name, base)
        if found is None:
            raise UnknownPlugin(f"cannot be found: {module_name} has no {base.__name__} named {class_name!r}")
        return found
    # A shelf holds helpers too: those are not on offer.
    found = _on_offer(shelf, module_name, base) if module_name in on_shelf(shelf) else None
    if found is None:
        known = implementations(shelf, base)
        close = get_close_matches(use.lower(), known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UnknownPlugin(f"is not one of {', '.join(known)}, nor module:Class{hint}")
    return found


def implementations(shelf: str, base: type[T]) -> list[str]:
    """Those files of a shelf that hold an implementation of its base."""
    return [name for name in on_shelf(shelf) if _implements(shelf, name, base)]


def build(shelf: str, use: str, options: Mapping[str, Any], base: type[T]) -> T:
    """Make it: the table's other keys are the constructor's arguments."""
    return find(shelf, use, base)(**options)


def _on_offer(shelf: str, name: str, base: type[T]) -> type[T] | None:
    return _class_in(_imported(f"{shelf}.{name}"), name.replace("_", ""), base)


def _imported(module_name: str) -> ModuleType:
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise UnknownPlugin("is not of the form module:Class")
    try:
        return import_module(module_name)
    except Exception as error:  # somebody's own file can raise anything while it is imported
        remedy = f"is {module_name} installed here?"
        raise UnknownPlugin(f"cannot be imported ({type(error).__name__}: {error}); {remedy}") from error


def _class_in(module: ModuleType, class_name: str, base: type[T]) -> type[T] | None:
    """Names compare without case: minilm.py holds MiniLM."""
    for name, value in vars(module).items():
        if name.lower() == class_name.lower() and isinstance(value, type) and issubclass(value, base):
            if isabstract(value):
                raise UnknownPlugin(f"is unfinished: {name} lacks {', '.join(sorted(value.__abstractmethods__))}")
            return value
    return None


def _implements(shelf: str, name: str, base: type[BaseModel]) -> bool:
    try:
        return _on_offer(shelf, name, base) is not None
    except UnknownPlugin:
        return False
