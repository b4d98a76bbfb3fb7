"""Claude Code, headless: it speaks Messages, with its own tools."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from acting import Place, serve


class Failed(Exception):
    """What the command said before it gave up."""


def wrapper() -> Path:
    """Its way without the script that npm would have run after the installation."""
    installed = shutil.which("claude")
    assert installed, "claude is not installed"
    return Path(installed).resolve().parents[1] / "cli-wrapper.cjs"


def agent(place: Place, prompt: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        quiet = ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY", "IS_SANDBOX")
        environ = {
            **os.environ,
            **dict.fromkeys(quiet, "1"),
            "HOME": folder,
            "CLAUDE_CONFIG_DIR": folder,
            "ANTHROPIC_BASE_URL": place.root,
            "ANTHROPIC_AUTH_TOKEN": place.key,
            "CLAUDE_CODE_MAX_RETRIES": "0",
        }
        command = [
            "node",
            str(wrapper()),
            "--print",
            prompt,
            "--model",
            place.model,
            "--output-format",
            "stream-json",
            "--verbose",
        ]
        done = subprocess.run(
            [*command, "--dangerously-skip-permissions"],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    results = [event for event in events if event.get("type") == "result"]
    if done.returncode or not results or results[-1].get("is_error"):
        raise Failed(results[-1].get("result") if results else done.stderr[-500:] or done.stdout[-500:])
    blocks = [
        block
        for event in events
        if event.get("type") == "user" and isinstance(event["message"]["content"], list)
        for block in event["message"]["content"]
    ]
    return {
        "text": results[-1]["result"],
        "outputs": [json.dumps(block["content"]) for block in blocks if block.get("type") == "tool_result"],
    }


serve(globals())
