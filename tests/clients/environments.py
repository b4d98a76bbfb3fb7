"""The environments that the clients live in: one folder for each, made once, outside the project's own.

A client's newest releases are what its users have, so nothing is pinned beyond a major version; what was installed
stands in the table that the run writes. Delete a folder to have its client anew.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HOME = Path(os.environ.get("WEIGHBRIDGE_CLIENTS", Path.home() / ".cache" / "weighbridge-clients"))


@dataclass(frozen=True, slots=True)
class Environment:
    """What is installed together. packages: as pip or npm takes them; the first one's version is the client's."""

    name: str
    packages: tuple[str, ...]
    kind: str = "python"  # or "node"

    @property
    def folder(self) -> Path:
        return HOME / self.name

    def make(self) -> str:
        """The version of the client. Raises CalledProcessError where it cannot be installed."""
        mark = self.folder / "made.json"
        wanted = json.dumps(self.packages)
        if not mark.exists() or mark.read_text() != wanted:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._install()
            mark.write_text(wanted)
        return self._version()

    def _install(self) -> None:
        if self.kind == "node":
            (self.folder / "package.json").write_text('{"private": true, "type": "module"}')
            # What a package would run while it is installed is not needed by any of these.
            _run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *self.packages, cwd=self.folder)
        else:
            _run(sys.executable, "-m", "venv", "--clear", str(self.folder))
            _run(self.python, "-m", "pip", "install", "--quiet", *self.packages)

    def _version(self) -> str:
        name = _bare(self.packages[0])
        if self.kind == "node":
            return str(json.loads((self.folder / "node_modules" / name / "package.json").read_text())["version"])
        asking = f"from importlib.metadata import version; print(version({name!r}))"
        return _run(self.python, "-c", asking).strip()

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")


def _bare(package: str) -> str:
    """`openai` of "openai>=1,<2", `@scope/name` of "@scope/name@5"."""
    for mark in ("[", "<", ">", "="):
        package = package.partition(mark)[0]
    scope, name = package[:1], package[1:]
    return scope + name.partition("@")[0]


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr[-2000:])
    return done.stdout


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("openai-1", ("openai>=1,<2",)),
        Environment("openai-2", ("openai>=2,<3",)),
        Environment("openai-3", ("openai>=3,<4",)),
        Environment("anthropic-0", ("anthropic<1",)),
        Environment("anthropic-1", ("anthropic>=1,<2",)),
        Environment("anthropic-2", ("anthropic>=2,<3",)),
        Environment("langchain", ("langchain-openai", "langchain-anthropic")),
        Environment("llama-index", ("llama-index-llms-openai-like", "llama-index-embeddings-openai-like")),
        Environment("instructor", ("instructor",)),
        Environment("pydantic-ai", ("pydantic-ai-slim[openai,anthropic]",)),
        Environment("litellm", ("litellm", "mcp")),  # it imports mcp wherever there are tools
        Environment("openai-agents", ("openai-agents",)),
        Environment("llm", ("llm",)),
        Environment("openai-node", ("openai@7", "zod"), "node"),
        Environment("openai-node-previous", ("openai@6", "zod"), "node"),
        Environment("anthropic-node", ("@anthropic-ai/sdk",), "node"),
        Environment(
            "vercel-ai", ("ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible", "@ai-sdk/anthropic", "zod"), "node"
        ),
        Environment("langchain-js", ("@langchain/openai", "@langchain/core", "zod"), "node"),
        Environment("codex", ("@openai/codex",), "node"),
        Environment("claude-code", ("@anthropic-ai/claude-code",), "node"),
    )
}
