"""`weighbridge calibrate`: a threshold from traffic or from labels, shown as a diff and written when asked for."""

import json
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from bookkeeping import NOON, record
from commanding import ConfigFile

from weighbridge.ledger.sqlite import SQLite


@pytest.fixture
async def traffic(config: ConfigFile) -> None:
    """A hundred scored requests in four days."""
    ledger = SQLite(path=str(config.beside("ledger.db")))
    await ledger.aopen()
    for i in range(100):
        at = NOON + timedelta(hours=i)
        await record(ledger, request_id=str(i), created_at=at, score=i / 100, classifier="length", input_tokens=100_000)
    await ledger.aclose()


def labels(path: Path, rows: int) -> Path:
    """Long prompts fail now and then on the small model, short ones never."""
    lines = []
    for i in range(rows):
        is_long = i % 2
        prompt = f"Number {i}" + " and so on" * 80 * is_long
        lines.append({"prompt": prompt, "small_score": 0 if is_long and i % 4 == 1 else 1, "large_score": 1})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.usefixtures("traffic")
async def test_a_share_is_read_off_the_traffic(config: ConfigFile, weighbridge) -> None:
    before = config.text
    ended = await weighbridge("calibrate", "--remote-share", "0.3")
    assert ended.code == 0, ended.err
    assert "threshold 0.695: 30.0% go to the large model, of 100 scored requests" in ended.out
    assert '+policy = { use = "threshold", threshold = 0.695 }' in ended.out
    assert "Nothing was written" in ended.out
    assert config.text == before


@pytest.mark.usefixtures("traffic")
async def test_it_is_written_when_asked_for(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("calibrate", "--remote-share", "0.3", "--write", "--json")
    said = json.loads(ended.out)
    assert said["written"] is True
    assert said["large_share"] == 0.3
    assert tomllib.loads(config.text)["routes"]["auto"]["policy"]["threshold"] == 0.695
    again = await weighbridge("calibrate", "--remote-share", "0.3")
    assert "says so already" in again.out
    assert (await weighbridge("validate")).code == 0


@pytest.mark.usefixtures("traffic")
async def test_a_budget_is_kept(weighbridge) -> None:
    ended = await weighbridge("calibrate", "--budget", "1/day", "--json")
    said = json.loads(ended.out)
    assert 0 < said["large_share"] < 1
    assert float(said["daily_usd"]) <= 1
    assert "about $" in (await weighbridge("calibrate", "--budget", "1/day")).out


async def test_a_promise_is_made_from_labels(config: ConfigFile, weighbridge) -> None:
    path = labels(config.beside("a.jsonl"), 600)
    ended = await weighbridge("calibrate", str(path), "--quality", "0.9")
    assert ended.code == 0, ended.err
    assert "keeps 90.0% of the large model's quality with 95% confidence, from 600 labels" in ended.out
    said = json.loads((await weighbridge("calibrate", str(path), "--quality", "0.9", "--json")).out)
    assert said["kept"] >= 0.5
    assert said["quality"] > 0.9


async def test_what_cannot_be_promised_is_said(config: ConfigFile, weighbridge) -> None:
    path = labels(config.beside("a.jsonl"), 80)
    ended = await weighbridge("calibrate", str(path), "--quality", "0.99")
    assert ended.code == 1
    assert "cannot promise 99.0% of the large model's quality with 95% confidence with 80 labels" in ended.out
    assert "the best I can promise is" in ended.out
    assert "config.toml" not in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name one of --remote-share, --budget and --quality"),
        (("--remote-share", "0.3", "--budget", "1/day"), "name one of"),
        (("--budget", "a lot"), "is not a budget"),
        (("--remote-share", "0.3", "--route", "other"), "is not one of auto"),
        (("--remote-share", "0.3", "--since", "once"), "is not a time"),
    ],
)
async def test_what_makes_no_sense_is_told(
    config: ConfigFile, weighbridge, arguments: tuple[str, ...], said: str
) -> None:
    ended = await weighbridge("calibrate", *arguments)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())


@pytest.mark.usefixtures("traffic")
async def test_traffic_of_another_classifier_says_nothing(config: ConfigFile, weighbridge) -> None:
    config.change('use = "length"', 'use = "constant"')
    ended = await weighbridge("calibrate", "--remote-share", "0.3")
    assert ended.code == 2
    assert "100 that another classifier scored" in ended.err


async def test_too_few_labels_are_refused(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("calibrate", str(labels(config.beside("a.jsonl"), 20)), "--quality", "0.9")
    assert ended.code == 2
    assert "20 labels" in ended.err
