"""What `weighbridge init` finds on this machine: local model servers, and keys in the environment."""

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

LOOK_S = 1.0  # a server on this machine answers at once, or is not there
_MANY_BYTES = 1 << 22
_MANY_MODELS = 32
# What fits beside everything else on a common machine; a larger model is hardly the small one.
_SMALL_BYTES = 8_000_000_000
_NOT_FOR_CHAT = ("embed", "bge-", "minilm", "rerank", "whisper", "tts")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kind of server usually listens. use: the upstream that speaks to it."""

    name: str
    use: str
    base_url: str


@dataclass(frozen=True, slots=True)
class Server:
    """A model server that answers. models: for chat, the likeliest small one first.

    context_window: what it was started with; windows: what each of its models could take, as it says itself.
    """

    place: Place
    models: tuple[str, ...]
    context_window: int | None
    is_local: bool
    windows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provider:
    """A remote service, the variable that holds its key, and one of its models to begin with."""

    name: str
    variable: str
    use: str
    base_url: str
    model: str


PROVIDERS = (
    Provider("openai", "OPENAI_API_KEY", "openai", "https://api.openai.com/v1", "gpt-5-mini"),
    Provider("anthropic", "ANTHROPIC_API_KEY", "litellm", "", "anthropic/claude-sonnet-4-5"),
    Provider("gemini", "GEMINI_API_KEY", "litellm", "", "gemini/gemini-2.5-flash"),
    Provider("openrouter", "OPENROUTER_API_KEY", "openai", "https://openrouter.ai/api/v1", "openai/gpt-5-mini"),
    Provider("mistral", "MISTRAL_API_KEY", "openai", "https://api.mistral.ai/v1", "mistral-large-latest"),
    Provider("groq", "GROQ_API_KEY", "openai", "https://api.groq.com/openai/v1", "llama-3.3-70b-versatile"),
    Provider("deepseek", "DEEPSEEK_API_KEY", "openai", "https://api.deepseek.com/v1", "deepseek-chat"),
)


def places(environ: Mapping[str, str]) -> tuple[Place, ...]:
    """Where to look."""
    return (
        Place("Ollama", "ollama", _ollama(environ.get("OLLAMA_HOST", ""))),
        Place("LM Studio", "openai", "http://127.0.0.1:1234/v1"),
        Place("llama.cpp", "openai", "http://127.0.0.1:8080/v1"),
        Place("vLLM", "openai", "http://127.0.0.1:8000/v1"),
    )


def providers(environ: Mapping[str, str]) -> tuple[Provider, ...]:
    """Those whose key is there. The key itself is not looked at."""
    return tuple(provider for provider in PROVIDERS if environ.get(provider.variable))


async def servers(wanted: Sequence[Place]) -> tuple[Server, ...]:
    """Those that answer, all asked at the same time."""
    limit = aiohttp.ClientTimeout(total=LOOK_S)
    async with aiohttp.ClientSession(timeout=limit, trust_env=False) as session:
        found = await asyncio.gather(*(_look(session, place) for place in wanted))
    return tuple(server for server in found if server)


async def _look(session: aiohttp.ClientSession, place: Place) -> Server | None:
    path = "/api/tags" if place.use == "ollama" else "/models"
    try:
        async with session.get(place.base_url + path, allow_redirects=False) as answer:
            if answer.status != 200:
                return None
            listed = orjson.loads(await _read(answer))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
    models = listed.get("models" if place.use == "ollama" else "data") if isinstance(listed, dict) else None
    if not isinstance(models, list):
        return None
    known = [model for model in models if isinstance(model, dict) and _is_for_chat(_name(model))]
    window = next((w for m in known if isinstance(w := m.get("max_model_len"), int) and w > 0), None)
    names = tuple(_name(model) for model in sorted(known, key=_preference))
    windows = await _windows(session, place, names) if place.use == "ollama" else {}
    return Server(place, names, window, _is_this_machine(place.base_url), windows)


async def _windows(session: aiohttp.ClientSession, place: Place, names: Sequence[str]) -> dict[str, int]:
    """How many tokens each model could take. Ollama tells it of one model at a time."""
    found = await asyncio.gather(*(_window(session, place, name) for name in names[:_MANY_MODELS]))
    return {name: window for name, window in zip(names, found, strict=False) if window}


async def _window(session: aiohttp.ClientSession, place: Place, name: str) -> int | None:
    try:
        async with session.post(f"{place.base_url}/api/show", json={"model": name}, allow_redirects=False) as answer:
            shown = orjson.loads(await _read(answer)) if answer.status == 200 else {}
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
    about = shown.get("model_info") if isinstance(shown, dict) else None
    lengths = [v for k, v in about.items() if k.endswith(".context_length")] if isinstance(about, dict) else []
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    raw = b""
    async for part in answer.content.iter_any():
        raw += part
        if len(raw) > _MANY_BYTES:
            raise ValueError("too much for a list of models")
    return raw


def _name(model: Mapping[str, Any]) -> str:
    name = model.get("name") or model.get("id")
    return name if isinstance(name, str) else ""


def _is_for_chat(name: str) -> bool:
    return bool(name) and not any(word in name.lower() for word in _NOT_FOR_CHAT)


def _preference(model: Mapping[str, Any]) -> tuple[bool, int]:
    """The largest that is still small, before the smallest of the others."""
    size = model.get("size")
    size = size if isinstance(size, int) else 0
    return (True, size) if size > _SMALL_BYTES else (False, -size)


def _ollama(host: str) -> str:
    """OLLAMA_HOST, in every form that Ollama itself takes, as an address to call."""
    host = host.strip().strip("\"'")
    parts = urlsplit(host if "://" in host else f"http://{host}")
    try:
        port = parts.port or {"http": 11434, "https": 443}.get(parts.scheme, 11434)
    except ValueError:
        port = 11434
    name = parts.hostname or "127.0.0.1"
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104  # read, not bound
    scheme = "https" if parts.scheme == "https" else "http"
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"


def _is_this_machine(url: str) -> bool:
    name = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
