"""`weighbridge calibrate --drafts`: weights and `accept` for a cascade, shown as a diff and written when asked for."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from commanding import ConfigFile


@pytest.fixture
def cascade(config: ConfigFile) -> ConfigFile:
    config.change('policy = { use = "threshold", threshold', 'policy = { use = "cascade", threshold')
    return config


def drafts(path: Path, rows: int) -> Path:
    """Sure drafts are good, unsure ones mostly not."""
    rng = np.random.default_rng(3)
    lines = []
    for i in range(rows):
        is_good = bool(rng.random() < 0.8)
        mean = float(-0.1 if is_good else -1.0) - float(rng.random()) / 2
        evidence = {"score": 0.1, "mean_logprob": mean, "low_logprob": 2 * mean}
        lines.append({"prompt": f"Number {i}", "evidence": evidence, "score": float(is_good)})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def test_weights_and_what_to_accept_come_from_judged_drafts(cascade: ConfigFile, weighbridge) -> None:
    path = drafts(cascade.beside("d.jsonl"), 800)
    before = cascade.text
    ended = await weighbridge("calibrate", "--drafts", str(path), "--quality", "0.9")
    assert ended.code == 0, ended.err
    assert "keeps 90.0% of the large model's quality with 95% confidence" in " ".join(ended.out.split())
    assert "Nothing was written" in ended.out
    assert cascade.text == before
    written = await weighbridge("calibrate", "--drafts", str(path), "--quality", "0.9", "--write", "--json")
    said = json.loads(written.out)
    policy = tomllib.loads(cascade.text)["routes"]["auto"]["policy"]
    assert policy["accept"] == pytest.approx(said["accept"])
    assert policy["weights"] == pytest.approx(said["weights"])
    assert said["kept"] > 0.7
    assert said["auroc"]["low"] > 0.9
    assert (await weighbridge("validate")).code == 0
    again = await weighbridge("calibrate", "--drafts", str(path), "--quality", "0.9")
    assert "says so already" in again.out


async def test_what_cannot_be_promised_is_said(cascade: ConfigFile, weighbridge) -> None:
    path = drafts(cascade.beside("d.jsonl"), 120)
    ended = await weighbridge("calibrate", "--drafts", str(path), "--quality", "0.999")
    assert ended.code == 1
    assert "cannot promise 99.9%" in ended.out


async def test_answers_without_a_score_are_scored(cascade: ConfigFile, weighbridge) -> None:
    rows = [{"prompt": f"What is {i}?", "small_answer": f"It is {i}.", "score": 1} for i in range(240)]
    path = cascade.beside("d.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = await weighbridge("calibrate", "--drafts", str(path), "--quality", "0.9")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name --quality"),
        (("--remote-share", "0.3", "--quality", "0.9"), "no share or budget"),
        (("--quality", "0.9", "--route", "other"), "is not one of auto"),
        (("--quality", "0.9"), "60 drafts are too few"),
    ],
)
async def test_what_makes_no_sense_is_told(cascade, weighbridge, arguments: tuple[str, ...], said: str) -> None:
    path = drafts(cascade.beside("d.jsonl"), 60)
    ended = await weighbridge("calibrate", "--drafts", str(path), *arguments)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())


async def test_only_a_cascade_accepts_drafts(config: ConfigFile, weighbridge) -> None:
    path = drafts(config.beside("d.jsonl"), 60)
    ended = await weighbridge("calibrate", "--drafts", str(path), "--quality", "0.9")
    assert ended.code == 2
    assert "verifies no drafts" in ended.err


async def test_streams_that_show_less_are_held_to_the_promise_too(cascade: ConfigFile, weighbridge) -> None:
    path = drafts(cascade.beside("d.jsonl"), 800)
    whole = json.loads((await weighbridge("calibrate", "--drafts", str(path), "--quality", "0.9", "--json")).out)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    dim = {"score": 0.1, "mean_logprob": -0.5, "low_logprob": -1.0, "is_beginning": True}
    path.write_text("".join(json.dumps({**row, "beginning": dim}) + "\n" for row in rows))
    both = await weighbridge("calibrate", "--drafts", str(path), "--quality", "0.9", "--json")
    assert json.loads(both.out)["kept"] < whole["kept"]
