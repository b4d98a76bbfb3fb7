"""The application: one config at work at a time, one handler for every error, one end."""

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from weighbridge.api import refused
from weighbridge.asgi import ClientGone, Message, Receive, Scope, Send, respond
from weighbridge.config import Config, ConfigError, require_keys
from weighbridge.errors import WeighbridgeError
from weighbridge.parts import Parts, compose
from weighbridge.snapshot import Snapshot

log = logging.getLogger(__name__)


def create_app(
    config: Config,
    environ: Mapping[str, str] = os.environ,
    read_again: Callable[[], Config] | None = None,
    *,
    is_worker: bool = False,
) -> "Application":
    """The whole gateway as an ASGI application. Raises ConfigError.

    read_again: how to read a changed config. With it the application heeds signals: SIGHUP swaps the config, SIGTERM
    makes it unready before the server stops listening, a second one or SIGQUIT ends at once what runs.
    is_worker: one of several. Their supervisor says SIGTERM too, so a second one is no hurry.
    """
    require_keys(config, environ)
    return Application(compose(config, environ), environ, read_again, is_worker=is_worker)


class Application:
    """Hands each request to the snapshot of its moment, and turns every error into an answer."""

    def __init__(
        self, parts: Parts, environ: Mapping[str, str], read_again: Callable[[], Config] | None, *, is_worker: bool
    ) -> None:
        self._current = Snapshot(parts)
        self._before: set[Snapshot] = set()  # those in which requests end that came before a reload
        self._environ = environ
        self._read_again = read_again
        self._is_worker = is_worker
        self._is_hurried = False
        self._retiring: set[asyncio.Future[Any]] = set()
        self._reloading = asyncio.Lock()

    @property
    def parts(self) -> Parts:
        return self._current.parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        current = self._current
        if current.cors:
            send = current.cors.marking(scope, send)
        answer = _Started(send)
        try:
            await current.handle(scope, receive, answer)
        except ClientGone:
            pass
        except WeighbridgeError as error:
            if error.status == 401:
                current.parts.metrics.turned_away(error.code)
            if not answer.has_begun:
                await respond(send, *refused(error, scope["path"]))
        except Exception as error:
            # The one place for what nobody foresaw: the connection lives on, and the log names the kind, not the text.
            log.error("unhandled %s at %s", type(error).__name__, _where(error))
            if not answer.has_begun:
                unforeseen = WeighbridgeError("The gateway failed; its log says more.")
                await respond(send, *refused(unforeseen, scope["path"]))

    async def reload(self) -> list[str]:
        """Swap in the changed config; what runs ends as it began. Returns what is wrong: then nothing changes."""
        if self._read_again is None:
            return ["this gateway was started without a file to read again"]
        async with self._reloading:
            before = self._current
            try:
                config = await asyncio.to_thread(self._read_again)
                require_keys(config, self._environ)
                parts = await asyncio.to_thread(compose, config, self._environ, before.parts)
                await parts.aopen(before.parts)
            except Exception as error:  # whatever it is, the config that works stays
                problems = error.problems if isinstance(error, ConfigError) else [f"{type(error).__name__}: {error}"]
                before.parts.metrics.reloaded(is_good=False)
                log.error("the config is not reloaded, the old one stays: %s", "; ".join(problems))
                return problems
            parts.is_draining = before.parts.is_draining
            self._current = Snapshot(parts)
            self._before.add(before)
            self._keep(self._retire(before, parts))
            parts.metrics.reloaded(is_good=True)
            log.warning("the config is reloaded")
            return []

    async def _retire(self, before: Snapshot, after: Parts) -> None:
        await before.ended()
        self._before.discard(before)
        await before.parts.aclose(after)

    def _keep(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _live(self, receive: Receive, send: Send) -> None:
        """The server's start and end."""
        await receive()
        try:
            await self.parts.aopen()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        if self._read_again is not None and threading.current_thread() is threading.main_thread():
            self._heed_signals()
        # What start-up made lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 100)  # what a request makes dies with it; looking for circles rarely is enough
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # Those whose time to end was over were cancelled: each still says so to its client, and closes its books.
        await self._current.ended()
        await asyncio.gather(*self._retiring)
        await self.parts.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: self._keep(self.reload()))
        servers_own = signal.getsignal(signal.SIGTERM)
        if not callable(servers_own):
            return

        def hurry() -> None:
            """What runs ends now: each tells its client, and closes its books."""
            if not self._is_hurried:
                self._is_hurried = self.parts.is_draining = True
                servers_own(signal.SIGTERM, None)
                for snapshot in (self._current, *self._before):
                    snapshot.cut()

        def drain(number: int, _: object) -> None:
            """Whoever balances load sees us unready while we still listen."""
            if self.parts.is_draining and not self._is_worker:
                loop.call_soon_threadsafe(hurry)
                return
            self.parts.is_draining = True
            loop.call_later(self.parts.config.server.drain_delay_s, servers_own, number, None)

        signal.signal(signal.SIGTERM, drain)
        loop.add_signal_handler(signal.SIGQUIT, hurry)


class _Started:
    """A send that remembers whether the answer has begun: after that no other can be sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        self.has_begun = True
        await self._send(message)


def _where(error: Exception) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""
