"""`weighbridge replay`: the ledger's own week under another threshold, policy, price list or classifier."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bookkeeping import record
from commanding import THRESHOLD, ConfigFile

from weighbridge.classifiers.length import score_of
from weighbridge.ledger.sqlite import SQLite

NOW = datetime.now(UTC) - timedelta(hours=1)
SMALL = {"upstream": "small", "location": "local", "cost_nano_usd": 0}
LARGE = {"upstream": "large", "location": "remote", "cost_nano_usd": 1_302_000, "reason": "at_or_above_threshold"}
ALIKE = {"baseline_upstream": "large", "baseline_cost_nano_usd": 1_302_000, "classifier": "length", "model": "m"}


async def written(config: ConfigFile, *rows: dict[str, Any]) -> None:
    """A ledger of these requests, each of 312 tokens in and 220 out, which the large model does for $0.001302."""
    ledger = SQLite(path=str(config.beside("ledger.db")), store_prompts=True)
    await ledger.aopen()
    for i, row in enumerate(rows):
        at = NOW + timedelta(seconds=i)
        await record(ledger, request_id=str(i), created_at=at, started_at=at, **{**ALIKE, **SMALL, **row})
    await ledger.aclose()


@pytest.fixture
async def week(config: ConfigFile) -> None:
    """Ten requests of each tenth of the score; those above a half went to the large model, and took longer."""
    config.change(f"threshold = {THRESHOLD}", "threshold = 0.5")
    scores = [i / 100 + 0.005 for i in range(100)]
    await written(
        config, *({"score": s, "threshold": 0.5, **(LARGE | {"latency_s": 5.0} if s > 0.5 else {})} for s in scores)
    )


async def replayed(weighbridge, *arguments: str) -> dict[str, Any]:
    ended = await weighbridge("replay", "--json", *arguments)
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


@pytest.mark.usefixtures("week")
async def test_the_same_settings_change_nothing(weighbridge) -> None:
    said = await replayed(weighbridge)
    assert said["moved"] == 0
    assert said["old"] == said["new"]
    assert said["old"]["by_location"] == {"local": 50, "remote": 50, "nowhere": 0}
    assert said["old"]["cost_usd"] == pytest.approx(50 * 0.001302)
    assert said["old"]["saved_usd"] == pytest.approx(50 * 0.001302)
    assert said["without_evidence"] == {"share": 0.0, "way": {}}


@pytest.mark.usefixtures("week")
async def test_a_higher_threshold_costs_less_and_falls_short_more_often(weighbridge) -> None:
    said = await replayed(weighbridge, "--threshold", "0.8")
    assert said["moved"] == 30
    assert said["new"]["by_location"] == {"local": 80, "remote": 20, "nowhere": 0}
    assert said["new"]["cost_usd"] == pytest.approx(20 * 0.001302)
    assert said["old"]["expected_shortfall"]["value"] == pytest.approx(0.125)
    assert said["new"]["expected_shortfall"]["value"] == pytest.approx(0.32)
    short = said["new"]["expected_shortfall"]
    assert short["low"] < 0.32 < short["high"]
    assert (said["old"]["latency"]["p95_s"], said["new"]["latency"]["p50_s"]) == (5.0, 2.25)
    assert said["cost_estimated"] == 30


@pytest.mark.usefixtures("week")
async def test_a_lower_threshold_is_priced_with_the_recorded_tokens(weighbridge) -> None:
    said = await replayed(weighbridge, "--threshold", "0")
    assert said["new"]["cost_usd"] == said["new"]["baseline_cost_usd"] == pytest.approx(100 * 0.001302)
    assert said["new"]["expected_shortfall"]["value"] == 0


@pytest.mark.usefixtures("week")
async def test_another_price_list_prices_both_ways(config: ConfigFile, weighbridge) -> None:
    prices = config.beside("prices.toml")
    prices.write_text('[upstreams.large]\ninput_usd_per_mtok = "2"\noutput_usd_per_mtok = "9"\n')
    said = await replayed(weighbridge, "--prices", str(prices))
    assert said["moved"] == 0
    assert said["new"]["cost_usd"] == pytest.approx(2 * said["old"]["cost_usd"])
    assert said["new"]["baseline_cost_usd"] == pytest.approx(2 * said["old"]["baseline_cost_usd"])


@pytest.mark.usefixtures("week")
async def test_another_policy_decides_anew(config: ConfigFile, weighbridge) -> None:
    other = config.beside("other.toml")
    other.write_text(config.text.replace('use = "threshold", threshold = 0.5', 'use = "always", upstream = "small"'))
    said = await replayed(weighbridge, "--policy", str(other))
    assert said["new"]["by_location"]["local"] == 100
    assert said["curve"]["points"] == []


async def test_what_no_score_decided_stays_where_it_was(config: ConfigFile, weighbridge) -> None:
    stays = [
        *({"reason": reason, "score": 0.1} for reason in ("pinned", "session", "budget", "fallback")),
        {"reason": "fence", "rule": "private", "fence": "local", "score": None},
    ]
    await written(config, *stays)
    said = await replayed(weighbridge, "--threshold", "0")
    assert (said["moved"], said["known"]) == (0, 5)


async def test_what_nothing_tells_is_counted_and_never_guessed(config: ConfigFile, weighbridge) -> None:
    await written(
        config,
        {"score": None, "threshold": None},
        {"score": 0.4, "input_tokens": None, "output_tokens": None},
        {"route": "gone"},
        {"score": 0.2},
    )
    said = await replayed(weighbridge, "--threshold", "0")
    assert said["without_evidence"]["way"] == {
        "not kept: a score": 1,
        "not kept: the route gone, in the config that is tried": 1,
    }
    assert (said["known"], said["cost_compared"], said["without_evidence"]["share"]) == (2, 1, 0.75)
    assert said["new"]["cost_usd"] == pytest.approx(0.001302)
    shown = (await weighbridge("replay", "--threshold", "0")).out
    assert "75.0 % of 4 requests" in shown
    assert "tokens or a price are unknown" in shown


async def test_stored_requests_are_scored_anew_where_the_classifier_is_another(config: ConfigFile, weighbridge) -> None:
    config.change('use = "length"', 'use = "constant"')
    config.change(f"threshold = {THRESHOLD}", "threshold = 0.5")
    ask = "Prove it. " * 300
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": ask}]})
    await written(config, {"score": 0.1, "prompt": body}, {"score": 0.9, "prompt": None})
    other = config.beside("other.toml")
    other.write_text(config.text.replace('use = "constant"', 'use = "length"'))
    said = await replayed(weighbridge, "--policy", str(other))
    assert said["without_evidence"]["way"] == {"not kept: the request, to be scored anew": 1}
    assert said["classifiers"] == {"length": 1}
    assert said["old"]["expected_shortfall"]["value"] == pytest.approx(score_of(len(ask) - 1), abs=0.02)


@pytest.mark.usefixtures("week")
async def test_the_curve_is_drawn_in_files_that_need_nothing_else(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("replay", "--threshold", "0.8", "--html", "a.html", "--svg", "a.svg", "--png", "a.png")
    assert ended.code == 0, ended.err
    assert ended.out.endswith("Wrote a.html.\nWrote a.svg.\nWrote a.png.\n")
    assert config.beside("a.png").read_bytes().startswith(b"\x89PNG\r\n")
    html, svg = config.beside("a.html").read_text(), config.beside("a.svg").read_text()
    assert "polyline" in html
    assert "as tried" in html
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    for text in (html, svg.replace("http://www.w3.org/2000/svg", "")):
        assert "http" not in text.replace("http-equiv", "")
    said = await replayed(weighbridge, "--threshold", "0.8")
    points = said["curve"]["points"]
    assert len(points) == 101
    assert said["curve"]["new"]["cost_usd"] == pytest.approx(points[80]["cost_usd"])
    assert said["curve"]["new"]["quality"] == pytest.approx(points[80]["quality"])


async def test_an_empty_span_is_no_error(config: ConfigFile, weighbridge) -> None:
    await written(config)
    ended = await weighbridge("replay")
    assert ended.code == 0
    assert "No requests" in ended.out
    assert (await weighbridge("replay", "--svg", "a.svg")).code == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[upstreams.large]\ninput_usd_per_mtok = "2"\n', "output_usd_per_mtok"),
        ('[upstreams.larg]\ninput_usd_per_mtok = "2"\noutput_usd_per_mtok = "2"\n', "larg is not an upstream"),
        ('[upstreams.large]\ninput_usd_per_mtok = "a lot"\noutput_usd_per_mtok = "2"\n', "is not an amount"),
        ("x = ", "prices.toml"),
        (None, "cannot be read"),
    ],
)
async def test_a_price_list_that_makes_no_sense_is_refused(
    config: ConfigFile, weighbridge, text: str | None, said: str
) -> None:
    await written(config)
    if text is not None:
        config.beside("prices.toml").write_text(text)
    ended = await weighbridge("replay", "--prices", "prices.toml")
    assert ended.code == 2
    assert said in ended.err


async def test_what_cannot_be_tried_is_told(config: ConfigFile, weighbridge, tmp_path: Path) -> None:
    await written(config)
    assert (await weighbridge("replay", "--since", "once")).code == 2
    ended = await weighbridge("replay", "--artefact", str(tmp_path / "nothing"))
    assert ended.code == 2
    assert "nothing" in ended.err
    assert (await weighbridge("replay", "--policy", "nothing.toml")).code == 78
    config.change(f'use = "threshold", threshold = {THRESHOLD}', 'use = "always", upstream = "small"')
    ended = await weighbridge("replay", "--threshold", "0.5")
    assert ended.code == 2
    assert "no route has a policy with a threshold" in ended.err
