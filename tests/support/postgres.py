"""A real PostgreSQL server for the tests: in a temporary folder, on a free port, as a user who is not root."""

import atexit
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

VARIABLE = "WEIGHBRIDGE_LEDGER_URL"

_numbers = itertools.count(os.getpid() * 1000)


def programs() -> Path | None:
    """Where initdb and postgres are: Debian keeps them out of PATH."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).parent)
    return max(found, key=lambda path: [int(n) for n in path.parent.name.split(".") if n.isdigit()], default=None)


def _user() -> dict[str, object]:
    """Whom the server runs as: it refuses to be root."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("there is no user to run PostgreSQL as")


class Server:
    """Made once; can be stopped and started again."""

    def __init__(self, bin_folder: Path) -> None:
        self._bin = bin_folder
        self.folder = Path(tempfile.mkdtemp(prefix="weighbridge-pg-", dir="/tmp"))
        self._as = _user()
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self._run("initdb", "-D", str(self._data), "-U", "owner", "--auth=trust", "--no-sync", "-E", "UTF8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def url(self, port: int | None = None, user: str = "owner") -> str:
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/postgres"

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._process:
            return
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "60",
        }
        command = [str(self._bin / "postgres"), "-D", str(self._data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True, **self._as
            )
        question = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(question, check=False).returncode:
            if self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        """At once, as if it had crashed: nobody is told goodbye."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def all_taken(self) -> Iterator[None]:
        """While this lasts, no other session can begin."""
        words = b"user\0owner\0database\0postgres\0\0"
        greeting = struct.pack("!ii", 8 + len(words), 3 << 16) + words
        with contextlib.ExitStack() as sessions:
            answer = b"R"
            while answer == b"R":  # and E once there are too many
                session = sessions.enter_context(socket.create_connection(("127.0.0.1", self.port)))
                session.sendall(greeting)
                answer = session.recv(1)
            yield

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def psql(self, statements: str, schema: str = "public") -> list[list[str]]:
        """Run SQL as an outsider, and give back the rows."""
        plain = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        command = [self._bin / "psql", *plain, "-F", "\t", "-c", statements, self.url()]
        options = {"PGOPTIONS": f"-c search_path={schema} -c default_transaction_read_only=off"}
        run = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **options})
        assert run.returncode == 0, run.stderr
        return [line.split("\t") for line in run.stdout.splitlines()]

    def _run(self, program: str, *arguments: str) -> None:
        run = subprocess.run(
            [str(self._bin / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            **self._as,
        )
        if run.returncode:
            raise RuntimeError(run.stderr)


@cache
def _server() -> Server | None:
    found = programs()
    if found is None:
        return None
    server = Server(found)
    atexit.register(server.remove)
    return server


def running() -> Server:
    """The server of this test session. Without PostgreSQL the test is skipped, but never in CI."""
    server = _server()
    if server is None:
        words = "PostgreSQL is not installed: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    server.start()
    return server


def new_schema() -> str:
    """A name that no other test has: each has a ledger of its own."""
    return f"test_{next(_numbers)}"


class Valve:
    """Stands between a client and the server, and can be closed: a network that hangs, or a server that is frozen."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        self._last_word: bytes | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> "Valve":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def freeze(self) -> None:
        """Nothing passes, and nobody is told."""
        self._open.clear()

    def freeze_after(self, word: bytes) -> None:
        """The server still gets what holds this word; its answer does not come."""
        self._last_word = word

    def thaw(self) -> None:
        self._last_word = None
        self._open.set()

    def cut(self) -> None:
        """End every connection that there is."""
        sockets, self._sockets = self._sockets, []
        for end in sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                if self._last_word and self._last_word in data:
                    self._open.clear()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        source.close()
