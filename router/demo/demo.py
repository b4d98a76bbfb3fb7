"""`weighbridge demo`: the real gateway and classifier, two simulated models, a working day's prompts, the report.

Nothing leaves the machine and no key is needed. What is simulated is said where it is shown.
"""

import asyncio
import json
import socket
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import uvicorn
from rich.console import Console
from rich.text import Text

from weighbridge.app import create_app
from weighbridge.cli import ports, report
from weighbridge.config import load
from weighbridge.demo.screen import Screen
from weighbridge.demo.traffic import Prompt, sample, send

HOST = "127.0.0.1"
GRACE_S = 3  # how long an answer may still take once the demo ends

# What the two stand for. Their speeds and prices are assumptions, made on 2026-11-21:
# - local: a model of 3 billion parameters at 4 bits on a laptop-class machine, a quarter of a second to the first
#   token, then 60 tokens/s. It is charged for the seconds that it works: 60 W at 0.30 USD/kWh, and a machine of
#   1,500 USD over three years in which it works a fifth of the time.
# - remote: a frontier model at the public price of gpt-5 in the price map inside litellm 1.106.2 (its source:
#   developers.openai.com/api/docs/pricing), at the speed that artificialanalysis.ai measured for gpt-5 with minimal
#   reasoning at OpenAI: 0.9 s to the first token, then 80 tokens/s.
CONFIG = """\
schema_version = 1

[server]
host = "127.0.0.1"
port = {port}

[upstreams.local]
use = "simulated"
model = "simulated-3b"
location = "local"
ttft_s = 0.25
tokens_per_s = 60
speed = {speed}
electricity = {{ watts = 60, usd_per_kwh = "0.30", hardware_usd = "1500", amortise_years = 3, utilisation = 0.2 }}

[upstreams.remote]
use = "simulated"
model = "simulated-frontier"
location = "remote"
ttft_s = 0.9
tokens_per_s = 80
speed = {speed}
input_usd_per_mtok = "1.25"
output_usd_per_mtok = "10"

[classifier]
use = "minilm"
time_limit_s = 5

[routes.auto]
small = "local"
large = "remote"
baseline = "remote"
policy = {{ use = "threshold" }}

[ledger]
use = "sqlite"
path = {ledger}
"""

_OPENING = """\
Weighbridge demo: {count} prompts of a working day, sent to the model "auto" over HTTP.
Real: the gateway, the classifier, the policy, the ledger, the report.
Simulated: both models. They make up their answers, at the pace and price of a 3B model on a laptop and
of a frontier model. So this shows where prompts go, and what that costs and takes; it cannot show whether
the answers are good enough.
"""

_CLOSING = """
The models were simulated: time and money follow from declared speeds and prices, every answer came as fast as
from a model that has nothing else to do, and quality was not measured.
"""


class DemoFailed(Exception):
    """The gateway did not start, or did not answer every prompt."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays. speed: of the simulated models; 1 is their real pace."""

    console: Console
    folder: Path
    listener: socket.socket
    speed: float = 1

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def config_path(self) -> Path:
        return self.folder / "config.toml"


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.is_ready.set()


def run(*, serve: bool, port: int) -> None:
    """Run the demo; with `serve` the gateway stays up on that port until Ctrl-C. Exits with 1 where it cannot."""
    try:
        listener = ports.bound(HOST, port if serve else 0)
    except OSError as error:
        typer.echo(f"Cannot listen on {HOST}:{port}: {error.strerror or error}; --port takes another.", err=True)
        raise typer.Exit(1) from None
    with closing(listener), tempfile.TemporaryDirectory(prefix="weighbridge-demo-") as folder:
        stage = Stage(Console(highlight=False), Path(folder), listener)
        try:
            asyncio.run(play(stage, sample(), is_staying=serve))
        except DemoFailed as failure:
            typer.echo(str(failure), err=True)
            raise typer.Exit(1) from None


async def play(stage: Stage, prompts: Sequence[Prompt], *, is_staying: bool) -> None:
    """Serve, send the prompts, show the report, say how to go on."""
    ledger = json.dumps(str(stage.folder / "ledger.db"))
    stage.config_path.write_text(CONFIG.format(port=stage.port, speed=stage.speed, ledger=ledger), encoding="utf-8")
    stage.console.print(_OPENING.format(count=len(prompts)), soft_wrap=True)
    app = create_app(load(stage.config_path, {}), {})
    quietly: dict[str, Any] = {"log_config": None, "access_log": False, "ws": "none", "lifespan": "on"}
    server = _Server(uvicorn.Config(app, **quietly, timeout_graceful_shutdown=GRACE_S))
    serving = asyncio.create_task(server.serve(sockets=[stage.listener]))
    try:
        await _unless_it_ends(serving, server.is_ready.wait())
        with Screen(stage.console, len(prompts)) as screen:
            await _unless_it_ends(serving, send(f"{ports.url(HOST, stage.port)}/v1", prompts, screen.add))
        _tell(stage, screen, is_staying=is_staying)
        if is_staying:
            # Ctrl-C ends the server, and cancels us.
            with suppress(asyncio.CancelledError):
                await serving
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


async def _unless_it_ends(serving: "asyncio.Task[None]", act: Coroutine[Any, Any, object]) -> None:
    """Do it, unless the server ends first: at Ctrl-C, or because it could not start."""
    acting = asyncio.ensure_future(act)
    await asyncio.wait((acting, serving), return_when=asyncio.FIRST_COMPLETED)
    if not acting.done():
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)
        raise DemoFailed("The gateway ended before the demo did.")
    await acting


def _tell(stage: Stage, screen: Screen, *, is_staying: bool) -> None:
    """The report, with what it can and cannot show. Raises DemoFailed where a prompt got no answer."""
    if screen.failed:
        first = screen.failed[0]
        raise DemoFailed(f"{len(screen.failed)} prompts got no answer; the first one's status is {first.status}.")
    local, remote = screen.went["local"], screen.went["remote"]
    stage.console.print(f"All answered: {local} by the local model, {remote} by the frontier model.\n")
    report.run(stage.config_path, since=None, until=None, by=None, form="table", output=None)
    stage.console.print(_CLOSING, soft_wrap=True)
    _invite(stage, is_staying=is_staying)


def _invite(stage: Stage, *, is_staying: bool) -> None:
    """How to go on oneself."""
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "What is the capital of Norway?"}]})
    address = ports.url(HOST, stage.port if is_staying else 8484)
    curl = f"curl -i {address}/v1/chat/completions -H 'content-type: application/json' -d '{body}'"
    if is_staying:
        before = "The gateway stays up; Ctrl-C stops it. Ask it something, and look at the x-weighbridge- headers:"
        after = f"Its report, from another terminal: weighbridge report --config {stage.config_path}"
    else:
        before = "`weighbridge demo --serve` keeps it running. Then ask it something yourself:"
        after = "With models of your own: `weighbridge init` looks for them, and writes a config.toml."
    stage.console.print(Text(f"{before}\n\n  {curl}\n\n{after}"), soft_wrap=True)
