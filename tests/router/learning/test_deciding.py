"""Deciding again: by the new config where the row tells enough, and not at all where it does not."""

from dataclasses import replace
from pathlib import Path

import pytest
from bookkeeping import entry
from commanding import CONFIG

from weighbridge.classifiers.base import Assessment
from weighbridge.config import Config, load
from weighbridge.learning.deciding import Decider, Verdict

POINTS = {"cost": 0.9, "balanced": 0.5, "quality": 0.1}
SMALL = {"upstream": "small", "location": "local"}
LARGE = {"upstream": "large", "location": "remote"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.replace("THRESHOLD", "0.5"))
    return load(path, {})


def decided(config: Config, *, anew: Assessment | None = None, scored_anew: bool = False, **row: object) -> Verdict:
    asked = {"auto:cost": "cost", "router-mf-0.2": 0.2}
    decider = Decider(config, config, asked=asked.get, thresholds=POINTS, is_scored_anew=scored_anew)
    return decider.decide(entry(**{**SMALL, **row}), anew)


@pytest.mark.parametrize(("score", "goes"), [(0.1, "small"), (0.5, "large"), (0.9, "large")])
def test_the_score_decides(config: Config, score: float, goes: str) -> None:
    assert decided(config, score=score) == Verdict(goes, None, True, score)


@pytest.mark.parametrize(("model", "goes"), [("auto:cost", "small"), ("router-mf-0.2", "large")])
def test_what_a_client_asked_for_goes_before_the_config(config: Config, model: str, goes: str) -> None:
    found = decided(config, score=0.6, model_asked=model)
    assert (found.upstream, found.is_by_threshold) == (goes, False)


@pytest.mark.parametrize("reason", ["pinned", "session", "fallback", "budget", "context_window", "cascade_accepted"])
def test_what_the_config_did_not_decide_stays(config: Config, reason: str) -> None:
    assert decided(config, score=0.9, reason=reason).upstream == "small"
    assert decided(config, score=0.1, reason=reason, **LARGE).upstream == "large"


def test_a_fence_keeps_a_request_here(config: Config) -> None:
    assert decided(config, score=0.9, reason="fence", rule="private", fence="local").upstream == "small"
    assert decided(config, score=0.9, reason="fence", fence="local").upstream == "small"
    # Without the rule the policy decides.
    free = config.model_copy(update={"rules": ()})
    assert decided(free, score=0.9, reason="fence", rule="private", fence="local").upstream == "large"
    assert decided(free, score=None, reason="fence", rule="private", fence="local").missing == "not kept: a score"


def test_a_new_fence_brings_a_request_home(config: Config) -> None:
    old = config.model_copy(update={"rules": ()})
    fence = config.rules[0].model_copy(update={"when": {"key": "team-a"}})
    new = config.model_copy(update={"rules": (fence,)})
    decider = Decider(old, new, asked=lambda _: None, thresholds=POINTS, is_scored_anew=False)
    assert decider.decide(entry(score=0.9, **LARGE), None).upstream == "small"


def test_a_new_denial_sends_a_request_nowhere(config: Config) -> None:
    denial = config.rules[1].model_copy(update={"when": {"key": "team-a"}})
    new = config.model_copy(update={"rules": (denial,)})
    decider = Decider(config, new, asked=lambda _: None, thresholds=POINTS, is_scored_anew=False)
    assert decider.decide(entry(score=0.9, **LARGE), None) == Verdict(None, None, False, 0.9)


def test_an_abstention_goes_where_the_policy_says_and_has_no_quality(config: Config) -> None:
    assert decided(config, score=0.1, reason="abstain") == Verdict("large", None, False, None)
    assert decided(config, score=None, reason="classifier_unavailable") == Verdict("large", None, False, None)


def test_what_was_never_sent_stays_so(config: Config) -> None:
    assert decided(config, attempts=0, upstream=None, location=None).upstream is None
    assert decided(config, attempts=0, score=0.9).upstream == "small"


def test_a_request_that_no_score_can_be_had_for_is_missing(config: Config) -> None:
    assert decided(config, score=None, reason="rule", rule="gone").missing is not None
    assert decided(config, score=0.9, scored_anew=True).missing == "not kept: the request, to be scored anew"
    assert decided(config, score=0.9, scored_anew=True, anew=Assessment(0.2)).upstream == "small"


def test_what_overflows_the_window_stays_where_it_was(config: Config) -> None:
    assert decided(config, score=0.1, input_tokens=9000, **LARGE).upstream == "large"


def test_a_missing_route_tells_nothing(config: Config) -> None:
    found = decided(config, route="gone")
    assert found == replace(found, upstream=None, missing="not kept: the route gone, in the config that is tried")


def test_what_goes_to_the_small_side_goes_by_its_task(config: Config) -> None:
    coder = config.upstreams["small"].model_copy(update={"model": "coder"})
    route = config.routes["auto"].model_copy(update={"small_by_task": {"code": "coder"}})
    upstreams = {**config.upstreams, "coder": coder}
    split = config.model_copy(update={"upstreams": upstreams, "routes": {"auto": route}})
    assert decided(split, score=0.1, task="code").upstream == "coder"
    assert decided(split, score=0.1, task="chat").upstream == "small"
    assert decided(split, score=0.9, task="code").upstream == "large"
    assert decided(split, score=0.9, task="code", reason="fence", rule="private", fence="local").upstream == "coder"
