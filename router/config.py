"""config.toml: read once, checked whole, frozen. Each mistake names its file, line, key, value and remedy."""

import ipaddress
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weighbridge import plugins
from weighbridge.classifiers.base import Classifier
from weighbridge.ledger.base import Ledger
from weighbridge.policies.base import Policy
from weighbridge.policies.rules import Rule
from weighbridge.toml_lines import Key, line_of
from weighbridge.upstreams.base import Upstream

T = TypeVar("T", bound=BaseModel)

PREFIX = "WEIGHBRIDGE_"


class ConfigError(Exception):
    """The file cannot be used. `problems` are sentences, one for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Server(_Table):
    """`[server]`."""

    host: str = "127.0.0.1"
    port: int = Field(default=8484, ge=0, le=65535)
    api_keys_env: str = ""
    max_body_mb: float = Field(default=16, gt=0, le=1024)
    drain_s: float = Field(default=30, ge=0)  # how long running requests may take to end after SIGTERM

    @property
    def is_loopback(self) -> bool:
        """Can only this machine reach it?"""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Spec(_Table):
    """What to build later: a name on a shelf, and the options for its constructor."""

    use: str
    options: dict[str, Any]


class Route(_Table):
    """`[routes.NAME]`: a model name that clients ask for, and the two upstreams behind it."""

    small: str
    large: str
    baseline: str
    policy: Policy


class Config(_Table):
    """A whole config.toml. Frozen: a changed file is another Config."""

    path: Path
    server: Server = Server()
    upstreams: dict[str, Upstream]
    classifier: Spec
    classifier_time_limit_s: float
    classifier_workers: int
    routes: dict[str, Route]
    rules: tuple[Rule, ...]
    ledger: Ledger

    @property
    def needs_classifier(self) -> bool:
        """Does anything ask for a score?"""
        return any(r.policy.needs_score for r in self.routes.values()) or any(
            rule.needs_score or rule.needs_task for rule in self.rules
        )

    def make_classifier(self) -> Classifier:
        """Load it: it may take a moment and some memory. ConfigError when it cannot be loaded."""
        try:
            return plugins.build("weighbridge.classifiers", self.classifier.use, self.classifier.options, Classifier)
        except (ValueError, OSError) as error:
            raise ConfigError([f"{self.path}: classifier: {error}"]) from error


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a config file, with `WEIGHBRIDGE_SECTION__KEY` of the environment over it. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError:
        remedy = "run `weighbridge init` to write one, or name another with --config"
        raise ConfigError([f"{path}: there is no such file; {remedy}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None
    _override(data, environ)
    return _Reader(path, text, data).config()


def _override(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put the environment's values over the file's. Only names with a section are ours: the others are not keys."""
    for name, value in environ.items():
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        *tables, key = name.removeprefix(PREFIX).lower().split("__")
        table = data
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError([f"{name}: {part!r} is not a table of the config file"])
        table[key] = _toml_value(value) if value[:1] in "[{" else value  # the rest is converted by its type


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


class _Reader:
    """Turns the tables into objects and collects every problem on the way, so that all are told at once."""

    def __init__(self, path: Path, text: str, data: dict[str, Any]) -> None:
        self.path = path
        self.text = text
        self.data = data
        self.problems: list[str] = []

    def config(self) -> Config:
        known = ["schema_version", "server", "upstreams", "classifier", "routes", "rules", "ledger"]
        for key in self.data.keys() - set(known):
            self.problem((key,), self.data[key], "is not a known table" + _nearest(key, known))
        if self.data.get("schema_version", 1) != 1:
            self.problem(("schema_version",), self.data["schema_version"], "is not supported: this release reads 1")
        server = self.make(("server",), Server, self.table(("server",)))
        upstreams = self.upstreams()
        classifier = self.classifier()
        routes = self.routes(upstreams)
        rules = self.rules(upstreams)
        ledger = self.shelf(("ledger",), "weighbridge.ledger", Ledger, default="sqlite")
        self.check_whole(server, upstreams, routes)
        if self.problems or not (server and ledger and classifier):
            raise ConfigError(self.problems)
        return Config(
            path=self.path,
            server=server,
            upstreams=upstreams,
            classifier=classifier[0],
            classifier_time_limit_s=classifier[1],
            classifier_workers=classifier[2],
            routes=routes,
            rules=rules,
            ledger=ledger,
        )

    def upstreams(self) -> dict[str, Upstream]:
        found = {}
        for name in self.table(("upstreams",)):
            upstream = self.shelf(("upstreams", name), "weighbridge.upstreams", Upstream)
            if upstream:
                found[name] = upstream
        return found

    def classifier(self) -> tuple[Spec, float, int] | None:
        options = dict(self.table(("classifier",)))
        use = options.pop("use", "minilm")
        gateway = self.make(
            ("classifier",), _Assessing, {k: options.pop(k) for k in _Assessing.model_fields if k in options}
        )
        try:
            cls = plugins.find("weighbridge.classifiers", str(use), Classifier)
        except plugins.UnknownPlugin as error:
            self.problem(("classifier", "use"), use, str(error))
            return None
        for key in options.keys() - cls.model_fields.keys():
            self.problem(("classifier", key), options[key], "is not a known key" + _nearest(key, cls.model_fields))
        if gateway is None:
            return None
        return Spec(use=use, options=options), gateway.time_limit_s, gateway.workers

    def routes(self, upstreams: dict[str, Upstream]) -> dict[str, Route]:
        found = {}
        for name in self.table(("routes",)):
            at: Key = ("routes", name)
            table = dict(self.table(at))
            table.setdefault("baseline", table.get("large"))
            policy = self.shelf((*at, "policy"), "weighbridge.policies", Policy, default="threshold")
            for key in ("small", "large", "baseline"):
                if key in table:
                    self.check_upstream((*at, key), table[key], upstreams)
            route = self.make(at, Route, {**table, "policy": policy}) if policy else None
            if route:
                found[name.lower()] = route
        return found

    def rules(self, upstreams: dict[str, Upstream]) -> tuple[Rule, ...]:
        tables = self.data.get("rules", [])
        if not isinstance(tables, list):
            self.problem(("rules",), tables, "must be written as [[rules]]")
            return ()
        found = []
        for i, table in enumerate(tables):
            rule = self.make(("rules", i), Rule, table)
            if rule is None:
                continue
            if rule.then.upstream is not None:
                self.check_upstream(("rules", i, "then", "upstream"), rule.then.upstream, upstreams)
            found.append(rule)
        return tuple(found)

    def check_whole(self, server: Server | None, upstreams: dict[str, Upstream], routes: dict[str, Route]) -> None:
        """What no table can say for itself."""
        if not self.table(("upstreams",)):
            self.problem(("upstreams",), None, "is missing: name at least one upstream as [upstreams.NAME]")
        if not self.table(("routes",)):
            self.problem(("routes",), None, "is missing: name at least one route, as [routes.auto]")
        for name in {n.lower() for n in upstreams} & routes.keys():
            self.problem(("routes", name), name, "is also the name of an upstream: rename one of them")
        if server and not server.is_loopback and not server.api_keys_env:
            remedy = "without keys only loopback is served: set server.api_keys_env, or host = \"127.0.0.1\""
            self.problem(("server", "host"), server.host, remedy)

    def check_upstream(self, at: Key, name: object, upstreams: dict[str, Upstream]) -> None:
        if name not in upstreams and name not in self.table(("upstreams",)):
            self.problem(at, name, "is not an upstream" + _nearest(str(name), upstreams))

    def table(self, at: Key) -> dict[str, Any]:
        """The table there, or an empty one; something else in its place is a problem."""
        value: Any = self.data
        for part in at:
            value = value.get(part, {}) if isinstance(value, dict) else {}
        if isinstance(value, dict):
            return value
        self.problem(at, value, "must be a table")
        return {}

    def shelf(self, at: Key, shelf: str, base: type[T], default: str | None = None) -> T | None:
        """Build what a table with a `use` describes."""
        options = dict(self.table(at))
        use = options.pop("use", default)
        if use is None:
            self.problem(at, None, f"lacks `use`: one of {', '.join(plugins.implementations(shelf, base))}")
            return None
        try:
            return self.make(at, plugins.find(shelf, str(use), base), options)
        except plugins.UnknownPlugin as error:
            self.problem((*at, "use"), use, str(error))
            return None

    def make(self, at: Key, cls: type[T], options: Any) -> T | None:
        try:
            return cls.model_validate(options)
        except ValidationError as error:
            for e in error.errors():
                self.problem((*at, *e["loc"]), e["input"], _sentence(e, cls))
            return None

    def problem(self, at: Key, value: object, what: str) -> None:
        """Keep a problem: where it is, what stands there, and what to do."""
        line = line_of(self.text, at)
        where = f"{self.path}:{line}" if line else f"{self.path}"
        dotted = ".".join(f"{p}" for p in at)
        shown = "" if value is None or isinstance(value, dict | list) else f" = {value!r}"
        self.problems.append(f"{where}: {dotted}{shown} {what}")


class _Assessing(_Table):
    """Those keys of `[classifier]` that are the gateway's: they hold for every classifier."""

    time_limit_s: float = Field(default=0.5, gt=0)
    workers: int = Field(default=2, ge=1, le=64)


def _sentence(error: Any, cls: type[BaseModel]) -> str:
    """Pydantic's finding in our words."""
    kind = error["type"]
    if kind == "extra_forbidden":
        return "is not a known key" + _nearest(str(error["loc"][-1]), cls.model_fields)
    if kind == "missing":
        return "is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message if message.startswith("is ") else f"is refused: {message[:1].lower()}{message[1:]}"


def _nearest(word: str, known: Any) -> str:
    close = get_close_matches(word.lower(), list(known), n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(sorted(known)) or 'none'}"
