"""`weighbridge serve`: bind, load, announce, answer until told to stop."""

import asyncio
import logging
import math
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import typer
import uvicorn
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from weighbridge.app import Application, create_app
from weighbridge.cli import pids, ports
from weighbridge.config import Config, ConfigError, load, require_keys
from weighbridge.connections import Connection, Limits
from weighbridge.ledger.base import Ledger
from weighbridge.telemetry import configure_logging

log = logging.getLogger(__name__)

BACKLOG = 2048
FILES = 65536
_EACH_BY_ITSELF = (
    "each of the %d workers counts the budgets by itself, so %d times as much may pass: "
    '[state] use = "redis" makes them count together'
)
SILENT_S = 30  # a worker that says nothing for so long is started anew; one that is being loaded says nothing
_START_FAILED = 3  # uvicorn's word for a worker that need not be tried again


def run(path: Path, *, host: str | None, port: int | None, workers: int) -> bool:
    """Serve until a signal comes; False when the gateway could not start. Raises ConfigError and CannotOpen."""
    _use(path, host, port)
    try:
        config = _config()
    except ConfigError as error:
        raise ConfigError([_by_option(problem, host, port) for problem in error.problems]) from error
    configure_logging(as_json=not sys.stderr.isatty())
    logging.getLogger("uvicorn.error").addFilter(_last_line)
    if workers == 1:
        app = create_app(config, read_again=_config)
        listener = _bound(config)
        with pids.noted(path):
            return listener is not None and _serve(app, config, listener)
    os.environ["WEIGHBRIDGE_ENERGY__MEASURE"] = "false"  # each of them would count the whole machine
    # What is wrong with these is better said once, and not by every worker.
    require_keys(config, os.environ)
    if config.needs_classifier:
        config.make_classifier()
    asyncio.run(_open_once(config.ledger))
    if config.budgets and not config.state.is_shared:
        log.warning(_EACH_BY_ITSELF, workers, workers)
    listener = _bound(config)
    with pids.noted(path):
        return listener is not None and _supervise(config, listener, workers)


def _end_with_parent() -> None:
    """A worker whose supervisor was killed would hold the port, and nobody would stop it."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


async def _open_once(ledger: Ledger) -> None:
    await ledger.aopen()
    await ledger.aclose()


def worker() -> Application:
    """One of several processes: it finds its config as its parent did, in the environment."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    configure_logging(as_json=not sys.stderr.isatty())
    logging.getLogger("uvicorn.error").addFilter(_last_line)
    try:
        return create_app(_config(), read_again=_config, is_worker=True)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        sys.exit(_START_FAILED)


def _use(path: Path, host: str | None, port: int | None) -> None:
    """Options go into the environment, where the workers find them, too."""
    os.environ["WEIGHBRIDGE_CONFIG"] = str(path)
    if host is not None:
        os.environ["WEIGHBRIDGE_SERVER__HOST"] = host
    if port is not None:
        os.environ["WEIGHBRIDGE_SERVER__PORT"] = str(port)


def _by_option(problem: str, host: str | None, port: int | None) -> str:
    """What was given as an option is called so."""
    for option, value in (("host", host), ("port", port)):
        if value is not None:
            problem = problem.replace(f"environment variable WEIGHBRIDGE_SERVER__{option.upper()}", f"--{option}")
    return problem


def _config() -> Config:
    return load(Path(os.environ["WEIGHBRIDGE_CONFIG"]), os.environ)


def _bound(config: Config) -> socket.socket | None:
    """The listening socket; None, and a sentence on stderr, when it cannot be had."""
    host, port = config.server.host, config.server.port
    try:
        listener = ports.bound(host, port)
    except OSError as error:
        remedy = "is a gateway running already? `weighbridge doctor` tells; --port takes another"
        typer.echo(f"Cannot listen on {host}:{port}: {error.strerror or error}; {remedy}.", err=True)
        return None
    listener.set_inheritable(True)
    return listener


def settings(app: Any, config: Config, **more: Any) -> uvicorn.Config:
    """How uvicorn runs a gateway."""
    connection: Any = partial(Connection, limits=Limits.of(config.server, _files()))
    return uvicorn.Config(
        app,
        http=connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=config.server.idle_timeout_s,  # type: ignore[arg-type]  # the loop takes fractions
        timeout_graceful_shutdown=math.ceil(config.server.drain_s),
        timeout_worker_healthcheck=SILENT_S,
        **more,
    )


def _files() -> float:
    """How many files, connections among them, this process may have open: raised as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # some systems name a limit that they do not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return math.inf if soft == resource.RLIM_INFINITY else soft


def _serve(app: Application, config: Config, listener: socket.socket) -> bool:
    server = _Server(settings(app, config), lambda: _announce(config, listener))
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal again once all is closed; by then there is nothing left to do.
        signal.signal(number, lambda *_: None)
    try:
        server.run(sockets=[listener])
    except SystemExit:  # it could not start, and has said why
        return False
    return server.started


def _supervise(config: Config, listener: socket.socket, workers: int) -> bool:
    chosen = settings("weighbridge.cli.serve:worker", config, factory=True, workers=workers)
    supervisor = _Supervisor(chosen, [listener])
    supervisor.when_ready = (_base_url(config, listener), lambda: _announce(config, listener))
    supervisor.run()
    return not any(process.exitcode == _START_FAILED for process in supervisor.processes)


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()


class _Supervisor(Multiprocess):
    """Says when the first worker answers, and lets a second SIGTERM hurry them."""

    when_ready: tuple[str, Callable[[], None]] | None = None

    def handle_term(self) -> None:
        if self.should_exit.is_set():
            self.signal_queue.append(signal.SIGTERM)  # for join_all
        super().handle_term()

    def join_all(self) -> None:
        while alive := [process for process in self.processes if process.process.is_alive()]:
            if signal.SIGTERM in self.signal_queue:
                self.signal_queue.clear()
                _tell(alive, signal.SIGQUIT)
            alive[0].process.join(0.1)

    def handle_hup(self) -> None:
        """Let each worker read the config again; they judge it as a single gateway would."""
        _tell(self.processes, signal.SIGHUP)

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        if self.when_ready and _answers(self.when_ready[0]):
            self.when_ready[1]()
            self.when_ready = None


def _tell(workers: Sequence[Process], number: signal.Signals) -> None:
    for worker in workers:
        if worker.pid is not None:
            os.kill(worker.pid, number)


def _answers(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base_url}/health/live", timeout=1):  # noqa: S310  # our own http address
            return True
    except OSError:
        return False


def _base_url(config: Config, listener: socket.socket) -> str:
    """Where this machine reaches us."""
    return ports.url(config.server.host, listener.getsockname()[1])


def _announce(config: Config, listener: socket.socket) -> None:
    routes = ", ".join(config.routes)
    ledger = getattr(config.ledger, "path", type(config.ledger).__name__.lower())
    typer.echo(
        f"Weighbridge is ready: {_base_url(config, listener)}/v1 (routes: {routes}; ledger: {ledger}; Ctrl-C stops it)"
    )


def _last_line(record: logging.LogRecord) -> bool:
    """A start that failed logs a whole traceback, of which the last line says why, and then that it failed."""
    message = record.getMessage()
    if message.startswith("Application startup failed"):
        return False
    if "Traceback (most recent call last)" in message:
        kind, _, why = message.strip().splitlines()[-1].partition(": ")
        record.msg, record.args = (why or kind), ()
    return True
