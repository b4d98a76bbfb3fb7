"""The command, in this process and as one of its own; a config that needs no model; small servers on loopback."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from commanding import CONFIG, THRESHOLD, ConfigFile
from typer.testing import CliRunner

from weighbridge.cli.commands import app


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


Weighbridge = Callable[..., Awaitable[Ended]]


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what would change the outcome."""
    ours = re.compile(r"WEIGHBRIDGE_|OLLAMA_|COLUMNS|.*_API_KEY$")
    return {**{k: v for k, v in os.environ.items() if not ours.match(k)}, "COLUMNS": "120", **more}


@pytest.fixture
def config(tmp_path: Path) -> ConfigFile:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.replace("THRESHOLD", str(THRESHOLD)))
    return ConfigFile(path)


@pytest.fixture
def weighbridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weighbridge:
    """Run the command in this process, in a folder of its own."""
    for name in os.environ.keys() - _environment({}).keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)

    async def run(*arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Ended:
        # In a thread: the command has an event loop of its own, beside the one of the test's servers.
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=dict(env or {}), input=stdin)
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
        return Ended(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def weighbridge_process(tmp_path: Path) -> Weighbridge:
    """Run the command as a user does, to its end."""

    async def run(*arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Ended:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "weighbridge", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env=_environment(env or {}),
        )
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert "Traceback" not in err.decode(), err.decode()
        return Ended(process.returncode or 0, out.decode(), err.decode())

    return run


@dataclass(slots=True)
class Serving:
    """A gateway under way."""

    process: asyncio.subprocess.Process
    line: str
    base_url: str

    async def end(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        self.process.send_signal(number)
        out, err = await asyncio.wait_for(self.process.communicate(), 60)
        return Ended(self.process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Serving]]]:
    """Start `weighbridge serve`, and wait until it says that it is ready."""
    started: list[asyncio.subprocess.Process] = []

    async def start(*arguments: str, env: Mapping[str, str] | None = None, files: int | None = None) -> Serving:
        within = ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh") if files else ()
        process = await asyncio.create_subprocess_exec(
            *(*within, sys.executable, "-m", "weighbridge", "serve", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env=_environment(env or {}),
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        found = re.search(r"http://\S+/v1", line)
        assert found, line or (await process.communicate())[1].decode()
        return Serving(process, line, found[0])

    yield start
    for process in started:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # its workers, too
            await process.communicate()


Answers = Mapping[str, Any]
Listening = Callable[[Answers], Awaitable[str]]


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    """A server on loopback that answers a path with a JSON value or with raw bytes, and every other one with 404."""
    runners: list[web.AppRunner] = []

    async def start(answers: Answers) -> str:
        async def answer(request: web.Request) -> web.Response:
            if request.path not in answers:
                raise web.HTTPNotFound
            found = answers[request.path]
            return web.Response(body=found) if isinstance(found, bytes) else web.json_response(found)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()
