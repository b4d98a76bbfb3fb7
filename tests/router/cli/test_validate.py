"""`weighbridge validate`: what is right, what is allowed but hardly meant, and what is wrong."""

import json

from commanding import ConfigFile

from weighbridge.cli.validate import warnings
from weighbridge.config import load


def warned(config: ConfigFile) -> list[str]:
    return list(warnings(load(config.path, {}), {}))


def put_first(config: ConfigFile, upstream: str) -> None:
    """A rule before all others that sends some requests to that upstream."""
    rule = f'name = "tables"\nwhen = {{ has_tools = true }}\nthen = {{ upstream = "{upstream}" }}'
    config.change("[[rules]]", f"[[rules]]\n{rule}\n[[rules]]")


async def test_a_good_file_is_explained(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("validate")
    assert ended.code == 0
    assert "route auto: an easy request goes to small, a hard one to large; baseline large" in ended.out
    assert 'rules, in this order: "private", "no weather"' in ended.out
    assert "config.toml is valid.\n" in ended.out


async def test_the_findings_come_as_json(config: ConfigFile, weighbridge) -> None:
    found = json.loads((await weighbridge("validate", "--json")).out)
    assert found["ok"] is True
    assert found["problems"] == found["warnings"] == []


async def test_mistakes_come_as_json_with_78(config: ConfigFile, weighbridge) -> None:
    config.change("port = 0", "port = -1")
    ended = await weighbridge("validate", "--json")
    assert ended.code == 78
    assert json.loads(ended.out)["problems"] == ["config.toml:2: server.port = -1 must be at least 0"]


async def test_a_broken_classifier_is_found(config: ConfigFile, weighbridge) -> None:
    config.change('use = "length"', 'use = "minilm"\nartefact = "nowhere"')
    ended = await weighbridge("validate")
    assert ended.code == 78
    assert "nowhere/manifest.json: is missing" in ended.err


async def test_a_variable_that_is_not_set_is_a_warning(config: ConfigFile, weighbridge) -> None:
    upstream = 'use = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "BIG_KEY"'
    config.change('use = "simulated"\nmodel = "sim-large"', upstream)
    ended = await weighbridge("validate")
    assert ended.code == 0
    assert "upstreams.large.api_key_env: the environment variable BIG_KEY is not set here" in ended.out
    assert "BIG_KEY" not in (await weighbridge("validate", env={"BIG_KEY": "x"})).out


def test_a_fence_behind_a_rule_that_sends_away_is_a_warning(config: ConfigFile) -> None:
    put_first(config, "large")
    assert warned(config) == [
        'rule "private" fences, but stands after "tables", which sends what it matches to large: '
        "move the fence before it"
    ]


def test_a_fence_behind_a_rule_that_stays_is_none(config: ConfigFile) -> None:
    put_first(config, "small")
    assert warned(config) == []


def test_a_fence_around_nothing_is_a_warning(config: ConfigFile) -> None:
    config.change('location = "local"', 'location = "remote"')
    assert warned(config) == ['rule "private" fences, but no upstream is local: its requests will be refused']


def test_a_route_without_a_choice_is_a_warning(config: ConfigFile) -> None:
    config.change('large = "large"', 'large = "small"')
    assert warned(config) == ["route auto: small and large are the same upstream, so there is nothing to choose"]
