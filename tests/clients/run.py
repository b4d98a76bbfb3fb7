"""Every client, every scene, and the table of it in docs/compatibility.md.

    python tests/clients/run.py [NAME ...]     only these clients; what came of it is then printed, not written

The clients' environments are made under ~/.cache/weighbridge-clients ($WEIGHBRIDGE_CLIENTS): some 3 GB, once. Exits
with 1 where a scene fails.
"""

import sys
import tempfile
from pathlib import Path
from subprocess import CalledProcessError, run

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "clients")]

from clients import ALL, Client  # noqa: E402
from environments import ENVIRONMENTS  # noqa: E402
from scenes import SCENES  # noqa: E402
from stage import Absent, Program, Scene, Theatre  # noqa: E402
from table import Outcome, Run, document  # noqa: E402

DOCUMENT = ROOT / "docs" / "compatibility.md"


def version_of(client: Client) -> str:
    """What is installed. Raises CalledProcessError where it cannot be."""
    if client.environment:
        return ENVIRONMENTS[client.environment].make()
    if client.name == "curl":
        return run(["curl", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    raise LookupError(client.name)


def node() -> str:
    return run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip().removeprefix("v")


def outcome_of(theatre: Theatre, client: Client, scene: Scene, program: Program) -> Outcome:
    if not client.may_play(scene):
        return Outcome("other")
    if scene.name in client.own_ways:
        return Outcome("own", client.own_ways[scene.name])
    try:
        scene.run(theatre.stage(program))
    except Absent:
        return Outcome("absent")
    except AssertionError as error:
        return Outcome("failed", str(error))
    return Outcome("passed")


def run_of(client: Client, folder: Path) -> Run:
    try:
        version = version_of(client)
    except (CalledProcessError, OSError) as error:
        return Run(client.name, "", {}, f"cannot be installed: {str(getattr(error, 'stderr', error))[-300:]}")
    theatre = Theatre(folder)
    program = client.started()
    outcomes = {}
    try:
        for scene in SCENES:
            outcomes[scene.name] = outcome = outcome_of(theatre, client, scene, program)
            if outcome.kind == "failed":
                sys.stdout.write(f"  {client.name} {scene.name}: {outcome.why[:900]}\n")
    finally:
        program.stop()
        theatre.close()
    return Run(client.name, version, outcomes)


def main(names: list[str]) -> int:
    wanted = [client for client in ALL if not names or client.name in names]
    runs = []
    for client in wanted:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run_of(client, Path(folder)))
        sys.stdout.write(f"{runs[-1].summary}\n")
        sys.stdout.flush()
    if not names:
        DOCUMENT.write_text(document(runs, SCENES, node()), encoding="utf-8")
    return 1 if any(run.has_failed for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
