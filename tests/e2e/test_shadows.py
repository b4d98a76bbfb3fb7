"""Shadows before real sockets: judged off the critical path, within their own budget, and never where a fence holds."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from running import two_upstreams
from scripted import Behaviour, Seen, completion, hang, respond, stream

from weighbridge.config import ConfigError
from weighbridge.ledger.chain import audit
from weighbridge.ledger.notes import SHADOW, Shadowed
from weighbridge.ledger.sqlite import SQLite

ASK = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
POLICY = {"use": "threshold", "threshold": 0.5}
HARD = {"use": "constant", "score": 0.9}
FENCE = {"name": "stays", "when": {"header": {"x-private": "*"}}, "then": {"fence": "local"}}


def says(verdict: Callable[[str], str], text: str) -> Behaviour:
    """An upstream that answers with this text, and where it is asked to judge, with a verdict on the question."""

    async def act(seen: Seen, writer: Any) -> None:
        asked = seen.json["messages"][-1]["content"]
        is_judged = isinstance(asked, str) and asked.startswith("Two assistants")
        await completion(verdict(asked) if is_judged else text)(seen, writer)

    return act


def for_the_one_that_says(text: str) -> Callable[[str], str]:
    def verdict(question: str) -> str:
        return "FIRST" if text in question.partition("</first>")[0] else "SECOND"

    return verdict


@pytest.fixture
def shadowed(start, local, remote):
    """A gateway that shadows every answer, with the remote upstream as the judge."""

    def begin(classifier: dict[str, Any] | None = None, rules=(), upstreams=None, **shadow: Any):
        table = {"share": 1, "usd_per_day": "1", "judge": "remote", "keep_texts": True, **shadow}
        table = {key: value for key, value in table.items() if value is not None}
        route = {"small": "local", "large": "remote", "policy": POLICY, "shadow": table}
        changes = {"routes": {"auto": route}, "rules": list(rules)}
        changes |= {"classifier": classifier} if classifier else {}
        changes |= {"upstreams": upstreams} if upstreams else {}
        return start(**changes)

    return begin


def post(gateway, headers: dict[str, str] | None = None, path="/chat/completions", **fields: Any) -> httpx.Response:
    answer = httpx.post(f"{gateway.url}{path}", json={**ASK, **fields}, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer


def settle(gateway) -> list[Shadowed]:
    """What shadows came to, once none of them runs."""
    shadowing = gateway.app.parts.shadowing
    loop = next(iter(gateway._server.servers)).get_loop()
    asyncio.run_coroutine_threadsafe(shadowing.settled(), loop).result(30)
    return list(SQLite(path=str(gateway.ledger_path)).shadows())


def ours(gateway) -> list[dict[str, Any]]:
    return [row for row in gateway.rows() if row["caller"] == SHADOW]


def test_the_other_side_answers_too_and_a_judge_compares_them_twice(shadowed, local, remote):
    local.always(completion("Lyon"))
    remote.always(says(for_the_one_that_says("Paris"), "Paris"))
    gateway = shadowed()
    answer = post(gateway)
    assert answer.json()["choices"][0]["message"]["content"] == "Lyon"
    (found,) = settle(gateway)
    assert found.request_id == answer.headers["x-request-id"]
    assert (found.served, found.small_worth, found.large_worth) == ("small", 0.0, 1.0)
    assert found.source == "judge remote"
    assert (found.prompt, found.small_answer, found.large_answer) == (
        "What is the capital of France?",
        "Lyon",
        "Paris",
    )
    questions = [chat.json["messages"][0]["content"] for chat in remote.chats[1:]]
    assert [q.index("Lyon") < q.index("Paris") for q in questions] == [True, False]


def test_the_calls_have_rows_of_their_own_in_the_chain_and_are_no_traffic(shadowed, local, remote):
    local.always(completion("Lyon"))
    remote.always(says(lambda _: "BOTH", "Paris"))
    gateway = shadowed()
    answer = post(gateway)
    settle(gateway)
    asked = answer.headers["x-request-id"]
    assert [(row["request_id"], row["reason"], row["status"]) for row in ours(gateway)] == [
        (f"{asked}-s", "shadow", "settled"),
        (f"{asked}-j1", "shadow", "settled"),
        (f"{asked}-j2", "shadow", "settled"),
    ]
    assert all(row["cost_nano_usd"] > 0 for row in ours(gateway))
    ledger = SQLite(path=str(gateway.ledger_path))
    assert [entry.request_id for entry in ledger.entries()] == [asked]
    found = audit(ledger.links())
    assert (found.findings, found.no) == ([], 4)
    text = httpx.get(f"{gateway.root}/metrics").text
    assert 'weighbridge_shadows_total{outcome="judged",route="auto"} 1.0' in text
    assert 'weighbridge_shadow_cost_usd_total{upstream="remote"}' in text
    assert 'reason="shadow"' not in text


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_of_the_large_side_is_compared_with_the_small_one(shadowed, local, remote, is_stream):
    local.always(completion("paris."))
    remote.always(stream_or_whole("Paris"))
    gateway = shadowed(HARD, judge="local")
    post(gateway, stream=is_stream)
    (found,) = settle(gateway)
    assert (found.served, found.source) == ("large", "same answer")
    assert (found.small_answer, found.large_answer) == ("paris.", "Paris")
    (chat,) = local.chats
    assert "stream" not in chat.json


def stream_or_whole(text: str) -> Behaviour:
    async def act(seen: Seen, writer: Any) -> None:
        await (stream(text) if seen.json.get("stream") else completion(text))(seen, writer)

    return act


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/messages", {"max_tokens": 50}),
        ("/responses", {"input": "What is the capital of France?", "messages": None}),
        ("/completions", {"prompt": "What is the capital of France?", "messages": None}),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_every_api_that_generates_is_shadowed(shadowed, local, remote, path, fields, is_stream):
    local.always(stream_or_whole("Paris"))
    remote.always(completion("Paris"))
    local.tells = remote.tells = {}
    for upstream in (local, remote):
        upstream.always(only_chat(upstream._default))
    gateway = shadowed()
    body = {name: value for name, value in {**ASK, **fields}.items() if value is not None}
    answer = httpx.post(f"{gateway.url}{path}", json={**body, "stream": is_stream}, timeout=30)
    assert answer.status_code == 200, answer.text
    (found,) = settle(gateway)
    assert (found.source, found.small_answer, found.large_answer) == ("same answer", "Paris", "Paris")


def only_chat(behaviour: Behaviour) -> Behaviour:
    async def act(seen: Seen, writer: Any) -> None:
        await (behaviour if seen.path.endswith("/chat/completions") else respond(404, {}))(seen, writer)

    return act


def test_an_answer_that_must_fit_a_schema_is_judged_by_it(shadowed, local, remote):
    local.always(completion("It is Paris."))
    remote.always(completion('{"city": "Paris"}'))
    schema = {"type": "object", "required": ["city"]}
    gateway = shadowed(judge="remote")
    post(gateway, response_format={"type": "json_schema", "json_schema": {"name": "c", "schema": schema}})
    (found,) = settle(gateway)
    assert (found.source, found.small_worth, found.large_worth) == ("schema", 0.0, 1.0)


def test_without_a_judge_what_nobody_can_tell_stays_unknown_and_texts_are_not_kept(shadowed, local, remote):
    local.always(completion("Lyon"))
    remote.always(completion("Paris"))
    gateway = shadowed(judge=None, keep_texts=False)
    post(gateway)
    (found,) = settle(gateway)
    assert (found.small_worth, found.large_worth, found.source) == (None, None, None)
    assert (found.prompt, found.small_answer, found.large_answer) == (None, None, None)
    assert "Lyon" not in gateway.ledger_path.read_bytes().decode(errors="replace")


def test_nobody_waits_for_a_shadow(shadowed, local, remote):
    remote.always(hang())
    gateway = shadowed()
    assert post(gateway).headers["x-weighbridge-upstream"] == "local"
    assert [row["caller"] for row in gateway.rows() if row["status"] == "settled"] == ["anyone"]


TOOL_TURN = [
    *ASK["messages"],
    {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
    {"role": "tool", "tool_call_id": "c", "content": "7"},
]
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]
NEVER = {
    "a fence": ({}, {"x-private": "yes"}),
    "a client's fence": ({"model": "auto:local"}, {}),
    "a pin": ({"model": "local"}, {}),
    "a tool's turn": ({"messages": TOOL_TURN, "tools": [{"type": "function", "function": {"name": "f"}}]}, {}),
    "a picture": ({"messages": PICTURE}, {}),
    "two choices": ({"n": 2}, {}),
}


@pytest.mark.parametrize("why", NEVER)
def test_what_is_never_shadowed(shadowed, remote, why):
    fields, headers = NEVER[why]
    gateway = shadowed(rules=[FENCE])
    post(gateway, headers, **fields)
    assert settle(gateway) == []
    assert remote.chats == []


def test_what_fell_back_is_not_shadowed(shadowed, local, remote):
    local.always(respond(500, {}))
    gateway = shadowed()
    assert post(gateway).headers["x-weighbridge-reason"].startswith("fallback")
    assert settle(gateway) == []
    assert ours(gateway) == []


def test_a_shadow_spends_from_its_own_budget_and_rests_when_that_is_used_up(shadowed, local, remote):
    local.always(completion("Lyon"))
    remote.always(says(lambda _: "BOTH", "Paris"))
    # A call is at worst 50 tokens out at $2 a million, and a few in: some $0.00012. Judges may say more.
    gateway = shadowed(usd_per_day="0.00015", judge="local")
    for _ in range(4):
        assert post(gateway, max_tokens=50).headers["x-weighbridge-upstream"] == "local"
        settle(gateway)
    spent = [row["cost_nano_usd"] for row in ours(gateway) if row["upstream"] == "remote"]
    assert 0 < sum(spent) <= 150_000
    assert len(remote.chats) == len(spent) < 4
    assert sum(row["reason"] == "budget" for row in ours(gateway)) == 1


def test_a_callers_own_budget_does_not_pay_for_shadows(start, local, remote):
    local.always(completion("Paris"))
    remote.always(completion("Paris"))
    shadow = {"share": 1, "usd_per_day": "1"}
    route = {"small": "local", "large": "remote", "policy": POLICY, "shadow": shadow}
    budgets = [{"name": "each", "requests": 1, "over": "caller", "pressure_from": 1}]
    gateway = start(routes={"auto": route}, budgets=budgets)
    post(gateway)
    post(gateway)
    settle(gateway)
    answer = post(gateway, model="remote")
    assert answer.headers["x-weighbridge-upstream"] == "remote"


def test_a_shadow_gives_its_place_to_whoever_comes(shadowed, local, remote):
    """The one place of the local upstream is a shadow's, and a request wants it."""
    upstreams = two_upstreams(local.url, remote.url)["upstreams"]
    upstreams["local"] |= {"max_concurrent": 1}
    upstreams["local"]["limits"] = upstreams["remote"]["limits"] = {"first_token_s": 60, "total_s": 60}
    gateway = shadowed(HARD, upstreams=upstreams, judge="local")
    local.then(hang())
    post(gateway)
    while not local.chats:
        time.sleep(0.001)
    answer = post(gateway, model="auto:local")
    assert answer.headers["x-weighbridge-upstream"] == "local"
    assert settle(gateway) == []
    (row,) = [row for row in ours(gateway) if row["upstream"] == "local"]
    assert (row["end_reason"], row["status"]) == ("client_gone", "unknown")
    assert local.chats[0].left.wait(10)


def test_none_is_begun_while_the_upstream_is_busy(shadowed, local, remote):
    upstreams = two_upstreams(local.url, remote.url)["upstreams"]
    upstreams["local"] |= {"max_concurrent": 1}
    upstreams["local"]["limits"] = upstreams["remote"]["limits"] = {"first_token_s": 60, "total_s": 60}
    gateway = shadowed(HARD, upstreams=upstreams, judge="local")
    let = threading.Event()

    async def wait(seen: Seen, writer: Any) -> None:
        await asyncio.to_thread(let.wait, 30)
        await completion()(seen, writer)

    local.then(wait)
    waiting = threading.Thread(target=post, args=(gateway,), kwargs={"model": "auto:local"})
    waiting.start()
    while not local.chats:
        time.sleep(0.001)
    post(gateway)
    let.set()
    waiting.join(30)
    assert settle(gateway) == []
    assert len(local.chats) == 1
    assert 'weighbridge_shadows_total{outcome="busy",route="auto"} 1.0' in httpx.get(f"{gateway.root}/metrics").text


def test_a_stop_cancels_shadows_and_closes_their_books(shadowed, remote):
    remote.always(hang())
    gateway = shadowed()
    post(gateway)
    while not remote.chats:
        time.sleep(0.001)
    gateway.__exit__()
    (row,) = ours(gateway)
    assert (row["status"], row["end_reason"], row["error_code"]) == ("unknown", "client_gone", None)
    assert audit(SQLite(path=str(gateway.ledger_path)).links()).findings == []


def test_a_share_is_a_share(shadowed, local, remote):
    gateway = shadowed(share=0.5, judge=None)
    numbers = iter([0.2, 0.7, 0.49, 0.5] * 2)
    gateway.app.parts.shadowing._chance = lambda: next(numbers)
    picked = []
    for _ in range(8):
        post(gateway)
        picked.append(len(settle(gateway)))
    assert picked == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_judge_that_is_no_upstream_is_refused_with_its_line(shadowed):
    with pytest.raises(ConfigError, match=r"routes\.auto\.shadow\.judge.*remote"):
        shadowed(judge="remot")
