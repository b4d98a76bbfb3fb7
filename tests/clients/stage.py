"""The stage for one client: a gateway between it and two scripted servers, which keep every byte that they receive."""

import json
import select
import subprocess
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from running import UPSTREAM_KEY, RunningGateway, two_upstreams
from scripted import ScriptedUpstream, Seen
from serving import serving

from weighbridge.policies.base import Decision, Policy, Situation

SMALL, LARGE = "acme/small:1b", "large-1"  # a name that must be escaped in a URL, and one that need not
CLIENT_KEY = "sk-client-canary-9876543210"
PATIENCE_S = 60


class Absent(Exception):
    """The client has no such thing to offer, so there is nothing to prove."""


class Raised(Exception):
    """What the client raised. facts: status, code, param, message, headers, as far as the client tells them."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__(f"{facts['kind']}: {facts['message']}")
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        return self.facts.get(name)


class Turning(Policy):
    """The large model, then the small one, then the large one: a session that is not kept shows at its second turn."""

    _turns: Iterator[bool]

    def model_post_init(self, _: Any) -> None:
        self._turns = iter([True, False] * 1000)

    def decide(self, situation: Situation) -> Decision:
        small, large = situation.small, situation.large
        first, second = (large, small) if next(self._turns) else (small, large)
        return Decision(first, (second,), "always", "in turn")


@dataclass
class Program:
    """A client in a process and an environment of its own, which does one act after the other."""

    command: list[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None

    def act(self, act: str, place: dict[str, str], arguments: dict[str, Any]) -> dict[str, Any]:
        process = self._started()
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps({"act": act, "place": place, "arguments": arguments}) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], PATIENCE_S)[0]:
            self.stop()
            raise AssertionError(f"the client hangs: no word for {PATIENCE_S} s")
        line = process.stdout.readline()
        assert line, "the client's process has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self.command,
                env=dict(self.environ) or None,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._process

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class Theatre:
    """What outlives a scene: the two servers, and a gateway that no scene has harmed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._things = ExitStack()
        self.local = self._things.enter_context(ScriptedUpstream())
        self.remote = self._things.enter_context(ScriptedUpstream())
        self.common = self.open()

    def open(self, environ: Mapping[str, str] | None = None, **changes: Any) -> RunningGateway:
        config = two_upstreams(self.local.url, self.remote.url)
        config["upstreams"]["local"]["model"] = SMALL
        for name, table in changes.pop("upstreams", {}).items():
            config["upstreams"][name] |= table
        folder = self.folder / f"gateway-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        gateway = RunningGateway(folder, config | changes, environ)
        return self._things.enter_context(gateway)

    def stage(self, program: Program) -> "Stage":
        for upstream in (self.local, self.remote):
            upstream.seen.clear()
            upstream._queue.clear()
        self.local.always(serving(SMALL))
        self.remote.always(serving())
        return Stage(self, program)

    def close(self) -> None:
        self._things.close()


class Stage:
    """One scene's. It has the theatre's common gateway, unless the scene asks for one of its own with `own`."""

    def __init__(self, theatre: Theatre, program: Program) -> None:
        self.theatre = theatre
        self.local, self.remote = theatre.local, theatre.remote
        self.gateway = theatre.common
        self.key = CLIENT_KEY
        self.model = "auto"
        self._program = program

    def own(self, environ: Mapping[str, str] | None = None, **changes: Any) -> None:
        """A gateway of its own: for what others must not be harmed by, and for another config."""
        self.gateway = self.theatre.open(environ, **changes)

    def only_chat(self) -> None:
        """Both servers have nothing but chat completions."""
        self.own(upstreams={"local": {"endpoints": []}, "remote": {"endpoints": []}})

    def act(self, act: str, *, root_is_url: bool = False, **arguments: Any) -> dict[str, Any]:
        """Let the client do it. Raises Absent, or Raised with what the client raised."""
        gateway = self.gateway
        url = gateway.root if root_is_url else gateway.url
        place = {"url": url, "root": gateway.root, "key": self.key, "model": self.model}
        answer = self._program.act(act, place, arguments)
        if "absent" in answer:
            raise Absent(act)
        if "raised" in answer:
            raise Raised(answer["raised"])
        said: dict[str, Any] = answer["said"]
        assert UPSTREAM_KEY not in json.dumps(said)
        return said

    def fails(self, act: str, **arguments: Any) -> Raised:
        """Let the client do what must fail."""
        try:
            said = self.act(act, **arguments)
        except Raised as error:
            raised = error
        else:
            raise AssertionError(f"nothing was raised; the client got {str(said)[:300]}")
        told = str(raised.facts)
        assert UPSTREAM_KEY not in told
        assert not any(f":{upstream.port}" in told for upstream in (self.local, self.remote)), "an upstream's URL leaks"
        return raised

    @property
    def seen(self) -> list[Seen]:
        """Every request that reached a server."""
        return [*self.local.seen, *self.remote.seen]

    def check_secrets(self) -> None:
        """Nothing of the client's own must have reached a server."""
        for seen in self.seen:
            assert CLIENT_KEY.encode() not in seen.head + seen.body
            assert not seen.headers.keys() & {"cookie", "x-api-key"}


Play = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Scene:
    """One feature. guards: the public bugs that it would have caught."""

    group: str
    title: str
    guards: str
    play: Play

    @property
    def name(self) -> str:
        return self.play.__name__

    def run(self, stage: Stage) -> None:
        """Play it. An AssertionError says which bug is back."""
        try:
            self.play(stage)
            stage.check_secrets()
        except (AssertionError, Raised, KeyError, IndexError, TypeError) as error:
            guards = f" (guards against {self.guards})" if self.guards else ""
            line = traceback.extract_tb(error.__traceback__)[-1].line
            raise AssertionError(f"{self.title}{guards}: {type(error).__name__}: {error} at: {line}") from error


SCENES: list[Scene] = []


def scene(group: str, title: str, guards: str = "") -> Callable[[Play], Play]:
    """Put a scene on the programme."""

    def register(play: Play) -> Play:
        SCENES.append(Scene(group, title, guards, play))
        return play

    return register
