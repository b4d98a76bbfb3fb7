"""A gateway in a process of its own, started by its command: neither its limits nor its processor are the test's."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from running import UPSTREAM_KEY, toml_of


class ServedGateway:
    """Start it with `with`. What it says while it serves is in `complaints`."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self._path = folder / "config.toml"
        self._said = folder / "said.txt"
        ledger = {"use": "sqlite", "path": str(folder / "ledger.db")}
        self._path.write_text(toml_of({"schema_version": 1, "ledger": ledger, **config}))

    def __enter__(self) -> "ServedGateway":
        command = [sys.executable, "-m", "weighbridge", "serve", "--config", str(self._path), "--port", "0"]
        environ = {**os.environ, "TEST_UPSTREAM_KEY": UPSTREAM_KEY}
        with self._said.open("w") as said:
            self._process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=said, text=True)
        assert self._process.stdout
        line = self._process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/v1", line)
        assert found, f"{line}{self.complaints}"
        self.port = int(found[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)

    @property
    def complaints(self) -> str:
        return self._said.read_text()
