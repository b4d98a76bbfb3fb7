"""A whole gateway on loopback, in a thread of this process: the real application on the real server."""

import asyncio
import json
import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn

from weighbridge.app import create_app
from weighbridge.cli.serve import settings
from weighbridge.config import load

UPSTREAM_KEY = "sk-upstream-canary-0123456789"


def toml_of(table: Mapping[str, Any]) -> str:
    """A nested dict as TOML: JSON's scalars, arrays and inline tables are near enough."""
    return "\n".join(f"{key} = {_value(value)}" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return json.dumps(value)


def two_upstreams(local: str, remote: str, **changes: Any) -> dict[str, Any]:
    """A config with a free local upstream and a priced remote one, and a constant score below the threshold."""
    limits = {"connect_s": 1, "first_token_s": 2, "idle_s": 2, "total_s": 10}
    return {
        "upstreams": {
            "local": {
                "use": "openai",
                "base_url": local,
                "model": "small-1",
                "location": "local",
                "input_usd_per_mtok": "0",
                "output_usd_per_mtok": "0",
                "limits": limits,
            },
            "remote": {
                "use": "openai",
                "base_url": remote,
                "model": "large-1",
                "location": "remote",
                "api_key_env": "TEST_UPSTREAM_KEY",
                "input_usd_per_mtok": "0.25",
                "output_usd_per_mtok": "2",
                "limits": limits,
            },
        },
        "classifier": {"use": "constant", "score": 0.2},
        "routes": {"auto": {"small": "local", "large": "remote", "policy": {"use": "threshold", "threshold": 0.5}}},
        **changes,
    }


class RunningGateway:
    """Start it with `with`. The ledger is a file in `folder`."""

    def __init__(self, folder: Path, config: dict[str, Any], environ: Mapping[str, str] | None = None) -> None:
        self.ledger_path = folder / "ledger.db"
        self.config_path = folder / "config.toml"
        self._config = {"schema_version": 1, "ledger": {"use": "sqlite", "path": str(self.ledger_path)}, **config}
        self.config_path.write_text(toml_of(self._config))
        os.environ["TEST_UPSTREAM_KEY"] = UPSTREAM_KEY
        environ = environ or {}
        loaded = load(self.config_path, environ)
        self.app = create_app(loaded, environ, read_again=lambda: load(self.config_path, environ))
        self._server = uvicorn.Server(settings(self.app, loaded, port=0))
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> "RunningGateway":
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the gateway did not start")
            self._thread.join(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.root}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    def reload(self, **changes: Any) -> list[str]:
        """Change these tables of the config under it. Returns what is wrong with them."""
        self.config_path.write_text(toml_of({**self._config, **changes}))
        loop = self._server.servers[0].get_loop()
        return asyncio.run_coroutine_threadsafe(self.app.reload(), loop).result(30)

    def rows(self, table: str = "requests") -> list[dict[str, Any]]:
        """The ledger's rows, oldest first."""
        with sqlite3.connect(f"file:{self.ledger_path}?mode=ro", uri=True) as db:
            db.row_factory = sqlite3.Row
            order = {"requests": "created_at", "attempts": "started_at, attempt_no"}[table]
            rows = [dict(row) for row in db.execute(f"SELECT * FROM {table} ORDER BY {order}")]  # noqa: S608
        db.close()
        return rows
