"""The clients: where each lives, and how its program is started."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    own_ways: Mapping[str, str] = field(default_factory=dict)  # what it does otherwise, whoever it talks to

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

_NUMBERS = {"big_integers": "JavaScript's numbers end at 2^53, so the client itself rounds them"}

QUICK = (
    Client("openai-python", "openai_sdk.py", None, _OPENAI),
    Client("anthropic-python", "anthropic_sdk.py", None, _ANTHROPIC),
    *((Client("curl", "curl_command.py", None, _OPENAI | _ANTHROPIC),) if shutil.which("curl") else ()),
)

ALL = (
    Client("openai-python", "openai_sdk.py", "openai-1", _OPENAI),
    Client("openai-python", "openai_sdk.py", "openai-2", _OPENAI),
    Client("openai-python", "openai_sdk.py", "openai-3", _OPENAI),
    Client("openai-node", "openai_node.mjs", "openai-node-previous", _OPENAI, _NUMBERS),
    Client("openai-node", "openai_node.mjs", "openai-node", _OPENAI, _NUMBERS),
    Client("anthropic-python", "anthropic_sdk.py", "anthropic-0", _ANTHROPIC),
    Client("anthropic-python", "anthropic_sdk.py", "anthropic-1", _ANTHROPIC),
    Client("anthropic-python", "anthropic_sdk.py", "anthropic-2", _ANTHROPIC),
    Client("anthropic-node", "anthropic_node.mjs", "anthropic-node", _ANTHROPIC),
    Client("langchain", "langchain_py.py", "langchain"),
    Client("langchain-js", "langchain_js.mjs", "langchain-js"),
    Client("llama-index", "llama_index_py.py", "llama-index"),
    Client("instructor", "instructor_py.py", "instructor"),
    Client("pydantic-ai", "pydantic_ai_py.py", "pydantic-ai"),
    Client("litellm", "litellm_sdk.py", "litellm"),
    Client("openai-agents", "openai_agents_py.py", "openai-agents"),
    Client("vercel-ai", "vercel_ai.mjs", "vercel-ai"),
    Client("llm", "llm_command.py", "llm"),
    Client("codex", "codex_command.py", "codex"),
    Client("claude-code", "claude_code_command.py", "claude-code"),
    Client("curl", "curl_command.py", None, _OPENAI | _ANTHROPIC),
)
