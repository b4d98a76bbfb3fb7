"""`weighbridge doctor`: looks at everything that a request needs, and says in words what it found."""

import asyncio
import json
import os
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from weighbridge import metering
from weighbridge.cli import ports, probing
from weighbridge.cli.console import Status, console, print_finding, print_json
from weighbridge.cli.validate import warnings
from weighbridge.config import Config, ConfigError, load
from weighbridge.errors import UpstreamError
from weighbridge.keys import KeysError, KeysFile
from weighbridge.ledger.base import CannotOpen
from weighbridge.prices import price_list
from weighbridge.reports.drift import drift_of, told, told_of_signs
from weighbridge.reports.drift import warnings as warnings_of
from weighbridge.upstreams.base import Upstream
from weighbridge.upstreams.http import HttpUpstream
from weighbridge.upstreams.presence import in_words

LOOK_S = 10.0  # how long an upstream may take to answer
_SHORT_KEY = 20  # characters
_PYTHONS = ((3, 11), (3, 14))
_PACKAGES = (
    "weighbridge",
    "fastapi",
    "uvicorn",
    "aiohttp",
    "pydantic",
    "onnxruntime",
    "tokenizers",
    "numpy",
    "litellm",
)
_SAMPLE = "Prove that there are infinitely many primes, and explain each step."


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found."""

    name: str
    status: Status
    detail: str


def run(path: Path, *, as_json: bool, is_probing: bool = False) -> bool:
    """Look at everything, and print each finding as it comes. False when something is broken.

    is_probing: local servers are also sent a few requests, which show whether they do what they say.
    """
    out = console()
    found: list[Finding] = []

    def keep(finding: Finding) -> None:
        found.append(finding)
        if not as_json:
            print_finding(out, finding.status, finding.name, finding.detail)

    asyncio.run(_look(path, keep, is_probing=is_probing))
    broken = sum(finding.status == "fail" for finding in found)
    if as_json:
        print_json({"ok": not broken, "findings": [asdict(finding) for finding in found]})
    else:
        out.print(f"{broken} of {len(found)} need attention." if broken else "Everything works.")
    return not broken


async def _look(path: Path, keep: Callable[[Finding], None], *, is_probing: bool) -> None:
    for finding in _of_installation():
        keep(finding)
    try:
        config = load(path, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            keep(Finding("config", "fail", problem))
        return
    keep(Finding("config", "ok", f"{path} is valid"))
    for warning in warnings(config, os.environ):
        keep(Finding("config", "warn", warning))
    for finding in _of_keys(config):
        keep(finding)
    keep(await asyncio.to_thread(_of_classifier, config))
    async for finding in _of_upstreams(config, is_probing=is_probing):
        keep(finding)
    for finding in _of_prices(config):
        keep(finding)
    for finding in _of_energy(config):
        keep(finding)
    keep(ledger := await _of_ledger(config))
    traffic = _of_traffic(config) if ledger.status == "ok" else ()
    for finding in await asyncio.to_thread(lambda: [*traffic, *_of_port(config)]):
        keep(finding)


def _of_installation() -> Iterator[Finding]:
    here = ".".join(map(str, sys.version_info[:3]))
    if _PYTHONS[0] <= sys.version_info[:2] < _PYTHONS[1]:
        yield Finding("python", "ok", here)
    else:
        yield Finding("python", "fail", f"{here}: this release runs on 3.11, 3.12 and 3.13")
    versions, missing = [], []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        remedy = "install weighbridge again"
        yield Finding("packages", "fail", f"not installed: {', '.join(missing)}; {remedy}")
    yield Finding("packages", "ok", ", ".join(versions))


def _of_keys(config: Config) -> Iterator[Finding]:
    if not config.server.needs_key:
        yield Finding("callers", "ok", f"no keys; only this machine is let in (host {config.server.host})")
    if name := config.server.api_keys_env:
        yield _of_variable(name, os.environ.get(name, ""))
    if config.keys_path:
        yield _of_keys_file(KeysFile(config.keys_path))


def _of_variable(name: str, value: str) -> Finding:
    found = [key for key in map(str.strip, value.split(",")) if key]
    if not found:
        return Finding("callers", "fail", f"{name} is not set: the gateway will not start without callers' keys")
    if min(map(len, found)) < _SHORT_KEY:
        remedy = "`weighbridge keys add NAME` makes one that cannot"
        return Finding("callers", "warn", f"{len(found)} in {name}, of which the shortest can be guessed; {remedy}")
    return Finding("callers", "ok", f"{len(found)} in {name}")


def _of_keys_file(file: KeysFile) -> Finding:
    try:
        keys = file.read()
    except KeysError as error:
        return Finding("callers", "fail", str(error))
    now = datetime.now(UTC)
    good = sum(not key.has_expired(now) for key in keys)
    if not good:
        remedy = "`weighbridge keys add NAME` makes one"
        return Finding("callers", "warn", f"{file.path} holds no key that is good, so it lets nobody in; {remedy}")
    expired = f", and {len(keys) - good} that expired" if good < len(keys) else ""
    return Finding("callers", "ok", f"{good} in {file.path}{expired}")


def _of_classifier(config: Config) -> Finding:
    if not config.needs_classifier:
        return Finding("classifier", "ok", "not needed: nothing asks for a score")
    began_s = time.perf_counter()
    try:
        classifier = config.make_classifier()
        loaded_s = time.perf_counter() - began_s
        [assessment] = classifier.assess([_SAMPLE])
    except ConfigError as error:
        return Finding("classifier", "fail", str(error))
    scored_s = time.perf_counter() - began_s - loaded_s
    return Finding(
        "classifier",
        "ok",
        f"{config.classifier.use} ({classifier.version}) loads in {loaded_s:.2f} s; "
        f"a sample scores {assessment.score:.2f}, in {scored_s * 1000:.1f} ms",
    )


async def _of_upstreams(config: Config, *, is_probing: bool) -> AsyncIterator[Finding]:
    looks = [_of_upstream(name, upstream, is_probing=is_probing) for name, upstream in config.upstreams.items()]
    for finding in await asyncio.gather(*looks):
        yield finding


async def _of_upstream(name: str, upstream: Upstream, *, is_probing: bool) -> Finding:
    title = f"upstream {name}"
    await upstream.aopen()
    try:
        async with asyncio.timeout(LOOK_S):
            said = await upstream.check()
        finding = _with_presence(Finding(title, "ok", said), upstream)
        if is_probing and upstream.location == "local":
            odd = [words async for words in probing.probed(upstream)]
            status: Status = "warn" if odd else finding.status
            return replace(finding, status=status, detail="; ".join([finding.detail, *odd]))
        return finding
    except UpstreamError as error:
        return Finding(title, "fail", f"{error.message}{_address(upstream)}")
    except TimeoutError:
        return Finding(title, "fail", f"No answer within {LOOK_S:g} s.{_address(upstream)}")
    finally:
        await upstream.aclose()


def _with_presence(finding: Finding, upstream: Upstream) -> Finding:
    """What a local server says of itself, and a warning where that is not what the config reckons with."""
    if not isinstance(upstream, HttpUpstream) or upstream.location != "local":
        return finding
    presence, configured = upstream.presence, upstream.context_window
    said = [finding.detail, in_words(presence)]
    is_cut = bool(configured and presence.context_window and configured > presence.context_window)
    if is_cut:
        said.append(f"context_window = {configured} is more than that: only {presence.context_window} are used")
    is_odd = is_cut or presence.is_installed is False or presence.is_loading is True
    return replace(finding, status="warn" if is_odd else finding.status, detail="; ".join(filter(None, said)))


def _address(upstream: Upstream) -> str:
    # Clients must not learn it; whoever runs the doctor wrote it.
    url = getattr(upstream, "base_url", None)
    return f" ({url})" if url else ""


def _of_prices(config: Config) -> Iterator[Finding]:
    for name, price in price_list(config.upstreams).items():
        if price is None:
            remedy = "its costs will be recorded as unknown; set input_usd_per_mtok and output_usd_per_mtok"
            yield Finding(
                f"price {name}", "warn", f"{config.upstreams[name].model} is not in the price table: {remedy}"
            )
        elif price.usd_per_second:
            yield Finding(f"price {name}", "ok", f"{price.usd_per_second.normalize():f} USD a second")
        else:
            pair = (price.input_usd_per_mtok, price.output_usd_per_mtok)
            words = " / ".join(f"{amount.normalize():f}" for amount in pair)
            yield Finding(f"price {name}", "ok", f"{words} USD per million tokens in / out ({price.version})")


def _of_energy(config: Config) -> Iterator[Finding]:
    """How it comes to be known what each local upstream draws."""
    local = {name: upstream for name, upstream in config.upstreams.items() if upstream.location == "local"}
    if not local:
        return
    found = metering.counters() if config.energy.measure else []
    said = [metering.told(found) if config.energy.measure else "no counter is read: energy.measure = false"]
    here = metering.on_this_machine(local) if found else frozenset()
    for name, upstream in local.items():
        if name in here:
            said.append(f"{name} is measured")
        elif upstream.electricity:
            said.append(f"{name} is reckoned with {upstream.electricity.watts:g} W")
        else:
            said.append(f"what {name} draws stays unknown: set watts in [upstreams.{name}.electricity]")
    yield Finding("energy", "ok", "; ".join(said))


async def _of_ledger(config: Config) -> Finding:
    path = getattr(config.ledger, "path", None)
    if isinstance(path, str) and (finding := _of_new_file(Path(path))):
        return finding
    try:
        await config.ledger.aopen()
    except CannotOpen as error:
        return Finding("ledger", "fail", str(error))
    try:
        is_writable = await config.ledger.is_writable()
    finally:
        await config.ledger.aclose()
    name = path or type(config.ledger).__name__.lower()
    return Finding("ledger", "ok" if is_writable else "fail", f"{name} {'can' if is_writable else 'cannot'} be written")


def _of_traffic(config: Config) -> Iterator[Finding]:
    """Whether the last day is like the weeks before; nothing where there is too little of it to tell."""
    try:
        found = drift_of(config.ledger, datetime.now(UTC))
    except CannotOpen:
        return  # no ledger yet
    if not found.is_known:
        return
    problems = warnings_of(found)
    yield from (Finding("traffic", "warn", problem) for problem in problems)
    if not problems:
        yield Finding("traffic", "ok", told(found))
    if signs := told_of_signs(found):
        yield Finding("signals", "ok", signs)


def _of_new_file(path: Path) -> Finding | None:
    """A ledger that is not there yet is not made by looking."""
    if path.exists():
        return None
    folder = path.absolute().parent
    if os.access(folder, os.W_OK):
        return Finding("ledger", "ok", f"{path} will be made with the first start")
    return Finding("ledger", "fail", f"{path} cannot be made: {folder} is not there or cannot be written")


def _of_port(config: Config) -> Iterator[Finding]:
    """Whether it can be had; and where our gateway has it already, what that one has noticed of its upstreams."""
    host, port = config.server.host, config.server.port
    try:
        ports.bound(host, port).close()
    except OSError as error:
        if _is_ours(ports.url(host, port)):
            yield Finding("port", "ok", f"{port} is served by a running Weighbridge")
            for name, what in probing.noticed_at(ports.url(host, port)):
                yield Finding(f"upstream {name}", "warn", what)
            return
        reason = error.strerror or str(error)
        yield Finding("port", "fail", f"{host}:{port} cannot be had: {reason}; set server.port to another")
        return
    yield Finding("port", "ok", f"{port} on {host} is free" if port else "any free one")


def _is_ours(base_url: str) -> bool:
    """Our readiness page names upstreams, and needs no key."""
    try:
        with urllib.request.urlopen(f"{base_url}/health/ready", timeout=5) as answer:  # noqa: S310  # our own address
            raw = answer.read(100_000)
    except urllib.request.HTTPError as error:
        raw = error.read(100_000)
    except OSError:
        return False
    try:
        state = json.loads(raw)
    except ValueError:
        return False
    return isinstance(state, dict) and isinstance(state.get("upstreams"), dict)
