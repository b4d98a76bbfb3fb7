"""Presence: what a local server says of itself: whether the model is there, loaded, busy, and how much it really holds.

Looked at in the background, never while a request waits. What a server does not tell stays None: it is not guessed.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson

from weighbridge.upstreams.link import Client

LOOKS_AS = "weighbridge-presence"  # the user agent, so that a server's log tells looks from requests
EVERY_S = 10.0
WHILE_LOADING_S = 1.0  # how often where somebody may be waiting for the model
LOOK_S = 2.0  # how long one look may take
_FIRST_S = 0.5  # how long opening waits for the first one
_MOST_BYTES = 4 << 20
DIED = "stopped answering while it loaded the model"
# Before this version a prompt that is too long is cut without a word, and without `num_ctx` at so many tokens.
_FIRST_HONEST_OLLAMA = (0, 12, 6)
_OLD_OLLAMA_WINDOW = 2048

_GAUGE = re.compile(r"^vllm:num_requests_(running|waiting)(?:\{([^}]*)\})? ([0-9.eE+]+)$", re.MULTILINE)
_PART = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?")  # of a model's name: a word or a number
_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Presence:
    """One look at a server.

    server: which kind answered. context_window: tokens, of prompt and answer together. busy, queued: requests. slots:
    how many it works on at once. note: what else an operator should know, in words.
    """

    server: str | None = None
    is_installed: bool | None = None
    is_loaded: bool | None = None
    is_loading: bool | None = None
    context_window: int | None = None
    busy: int | None = None
    queued: int | None = None
    slots: int | None = None
    note: str = ""


Look = Callable[[], Awaitable[Presence]]


class Watch:
    """Looks every few seconds and remembers. A server that does not answer keeps the window it last had."""

    def __init__(self, look: Look, every_s: float = EVERY_S) -> None:
        self._look = look
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._has_looked = asyncio.Event()  # another one for each look
        self._is_due = asyncio.Event()
        self.presence = Presence()

    async def aopen(self) -> None:
        """Begin; the first look is usually over when this returns."""
        self._task = asyncio.create_task(self._run())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_looked.wait(), _FIRST_S)

    async def aclose(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def found_loading(self) -> None:
        """The server itself has just said so, to a request: look again soon."""
        self.presence = replace(self.presence, is_loaded=False, is_loading=True)
        self._is_due.set()

    async def loaded(self, within_s: float) -> bool:
        """Wait for as long as the server says that it loads. False where it still does in the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.presence.is_loading:
                    await self._has_looked.wait()
        return not self.presence.is_loading

    async def _run(self) -> None:
        while True:
            self.presence = await self._looked()
            self._has_looked.set()
            self._has_looked = asyncio.Event()
            await self._pause()

    async def _pause(self) -> None:
        if not self.presence.is_loading:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_due.wait(), self._every_s)
        if self.presence.is_loading:
            await asyncio.sleep(min(self._every_s, WHILE_LOADING_S))
        self._is_due.clear()

    async def _looked(self) -> Presence:
        try:
            async with asyncio.timeout(LOOK_S):
                return await self._look()
        except (OSError, TimeoutError):
            was = self.presence
            note = DIED if was.is_loading or was.note == DIED else "does not answer"
            return Presence(context_window=was.context_window, note=note)


async def of_openai_server(client: Client, model: str) -> Presence:
    """llama.cpp, LM Studio or vLLM, by what only they have; anything else tells nothing. Raises OSError."""
    health = await _fetched(client, "/health")
    if health[0] == 503 and b"oading model" in health[1]:
        return Presence(server="llama.cpp", is_loaded=False, is_loading=True)
    if props := _object(await _fetched(client, "/props")):
        slots = _json(await _fetched(client, "/slots"))
        return of_llama_cpp(props, slots if isinstance(slots, list) else None, model)
    if listed := _object(await _fetched(client, "/api/v0/models")):
        return of_lm_studio(listed, model)
    status, metrics = await _fetched(client, "/metrics")
    if status == 200 and b"vllm:" in metrics:
        return of_vllm(_object(await _fetched(client, "/v1/models")), metrics.decode("utf-8", "replace"), model)
    if "version" in _object(await _fetched(client, "/api/version")):
        found = await of_ollama_server(client, model, None)
        return replace(found, note=found.note or 'ignores context_window here: use = "ollama" sets it')
    return Presence()


async def of_ollama_server(client: Client, model: str, asked: int | None) -> Presence:
    """asked: the window that we ask for with every request. Raises OSError."""
    status, raw = await _fetched(client, "/api/show", orjson.dumps({"model": model}))
    if status == 404:
        return Presence(server="Ollama", is_installed=False, is_loaded=False, note="does not have the model")
    running = _object(await _fetched(client, "/api/ps"))
    version = str(_object(await _fetched(client, "/api/version")).get("version", ""))
    return of_ollama(_object((status, raw)), running, version, model, asked)


def of_ollama(
    shown: Mapping[str, Any], running: Mapping[str, Any], version: str, model: str, asked: int | None
) -> Presence:
    """From `/api/show`, `/api/ps` and the version."""
    info = shown.get("model_info")
    trained = next((w for k, v in _items(info) if k.endswith(".context_length") and (w := _count(v))), None)
    loaded = next((m for m in _objects(running.get("models")) if _same(m.get("name"), model)), None)
    set_in_model = _NUM_CTX.search(str(shown.get("parameters") or ""))
    own = _count(loaded.get("context_length")) if loaded else None
    if not asked and own is None:
        own = int(set_in_model[1]) if set_in_model else _OLD_OLLAMA_WINDOW if _is_old(version) else None
    # With `num_ctx` the model is loaded anew at that size, up to what it was trained on.
    window = min(filter(None, (asked or own, trained)), default=None)
    return Presence(
        server="Ollama",
        is_installed=bool(shown) or None,
        is_loaded=loaded is not None,
        context_window=window,
        note=_share_in_vram(loaded) if loaded else "",
    )


def of_llama_cpp(props: Mapping[str, Any], slots: list[Any] | None, model: str) -> Presence:
    """From `/props` and, where the server was started with it, `/slots`. Each slot has a window of its own."""
    settings = props.get("default_generation_settings")
    window = _count(settings.get("n_ctx")) if isinstance(settings, Mapping) else None
    busy = sum(bool(slot.get("is_processing")) for slot in _objects(slots)) if slots else None
    names = [name for key in ("model_alias", "model_path") if isinstance(name := props.get(key), str) and name]
    is_it = any(_same(name, model) for name in names) if names else None
    return Presence(
        server="llama.cpp",
        is_installed=is_it,
        is_loaded=True if is_it is None else is_it,
        context_window=window,
        busy=busy,
        slots=_count(props.get("total_slots")) or (len(slots) if slots else None),
        note="" if is_it in {None, True} else f"serves {_base(names[0])}, not {model}",
    )


def of_lm_studio(listed: Mapping[str, Any], model: str) -> Presence:
    """From `/api/v0/models`, which lists what is on disk too."""
    known = _objects(listed.get("data"))
    mine = next((entry for entry in known if _same(entry.get("id"), model)), None)
    if mine is None:
        return Presence(server="LM Studio", is_installed=False, is_loaded=False, note="does not have the model")
    state = mine.get("state")
    return Presence(
        server="LM Studio",
        is_installed=True,
        is_loaded=state == "loaded",
        is_loading=state == "loading",
        context_window=_count(mine.get("loaded_context_length")) or _count(mine.get("max_context_length")),
    )


def of_vllm(listed: Mapping[str, Any], metrics: str, model: str) -> Presence:
    """From `/v1/models` and `/metrics`."""
    known = _objects(listed.get("data"))
    mine = next((entry for entry in known if _same(entry.get("id"), model)), None)
    sums = {"running": 0.0, "waiting": 0.0}
    for found in _GAUGE.finditer(metrics):
        sums[found[1]] += float(found[3])
    others = ", ".join(str(entry.get("id")) for entry in known[:3])
    return Presence(
        server="vLLM",
        is_installed=mine is not None,
        is_loaded=mine is not None,
        context_window=_count(mine.get("max_model_len")) if mine else None,
        busy=round(sums["running"]),
        queued=round(sums["waiting"]),
        note="" if mine else f"serves {others or 'nothing'}, not {model}",
    )


def in_words(presence: Presence) -> str:
    """What was found, for people."""
    if presence.server is None:
        return presence.note
    loaded = {True: "loaded", False: "not loaded, so the first answer takes longer"}
    said = ["loading the model" if presence.is_loading else loaded.get(presence.is_loaded)]  # type: ignore[arg-type]
    if presence.context_window:
        said.append(f"holds {presence.context_window:,} tokens")
    if presence.busy is not None:
        of = f" of {presence.slots}" if presence.slots else ""
        said.append(f"{presence.busy}{of} at work")
    if presence.queued:
        said.append(f"{presence.queued} waiting")
    return f"{presence.server}: " + ", ".join(filter(None, [*said, presence.note]))


def narrowed(configured: int | None, presence: Presence) -> int | None:
    """The window to reckon with: what is configured, or less where the server has less."""
    return min(filter(None, (configured, presence.context_window)), default=None)


async def _fetched(client: Client, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    link = await client.request("GET" if body is None else "POST", path, body or b"")
    try:
        raw = b""
        while part := await link.read():
            raw += part
            if len(raw) > _MOST_BYTES:
                return 0, b""
        return link.status, raw
    finally:
        link.close()


def _json(answer: tuple[int, bytes]) -> Any:
    try:
        return orjson.loads(answer[1]) if answer[0] == 200 else None
    except orjson.JSONDecodeError:
        return None


def _object(answer: tuple[int, bytes]) -> Mapping[str, Any]:
    found = _json(answer)
    return found if isinstance(found, dict) and "error" not in found else {}


def _objects(values: object) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _items(value: object) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _count(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _base(name: str) -> str:
    return re.split(r"[/\\]", name)[-1].removesuffix(".gguf")


def _same(name: object, model: str) -> bool:
    """Servers add a tag, a folder or an ending to the names of models."""
    if not isinstance(name, str):
        return False
    ours, theirs = (text.lower().removesuffix(":latest") for text in (model, name))
    return ours == theirs or _base(ours) == _base(theirs)


def is_same_model(name: str, model: str) -> bool:
    """Whether an answer's `model` may well mean ours: servers add sizes of weights, endings, folders and dates."""
    if name == model:
        return True
    ours, theirs = (set(_PART.findall(_base(text.lower().removesuffix(":latest")))) for text in (model, name))
    return ours <= theirs or theirs <= ours


def _is_old(version: str) -> bool:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    return bool(numbers) and numbers < _FIRST_HONEST_OLLAMA


def _share_in_vram(loaded: Mapping[str, Any]) -> str:
    size, in_vram = _count(loaded.get("size")), loaded.get("size_vram")
    if size is None or type(in_vram) is not int:
        return ""
    share = in_vram / size
    return "" if share > 0.99 else f"{share:.0%} of it in the GPU's memory"
