"""Several small upstreams: the one for the task where the task is clear, the usual one everywhere else."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from running import toml_of, two_upstreams

from weighbridge.classifiers.base import Assessment
from weighbridge.config import load
from weighbridge.dialects.chat import CHAT
from weighbridge.dialects.embeddings import EMBEDDINGS
from weighbridge.planning import Plan, Planner, explained
from weighbridge.schemas import Request
from weighbridge.wire import parse

FENCE = {"name": "private", "when": {"pii": ["email"]}, "then": {"fence": "local"}}
BY_NAME = {"name": "by name", "when": {"keyword": ["plain"]}, "then": {"upstream": "local"}}
SUMMARY = Assessment(0.2, "summarization", 0.93)


class Planned:
    """Plans requests for a route with a second small upstream, for summaries."""

    def __init__(self, folder: Path, **changes: object) -> None:
        config = two_upstreams("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", rules=[FENCE, BY_NAME])
        config["upstreams"]["sums"] = {**config["upstreams"]["local"], "model": "small-2"}
        config["routes"]["auto"] |= {"small_by_task": {"summarization": "sums"}, **changes}
        self.table = config
        self.path = folder / "config.toml"
        self.asked = 0

    async def plan(self, found: Assessment | None = SUMMARY, text: str = "hi", model: str = "auto", **fields) -> Plan:
        async def assess(_: str) -> Assessment | None:
            self.asked += 1
            return found

        self.path.write_text(toml_of(self.table))
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        request = Request("wb-1", CHAT, parse(json.dumps(body).encode()), "anyone", {}, 0.0, datetime.now(UTC))
        plan = await Planner(load(self.path, {}), None, assess).plan(request)
        self.said = explained(plan, request)
        return plan


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    return Planned(tmp_path)


async def test_a_clear_task_goes_to_its_own_small_upstream_and_falls_back_to_the_usual_one(planned):
    plan = await planned.plan()
    assert plan.chain == ("sums", "local", "remote")
    assert plan.decision.reason == "below_threshold"
    assert plan.decision.detail == "score 0.20 < 0.50; summarization (0.93) goes to sums"
    assert (planned.said["upstream"], planned.said["model"]) == ("sums", "small-2")
    assert planned.said["signals"]["detail"] == plan.decision.detail
    assert planned.asked == 1


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(Assessment(0.2, None, 0.4), id="no task is sure enough"),
        pytest.param(Assessment(0.2, "code", 0.9), id="a task without an upstream of its own"),
    ],
)
async def test_any_other_task_goes_to_the_usual_one(planned, found):
    assert (await planned.plan(found)).chain == ("local", "remote")


async def test_who_abstains_is_not_asked_for_the_task(tmp_path):
    planned = Planned(tmp_path, policy={"use": "threshold", "threshold": 0.5, "when_unsure": "small"})
    plan = await planned.plan(Assessment(0.2, "summarization", 0.93, abstained=True))
    assert (plan.chain, plan.decision.reason) == (("local", "remote"), "abstain")
    assert (await planned.plan(None)).chain == ("local", "remote")


async def test_what_goes_to_the_large_side_stays_there(planned):
    assert (await planned.plan(Assessment(0.9, "summarization", 0.93))).chain == ("remote", "local")


@pytest.mark.parametrize(("text", "model"), [("write to jane.doe@example.com", "auto"), ("hi", "auto:local")])
async def test_within_a_fence_the_task_chooses_among_local_ones(planned, text, model):
    plan = await planned.plan(Assessment(0.9, "summarization", 0.93), text, model)
    assert (plan.chain, plan.fence) == (("sums", "local"), "local")
    assert set(plan.reach) == {"local", "sums"}
    assert "summarization (0.93) goes to sums" in plan.decision.detail


@pytest.mark.parametrize(("text", "model"), [("hi", "local"), ("hi", "small-1"), ("plain", "auto")])
async def test_an_upstream_that_was_named_stays(planned, text, model):
    assert (await planned.plan(text=text, model=model)).chain[0] == "local"
    assert planned.asked == 0


async def test_a_fence_around_the_remote_small_side_leaves_its_specialists_out(planned):
    for name in ("local", "sums"):
        planned.table["upstreams"][name]["location"] = "remote"
    planned.table["upstreams"]["remote"]["location"] = "local"
    plan = await planned.plan(text="write to jane.doe@example.com")
    assert (plan.chain, set(plan.reach)) == (("remote",), {"remote"})


async def test_a_policy_without_a_score_has_its_small_side_split_all_the_same(tmp_path):
    planned = Planned(tmp_path, policy={"use": "always", "upstream": "small"})
    assert (await planned.plan()).chain == ("sums", "local", "remote")
    assert load(planned.path, {}).needs_classifier


async def test_a_weak_draft_of_a_specialist_goes_to_the_large_side(tmp_path):
    plan = await Planned(tmp_path, policy={"use": "cascade", "threshold": 0.5}).plan()
    assert plan.decision.verify
    assert plan.chain == ("sums", "remote", "local")


async def test_a_route_of_small_upstreams_alone_goes_by_task(tmp_path):
    plan = await Planned(tmp_path, large="local").plan()
    assert (plan.chain, plan.decision.detail) == (
        ("sums", "local"),
        "no other; summarization (0.93) goes to sums",
    )


async def test_a_request_too_long_for_its_specialist_goes_to_the_usual_one(planned):
    planned.table["upstreams"]["sums"]["context_window"] = 4096
    plan = await planned.plan(text="word " * 5000)
    assert (plan.chain, plan.decision.reason) == (("local", "remote"), "context_window")


async def test_a_session_goes_on_where_it_began(planned):
    tools = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ]

    async def recall(_: str) -> str | None:
        return "local"

    await planned.plan()
    body = parse(json.dumps({"model": "auto", "messages": tools}).encode())
    request = Request("wb-1", CHAT, body, "anyone", {}, 0.0, datetime.now(UTC))
    plan = await Planner(load(planned.path, {}), None, None, recall).plan(request)
    assert (plan.decision.reason, plan.decision.upstream) == ("session", "local")


async def test_what_is_not_scored_has_no_task(planned):
    await planned.plan()
    body = parse(json.dumps({"model": "auto:local", "input": "hi"}).encode())
    request = Request("wb-1", EMBEDDINGS, body, "anyone", {}, 0.0, datetime.now(UTC))
    plan = await Planner(load(planned.path, {}), None, None).plan(request)
    assert plan.decision.upstream == "local"
