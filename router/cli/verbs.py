"""What every verb shares: the options that mean the same everywhere, exit codes, and refusals in words."""
# ruff: noqa: PLC0415
# Imports inside: `weighbridge --help` must not wait for what only a gateway or a report needs.

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

BROKEN, USAGE, BAD_CONFIG, INTERRUPTED = 1, 2, 78, 130

Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="WEIGHBRIDGE_CONFIG", help="The config file.", show_envvar=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DEFAULT = Path("config.toml")


@contextmanager
def in_words() -> Iterator[None]:
    """Say what could be foreseen in a sentence, and end with the exit code that it has."""
    from weighbridge.config import ConfigError
    from weighbridge.keys import KeysError
    from weighbridge.learning.refusals import Unusable
    from weighbridge.ledger.base import CannotOpen

    try:
        yield
    except ConfigError as error:
        end(error.problems, BAD_CONFIG)
    except (CannotOpen, KeysError) as error:
        end([str(error)], BROKEN)
    except Unusable as error:
        end([str(error)], USAGE)
    except KeyboardInterrupt:
        end([], INTERRUPTED)


def end(sentences: list[str], code: int) -> NoReturn:
    for sentence in sentences:
        typer.echo(sentence, err=True)
    raise typer.Exit(code)


def done(is_fine: bool) -> None:
    raise typer.Exit(0 if is_fine else BROKEN)
