"""`weighbridge route`: one decision, explained as `POST /v1/route` would."""

import json

from commanding import THRESHOLD, ConfigFile

from weighbridge.cli.route import _bar

HARD = "Prove it. " * 200


async def test_an_easy_request_stays_and_the_score_is_shown(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("route", "hello")
    assert ended.code == 0
    assert "small (sim-small, local)" in ended.out
    assert "below_threshold score 0." in ended.out
    assert "┃ threshold" in ended.out
    assert "large: $0.0184" in ended.out


async def test_a_decision_comes_as_json(config: ConfigFile, weighbridge) -> None:
    found = json.loads((await weighbridge("route", HARD, "--json")).out)
    assert (found["upstream"], found["reason"], found["threshold"]) == ("large", "at_or_above_threshold", THRESHOLD)
    assert found["cost_at_most_usd"].keys() == {"small", "large"}
    assert found["cost_at_most_usd"]["small"] == "0"


async def test_a_fence_is_shown_with_its_rule(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("route", f"Write to jane.doe@example.org. {HARD}")
    assert "fence" in ended.out
    assert "local upstreams only" in ended.out
    assert "private" in ended.out
    assert "no other upstream is tried" in ended.out


async def test_a_denial_is_told_and_ends_with_1(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("route", "what will the weather be?")
    assert (ended.code, ended.err) == (1, "Denied: Look out of the window.\n")
    as_json = json.loads((await weighbridge("route", "weather", "--json")).out)
    assert as_json["error"]["code"] == "policy_denied"


async def test_another_model_name_can_be_asked_for(config: ConfigFile, weighbridge) -> None:
    found = json.loads((await weighbridge("route", "hello", "--model", "sim-large", "--json")).out)
    assert (found["upstream"], found["reason"], found["score"]) == ("large", "pinned", None)
    ended = await weighbridge("route", "hello", "--model", "nothing")
    assert ended.code == 1
    assert ended.err.startswith("No decision: The model 'nothing' does not exist.")


async def test_the_text_can_come_from_standard_input(config: ConfigFile, weighbridge) -> None:
    found = json.loads((await weighbridge("route", "-", "--json", stdin=HARD)).out)
    assert found["upstream"] == "large"


async def test_a_price_that_is_not_known_is_said_to_be(config: ConfigFile, weighbridge) -> None:
    config.change('input_usd_per_mtok = "1"\noutput_usd_per_mtok = "4.50"\n', "")
    assert "large: price unknown" in (await weighbridge("route", "hello")).out
    assert json.loads((await weighbridge("route", "hello", "--json")).out)["cost_at_most_usd"]["large"] is None


async def test_an_empty_text_is_no_request(config: ConfigFile, weighbridge) -> None:
    assert (await weighbridge("route", "")).code == 1


async def test_a_route_without_a_score_says_so(config: ConfigFile, weighbridge) -> None:
    config.change('use = "threshold", threshold', 'use = "always", upstream = "small" } # ')
    assert "not asked for" in (await weighbridge("route", "hello")).out


def test_the_bar_ends_where_the_score_is_and_marks_the_threshold() -> None:
    assert _bar(0.0, 0.5).plain == "░" * 16 + "┃" + "░" * 15 + " 0.00 < 0.50 (┃ threshold)"
    assert _bar(1.0, 1.0).plain == "█" * 31 + "┃" + " 1.00 >= 1.00 (┃ threshold)"
    assert _bar(0.5, None).plain == "█" * 16 + "░" * 16 + " 0.50"


async def test_what_is_planned_before_a_remote_sees_it_is_shown(config: ConfigFile, weighbridge) -> None:
    config.change('then = { fence = "local" }', 'then = { preprocess = ["redact"] }')
    ended = await weighbridge("route", f"Write to jane.doe@example.org. {HARD}")
    assert "redact (1 email)" in ended.out
    assert "before a remote" not in (await weighbridge("route", HARD)).out
