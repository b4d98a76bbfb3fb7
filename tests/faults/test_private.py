"""Private requests while something else than an upstream is in trouble: the classifier, or the config."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import RunningGateway
from scripted import ScriptedUpstream, Seen, reset

from weighbridge.keys import KeysFile

Start = Callable[..., RunningGateway]

DOWN = {"use": "classifying:Down"}
HARD = {"use": "constant", "score": 0.99}
CONDITIONS = {"pii": ["email"], "regex": "(?i)patient", "key": ["ann"]}
RULES = [
    {"name": "by its text or its caller", "when": {"any": [{k: v} for k, v in CONDITIONS.items()]}},
    {"name": "by a header", "when": {"header": {"x-data-class": "private"}}},
]
FENCED = [{**rule, "then": {"fence": "local"}} for rule in RULES]
PRIVATE = [
    pytest.param({"text": "Write to jane.doe@example.com"}, id="pii"),
    pytest.param({"text": "The patient has a cold"}, id="regex"),
    pytest.param({"data_class": "private"}, id="header"),
    pytest.param({"caller": "ann"}, id="key"),
]


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """One for each caller."""
    file = KeysFile(tmp_path / "keys.json")
    return {name: file.add(name, ["chat"], None) for name in ("ann", "bob")}


@pytest.fixture
def begin(start: Start, keys: dict[str, str]) -> Start:
    def gateway(**changes: Any) -> RunningGateway:
        return start(server={"keys_path": "keys.json"}, rules=FENCED, **changes)

    return gateway


@pytest.fixture
def ask(keys: dict[str, str]) -> Callable[..., httpx.Response]:
    def asked(
        gateway: RunningGateway, *, text: str = "What is hard?", data_class: str = "public", caller: str = "bob"
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {keys[caller]}", "x-data-class": data_class}
        body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        return httpx.post(f"{gateway.url}/chat/completions", json=body, headers=headers, timeout=30)

    return asked


@pytest.mark.parametrize("private", PRIVATE)
def test_what_is_private_is_so_without_a_score(begin, ask, local: ScriptedUpstream, remote: ScriptedUpstream, private):
    """P3: the classifier is down: key, header, pattern and personal data fence as ever, whatever `when_unsure` says."""
    gateway = begin(classifier=DOWN)
    answer = ask(gateway, **private)
    assert (answer.status_code, answer.headers["x-weighbridge-reason"].split()[0]) == (200, "fence")
    local.always(reset())
    assert ask(gateway, **private).json()["error"]["code"] == "local_unavailable"
    assert not remote.seen


@pytest.mark.parametrize(("when_unsure", "upstream"), [("small", "local"), ("large", "remote")])
def test_what_nothing_is_known_of_goes_where_the_policy_says(begin, ask, when_unsure, upstream):
    """P3: the classifier is down, and no rule matches: `when_unsure` decides, and the answer says so."""
    policy = {"use": "threshold", "threshold": 0.5, "when_unsure": when_unsure}
    gateway = begin(classifier=DOWN, routes={"auto": {"small": "local", "large": "remote", "policy": policy}})
    answer = ask(gateway)
    assert answer.headers["x-weighbridge-upstream"] == upstream
    assert answer.headers["x-weighbridge-reason"].split()[0] == "classifier_unavailable"


@pytest.mark.parametrize("private", PRIVATE)
def test_a_reload_does_not_open_the_fence_of_a_request_under_way(begin, ask, local, remote, private):
    """P5: a reload makes public what was private: requests under way stay fenced, also where their upstream fails."""
    gateway = begin(classifier=HARD)
    may_fail = threading.Event()

    async def late(seen: Seen, writer: Any) -> None:
        await asyncio.to_thread(may_fail.wait, 30)
        await reset()(seen, writer)

    local.then(late, reset())
    answers: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: answers.append(ask(gateway, **private)))
    caller.start()
    while not local.chats:
        caller.join(0.01)
    assert gateway.reload(rules=[]) == []
    may_fail.set()
    caller.join()
    assert answers[0].json()["error"]["code"] == "local_unavailable"
    assert not remote.seen
    assert ask(gateway, **private).headers["x-weighbridge-upstream"] == "remote"
