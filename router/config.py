"""config.toml: read once, checked whole, frozen. Each mistake names its file, line, key, value and remedy."""

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError, create_model

from weighbridge import overrides, plugins
from weighbridge.budgets import Budget
from weighbridge.cache import Caching
from weighbridge.classifiers.base import TASKS, Classifier
from weighbridge.energy import Energy
from weighbridge.keys import KeysError, KeysFile
from weighbridge.ledger.base import Ledger
from weighbridge.overrides import Override
from weighbridge.policies.base import Policy
from weighbridge.policies.rules import Rule
from weighbridge.preprocess.tables import Preprocess
from weighbridge.preprocess.tables import problems as of_preprocess
from weighbridge.problems import Problems, dotted, is_secret, is_variable, leaves, nearest, of_validation, url_password
from weighbridge.server import Server
from weighbridge.specialists import objections
from weighbridge.state.base import State
from weighbridge.tables import Assessing, Pair, Route, Signalling, Spec, Table
from weighbridge.toml_lines import Key, line_of
from weighbridge.upstreams.base import Upstream

T = TypeVar("T", bound=BaseModel)

_ROUTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
_UPSTREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,63}")
_TOML_PLACE = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")


class ConfigError(Exception):
    """The file cannot be used. `problems` are sentences, one for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Config(Table):
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
    state: State
    budgets: tuple[Budget, ...]
    cache: Caching | None
    energy: Energy = Energy()
    signals: Signalling | None
    preprocess: Preprocess = Preprocess()

    @property
    def keys_path(self) -> Path | None:
        """Where the callers' keys are: beside this file, unless it says otherwise."""
        return self.path.parent / self.server.keys_path if self.server.keys_path else None

    @property
    def needs_classifier(self) -> bool:
        """Something asks for a score or a task."""
        return any(r.policy.needs_score or r.small_by_task for r in self.routes.values()) or any(
            rule.needs_score or rule.needs_task for rule in self.rules
        )

    def make_classifier(self) -> Classifier:
        """Load it: it may take a moment and some memory. ConfigError when it cannot be loaded."""
        try:
            use, options = self.classifier.use, self.classifier.options
            return plugins.build("weighbridge.classifiers", use, options, Classifier)  # type: ignore[type-abstract]
        except (ValueError, OSError, RuntimeError, ImportError) as error:
            raise ConfigError([f"{_place(self.path, ('classifier',))}: classifier: {error}"]) from error

    def variables(self) -> Iterator[tuple[str, str]]:
        """Each key that names an environment variable, and the name."""
        if self.server.api_keys_env:
            yield "server.api_keys_env", self.server.api_keys_env
        tables: dict[str, BaseModel] = {f"upstreams.{name}": upstream for name, upstream in self.upstreams.items()}
        for place, table in {**tables, "ledger": self.ledger, "state": self.state}.items():
            for field in type(table).model_fields:
                variable = getattr(table, field)
                if field.endswith("_env") and isinstance(variable, str) and variable:
                    yield f"{place}.{field}", variable


def require_keys(config: Config, environ: Mapping[str, str]) -> None:
    """Callers' keys that are asked for must be there: without them everybody would be let in. Raises ConfigError."""
    name = config.server.api_keys_env
    if name and not any(key.strip() for key in environ.get(name, "").split(",")):
        remedy = f'set {name} to one key or several, separated by commas, or set api_keys_env = "" for loopback only'
        place = _place(config.path, ("server", "api_keys_env"))
        raise ConfigError([f"{place}: server.api_keys_env = {json.dumps(name)} is not set or empty: {remedy}"])
    if config.keys_path:
        try:
            KeysFile(config.keys_path).read()
        except KeysError as error:
            raise ConfigError([f"{_place(config.path, ('server', 'keys_path'))}: server.keys_path: {error}"]) from error


def _place(path: Path, key: Key) -> str:
    """Where a key stands, for what is found only after the file was read."""
    line = line_of(_text_of(path), key)
    return f"{path}:{line}" if line else str(path)


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a config file, with `WEIGHBRIDGE_SECTION__KEY` of the environment over it. Raises ConfigError."""
    text = _text_of(path)
    try:
        data = tomllib.loads(text)
        done, misplaced = overrides.apply(data, environ)
        return _Reader(path, text, data, done).config(misplaced)
    except RecursionError:
        raise ConfigError([f"{path}: is nested too deeply; no key of ours lies deeper than ten tables"]) from None
    except ValueError as error:  # TOMLDecodeError, and a number of too many digits
        raise ConfigError([_not_toml(path, text, str(error))]) from None


def _text_of(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return raw.decode("utf-8-sig")
    except FileNotFoundError:
        remedy = "run `weighbridge init` to write one, or name another with --config"
        raise ConfigError([f"{path}: there is no such file; {remedy}"]) from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: is not UTF-8 text; save the file as UTF-8"]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([f"{path}: cannot be read: {reason}; name another file with --config"]) from None


def _not_toml(path: Path, text: str, message: str) -> str:
    place = _TOML_PLACE.search(message)
    if place is None:
        return f"{path}: is not valid TOML: {message}"
    line = place[1] or text.rstrip("\n").count("\n") + 1
    shown = _TOML_PLACE.sub("", message)
    return f"{path}:{line}: is not valid TOML: {shown}; text goes in quotes, and each key stands once in its table"


class _Reader:
    """Turns the tables into objects and collects every problem on the way, so that all are told at once."""

    def __init__(self, path: Path, text: str, data: dict[str, Any], done: list[Override]) -> None:
        self.path = path
        self.data = data
        self.done = done
        self.problems = Problems(path, text, data, {override.key: override.variable for override in done})

    def config(self, misplaced: list[str]) -> Config:
        self.check_tables()
        self.check_secrets()
        server = self.make(("server",), Server, self.table(("server",)))
        upstreams = self.upstreams()
        classifier = self.classifier()
        routes = self.routes(upstreams, classifier[2] if classifier else TASKS)
        preprocess = self.make(("preprocess",), Preprocess, self.table(("preprocess",)))
        rules = self.rules(preprocess)
        ledger = self.shelf(("ledger",), "weighbridge.ledger", Ledger, default="sqlite")  # type: ignore[type-abstract]
        state = self.shelf(("state",), "weighbridge.state", State, default="memory")  # type: ignore[type-abstract]
        budgets = self.budgets(routes)
        cache = self.make(("cache",), Caching, self.table(("cache",))) if "cache" in self.data else None
        energy = self.make(("energy",), Energy, self.table(("energy",)))
        signals = self.make(("signals",), Signalling, self.table(("signals",))) if "signals" in self.data else None
        self.check_whole(server, routes)
        sentences = misplaced + self.problems.sentences
        if sentences or not (server and ledger and classifier and state and energy and preprocess):
            raise ConfigError(sentences)
        return Config(
            path=self.path,
            server=server,
            upstreams=upstreams,
            classifier=classifier[0],
            classifier_time_limit_s=classifier[1].time_limit_s,
            classifier_workers=classifier[1].workers,
            routes=routes,
            rules=rules,
            ledger=ledger,
            state=state,
            budgets=budgets,
            cache=cache,
            energy=energy,
            signals=signals,
            preprocess=preprocess,
        )

    def upstreams(self) -> dict[str, Upstream]:
        found: dict[str, Upstream] = {}
        for name in self.names(("upstreams",), _UPSTREAM_NAME):
            upstream = self.shelf(("upstreams", name), "weighbridge.upstreams", Upstream)  # type: ignore[type-abstract]
            if upstream:
                found[name] = upstream
        return found

    def classifier(self) -> tuple[Spec, Assessing, tuple[str, ...]] | None:
        """What to build, what of its table is the gateway's, and the tasks that it may name."""
        options = dict(self.table(("classifier",)))
        use = options.pop("use", "minilm")
        ours = {key: options.pop(key) for key in Assessing.model_fields if key in options}
        gateway = self.make(("classifier",), Assessing, ours)
        try:
            cls = plugins.find("weighbridge.classifiers", use, Classifier)  # type: ignore[type-abstract]
        except plugins.UnknownPlugin as error:
            self.problems.add(("classifier", "use"), use, str(error))
            return None
        # Its keys are checked here, without loading it: that costs a moment, and some memory.
        fields: dict[str, Any] = {name: (field.annotation, field) for name, field in cls.model_fields.items()}
        keys_alone = create_model(cls.__name__, __config__=cls.model_config, **fields)
        if gateway is None or self.make(("classifier",), keys_alone, options) is None:
            return None
        return Spec(use=use, options=options), gateway, cls.tasks

    def routes(self, upstreams: Mapping[str, Upstream], tasks: tuple[str, ...]) -> dict[str, Route]:
        found: dict[str, Route] = {}
        for name in self.names(("routes",), _ROUTE_NAME):
            at: Key = ("routes", name)
            table = dict(self.table(at))
            for key in ("small", "large", "baseline"):
                self.check_upstream((*at, key), table.get(key))
            by_task = self.table((*at, "small_by_task"), ': write small_by_task = { summarization = "NAME" }')
            for task, value, what in objections(by_task, table.get("small"), upstreams, tasks):
                self.problems.add((*at, "small_by_task", task), value, what)
            for task, value in by_task.items():
                self.check_upstream((*at, "small_by_task", task), value)
            self.check_upstream((*at, "shadow", "judge"), self.table((*at, "shadow")).get("judge"))
            table.setdefault("baseline", table.get("large", ""))
            policy = self.shelf((*at, "policy"), "weighbridge.policies", Policy, default="threshold")  # type: ignore[type-abstract]
            table.pop("policy", None)
            pair = self.make(at, Pair, table)
            if policy and pair:
                found[name.lower()] = Route(**dict(pair), policy=policy)
        return found

    def rules(self, preprocess: Preprocess | None) -> tuple[Rule, ...]:
        rules = self.listed("rules", Rule)
        for i, rule in rules.items():
            self.check_upstream(("rules", i, "then", "upstream"), rule.then.upstream)
        for key, value, what in of_preprocess(preprocess, rules, self.table(("upstreams",))) if preprocess else ():
            self.problems.add(key, value, what)
        return tuple(rules.values())

    def budgets(self, routes: dict[str, Route]) -> tuple[Budget, ...]:
        budgets = self.listed("budgets", Budget)
        seen: set[str] = set()
        for i, budget in budgets.items():
            if budget.name in seen:
                self.problems.add(("budgets", i, "name"), budget.name, "is taken by an earlier budget: rename one")
            seen.add(budget.name)
            for route in budget.routes:
                if route not in routes:
                    self.problems.add(("budgets", i, "routes"), route, "is not a route" + nearest(route, routes))
        return tuple(budgets.values())

    def listed(self, key: str, cls: type[T]) -> dict[int, T]:
        """What the tables under `[[key]]` describe, by their places."""
        tables = self.data.get(key, [])
        if not isinstance(tables, list):
            self.problems.add((key,), tables, f"must be a list of tables, each under its own [[{key}]]")
            return {}
        made = {i: self.make((key, i), cls, table) for i, table in enumerate(tables)}
        return {i: found for i, found in made.items() if found is not None}

    def check_upstream(self, at: Key, name: object) -> None:
        upstreams = self.table(("upstreams",))
        if isinstance(name, str) and name not in upstreams:
            self.problems.add(at, name, "is not an upstream" + nearest(name, upstreams))

    def check_tables(self) -> None:
        known = ["schema_version", "server", "upstreams", "classifier", "routes", "rules", "ledger", "state", "budgets"]
        known += ["cache", "energy", "signals", "preprocess"]
        for key in self.data:
            if key not in known:
                self.problems.add((key,), self.data[key], "is not a known table" + nearest(key, known))
        version = self.data.get("schema_version", 1)
        if type(version) is not int or version != 1:
            self.problems.add(("schema_version",), version, "is not supported: this release reads schema_version = 1")

    def check_secrets(self) -> None:
        """A secret has no place in the file, and the name of a variable must be one."""
        for key, value in leaves(self.data):
            name = str(key[-1])
            if key[0] in {"rules", "routes"} or not isinstance(value, str) or not value:
                continue
            if name.endswith("_env") and not is_variable(value):
                what = "must be the name of an environment variable that holds the secret, never the secret itself"
                self.problems.add(key, value, what)
            elif is_secret(name, value) or url_password(value):
                what = "holds a secret, which has no place here: put it into an environment variable, and name that"
                self.problems.add(key, value, what + ', as api_key_env = "NAME"')

    def check_whole(self, server: Server | None, routes: dict[str, Route]) -> None:
        """What no table can say for itself."""
        upstreams = self.table(("upstreams",))
        if not upstreams:
            self.problems.add(("upstreams",), None, "is missing: name at least one upstream, as [upstreams.local]")
        if not self.table(("routes",)):
            self.problems.add(("routes",), None, "is missing: name at least one route, as [routes.auto]")
        for name in upstreams:
            route = name.lower().partition(":")[0]
            if route in routes:
                self.problems.add(("upstreams", name), None, f"has the name of the route {route}: rename one of them")
        if server and not server.is_loopback and not server.needs_key:
            what = 'lets others than this machine in: set server.keys_path or api_keys_env too, or host = "127.0.0.1"'
            self.problems.add(("server", "host"), server.host, what)
        if server and "*" in server.cors_origins and not server.needs_key:
            what = 'lets every web page call without a key: name the pages\' origins, as ["https://app.example"], '
            self.problems.add(("server", "cors_origins"), "*", what + "or set server.keys_path or api_keys_env too")

    def names(self, at: Key, allowed: re.Pattern[str]) -> list[str]:
        """The names under a table. Clients ask for them whatever their case, so case must not tell two apart."""
        seen: dict[str, str] = {}
        for name in self.table(at):
            if not allowed.fullmatch(name):
                what = f"is not a name for {at[-1]}: write up to 64 letters, digits and the signs . _ / -"
                self.problems.add((*at, name), None, what)
            elif name.lower() in seen:
                what = f"is the same name as {seen[name.lower()]}, since case does not count: rename one of them"
                self.problems.add((*at, name), None, what)
            else:
                seen[name.lower()] = name
        return list(seen.values())

    def table(self, at: Key, remedy: str = "") -> dict[str, Any]:
        """The table there, or an empty one; something else in its place is a problem."""
        value: Any = self.data
        for part in at:
            value = value.get(part, {}) if isinstance(value, dict) else {}
        if isinstance(value, dict):
            return value
        self.problems.add(at, value, f"must be a table{remedy}")
        return {}

    def shelf(self, at: Key, shelf: str, base: type[T], default: str | None = None) -> T | None:
        """Build what a table with a `use` describes."""
        options = dict(self.table(at, f': write {dotted(at)} = {{ use = "..." }}'))
        use = options.pop("use", default)
        if use is None:
            names = ", ".join(plugins.implementations(shelf, base))
            self.problems.add((*at, "use"), None, f"is missing: add use = one of {names}")
            return None
        try:
            return self.make(at, plugins.find(shelf, use, base), options)
        except plugins.UnknownPlugin as error:
            self.problems.add((*at, "use"), use, str(error))
            return None

    def make(self, at: Key, cls: type[T], options: Any) -> T | None:
        """Build a table's object; None after its problems were kept."""
        for key, value in leaves(options):
            if isinstance(value, float) and not math.isfinite(value):
                self.problems.add((*at, *key), value, "must be a finite number")
        try:
            return _strict(cls, options)
        except ValidationError as error:
            options = self.with_texts(at, options, error)
        try:
            return _strict(cls, options)
        except ValidationError as error:
            for key, value, what in of_validation(error.errors(), options, cls):
                self.problems.add((*at, *key), value, what)
            return None

    def with_texts(self, at: Key, options: Any, error: ValidationError) -> Any:
        """Values of the environment as they came, where they were read as a number but text is wanted."""
        refused = [tuple(e["loc"]) for e in error.errors() if e["type"] != "extra_forbidden"]
        options = deepcopy(options)
        for override in self.done:
            key = override.key[len(at) :]
            if key and override.key[: len(at)] == at and any(loc[: len(key)] == key for loc in refused):
                table = options
                for part in key[:-1]:
                    table = table[part]
                table[key[-1]] = override.text
        return options


def _strict(cls: type[T], options: Any) -> T:
    # As JSON a list may become a tuple, and still "8484" is no number and true is no 1.
    return cls.model_validate_json(json.dumps(options, default=str), strict=True)
