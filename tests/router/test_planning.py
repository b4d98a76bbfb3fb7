"""Before the wire: names, rules in order, the fence, and what fits."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from running import toml_of, two_upstreams

from weighbridge.classifiers.base import Assessment
from weighbridge.config import load
from weighbridge.dialects.chat import CHAT
from weighbridge.errors import BadRequest, Denied, ModelNotFound, Refused, Unavailable
from weighbridge.planning import Planner, explained
from weighbridge.schemas import Request
from weighbridge.wire import parse

FENCE = {"name": "private", "when": {"pii": ["email"]}, "then": {"fence": "local"}}
TOOLS = {"name": "tools", "when": {"has_tools": True}, "then": {"upstream": "remote"}}
HARD = {"name": "hard", "when": {"score_over": 0.9}, "then": {"upstream": "remote"}}
DENY = {"name": "no", "when": {"keyword": ["forbidden"]}, "then": {"deny": "Not here."}}
PRIVATE = "write to jane.doe@example.com"


class Scorer:
    """A score for every text, and a note of what was asked."""

    def __init__(self, score: float | None) -> None:
        self.score = score
        self.texts: list[str] = []

    async def __call__(self, text: str) -> Assessment | None:
        self.texts.append(text)
        return None if self.score is None else Assessment(self.score)


@pytest.fixture
def make(tmp_path: Path):
    """A planner with a score of 0.2, or another, and these tables of the config changed."""

    def planner(score: float | None = 0.2, **changes) -> tuple[Planner, Scorer]:
        config = two_upstreams("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", **changes)
        path = tmp_path / "config.toml"
        path.write_text(toml_of(config))
        scorer = Scorer(score)
        return Planner(load(path, {}), None, scorer), scorer

    return planner


def ask(text: str = "hi", model: str = "auto", **fields) -> Request:
    body = parse(json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **fields}).encode())
    return Request("wb-1", CHAT, body, "anyone", {}, 0.0, datetime.now(UTC))


async def test_the_first_rule_that_matches_wins(make):
    tools = [{"type": "function", "function": {"name": "f"}}]
    planner, _ = make(rules=[FENCE, TOOLS])
    assert (await planner.plan(ask(PRIVATE, tools=tools))).rule == "private"
    planner, _ = make(rules=[TOOLS, FENCE])
    assert (await planner.plan(ask(PRIVATE, tools=tools))).rule == "tools"
    assert (await planner.plan(ask("hello"))).rule is None


async def test_the_classifier_is_not_asked_where_a_rule_before_it_decides(make):
    planner, scorer = make(rules=[TOOLS, HARD])
    plan = await planner.plan(ask(tools=[{"type": "function", "function": {"name": "f"}}]))
    assert plan.decision.reason == "rule"
    assert not scorer.texts


async def test_the_classifier_is_asked_once_for_rules_and_policy_together(make):
    planner, scorer = make(rules=[HARD, {**HARD, "name": "harder"}])
    plan = await planner.plan(ask("What is it?"))
    assert plan.decision.reason == "below_threshold"
    assert scorer.texts == ["What is it?"]


async def test_only_the_ask_is_scored(make):
    planner, scorer = make()
    messages = [
        {"role": "system", "content": "You are an agent. " * 2000},
        {"role": "user", "content": "What is it?"},
    ]
    await planner.plan(
        ask(messages=messages, tools=[{"type": "function", "function": {"name": f"t{i}"}} for i in range(20)])
    )
    assert scorer.texts == ["What is it?"]


async def test_without_a_score_the_policys_default_applies(make):
    planner, _ = make(score=None)
    plan = await planner.plan(ask())
    assert (plan.decision.upstream, plan.decision.reason) == ("remote", "classifier_unavailable")


async def test_a_fenced_plan_does_not_hold_the_remote_at_all(make):
    planner, _ = make(rules=[FENCE])
    for model in ("auto", "remote", "large-1", "auto:remote", "router-x-0"):
        plan = await planner.plan(ask(PRIVATE, model))
        assert set(plan.reach) == {"local"}
        assert plan.chain == ("local",)
        assert (plan.fence, plan.decision.reason) == ("local", "fence")


async def test_asking_for_local_fences_as_a_rule_does(make):
    planner, _ = make(score=0.99)
    plan = await planner.plan(ask(model="auto:local"))
    assert set(plan.reach) == {"local"}


async def test_a_rule_that_denies_is_an_error_with_its_words(make):
    planner, _ = make(rules=[DENY])
    with pytest.raises(Denied, match="Not here"):
        await planner.plan(ask("a FORBIDDEN thing"))


async def test_a_fence_without_a_local_upstream_is_unavailable(make):
    config = two_upstreams("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")
    config["upstreams"]["local"]["location"] = "remote"
    planner, _ = make(upstreams=config["upstreams"], rules=[FENCE])
    with pytest.raises(Unavailable):
        await planner.plan(ask(PRIVATE))


@pytest.mark.parametrize("model", ["", "gpt-9", "router-x", "router--", "auto:fast", "weighbridge/", "../auto"])
async def test_a_name_that_stands_for_nothing_is_not_found(make, model):
    planner, _ = make()
    with pytest.raises(ModelNotFound):
        await planner.plan(ask(model=model))


async def test_a_threshold_above_one_is_refused(make):
    planner, _ = make()
    with pytest.raises(BadRequest):
        await planner.plan(ask(model="router-mf-1.01"))


async def test_a_route_of_one_upstream_tries_it_once(make):
    planner, scorer = make(routes={"auto": {"small": "remote", "large": "remote"}})
    plan = await planner.plan(ask())
    assert plan.chain == ("remote",)
    assert not scorer.texts


async def test_pictures_are_not_counted_as_text(make):
    config = two_upstreams("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")
    config["upstreams"]["local"]["context_window"] = 500
    planner, _ = make(upstreams=config["upstreams"])
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}]
    assert (await planner.plan(ask(messages=messages))).decision.upstream == "local"
    with pytest.raises(Refused):
        await planner.plan(ask("word " * 2000, model="auto:local"))


async def test_the_output_asked_for_counts_towards_the_window(make):
    config = two_upstreams("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")
    config["upstreams"]["local"]["context_window"] = 500
    planner, _ = make(upstreams=config["upstreams"])
    assert (await planner.plan(ask(max_tokens=100))).decision.upstream == "local"
    assert (await planner.plan(ask(max_tokens=1000))).decision.reason == "context_window"


async def test_a_plan_explains_itself(make):
    planner, _ = make()
    request = ask()
    told = explained(await planner.plan(request), request)
    assert told["reason"] == "below_threshold"
    assert told["signals"]["fallbacks"] == ["remote"]
