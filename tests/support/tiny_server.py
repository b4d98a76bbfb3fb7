"""What the tiny real servers share: words for their tokenizers, and a process on loopback that answers."""

import os
import socket
import subprocess
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Self

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
TEXTS = ["the quick brown fox jumps over the lazy dog", "a server of a small model answers with tokens of its own"]
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
VOCABULARY = 384
_START_S = 120  # where torch is loaded on a busy machine


class TinyServer(ABC):
    """Start it with `with`. What it says is in a file of the folder, and in the error where it does not start."""

    environ: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self._log = folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """The program, and its arguments."""

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            environ = {**os.environ, **self.environ}
            self._process = subprocess.Popen(self.command, env=environ, stdout=log, stderr=log)
        last = time.monotonic() + _START_S
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > last:
                raise RuntimeError(self._log.read_text())
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False
