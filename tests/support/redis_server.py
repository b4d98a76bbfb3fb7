"""A real Redis for the tests: on a free port, in a temporary folder, to be frozen, killed and started again."""

import atexit
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import redis

VARIABLE = "WEIGHBRIDGE_REDIS_URL"

_numbers = itertools.count()


def require() -> None:
    """Without Redis the test is skipped, but never in CI."""
    if shutil.which("redis-server") is None:
        words = "Redis is not installed: apt-get install redis-server"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)


def _free_port() -> int:
    """Below those that the system gives to whoever connects: a server that is started again finds its port free."""
    while True:
        port = random.randrange(20000, 30000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class RedisServer:
    """Start it with `with`. options: those of redis.conf."""

    def __init__(self, **options: str) -> None:
        require()
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="weighbridge-redis-", dir="/tmp"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> "redis.Redis":
        """An outsider's connection."""
        return redis.Redis(port=self.port, decode_responses=True, socket_timeout=10)

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, **options: str) -> None:
        """Start it, empty."""
        common = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(self._folder)}
        command = ["redis-server"]
        for name, value in {**common, **self._options, **options}.items():
            command += [f"--{name}", value]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        while not self._answers():
            if self._process.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text())

    def _answers(self) -> bool:
        """It takes connections; what it says to them is the test's affair."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It takes connections and bytes, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    def run(self, *command: Any, password: str | None = None) -> Any:
        with redis.Redis(port=self.port, password=password, decode_responses=True, socket_timeout=10) as client:
            return client.execute_command(*command)

    def remove_folder(self) -> None:
        """So that it cannot save."""
        shutil.rmtree(self._folder)


@cache
def _shared() -> RedisServer:
    server = RedisServer()
    atexit.register(server.__exit__)
    server.start()
    return server


def running() -> RedisServer:
    """A server for all tests that do it no harm. Each takes a prefix of its own."""
    require()
    return _shared()


def new_prefix() -> str:
    return f"test-{os.getpid()}-{next(_numbers)}"
