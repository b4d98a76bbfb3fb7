"""config.toml: what is right is read, and every mistake is told with its file, line, key, value and remedy."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from weighbridge import config as config_module
from weighbridge.cache import Caching
from weighbridge.classifiers.minilm import MiniLM
from weighbridge.config import Config, ConfigError, Server, load, require_keys
from weighbridge.ledger.sqlite import SQLite
from weighbridge.policies.always import Always
from weighbridge.policies.rules import Rule, Then
from weighbridge.policies.threshold import Threshold
from weighbridge.policies.when import CONDITIONS
from weighbridge.preprocess.tables import Clean, Compress, Preprocess
from weighbridge.state.redis import Redis
from weighbridge.tables import Shadow, Signalling
from weighbridge.upstreams.base import Electricity, Limits, Upstream
from weighbridge.upstreams.ollama import Ollama
from weighbridge.upstreams.openai import OpenAI

ROOT = Path(__file__).parents[2]
DEFAULT = (ROOT / "config.toml").read_text(encoding="utf-8")

GOOD = """\
[server]
port = 8484
[upstreams.small]
use = "simulated"
model = "s"
location = "local"
[upstreams.large]
use = "openai"
base_url = "https://api.example/v1"
model = "l"
location = "remote"
api_key_env = "EXAMPLE_KEY"
input_usd_per_mtok = "0.15"
[classifier]
use = "length"
[routes.auto]
small = "small"
large = "large"
policy = { use = "threshold", threshold = 0.4 }
[[rules]]
name = "private"
when = { any = [
    { pii = ["email"] },
    { header = { "x-data-class" = "private" } },
] }
then = { fence = "local" }
[[rules]]
name = "pictures"
when = { has_image = true }
then = { upstream = "large" }
[ledger]
use = "sqlite"
path = "w.db"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ or {})


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """The sentences, with the file's name alone."""
    with pytest.raises(ConfigError) as refused:
        read(folder, text, environ)
    return [problem.replace(f"{folder}/", "") for problem in refused.value.problems]


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def test_a_good_file_becomes_a_config(folder: Path) -> None:
    config = read(folder, GOOD)
    assert config.routes["auto"].policy == Threshold(threshold=0.4)
    assert config.routes["auto"].baseline == "large"
    assert [rule.name for rule in config.rules] == ["private", "pictures"]
    assert config.classifier.use == "length"
    assert config.ledger == SQLite(path="w.db")
    assert config.needs_classifier


def test_the_default_file_is_good(folder: Path) -> None:
    config = read(folder, DEFAULT)
    assert list(config.upstreams) == ["local", "remote"]
    assert [bool(rule.then.fence) for rule in config.rules] == [True, False]


def test_the_packaged_default_is_the_one_at_the_root() -> None:
    packaged = Path(config_module.__file__).parent / "default.toml"
    assert packaged.read_text(encoding="utf-8") == DEFAULT


SHOWN = (Server, Upstream, Ollama, OpenAI, Limits, Electricity, Threshold, Always, Rule, Then, SQLite, MiniLM)


@pytest.mark.parametrize("table", [*SHOWN, Redis, Caching])
def test_the_default_file_shows_every_key(table: type[BaseModel]) -> None:
    assert {key for key in table.model_fields if f"{key}" not in DEFAULT} == set()


def test_the_default_file_names_every_condition() -> None:
    assert {name for name in CONDITIONS if name not in DEFAULT} == set()


def test_what_the_default_file_shows_commented_out_can_be_switched_on(folder: Path) -> None:
    lines = []
    for line in DEFAULT.splitlines():
        bare = line.removeprefix("# ")
        tables = ("[upstreams", "[routes", "[[budgets", "[cache", "[energy", "[signals", "[preprocess")
        is_table = bare.startswith(tables)
        is_setting = bare != line and (is_table or "= " in bare.split("#")[0])
        is_prose = not bare[:1].isalpha() or " = " not in bare or " " in bare.split(" = ")[0]
        lines.append(bare if is_setting and (bare.startswith("[") or not is_prose) else line)
    on = "\n".join(line for line in lines if not line.startswith("policy = ") or "when_unsure" in line)
    config = read(folder, on)
    local, remote = config.upstreams["local"], config.upstreams["remote"]
    assert isinstance(local, Ollama)
    assert local.keep_alive == "5m"
    assert local.electricity
    assert local.limits == Limits()
    assert remote.context_window == 128000
    assert config.server.drain_s == 30
    assert config.cache == Caching()
    assert config.energy.grid_gco2e_per_kwh == 350
    assert config.routes["auto"].shadow == Shadow(share=0.02, usd_per_day="1", judge="remote")
    assert config.signals == Signalling()
    assert config.preprocess == Preprocess(compress=Compress(upstream="local"), clean=Clean(upstream="local"))


MISTAKES = {
    "a misspelt table": (
        changed("[ledger]", "[leger]"),
        "config.toml:31: leger is not a known table; did you mean ledger",
    ),
    "a misspelt key": (
        changed("port = 8484", "prot = 8484"),
        "config.toml:2: server.prot = 8484 is not a known key; did you mean port",
    ),
    "a misspelt key of a policy": (
        changed("threshold = 0.4", "treshold = 0.4"),
        "config.toml:19: routes.auto.policy.treshold = 0.4 is not a known key; did you mean threshold?",
    ),
    "a misspelt key of an upstream": (
        changed("base_url =", "baseurl ="),
        'config.toml:9: upstreams.large.baseurl = "https://api.example/v1" is not a known key; did you mean base_url?',
    ),
    "a misspelt limit": (
        changed('model = "l"', 'model = "l"\nlimits = { idle = 3 }'),
        "config.toml:11: upstreams.large.limits.idle = 3 is not a known key; did you mean idle_s?",
    ),
    "a task that nobody names": (
        changed("policy =", 'small_by_task = { sumarization = "small" }\npolicy ='),
        'config.toml:19: routes.auto.small_by_task.sumarization = "small" is not for a known task; '
        "did you mean summarization",
    ),
    "an upstream for a task that is not there": (
        changed("policy =", 'small_by_task = { code = "smal" }\npolicy ='),
        'config.toml:19: routes.auto.small_by_task.code = "smal" is not an upstream; did you mean small?',
    ),
    "an upstream for a task on the other side": (
        changed("policy =", 'small_by_task = { code = "large" }\npolicy ='),
        'config.toml:19: routes.auto.small_by_task.code = "large" is remote, and the route\'s small upstream small is '
        "local: name one that is local too",
    ),
    "no table of tasks": (
        changed("policy =", 'small_by_task = "small"\npolicy ='),
        'config.toml:19: routes.auto.small_by_task = "small" must be a table: write small_by_task = {',
    ),
    "a number for an upstream of a task": (
        changed("policy =", "small_by_task = { code = 3 }\npolicy ="),
        "config.toml:19: routes.auto.small_by_task.code = 3 must be text",
    ),
    "a misspelt condition": (
        changed("{ pii =", "{ pi ="),
        "config.toml:23: rules[0].when.any[0].pi is not a condition; did you mean pii",
    ),
    "a misspelt action": (
        changed('then = { fence = "local" }', 'then = { fense = "local" }'),
        'config.toml:26: rules[0].then.fense = "local" is not a known key; did you mean fence?',
    ),
    "a misspelt key of a classifier": (
        changed('use = "length"', 'use = "minilm"\nthraeds = 2'),
        "config.toml:16: classifier.thraeds = 2 is not a known key; did you mean threads",
    ),
    "a wrong key of a classifier": (
        changed('use = "length"', 'use = "minilm"\nthreads = 0'),
        "config.toml:16: classifier.threads = 0 must be at least 1",
    ),
    "a wrong key of the gateway's own": (
        changed('use = "length"', 'use = "length"\nworkers = 0'),
        "config.toml:16: classifier.workers = 0 must be at least 1",
    ),
    "a quoted number": (
        changed("port = 8484", 'port = "8484"'),
        'config.toml:2: server.port = "8484" must be a whole number, without quotes',
    ),
    "true for a number": (
        changed("port = 8484", "port = true"),
        "config.toml:2: server.port = true must be a whole number",
    ),
    "a number out of range": (
        changed("port = 8484", "port = 70000"),
        "config.toml:2: server.port = 70000 must be at most 65535",
    ),
    "a number that is none": (
        changed("port = 8484", "drain_s = nan"),
        "config.toml:2: server.drain_s = nan must be a finite number",
    ),
    "a word for true": (
        changed('path = "w.db"', 'store_prompts = "yes"'),
        'config.toml:33: ledger.store_prompts = "yes" must be true or false',
    ),
    "a threshold above 1": (
        changed("threshold = 0.4", "threshold = 7"),
        "config.toml:19: routes.auto.policy.threshold = 7 must be at most 1",
    ),
    "a choice that is none": (
        changed('location = "remote"', 'location = "cloud"'),
        'config.toml:11: upstreams.large.location = "cloud" must be "local" or "remote"',
    ),
    "text for a table": (
        changed('{ use = "threshold", threshold = 0.4 }', '"threshold"'),
        'config.toml:19: routes.auto.policy = "threshold" must be a table: write routes.auto.policy = { use = "..." }',
    ),
    "a table for text": (
        changed('model = "l"', 'model = { name = "l" }'),
        "config.toml:10: upstreams.large.model must be text in quotes",
    ),
    "one table for a list of them": (
        changed('[[rules]]\nname = "private"', '[rules]\nname = "private"').replace("[[rules]]", "[r]"),
        "config.toml:20: rules must be a list of tables, each under its own [[rules]]",
    ),
    "a step without its table": (
        changed('then = { fence = "local" }', 'then = { preprocess = ["clean"] }'),
        'then.preprocess = "clean" needs a local model: add [preprocess.clean] with upstream = "NAME"',
    ),
    "a step by a remote model": (
        f'{GOOD}\n[preprocess.clean]\nupstream = "large"',
        'preprocess.clean.upstream = "large" is not local: what is worked on must not leave for that',
    ),
    "a step by nobody": (
        f'{GOOD}\n[preprocess.compress]\nupstream = "nobody"',
        'preprocess.compress.upstream = "nobody" is not an upstream: name a local one',
    ),
    "a doubt of a step that is left out in doubt": (
        changed('then = { fence = "local" }', 'then = { preprocess = ["clean"], on_doubt = "refuse" }'),
        'on_doubt is for preprocess = ["redact"]',
    ),
    "a price as a number": (
        changed('input_usd_per_mtok = "0.15"', "input_usd_per_mtok = 0.15"),
        "config.toml:13: upstreams.large.input_usd_per_mtok = 0.15 must be in quotes, so that it stays exact: "
        'write "0.15"',
    ),
    "a price as a whole number": (
        changed('input_usd_per_mtok = "0.15"', "input_usd_per_mtok = 2"),
        'config.toml:13: upstreams.large.input_usd_per_mtok = 2 must be in quotes, so that it stays exact: write "2"',
    ),
    "a price that is none": (
        changed('"0.15"', '"cheap"'),
        'config.toml:13: upstreams.large.input_usd_per_mtok = "cheap" is not an amount in USD: write a decimal string '
        'such as "0.15"',
    ),
    "a negative price": (
        changed('"0.15"', '"-1"'),
        'config.toml:13: upstreams.large.input_usd_per_mtok = "-1" is not an amount in USD: it must be finite and not '
        "negative",
    ),
    "an unknown use": (
        changed('use = "simulated"', 'use = "simulate"'),
        'config.toml:4: upstreams.small.use = "simulate" is not one of litellm, ollama, openai, simulated, nor '
        "module:Class; did you mean simulated?",
    ),
    "a missing use": (
        changed('use = "simulated"\n', ""),
        "config.toml:3: upstreams.small.use is missing: add use = one of litellm, ollama, openai, simulated",
    ),
    "an unknown module": (
        changed('use = "length"', 'use = "acme_of_nowhere:Scorer"'),
        'config.toml:15: classifier.use = "acme_of_nowhere:Scorer" cannot be imported',
    ),
    "a missing key": (
        changed('model = "l"\n', ""),
        "config.toml:7: upstreams.large.model is missing: add model = ...",
    ),
    "an empty model": (
        changed('model = "l"', 'model = ""'),
        'config.toml:10: upstreams.large.model = "" must not be empty',
    ),
    "a URL that is none": (
        changed("https://api.example/v1", "api.example"),
        'config.toml:9: upstreams.large.base_url = "api.example" is not a URL: write http://HOST:PORT',
    ),
    "an upstream that a route does not have": (
        changed('small = "small"', 'small = "smal"'),
        'config.toml:17: routes.auto.small = "smal" is not an upstream; did you mean small',
    ),
    "an upstream that a rule does not have": (
        changed('upstream = "large" }', 'upstream = "lrge" }'),
        'config.toml:30: rules[1].then.upstream = "lrge" is not an upstream; did you mean large?',
    ),
    "a baseline that is none": (
        changed('large = "large"', 'large = "large"\nbaseline = "x"'),
        'config.toml:19: routes.auto.baseline = "x" is not an upstream; known: large, small',
    ),
    "a kind of data that is none": (
        changed('pii = ["email"]', 'pii = ["emial"]'),
        "config.toml:23: rules[0].when.any[0].pii[0]",
    ),
    "two actions": (
        changed('then = { upstream = "large" }', 'then = { upstream = "large", deny = "no" }'),
        'config.toml:30: rules[1].then is refused: write exactly one of fence = "local", upstream = "NAME" and '
        'deny = "message"',
    ),
    "no routes": (
        GOOD[: GOOD.index("[routes.auto]")] + GOOD[GOOD.index("[[rules]]") :],
        "config.toml: routes is missing: name at least one route, as [routes.auto]",
    ),
    "no upstreams": (
        '[routes.auto]\nsmall = "a"\nlarge = "b"\n',
        "config.toml: upstreams is missing: name at least one upstream, as [upstreams.local]",
    ),
    "a route with an upstream's name": (
        changed("[upstreams.small]", "[upstreams.Auto]").replace('"small"', '"Auto"'),
        "config.toml:3: upstreams.Auto has the name of the route auto: rename one of them",
    ),
    "an upstream with the name of a route's variant": (
        GOOD + '[upstreams."auto:cost"]\nuse = "simulated"\nmodel = "m"\nlocation = "local"\n',
        'config.toml:34: upstreams."auto:cost" has the name of the route auto: rename one of them',
    ),
    "two names that differ in case alone": (
        GOOD + '[routes.Auto]\nsmall = "small"\nlarge = "large"\n',
        "config.toml:34: routes.Auto is the same name as auto, since case does not count: rename one of them",
    ),
    "a name with a space": (
        changed("[routes.auto]", '[routes."my auto"]'),
        'config.toml:16: routes."my auto" is not a name for routes',
    ),
    "open to all without keys": (
        changed("port = 8484", 'host = "0.0.0.0"'),
        'config.toml:2: server.host = "0.0.0.0" lets others than this machine in: set server.keys_path or '
        'api_keys_env too, or host = "127.0.0.1"',
    ),
    "every page without keys": (
        changed("port = 8484", 'cors_origins = ["*"]'),
        'config.toml:2: server.cors_origins = "*" lets every web page call without a key: name the pages\' origins, as '
        '["https://app.example"], or set server.keys_path or api_keys_env too',
    ),
    "an origin with a path": (
        changed("port = 8484", 'cors_origins = ["https://app.example/"]'),
        "config.toml:2: server.cors_origins holds 'https://app.example/', which is not an origin: write "
        '"https://HOST" or "http://HOST:PORT"',
    ),
    "the origin of a sandbox": (
        changed("port = 8484", 'cors_origins = ["null"]'),
        "config.toml:2: server.cors_origins holds 'null', which is not an origin",
    ),
    "a limit of nothing": (
        changed("port = 8484", "header_timeout_s = 0"),
        "config.toml:2: server.header_timeout_s = 0 must be above 0",
    ),
    "another version of the format": (
        "schema_version = 2\n" + GOOD,
        "config.toml:1: schema_version = 2 is not supported: this release reads schema_version = 1",
    ),
    "a line that is no TOML": (
        changed("port = 8484", "port = eight"),
        "config.toml:2: is not valid TOML: ",
    ),
    "a key that stands twice": (
        changed("port = 8484", "port = 8484\nport = 8485"),
        "config.toml:3: is not valid TOML: ",
    ),
    "a string without an end": (GOOD + 'x = """\n\n', "is not valid TOML: "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place_and_remedy(mistake: str, folder: Path) -> None:
    """C4: an unknown key, a wrong type, a name of nothing: refused with place and remedy."""
    text, sentence = MISTAKES[mistake]
    found = problems(folder, text)
    assert any(sentence in problem for problem in found), found


@pytest.mark.parametrize("mistake", [name for name in MISTAKES if name not in {"no upstreams", "a misspelt table"}])
def test_one_mistake_is_told_once(mistake: str, folder: Path) -> None:
    found = problems(folder, MISTAKES[mistake][0])
    allowed = {"one table for a list of them": 2, "a misspelt key of an upstream": 2}
    assert len(found) <= allowed.get(mistake, 1), found


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    text = changed("port = 8484", "prot = 1").replace("threshold = 0.4", "threshold = 4").replace('"w.db"', "3")
    assert len(problems(folder, text)) == 3


def test_a_missing_file_says_how_to_get_one(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such file; run `weighbridge init`"):
        load(folder / "config.toml", {})


def test_a_folder_is_no_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        load(folder, {})


def test_a_file_in_another_encoding_is_told_by_its_line(folder: Path) -> None:
    (folder / "config.toml").write_bytes(b"[server]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"config.toml:2: is not UTF-8 text"):
        load(folder / "config.toml", {})


def test_a_byte_order_mark_is_no_mistake(folder: Path) -> None:
    (folder / "config.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(folder / "config.toml", {}).server.port == 8484


SECRET = "sk-proj-4nZ8vQ2mXw7tLk9rBc3d"


@pytest.mark.parametrize(
    ("old", "new", "environ"),
    [
        ('api_key_env = "EXAMPLE_KEY"', f'api_key_env = "{SECRET}"', {}),
        ('api_key_env = "EXAMPLE_KEY"', f'api_key = "{SECRET}"', {}),
        ('api_key_env = "EXAMPLE_KEY"', f'token = "{SECRET}"', {}),
        ('api_key_env = "EXAMPLE_KEY"', f'headers = {{ authorization = "Bearer {SECRET}" }}', {}),
        ('api_key_env = "EXAMPLE_KEY"', f'headers = {{ "x-api-key" = "{SECRET}" }}', {}),
        ("https://api.example/v1", f"https://me:{SECRET}@api.example/v1", {}),
        ("https://api.example/v1", f"ftp://me:{SECRET}@api.example/v1", {}),
        ('path = "w.db"', f'password = "{SECRET}"', {}),
        ("port = 8484", f'api_keys_env = "{SECRET}"', {}),
        ("port = 8484", f'secret = "{SECRET}"', {}),
        ("port = 8484", "port = 1", {"WEIGHBRIDGE_UPSTREAMS__LARGE__API_KEY": SECRET}),
        ("port = 8484", "port = 1", {"WEIGHBRIDGE_SERVER__API_KEYS_ENV": SECRET}),
        ('use = "openai"', f'use = "litellm"\noptions = {{ aws_secret_access_key = "{SECRET}" }}', {}),
    ],
)
def test_a_secret_is_refused_and_never_repeated(old: str, new: str, environ: dict[str, str], folder: Path) -> None:
    """C1: a key written into the config: refused, and not repeated."""
    found = problems(folder, changed(old, new), environ)
    assert SECRET not in "\n".join(found)
    assert "********" in "\n".join(found)
    assert any("environment variable" in problem for problem in found)


def test_a_key_of_the_rules_is_a_callers_name_and_no_secret(folder: Path) -> None:
    config = read(folder, changed("has_image = true", 'key = "alice", header = { "x-api-key" = "*" }'))
    assert config.rules[1].matches


OVERRIDES: dict[str, tuple[str, str]] = {
    "SERVER__PORT": ("9000", "server.port"),
    "SERVER__HOST": ("::1", "server.host"),
    "SERVER__MAX_BODY_MB": ("0.5", "server.max_body_mb"),
    "UPSTREAMS__LARGE__MODEL": ("4", "upstreams.large.model"),
    "UPSTREAMS__LARGE__INPUT_USD_PER_MTOK": ("0.60", "upstreams.large.input_usd_per_mtok"),
    "UPSTREAMS__LARGE__CONTEXT_WINDOW": ("4096", "upstreams.large.context_window"),
    "UPSTREAMS__LARGE__INCLUDE_USAGE": ("false", "upstreams.large.include_usage"),
    "UPSTREAMS__LARGE__LIMITS__IDLE_S": ("7", "upstreams.large.limits.idle_s"),
    "UPSTREAMS__LARGE__HEADERS": ('{ x-team = "search" }', "upstreams.large.headers.x-team"),
    "CLASSIFIER__USE": ("constant", "classifier.use"),
    "CLASSIFIER__TIME_LIMIT_S": ("2", "classifier_time_limit_s"),
    "CLASSIFIER__WORKERS": ("3", "classifier_workers"),
    "ROUTES__AUTO__BASELINE": ("small", "routes.auto.baseline"),
    "ROUTES__AUTO__POLICY__THRESHOLD": ("0.9", "routes.auto.policy.threshold"),
    "RULES__1__THEN__UPSTREAM": ("small", "rules.1.then.upstream"),
    "LEDGER__PATH": ("2026", "ledger.path"),
    "LEDGER__STORE_PROMPTS": ("true", "ledger.store_prompts"),
}


@pytest.mark.parametrize("variable", OVERRIDES)
def test_the_environment_goes_over_the_file(variable: str, folder: Path) -> None:
    text, place = OVERRIDES[variable]
    value: Any = read(folder, GOOD, {f"WEIGHBRIDGE_{variable}": text})
    for part in place.split("."):
        value = value[int(part)] if part.isdigit() else value[part] if isinstance(value, dict) else getattr(value, part)
    wanted = "search" if "HEADERS" in variable else text
    assert value == wanted or float(str(value).replace("True", "1").replace("False", "0")) == float(
        wanted.replace("true", "1").replace("false", "0")
    )


def test_a_variable_finds_a_name_with_dashes_and_capitals(folder: Path) -> None:
    text = GOOD.replace("[upstreams.large]", "[upstreams.GPT-5]").replace('"large"', '"GPT-5"')
    assert read(folder, text, {"WEIGHBRIDGE_UPSTREAMS__GPT_5__MODEL": "m"}).upstreams["GPT-5"].model == "m"


def test_a_variable_can_add_what_the_file_does_not_have(folder: Path) -> None:
    environ = {"WEIGHBRIDGE_ROUTES__FAST__SMALL": "small", "WEIGHBRIDGE_ROUTES__FAST__LARGE": "small"}
    assert list(read(folder, GOOD, environ).routes) == ["auto", "fast"]


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("SERVER__PORT", "many", 'environment variable WEIGHBRIDGE_SERVER__PORT: server.port = "many" must be a whole'),
        ("SERVER__PROT", "1", "environment variable WEIGHBRIDGE_SERVER__PROT: server.prot = 1 is not a known key"),
        ("SERVER__PORT__X", "1", "WEIGHBRIDGE_SERVER__PORT__X: there is no table for 'x' in the config file"),
        ("RULES__9__NAME", "x", "WEIGHBRIDGE_RULES__9__NAME: '9' is not one of the 2 entries there"),
        ("RULES__X__NAME", "x", "'x' is not one of the 2 entries there, which are counted from 0"),
        ("RULES", "[]", None),
        ("LEDGER__", "x", "environment variable WEIGHBRIDGE_LEDGER__"),
        ("__", "x", "environment variable WEIGHBRIDGE___"),
        ("ROUTES__AUTO__LARGE", "nope", 'routes.auto.large = "nope" is not an upstream'),
    ],
)
def test_a_variable_that_makes_no_sense_is_called_by_its_name(
    variable: str, text: str, sentence: str | None, folder: Path
) -> None:
    environ = {f"WEIGHBRIDGE_{variable}": text}
    if sentence is None:
        read(folder, GOOD, environ)  # without a section it is not ours
    else:
        assert sentence in "\n".join(problems(folder, GOOD, environ))


def test_the_path_of_the_config_is_no_key_of_it(folder: Path) -> None:
    assert read(folder, GOOD, {"WEIGHBRIDGE_CONFIG": "/elsewhere.toml"}).server.port == 8484


def test_a_classifier_that_cannot_be_loaded_is_told(folder: Path) -> None:
    config = read(folder, changed('use = "length"', f'use = "minilm"\nartefact = "{folder}/none"'))
    with pytest.raises(ConfigError, match=r"config.toml:14: classifier: .*manifest.json: is missing"):
        config.make_classifier()


@pytest.mark.parametrize("keys", ["", " , ", None])
def test_keys_that_are_asked_for_must_be_there(keys: str | None, folder: Path) -> None:
    config = read(folder, changed("port = 8484", 'host = "0.0.0.0"\napi_keys_env = "OUR_KEYS"'))
    environ = {} if keys is None else {"OUR_KEYS": keys}
    with pytest.raises(ConfigError, match=r'config.toml:3: server.api_keys_env = "OUR_KEYS" is not set or empty: set'):
        require_keys(config, environ)
    require_keys(config, {"OUR_KEYS": "one, two"})


def test_the_variables_that_a_config_needs_are_listed(folder: Path) -> None:
    text = changed("port = 8484", 'api_keys_env = "OUR_KEYS"')
    assert dict(read(folder, text).variables()) == {
        "server.api_keys_env": "OUR_KEYS",
        "upstreams.large.api_key_env": "EXAMPLE_KEY",
    }


@pytest.mark.parametrize(("host", "is_loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True)])
def test_this_machine_is_known_by_its_names(host: str, is_loopback: bool) -> None:
    assert Server(host=host).is_loopback is is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "gateway.example", ""])  # noqa: S104
def test_every_other_host_is_a_network(host: str) -> None:
    assert not Server(host=host).is_loopback


_HUGE = 10**100  # stands for a number of more digits than Python reads
_NUMBERS = st.integers() | st.floats() | st.just(_HUGE)
_TEXTS = st.sampled_from(
    ["", "local", "small", "large", "auto", "minilm", "threshold", "a:b", "sqlite", "\0", "é" * 99]
)
_VALUES = st.recursive(
    _NUMBERS | st.booleans() | _TEXTS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS | st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_written(k)} = {_written(v)}" for k, v in value.items()) + "}"
    return "1" + "0" * 5000 if value == _HUGE else str(value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(0, len(GOOD.splitlines()) - 1), value=_VALUES)
def test_a_good_file_with_one_wild_value_is_read_or_refused_in_words(line: int, value: Any, folder: Path) -> None:
    lines = GOOD.splitlines()
    key = lines[line].split(" = ", 1)[0] if " = " in lines[line] else "extra"
    lines[line] = f"{key} = {_written(value)}"
    _is_read_or_refused("\n".join(lines), folder)


WILD = [
    "[" * 3000,
    "a = " + "[" * 3000,
    "a = " + "{a=" * 3000,
    ".".join(["a"] * 3000) + " = 1",
    "[" + ".".join(["a"] * 3000) + "]",
    "[routes.a]\npolicy." + ".".join(["a"] * 3000) + " = 1",
    "[[upstreams]]",
    "[[routes]]\n[[routes]]",
    "upstreams = 1\nroutes = true\nrules = 1979-05-27\nclassifier = []\nledger = 'x'\nserver = 0.1",
    "[upstreams]\na = 1\n[routes]\na = 1\n[[rules]]",
    "rules = [1, 'a', [], {}, 07:32:00]",
    "[routes.a]\nsmall = {}\nlarge = []\nbaseline = 1\npolicy = 1",
    "[classifier]\nuse = 1\ntime_limit_s = inf\n[server]\nport = 1979-05-27T07:32:00Z",
]


@pytest.mark.parametrize("text", WILD, ids=range(len(WILD)))
def test_a_wild_text_is_refused_in_words(text: str, folder: Path) -> None:
    _is_read_or_refused(text, folder)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("[]{}=\"'.,#\n\\ au1_-"), max_size=60) | st.text(max_size=60))
def test_no_text_whatever_ends_in_a_traceback(text: str, folder: Path) -> None:
    """C1: any text as a config: read, or refused in words."""
    _is_read_or_refused(text, folder)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    variable=st.lists(
        st.sampled_from(
            ["SERVER", "PORT", "RULES", "0", "1", "THEN", "UPSTREAMS", "LARGE", "POLICY", "ROUTES", "", "²"]
        ),
        min_size=2,
        max_size=5,
    ),
    text=st.text(max_size=10) | st.sampled_from(["[", "{}", "[1]", "nan", "1e999", "1" * 5000, "{ a = 1 }"]),
)
def test_no_variable_whatever_ends_in_a_traceback(variable: list[str], text: str, folder: Path) -> None:
    _is_read_or_refused(GOOD, folder, {"WEIGHBRIDGE_" + "__".join(variable): text})


def _is_read_or_refused(text: str, folder: Path, environ: Mapping[str, str] | None = None) -> None:
    path = folder / "config.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    sentences: list[str] | None = None
    try:
        load(path, environ or {})
    except ConfigError as error:
        sentences = error.problems
    if sentences is None:
        tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return
    assert sentences
    assert all(p.startswith((str(path), "environment variable")) and len(p) < 2000 for p in sentences)
