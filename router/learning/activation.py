"""Putting to use what was learnt: a change of config.toml, shown as a diff, and written only when asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from weighbridge.learning.editing import CannotEdit, Value, diff, with_value
from weighbridge.toml_lines import Key


@dataclass(frozen=True, slots=True)
class Change:
    """A file as it is and as it would be."""

    path: Path
    before: str
    after: str

    @property
    def diff(self) -> str:
        return diff(self.before, self.after, self.path.name)

    def write(self) -> None:
        """Put it in place whole. Raises CannotEdit where somebody changed the file meanwhile."""
        path = self.path.resolve()  # a link stays one
        if _text_of(path) != self.before:
            raise CannotEdit(f"{self.path} has changed meanwhile: run the command again")
        with NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8", newline="") as file:
            file.write(self.after)
        Path(file.name).chmod(path.stat().st_mode)
        Path(file.name).replace(path)


def change_of(path: Path, values: Mapping[Key, Value]) -> Change:
    """A config file with some keys set. Raises CannotEdit."""
    before = after = _text_of(path)
    for key, value in values.items():
        try:
            after = with_value(after, key, value)
        except CannotEdit as error:
            raise CannotEdit(f"{path} is written in a way that is not changed here; {error}") from None
    return Change(path, before, after)


def artefact_change(path: Path, use: str, artefact: Path) -> Change:
    """The config with an artefact in use. use: what scores now; an artefact is the minilm classifier's."""
    values: dict[Key, Value] = {} if use == "minilm" else {("classifier", "use"): "minilm"}
    return change_of(path, {**values, ("classifier", "artefact"): str(artefact.resolve())})


def threshold_change(path: Path, route: str, threshold: float) -> Change:
    """The config with a route's threshold set."""
    return change_of(path, {("routes", route, "policy", "threshold"): round(threshold, 4)})


def cascade_change(path: Path, route: str, accept: float, weights: Mapping[str, float]) -> Change:
    """The config with what a cascade accepts, and the weights by which it judges."""
    policy: Key = ("routes", route, "policy")
    return change_of(path, {(*policy, "accept"): round(accept, 4), (*policy, "weights"): weights})


def _text_of(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:  # line ends stay as they are
        return file.read()
