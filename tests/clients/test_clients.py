"""Real clients through a real gateway: those of the project's own environment. `just clients` runs all of them."""

from collections.abc import Iterator

import pytest
from clients import QUICK, Client
from scenes import SCENES
from stage import Absent, Program, Scene, Theatre


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    opened = Theatre(tmp_path_factory.mktemp("theatre"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, Program]]:
    """Started on their first act; loading a client takes longer than all that it does here."""
    started = {client.name: client.started() for client in QUICK}
    yield started
    for program in started.values():
        program.stop()


def playing(client: Client) -> list[Scene]:
    return [scene for scene in SCENES if client.may_play(scene)]


@pytest.mark.parametrize(
    ("client", "scene"),
    [pytest.param(client, scene, id=f"{client.name}-{scene.name}") for client in QUICK for scene in playing(client)],
)
def test_the_client_gets_what_it_asks_for(
    theatre: Theatre, programs: dict[str, Program], client: Client, scene: Scene
) -> None:
    try:
        scene.run(theatre.stage(programs[client.name]))
    except Absent as absent:
        pytest.skip(f"{client.name} does not offer {absent}")
