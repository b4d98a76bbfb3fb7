"""Codex CLI, headless: it speaks nothing but Responses, with its own tools."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from acting import Place, serve


class Failed(Exception):
    """What the command said before it gave up."""


def codex(place: Place, prompt: str) -> list[dict[str, Any]]:
    """The items that it worked on, as its --json tells them."""
    with tempfile.TemporaryDirectory() as folder:
        home, work = Path(folder, "home"), Path(folder, "work")
        home.mkdir()
        work.mkdir()
        Path(home, "config.toml").write_text(
            f'model = "{place.model}"\nmodel_provider = "gateway"\n'
            f'[model_providers.gateway]\nname = "gateway"\nbase_url = "{place.url}"\nenv_key = "GATEWAY_KEY"\n'
            'wire_api = "responses"\nrequest_max_retries = 0\nstream_max_retries = 0\n'
        )
        options = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json")
        done = subprocess.run(
            ["codex", "exec", *options, "--cd", str(work), prompt],
            env={**os.environ, "CODEX_HOME": str(home), "GATEWAY_KEY": place.key},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        wrong = [event.get("message") or event.get("error", {}).get("message") for event in events]
        raise Failed("; ".join(filter(None, wrong)) or done.stderr[-500:])
    return [event["item"] for event in events if event["type"] == "item.completed"]


def agent(place: Place, prompt: str) -> dict[str, Any]:
    items = codex(place, prompt)
    return {
        "text": [item["text"] for item in items if item["type"] == "agent_message"][-1],
        "outputs": [item["aggregated_output"] for item in items if item["type"] == "command_execution"],
    }


serve(globals())
