"""simonw/llm: the command, with the gateway among its extra OpenAI models."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from acting import Place, serve


class Failed(Exception):
    """What the command said before it gave up."""


def llm(place: Place, *arguments: str, **more: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        model = {"model_id": "gateway", "model_name": place.model, "api_base": place.url, "api_key_name": "gateway"}
        # YAML is JSON with fewer marks.
        Path(folder, "extra-openai-models.yaml").write_text(json.dumps([model | more]))
        Path(folder, "keys.json").write_text(json.dumps({"gateway": place.key}))
        command = str(Path(sys.executable).parent / "llm")
        done = subprocess.run(
            [command, *arguments, "--model", "gateway"],
            env={**os.environ, "LLM_USER_PATH": folder},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise Failed(done.stderr.strip())
    return done.stdout.strip()


def chat(place: Place, prompt: str) -> dict[str, Any]:
    return {"text": llm(place, "prompt", prompt, "--no-stream")}


def stream(place: Place, prompt: str) -> dict[str, Any]:
    return {"text": llm(place, "prompt", prompt)}


def parse(place: Place, prompt: str) -> dict[str, Any]:
    return {"parsed": json.loads(llm(place, "prompt", prompt, "--schema", "name, people int", supports_schema=True))}


def complete_stream(place: Place, prompt: str) -> dict[str, Any]:
    return {"text": llm(place, "prompt", prompt, completion=True), "finishes": ["stop"], "usages": []}


serve(globals())
