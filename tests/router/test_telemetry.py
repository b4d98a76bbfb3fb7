import asyncio
from typing import Any

from bookkeeping import closing

from weighbridge.classifiers.base import Assessment
from weighbridge.planning import Plan, Target
from weighbridge.policies.base import Decision
from weighbridge.queues import Line
from weighbridge.telemetry import Metrics
from weighbridge.upstreams.simulated import Simulated


def plan(score: float | None = None) -> Plan:
    assessment = None if score is None else Assessment(score)
    return Plan(Target("auto"), Decision("local", (), "pinned"), {}, assessment, None, None, "remote")


def text(metrics: Metrics) -> list[str]:
    return metrics.exposition()[0].decode().splitlines()


def ended(metrics: Metrics, score: float | None = None, **changes: Any) -> None:
    metrics.request_ended(plan(score), closing(**changes))


def test_requests_are_counted_by_where_they_went_and_why():
    metrics = Metrics()
    ended(metrics)
    ended(metrics)
    ended(metrics, upstream="remote", location="remote", end_reason="timeout")
    ended(metrics, upstream=None, location=None, end_reason="error")
    here = 'end_reason="{}",location="{}",reason="below_threshold",route="auto",upstream="{}"'
    for count, labels in ((2, ("ok", "local", "local")), (1, ("timeout", "remote", "remote")), (1, ("error", "", ""))):
        assert f"weighbridge_requests_total{{{here.format(*labels)}}} {count}.0" in text(metrics)


def test_tokens_and_money_add_up_to_the_nano_dollar():
    metrics = Metrics()
    for _ in range(10):
        ended(metrics, upstream="remote", reason="rule", cost_nano_usd=100_000_001, baseline_cost_nano_usd=300_000_000)
    ended(metrics, upstream="remote", cost_nano_usd=None, baseline_cost_nano_usd=None, input_tokens=None)
    found = text(metrics)
    assert 'weighbridge_tokens_total{type="input",upstream="remote"} 3120.0' in found
    assert 'weighbridge_tokens_total{type="output",upstream="remote"} 2200.0' in found
    assert 'weighbridge_cost_usd_total{upstream="remote"} 1.00000001' in found
    assert "weighbridge_baseline_cost_usd_total 3.0" in found


def test_times_are_told_by_location_over_all_reasons():
    metrics = Metrics()
    ended(metrics, latency_s=0.005, ttft_s=0.004)
    ended(metrics, latency_s=300.0, ttft_s=None, reason="rule")
    ended(metrics, location="remote", latency_s=0.3, score=0.25)
    found = text(metrics)
    assert 'weighbridge_request_seconds_bucket{le="0.005",location="local"} 1.0' in found
    assert 'weighbridge_request_seconds_bucket{le="120.0",location="local"} 1.0' in found
    assert 'weighbridge_request_seconds_count{location="local"} 2.0' in found
    assert 'weighbridge_first_token_seconds_count{location="local"} 1.0' in found
    assert 'weighbridge_request_seconds_sum{location="remote"} 0.3' in found
    assert "weighbridge_overhead_seconds_count 3.0" in found
    assert 'weighbridge_score_bucket{le="0.3"} 1.0' in found
    assert "weighbridge_score_sum 0.25" in found


def test_a_code_that_is_not_ours_becomes_no_label():
    metrics = Metrics()
    metrics.attempt_failed("remote", "upstream_timeout")
    metrics.attempt_failed("remote", "so-and-so-1234")
    metrics.attempt_failed("remote", "so-and-so-5678")
    metrics.turned_away("policy_denied")
    metrics.ledger_failed()
    found = text(metrics)
    assert 'weighbridge_attempt_failures_total{code="upstream_timeout",upstream="remote"} 1.0' in found
    assert 'weighbridge_attempt_failures_total{code="other",upstream="remote"} 2.0' in found
    assert 'weighbridge_turned_away_total{code="policy_denied"} 1.0' in found
    assert "weighbridge_ledger_failures_total 1.0" in found


def test_requests_in_flight_are_those_begun_and_not_ended():
    metrics = Metrics()
    with metrics.in_flight.track_inprogress(), metrics.in_flight.track_inprogress():
        assert "weighbridge_in_flight 2.0" in text(metrics)
    assert "weighbridge_in_flight 0.0" in text(metrics)


async def test_the_lines_before_upstreams_and_what_was_odd_are_told():
    line = Line(1, 4)
    upstream = Simulated(model="m", location="local")
    metrics = Metrics()
    metrics.watch({"local": line}, {"local": upstream})
    assert 'weighbridge_queue_length{upstream="local"} 0.0' in text(metrics)
    seat = await line.enter(None)
    waiting = asyncio.ensure_future(line.enter(None))
    await asyncio.sleep(0)
    assert 'weighbridge_queue_length{upstream="local"} 1.0' in text(metrics)
    seat.leave()
    (await waiting).leave()
    upstream.notice("other_model", "answers as another")
    assert 'weighbridge_suspect_answers_total{kind="other_model",upstream="local"} 1.0' in text(metrics)
