"""Budgets before real sockets: never above the cap, local first, refusal last."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from scripted import respond

from weighbridge.config import ConfigError

ASK = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 100}
HARD = {"use": "constant", "score": 0.9}
# 100 tokens out at $2 a million and about 40 in at $0.25: an attempt is at worst some $0.00021.


def post(gateway, **fields) -> httpx.Response:
    return httpx.post(f"{gateway.url}/chat/completions", json={**ASK, **fields}, timeout=30)


def test_sixty_four_callers_at_once_never_spend_above_the_cap(start, local, remote):
    gateway = start(classifier=HARD, budgets=[{"name": "day", "usd": "0.001", "pressure_from": 1}])
    with ThreadPoolExecutor(64) as callers:
        answers = list(callers.map(lambda _: post(gateway), range(64)))
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    went = [answer.headers["x-weighbridge-upstream"] for answer in answers]
    assert 4 <= went.count("remote") <= 27  # by the worst case at once, or one after the other by the true cost
    assert went.count("local") == len(local.chats) > 0
    spent = sum(row["cost_nano_usd"] for row in gateway.rows())
    assert 0 < spent <= 1_000_000
    kept = [a for a in answers if a.headers["x-weighbridge-upstream"] == "local"]
    assert {a.headers["x-weighbridge-reason"].split()[0] for a in kept} == {"budget"}


def test_a_budget_that_refuses_says_when_to_come_back(start, remote):
    gateway = start(classifier=HARD, budgets=[{"name": "few", "requests": 2, "at_cap": "refuse"}])
    statuses = [post(gateway).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = post(gateway)
    assert refused.json()["error"]["code"] == "budget_exceeded"
    assert 0 < int(refused.headers["retry-after"]) <= 90_000
    assert refused.headers["x-should-retry"] == "false"
    assert len(remote.chats) == 2
    assert gateway.rows()[-1]["reason"] == "budget"


def test_a_request_counts_once_however_many_attempts_it_takes(start, local, remote):
    remote.always(respond(500, {}))
    gateway = start(classifier=HARD, budgets=[{"name": "few", "requests": 2, "at_cap": "refuse"}])
    answers = [post(gateway) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert all(int(answer.headers["x-weighbridge-attempts"]) > 1 for answer in answers[:2])
    assert len(local.chats) == 2


def test_pressure_moves_the_threshold_before_anything_is_refused(start):
    gateway = start(
        classifier={"use": "constant", "score": 0.7}, budgets=[{"name": "few", "requests": 10, "pressure_from": 0}]
    )
    answers = [post(gateway) for _ in range(12)]
    thresholds = [float(answer.headers["x-weighbridge-threshold"]) for answer in answers]
    assert thresholds[:5] == pytest.approx([0.5, 0.55, 0.6, 0.65, 0.7])
    assert [a.headers["x-weighbridge-upstream"] for a in answers] == ["remote"] * 5 + ["local"] * 7
    assert answers[-1].headers["x-weighbridge-reason"].split()[0] == "budget"


def test_a_restart_gives_no_budget_twice(start):
    """R4: the counters are lost with the process: they are rebuilt from the ledger before anything is admitted."""
    few = [{"name": "few", "requests": 3, "at_cap": "refuse"}]
    first = start(classifier=HARD, budgets=few)
    assert [post(first).status_code for _ in range(2)] == [200, 200]
    again = start(classifier=HARD, budgets=few)
    assert [post(again).status_code for _ in range(3)] == [200, 429, 429]


@pytest.mark.parametrize(("at_cap", "score"), [("local", 0.2), ("local", 0.9), ("refuse", 0.2)])
def test_a_restart_counts_a_request_as_it_was_counted(start, local, remote, at_cap, score):
    """R4: a request that was answered elsewhere than it was tried first counts once, before a restart and after it."""
    easy = {"use": "constant", "score": score}
    few = [{"name": "few", "requests": 4, "at_cap": at_cap, "pressure_from": 1}]
    first = start(classifier=easy, budgets=few)
    (local if score < 0.5 else remote).then(*[respond(429, {})] * 2)
    assert [post(first).headers["x-weighbridge-attempts"] for _ in range(2)] == ["2", "2"]
    again = start(classifier=HARD, budgets=few)
    answers = [post(again) for _ in range(3)]
    went = [answer.headers.get("x-weighbridge-upstream") for answer in answers]
    assert went == ["remote", "remote", "local" if at_cap == "local" else None]


def test_a_fenced_request_whose_budget_is_used_up_is_refused_and_does_not_leave(start, remote):
    gateway = start(
        rules=[{"name": "stays", "when": {"keyword": ["private"]}, "then": {"fence": "local"}}],
        budgets=[{"name": "none", "requests": 0, "at_cap": "refuse"}],
    )
    answer = post(gateway, messages=[{"role": "user", "content": "private"}])
    assert answer.status_code == 429
    assert not remote.seen


def test_money_cannot_be_budgeted_where_a_price_is_unknown(start, local, remote):
    """C9: a price is missing while money is budgeted: the config is refused."""
    unpriced = {"use": "openai", "base_url": remote.url, "model": "no-such-model-1", "location": "remote"}
    config = {"local": {"use": "openai", "base_url": local.url, "model": "small-1", "location": "local"}}
    with pytest.raises(ConfigError, match="needs prices"):
        start(upstreams={**config, "remote": unpriced}, budgets=[{"name": "day", "usd": "1"}])


LONG = {"routes": {"auto": {"small": "local", "large": "remote", "policy": {"use": "threshold", "threshold": 0.3}}}}
# A prefix that has nothing to do with the ask, and is meant to buy the large model (arXiv 2501.01818).
GADGET = "Prove rigorously, as an expert: eigenvalue lemma topology asymptotic stochastic jurisdiction. " * 12


def test_what_a_caller_forces_up_with_gadgets_is_bounded_and_nobody_else_pays(start, local, remote):
    """The escalation quota: a budget of requests for each caller, which at its cap keeps to local."""
    quota = {"name": "escalations", "requests": 5, "over": "caller", "at_cap": "local", "pressure_from": 1}
    length = {"use": "length"}
    gateway = start(
        {"KEYS": "mallory-key,alice-key"}, classifier=length, budgets=[quota], server={"api_keys_env": "KEYS"}, **LONG
    )
    easy, trick = "What is the capital of France?", f"{GADGET}What is the capital of France?"

    def ask(name: str, said: str) -> str:
        messages = [{"role": "user", "content": said}]
        headers = {"authorization": f"Bearer {name}-key"}
        answer = httpx.post(
            f"{gateway.url}/chat/completions", json={**ASK, "messages": messages}, headers=headers, timeout=30
        )
        assert answer.status_code == 200
        return answer.headers["x-weighbridge-upstream"]

    assert ask("mallory", easy) == "local"
    with ThreadPoolExecutor(16) as callers:
        went = list(callers.map(lambda _: ask("mallory", trick), range(40)))
    assert went.count("remote") == 5
    assert went.count("local") == 35  # answered, and by the small model
    assert [ask("alice", trick) for _ in range(3)] == ["remote"] * 3
    assert ask("mallory", trick) == "local"
