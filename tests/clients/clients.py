"""The clients: where each lives, and how its program is started."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from environments import ENVIRONMENTS
from stage import Program, Scene

PROGRAMS = Path(__file__).parent / "programs"

# What the clients themselves look for in the environment would lead them past the gateway, or tell them a key.
_NOT_PASSED = ("OPENAI_", "ANTHROPIC_", "CLAUDE", "CODEX", "LITELLM_", "LANGCHAIN_", "LANGSMITH_", "LLM_")


@dataclass(frozen=True, slots=True)
class Client:
    """One column of the table. environment: None for what this very interpreter, or the machine, has."""

    name: str
    program: str
    environment: str | None
    groups: frozenset[str] = frozenset()  # of scenes, the only ones that it is for; none: all of them

    def may_play(self, scene: Scene) -> bool:
        return not self.groups or scene.group in self.groups

    def started(self) -> Program:
        """Its program, ready to start; the environment must have been made."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED)}
        source = PROGRAMS / self.program
        if self.environment is None:
            return Program([sys.executable, str(source)], environ)
        environment = ENVIRONMENTS[self.environment]
        bare = {k: v for k, v in environ.items() if k != "PYTHONPATH"}
        if environment.kind == "python":
            return Program([environment.python, str(source)], bare)
        if source.suffix == ".py":  # a command of node's, driven from here
            bare["PATH"] = f"{environment.folder / 'node_modules' / '.bin'}{os.pathsep}{bare['PATH']}"
            return Program([sys.executable, str(source)], bare)
        # Node looks for packages beside the file that imports them.
        for file in (PROGRAMS / "acting.mjs", source):
            shutil.copy(file, environment.folder)
        return Program(["node", str(environment.folder / source.name)], bare)


_CHAT = frozenset({"Chat completions", "Tools", "Errors"})
_OPENAI = _CHAT | {"Responses", "Text completions", "Embeddings", "Models", "Moderations, audio, pictures"}
_ANTHROPIC = frozenset({"Messages"})

QUICK = (
    Client("openai-python", "openai_sdk.py", None, _OPENAI),
    Client("anthropic-python", "anthropic_sdk.py", None, _ANTHROPIC),
    Client("curl", "curl_command.py", None),
)
