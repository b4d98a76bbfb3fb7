"""The gateways under test: how each is set up, started and asked. All of them in front of the same scripted upstream.

A peer gets an environment of its own in the cache directory, made on the first run. What cannot be set up is skipped
with the reason.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rig import load
from rig.processes import Program, free_port

LITELLM = "1.106.2"
PORTKEY = "1.15.2"
# A plain install of Portkey's gateway gets a newer @hono/node-server and answers 500 to every stream; hono is held at
# the version that its own package.json was released with.
_PORTKEY_OVERRIDES = {"@hono/node-server": "1.13.7", "hono": "4.9.7"}

_READY_LIMIT_S = 90


class SkippedError(Exception):
    """A gateway that cannot be measured here, and why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway: how to start it, and what to ask it for.

    mark: a header that each of its answers should have. rest_s: what it gets to warm up after its first answer.
    """

    name: str
    version: str
    command: tuple[str, ...]
    port: int
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    mark: str = ""
    rest_s: float = 1.0
    ledger: Path | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens: the peers' cache, a folder of this run's own, and the upstream's port."""

    cache: Path
    folder: Path
    upstream: int

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


def start_upstream(core: int, folder: Path) -> tuple[Program, int]:
    """Start the scripted upstream; it is ready when this returns."""
    port = free_port()
    root = Path(__file__).parent.parent
    command = (sys.executable, "-m", "rig.upstream", "--port", str(port))
    program = Program(command, core, folder / "upstream.log", {"PYTHONPATH": str(root)}, root)
    asyncio.run(_until_it_answers(program, load.Job(port, "any", 1, is_stream=False)))
    return program, port


def start(target: Target, core: int, folder: Path) -> tuple[Program, float]:
    """Start a gateway. The seconds until its first right answer."""
    program = Program(target.command, core, folder / f"{target.name.replace(' ', '-')}.log", target.env, folder)
    job = load.Job(target.port, target.model, 1, is_stream=False, headers=target.headers)
    try:
        asyncio.run(_until_it_answers(program, job))
    except BaseException:
        program.kill()
        raise
    return program, time.monotonic() - program.began


def until_ready(program: Program, port: int) -> float:
    """Wait for the first 200 of Weighbridge's /health/ready. The seconds since the start."""
    while time.monotonic() - program.began < _READY_LIMIT_S:
        if program.has_ended():
            raise SkippedError(f"it ended while starting: {program.last_words()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
                if answer.status == 200:
                    return time.monotonic() - program.began
        except OSError:  # URLError is one
            time.sleep(0.01)
    raise SkippedError(f"not ready within {_READY_LIMIT_S} s; {program.last_words()}")


async def _until_it_answers(program: Program, job: load.Job) -> None:
    trouble = ""
    while time.monotonic() - program.began < _READY_LIMIT_S:
        if program.has_ended():
            raise SkippedError(f"it ended while starting: {program.last_words()}")
        try:
            trouble = await load.one(job) or ""
        except OSError as error:
            trouble = str(error)
        if not trouble:
            return
        await asyncio.sleep(0.02)
    raise SkippedError(f"no right answer within {_READY_LIMIT_S} s: {trouble}; {program.last_words()}")


# ---------------------------------------------------------------------------------------------------------------------
# nginx: the floor.

_NGINX = """
worker_processes 1;
daemon off;
master_process on;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  keepalive_requests 10000000;
  upstream scripted {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://scripted;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def nginx(place: Place) -> Target:
    """The floor: a reverse proxy in C that does not read what it hands on."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise SkippedError("nginx is not installed")
    port = free_port()
    config = place.write("nginx.conf", _NGINX.format(folder=place.folder, upstream=place.upstream, port=port))
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr.rpartition("/")[2]
    return Target("nginx", version.strip(), (program, "-c", str(config)), port, "small-model", rest_s=0.2)


# ---------------------------------------------------------------------------------------------------------------------
# LiteLLM proxy.

_LITELLM_TUNED = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
}


def litellm(place: Place) -> Target:
    """LiteLLM proxy as its quick start says."""
    return _litellm(place, "litellm", {}, {})


def litellm_tuned(place: Place) -> Target:
    """LiteLLM proxy with what its production page advises: no debug, no telemetry, errors only in the log."""
    settings = {
        "set_verbose": False, "json_logs": False, "telemetry": False, "callbacks": [],
        "disable_end_user_cost_tracking": True, "num_retries": 0,
    }  # fmt: skip
    return _litellm(place, "litellm tuned", _LITELLM_TUNED, settings)


def _litellm(place: Place, name: str, env: Mapping[str, str], settings: Mapping[str, object]) -> Target:
    home = _litellm_home(place.cache)
    port = free_port()
    parameters = {
        "model": "openai/small-model",
        "api_base": f"http://127.0.0.1:{place.upstream}/v1",
        "api_key": "sk-benchmark",
    }
    config: dict[str, object] = {"model_list": [{"model_name": "small-model", "litellm_params": parameters}]}
    if settings:
        config["litellm_settings"] = settings
    path = place.write(f"{name.replace(' ', '-')}.yaml", json.dumps(config))  # JSON is YAML
    # fmt: off
    command = (str(home / "bin/litellm"), "--config", str(path), "--host", "127.0.0.1", "--port", str(port),
               "--num_workers", "1")
    # fmt: on
    base = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the price map comes from the package: nothing is fetched
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # no keys, on the loopback: as the others run
    }
    return Target(name, LITELLM, command, port, "small-model", env={**base, **env}, rest_s=2.0)


def _litellm_home(cache: Path) -> Path:
    home = cache / f"litellm-{LITELLM}"
    python = str(home / "bin/python")

    def make() -> None:
        _run([sys.executable, "-m", "venv", str(home)], cache)
        _run([python, "-m", "pip", "install", "--quiet", f"litellm[proxy]=={LITELLM}"], cache)

    return _made(home, make)


# ---------------------------------------------------------------------------------------------------------------------
# Portkey's gateway.


def portkey(place: Place) -> Target:
    """Portkey's open-source gateway under Node."""
    home = _portkey_home(place.cache)
    port = free_port()
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    command = (
        "node",
        str(home / "node_modules/@portkey-ai/gateway/build/start-server.js"),
        f"--port={port}",
        "--headless",
    )
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{place.upstream}/v1"}
    env = {"TRUSTED_CUSTOM_HOSTS": "localhost,127.0.0.1", "NODE_ENV": "production"}
    # V8 needs about ten seconds of traffic until it has compiled what is hot.
    return Target("portkey", f"{PORTKEY}, node {version}", command, port, "small-model", headers, env, rest_s=10.0)


def _portkey_home(cache: Path) -> Path:
    if shutil.which("npm") is None:
        raise SkippedError("npm is not installed")
    home = cache / f"portkey-{PORTKEY}"
    package = {
        "name": "benchmark-peer",
        "private": True,
        "dependencies": {"@portkey-ai/gateway": PORTKEY},
        "overrides": _PORTKEY_OVERRIDES,
    }

    def make() -> None:
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text(json.dumps(package, indent=2))
        _run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], home)

    return _made(home, make)


def _made(home: Path, make: Callable[[], None]) -> Path:
    """The environment, made once: a half-made one is made anew."""
    ready = home / ".ready"
    if not ready.exists():
        shutil.rmtree(home, ignore_errors=True)
        make()
        ready.touch()
    return home


def _run(command: list[str], cwd: Path) -> None:
    print(f"  $ {' '.join(command)}", file=sys.stderr, flush=True)
    try:
        subprocess.run(command, cwd=cwd, check=True, stdout=sys.stderr, timeout=1200)
    except (OSError, subprocess.SubprocessError) as error:
        raise SkippedError(f"it could not be installed: {error}") from error


# ---------------------------------------------------------------------------------------------------------------------
# Weighbridge.

_WEIGHBRIDGE = """schema_version = 1

[server]
host = "127.0.0.1"
port = {port}

[upstreams.small]
use = "openai"
base_url = "http://127.0.0.1:{upstream}/v1"
model = "small-model"
location = "local"
input_usd_per_mtok = "0.15"
output_usd_per_mtok = "0.60"

[upstreams.large]
use = "openai"
base_url = "http://127.0.0.1:{upstream}/v1"
model = "large-model"
location = "remote"
input_usd_per_mtok = "2.50"
output_usd_per_mtok = "10.00"

[classifier]
use = "minilm"
time_limit_s = 30                  # every request is to be scored, however long the queue of a closed loop grows

[routes.auto]
small = "small"
large = "large"
baseline = "large"
policy = {policy}

[ledger]
use = "sqlite"
path = "{ledger}"
"""


def weighbridge(place: Place) -> Target:
    """Weighbridge as a pass-through: route, ledger and prices, no classifier."""
    return _weighbridge(place, "weighbridge", '{ use = "always", upstream = "small" }')


def weighbridge_scored(place: Place) -> Target:
    """Weighbridge with the classifier on every request; no two prompts are alike, so its cache never answers."""
    return _weighbridge(place, "weighbridge scored", '{ use = "threshold" }', mark="x-weighbridge-score")


def _weighbridge(place: Place, name: str, policy: str, mark: str = "") -> Target:
    port = free_port()
    stem = name.replace(" ", "-")
    ledger = place.folder / f"{stem}-{port}.db"
    text = _WEIGHBRIDGE.format(port=port, upstream=place.upstream, policy=policy, ledger=ledger)
    config = place.write(f"{stem}.toml", text)
    command = (sys.executable, "-m", "weighbridge", "serve", "--config", str(config), "--port", str(port))
    return Target(name, _weighbridge_version(), command, port, "auto", mark=mark, rest_s=2.0, ledger=ledger)


def _weighbridge_version() -> str:
    code = "import importlib.metadata as m; print(m.version('weighbridge'))"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise SkippedError("weighbridge is not installed in this environment")
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return f"{asked.stdout.strip()} {head.stdout.strip()}".strip()


TARGETS: Mapping[str, Callable[[Place], Target]] = {
    "nginx": nginx,
    "weighbridge": weighbridge,
    "weighbridge scored": weighbridge_scored,
    "portkey": portkey,
    "litellm": litellm,
    "litellm tuned": litellm_tuned,
}


def temporary_folder(cache: Path) -> Path:
    """A folder of this run's own, on the cache's disk: a ledger in memory would cost nothing to sync."""
    folder = cache / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    return folder


def ledger_rows(target: Target) -> int:
    """How many requests a stopped Weighbridge has in its ledger, by its own report."""
    config = target.command[target.command.index("--config") + 1]
    command = [sys.executable, "-m", "weighbridge", "report", "--config", config, "--json"]
    asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return int(json.loads(asked.stdout)["requests"])
