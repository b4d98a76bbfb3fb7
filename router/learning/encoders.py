"""Which encoder is meant (a folder, a model of the catalogue or of the hub), and the artefact to build on from it."""

from collections.abc import Callable
from pathlib import Path

from weighbridge.catalogue.entries import Model, catalogue, found
from weighbridge.learning.refusals import Unusable
from weighbridge.problems import nearest

_REMEDY = '--encoder needs torch and transformers: pip install "weighbridge[train]"'


def write_base(name: str, out: Path, *, cache: Path, say: Callable[[str], None]) -> None:
    """The artefact of an encoder, by its folder, its name in the catalogue, or its name on the hub. Raises Unusable."""
    folder = Path(name)
    known = None if folder.is_dir() else _of_catalogue(name)
    if not folder.is_dir() and known is None and not _is_of_the_hub(name):
        raise Unusable(f"{name!r} is neither a folder nor an encoder of the catalogue{nearest(name, _encoders())}")
    try:
        from weighbridge.classifiers.training import foreign  # noqa: PLC0415  # it loads torch, which takes seconds
    except ImportError as error:
        raise Unusable(f"{error}; {_REMEDY}") from error
    try:
        if folder.is_dir():
            about = foreign.About(folder.resolve().name, None, f"a folder named {folder.resolve().name}")
            foreign.write(folder, about, out, cache=cache, say=say)
            return
        repository = known.huggingface.value if known and known.huggingface else name
        licence = known.licence.value if known and known.licence else None
        say(f"fetching {repository} from the hub, where it is not here yet")
        about = foreign.About(repository, licence, f"the hub: {repository}")
        foreign.write(foreign.fetched(repository), about, out, cache=cache, say=say)
    except foreign.CannotExport as error:
        raise Unusable(str(error)) from error


def _of_catalogue(name: str) -> Model | None:
    model = found(name, catalogue())
    if model and model.role != "classifier":
        raise Unusable(f"{name} answers, and cannot classify{nearest(name, _encoders())}")
    return model


def _encoders() -> list[str]:
    return [model.name for model in catalogue().values() if model.role == "classifier"]


def _is_of_the_hub(name: str) -> bool:
    """As `owner/name`, and not as a path that is not there."""
    return name.count("/") == 1 and not name.startswith(("/", ".", "~"))
