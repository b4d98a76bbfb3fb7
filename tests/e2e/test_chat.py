"""The main job through the real OpenAI SDK: routed, answered, told, accounted."""

import json
from collections.abc import Iterator

import httpx
import openai
import pytest
from running import RunningGateway, two_upstreams
from scripted import SENTENCE, ScriptedUpstream, completion, respond

ASK = [{"role": "user", "content": "What is the capital of France?"}]


_open: list[openai.OpenAI] = []


@pytest.fixture(autouse=True)
def _closed_clients() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


def client(gateway: RunningGateway, **options) -> openai.OpenAI:
    _open.append(openai.OpenAI(base_url=gateway.url, api_key="none", max_retries=0, **options))
    return _open[-1]


def test_a_simple_ask_goes_to_the_small_model_and_the_headers_say_so(gateway, local, remote):
    answer = client(gateway).chat.completions.with_raw_response.create(model="auto", messages=ASK)
    assert answer.parse().choices[0].message.content == SENTENCE
    assert answer.parse().model == "small-1"
    headers = answer.headers
    assert headers["x-weighbridge-route"] == "auto"
    assert headers["x-weighbridge-upstream"] == "local"
    assert headers["x-weighbridge-location"] == "local"
    assert headers["x-weighbridge-model"] == "small-1"
    assert headers["x-weighbridge-reason"].split()[0] == "below_threshold"
    assert float(headers["x-weighbridge-score"]) == pytest.approx(0.2)
    assert float(headers["x-weighbridge-threshold"]) == pytest.approx(0.5)
    assert headers["x-weighbridge-attempts"] == "1"
    assert float(headers["x-weighbridge-overhead-ms"]) >= 0
    # 12 tokens in and 17 out at $0.25 and $2 per million.
    assert headers["x-weighbridge-cost-usd"] == "0"
    assert headers["x-weighbridge-baseline-cost-usd"] == "0.000037"
    assert headers["x-weighbridge-saved-usd"] == "0.000037"
    assert headers["x-litellm-model-name"] == "small-1"
    assert headers["x-litellm-response-cost"] == "0"
    assert headers["x-litellm-call-id"] == headers["x-request-id"]
    assert len(local.chats) == 1
    assert not remote.chats


def test_a_hard_ask_goes_to_the_large_model(hard, local, remote):
    answer = client(hard).chat.completions.with_raw_response.create(model="auto", messages=ASK)
    assert answer.headers["x-weighbridge-upstream"] == "remote"
    assert answer.headers["x-weighbridge-reason"].split()[0] == "at_or_above_threshold"
    assert answer.headers["x-weighbridge-saved-usd"] == "0"
    assert remote.chats[0].json["model"] == "large-1"
    assert not local.chats


def test_a_stream_arrives_whole_and_ends_with_done(gateway):
    with httpx.stream(
        "POST", f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK, "stream": True}
    ) as got:
        assert got.headers["content-type"].startswith("text/event-stream")
        assert got.headers["x-weighbridge-upstream"] == "local"
        assert "x-weighbridge-cost-usd" not in got.headers
        lines = [line for line in got.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == SENTENCE
    assert all(c["model"] == "small-1" for c in chunks)


def test_usage_asked_for_by_the_ledger_is_not_shown_to_a_client_that_did_not_ask(gateway, local):
    chunks = list(client(gateway).chat.completions.create(model="auto", messages=ASK, stream=True))
    assert local.chats[0].json["stream_options"] == {"include_usage": True}
    assert all(c.choices for c in chunks)
    assert all(c.usage is None for c in chunks)
    assert gateway.rows()[0]["output_tokens"] == 17


def test_usage_asked_for_by_the_client_arrives(gateway):
    options = {"include_usage": True}
    chunks = list(
        client(gateway).chat.completions.create(model="auto", messages=ASK, stream=True, stream_options=options)
    )
    assert chunks[-1].usage.completion_tokens == 17
    assert chunks[-1].choices == []


def test_every_field_reaches_the_upstream_with_its_exact_value(gateway, local):
    raw = (
        b'{"model": "AUTO", "messages": [{"role": "user", "content": "hi", "x-own": [1.50]}], '
        b'"seed": 123456789012345678901234567890, "temperature": 1.0, "thinking": {"type": "on"}, "user": null}'
    )
    httpx.post(f"{gateway.url}/chat/completions", content=raw).raise_for_status()
    assert local.chats[0].body == raw.replace(b'"AUTO"', b'"small-1"')


def test_unknown_fields_of_an_answer_reach_the_client_to_the_byte(gateway, local):
    body = b'{"model": "small-1","choices":[],  "own": 1.10, "usage":{"prompt_tokens":1,"completion_tokens":0}}'
    local.then(respond(200, body))
    assert httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK}).content == body


def test_the_clients_key_and_cookies_stay_here_and_the_upstreams_own_key_is_used(hard, remote):
    headers = {"authorization": "Bearer sk-client-canary", "cookie": "a=b", "x-api-key": "sk-client-canary"}
    httpx.post(f"{hard.url}/chat/completions", json={"model": "auto", "messages": ASK}, headers=headers)
    seen = remote.chats[0]
    assert seen.headers["authorization"] == "Bearer sk-upstream-canary-0123456789"
    assert "cookie" not in seen.headers
    assert "canary" not in str({k: v for k, v in seen.headers.items() if k != "authorization"})


@pytest.mark.parametrize(
    ("model", "upstream", "reason"),
    [
        ("auto", "local", "below_threshold"),
        ("weighbridge/auto", "local", "below_threshold"),
        ("AUTO", "local", "below_threshold"),
        ("auto:local", "local", "pinned"),
        ("auto:remote", "remote", "pinned"),
        ("auto:cost", "local", "below_threshold"),
        ("auto:quality", "local", "below_threshold"),
        ("remote", "remote", "pinned"),
        ("large-1", "remote", "pinned"),
        ("LARGE-1", "remote", "pinned"),
        ("router-mf-0.1", "remote", "at_or_above_threshold"),
        ("router-mf-0.9", "local", "below_threshold"),
    ],
)
def test_every_name_that_a_client_may_ask_for(gateway, model, upstream, reason):
    answer = httpx.post(f"{gateway.url}/chat/completions", json={"model": model, "messages": ASK})
    assert answer.headers["x-weighbridge-upstream"] == upstream
    assert answer.headers["x-weighbridge-reason"].split()[0] == reason


def test_the_ledger_has_a_row_for_the_request_and_one_for_its_attempt(hard):
    answer = httpx.post(f"{hard.url}/chat/completions", json={"model": "auto", "messages": ASK})
    (request,) = hard.rows()
    (attempt,) = hard.rows("attempts")
    assert request["request_id"] == attempt["request_id"] == answer.headers["x-request-id"]
    assert request["status"] == attempt["status"] == "settled"
    assert request["end_reason"] == "ok"
    assert (request["input_tokens"], request["output_tokens"], request["usage_source"]) == (12, 17, "provider")
    assert request["cost_nano_usd"] == 12 * 250 + 17 * 2000
    assert request["baseline_cost_nano_usd"] == request["cost_nano_usd"]
    assert request["reason"] == "at_or_above_threshold"
    assert request["score"] == pytest.approx(0.9)
    assert request["price_version"] == "config"
    assert request["latency_s"] >= request["overhead_s"] >= 0
    assert request["prompt"] is None
    assert attempt["reserved_nano_usd"] >= attempt["cost_nano_usd"]


def test_an_answer_without_usage_is_estimated_and_marked(gateway, local):
    local.then(completion(usage=None))
    httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK})
    (row,) = gateway.rows()
    assert row["usage_source"] == "estimated"
    assert 15 <= row["output_tokens"] <= 30


def test_an_unknown_price_is_unknown_and_never_nothing(start, local, remote):
    config = two_upstreams(local.url, remote.url)
    for price in ("input_usd_per_mtok", "output_usd_per_mtok"):
        del config["upstreams"]["remote"][price]
    gateway = start(upstreams=config["upstreams"])
    answer = httpx.post(f"{gateway.url}/chat/completions", json={"model": "remote", "messages": ASK})
    assert "x-weighbridge-cost-usd" not in answer.headers
    assert "x-weighbridge-saved-usd" not in answer.headers
    assert gateway.rows()[0]["cost_nano_usd"] is None


def test_prompts_are_kept_only_when_asked_for(start, tmp_path):
    ledger = {"use": "sqlite", "path": str(tmp_path / "ledger.db"), "store_prompts": True}
    gateway = start(ledger=ledger)
    httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK})
    assert "capital of France" in gateway.rows()[0]["prompt"]


def test_route_tells_the_decision_and_calls_nobody(gateway, local, remote):
    got = httpx.post(f"{gateway.url}/route", json={"model": "auto", "messages": ASK}).json()
    assert got.keys() == {
        "route", "upstream", "model", "location", "score", "threshold", "reason", "rule", "fence", "signals",
    }  # fmt: skip
    assert (got["route"], got["upstream"], got["model"], got["location"]) == ("auto", "local", "small-1", "local")
    assert got["reason"] == "below_threshold"
    assert not local.chats
    assert not remote.chats
    assert not gateway.rows()


def test_models_lists_routes_first_and_then_upstreams(gateway):
    assert [m.id for m in client(gateway).models.list()] == ["auto", "local", "remote"]
    assert client(gateway).models.retrieve("auto").id == "auto"
    with pytest.raises(openai.NotFoundError) as caught:
        client(gateway).models.retrieve("nobody/has:this")
    assert caught.value.code == "model_not_found"


def test_feedback_reaches_the_ledger(gateway):
    request_id = httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK}).headers[
        "x-request-id"
    ]
    said = httpx.post(f"{gateway.url}/feedback", json={"request_id": request_id, "score": 0.5, "comment": "so so"})
    assert said.status_code == 200
    for wrong in ({"request_id": "wb-0", "score": 1}, {"request_id": request_id, "score": 2}, {"score": 1}, {}):
        assert httpx.post(f"{gateway.url}/feedback", json=wrong).status_code in {400, 404}


def test_health_and_metrics(gateway):
    httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK})
    assert httpx.get(f"{gateway.root}/health/live").json() == {"status": "ok"}
    assert httpx.get(f"{gateway.root}/health/ready").json()["upstreams"] == {"local": True, "remote": True}
    text = httpx.get(f"{gateway.root}/metrics").text
    labels = 'end_reason="ok",location="local",reason="below_threshold",route="auto",upstream="local"'
    assert f"weighbridge_requests_total{{{labels}}} 1.0" in text


def test_not_ready_without_any_upstream(start):
    nobody = {"use": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m", "location": "local"}
    gateway = start(upstreams={"local": nobody, "remote": {**nobody, "location": "remote", "model": "n"}})
    assert httpx.get(f"{gateway.root}/health/ready").status_code == 503


def test_the_dashboard_shows_the_report(gateway):
    httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK})
    page = httpx.get(f"{gateway.root}/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "capital of France" not in page.text


def test_the_same_paths_answer_without_v1(gateway):
    assert httpx.post(f"{gateway.root}/chat/completions", json={"model": "auto", "messages": ASK}).status_code == 200
    assert httpx.get(f"{gateway.root}/models").json()["data"][0]["id"] == "auto"


def test_the_ratelimit_headers_of_the_upstream_pass(gateway, local: ScriptedUpstream):
    body = b'{"model":"small-1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    local.then(respond(200, body, {"x-ratelimit-remaining-requests": "7", "server": "secret", "set-cookie": "a=b"}))
    got = httpx.post(f"{gateway.url}/chat/completions", json={"model": "auto", "messages": ASK})
    assert got.headers["x-ratelimit-remaining-requests"] == "7"
    assert "server" not in got.headers
    assert "set-cookie" not in got.headers


def test_head_is_get_without_the_body(gateway):
    answer = httpx.head(f"{gateway.url}/models")
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) > 0


def test_the_gateway_describes_itself(gateway):
    assert "/v1/route" in httpx.get(f"{gateway.root}/openapi.json").json()["paths"]
