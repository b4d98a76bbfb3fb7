"""Deciding again: by the new config where the row tells enough, and not at all where it does not."""

from dataclasses import replace
from pathlib import Path

import pytest
from bookkeeping import entry
from commanding import CONFIG

from weighbridge.classifiers.base import Assessment
from weighbridge.config import Config, load
from weighbridge.learning.deciding import Decider, Verdict
from weighbridge.policies.cascade import Cascade

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


@pytest.mark.parametrize("reason", ["pinned", "session", "fallback", "budget", "context_window"])
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


def cascading(config: Config, **changes: object) -> Config:
    policy = Cascade(threshold=0.5, **changes)
    routes = {name: route.model_copy(update={"policy": policy}) for name, route in config.routes.items()}
    return config.model_copy(update={"routes": routes})


def judged(before: Config, after: Config, **row: object) -> Verdict:
    decider = Decider(before, after, asked=lambda _: None, thresholds=POINTS, is_scored_anew=False)
    return decider.decide(entry(score=0.2, **row), None)


ACCEPTED = {"reason": "cascade_accepted", **SMALL}
ESCALATED = {"reason": "cascade_escalated", "attempts": 2, **LARGE}


def test_verdicts_on_drafts_stand_under_the_same_cascade(config: Config) -> None:
    served = cascading(config)
    assert judged(served, served, **ACCEPTED) == Verdict("small")
    assert judged(served, served, **ESCALATED) == Verdict("large")
    assert judged(served, served, reason="below_threshold", **SMALL).upstream == "small"


def test_a_verdict_tells_of_another_accept_only_one_way(config: Config) -> None:
    served, laxer, stricter = cascading(config), cascading(config, accept=0.5), cascading(config, accept=0.9)
    assert judged(served, laxer, **ACCEPTED).upstream == "small"
    assert judged(served, stricter, **ESCALATED).upstream == "large"
    why = "not kept: how good the draft was, for another `accept`"
    assert judged(served, stricter, **ACCEPTED).missing == why
    assert judged(served, laxer, **ESCALATED).missing == why


def test_a_verdict_tells_nothing_of_drafts_that_are_judged_otherwise(config: Config) -> None:
    served = cascading(config)
    why = "not kept: a verdict on such a draft"
    assert judged(served, cascading(config, samples=3), **ACCEPTED).missing == why
    assert judged(served, cascading(config, weights={"refusal": -9}), **ESCALATED).missing == why
    assert judged(config, served, **ACCEPTED).missing == why  # what judged it then is not known


def test_an_answer_that_nobody_judged_is_no_evidence_for_a_cascade(config: Config) -> None:
    served = cascading(config)
    assert judged(config, served, **SMALL).missing == "not kept: a verdict on a draft"
    assert judged(served, served, reason="at_or_above_threshold", **LARGE).missing == "not kept: a verdict on a draft"


def test_without_drafts_the_score_decides_and_what_was_judged_has_no_quality(config: Config) -> None:
    served = cascading(config)
    assert judged(served, config, **ACCEPTED) == Verdict("small", None, True, None, is_at_once=True)
    assert judged(served, config, **ESCALATED) == Verdict("small", None, True, None, is_at_once=True)
