"""`weighbridge eval`: the table, the gate and the changes, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from commanding import ConfigFile

from weighbridge.classifiers.minilm import SHIPPED

EASY = ["Hi, number", "Thanks,", "What day is", "Spell", "Say hello to"]
HARD = ["Prove rigorously that the bound holds for lemma", "Design a distributed consensus protocol for case"]


def labels(path: Path, *, rows: int = 60, known: bool = True) -> Path:
    """The small model fails what is hard, or whatever the number says."""
    lines = []
    for i in range(rows):
        hard = i % 2
        prompt = f"{(HARD if hard else EASY)[i % 2]} {i}" + " and explain each step in full detail" * 3 * hard
        falls_short = hard if known else i // 2 % 2
        lines.append({"prompt": prompt, "small_score": 1 - falls_short, "large_score": 1, "domain": "all"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def test_the_classifier_in_use_is_measured(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("eval", str(labels(config.beside("a.jsonl"))))
    assert ended.code == 0, ended.err
    for word in ("AUROC", "APGR", "CPT50", "cost at 95 %", "always", "shuffled", "It beats the shuffled control"):
        assert word in ended.out
    assert "Measured: length." in ended.out


async def test_it_says_when_it_is_no_better_than_chance(config: ConfigFile, weighbridge) -> None:
    path = labels(config.beside("a.jsonl"), known=False)
    ended = await weighbridge("eval", str(path), "--json")
    said = json.loads(ended.out)
    assert said["beats_shuffled"] is False
    assert said["rows"] == 60
    assert [line["name"] for line in said["lines"]] == [
        "this head",
        "length only",
        "shuffled, same cost",
        "always small",
        "always large",
    ]


async def test_worse_than_another_ends_with_1(config: ConfigFile, weighbridge) -> None:
    """Constant scores rank nothing: held against the shipped head they are worse."""
    path = labels(config.beside("a.jsonl"))
    config.change('use = "length"', 'use = "constant"')
    ended = await weighbridge("eval", str(path), "--against", str(SHIPPED))
    assert ended.code == 1
    assert "FAIL  AUROC" in ended.out
    assert "Worse beyond chance: AUROC" in ended.out
    same = await weighbridge("eval", str(path), "--artefact", str(SHIPPED), "--against", str(SHIPPED), "--json")
    assert same.code == 0
    assert not any(change["is_worse"] for change in json.loads(same.out)["changes"])


async def test_the_feedback_in_the_ledger_serves_where_no_file_is_named(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("eval")
    assert ended.code == 1  # there is no ledger yet
    assert "there is no ledger" in ended.err
    both = await weighbridge("eval", "a.jsonl", "--from-ledger")
    assert both.code == 2


async def test_robustness_needs_no_labels(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("eval", "--robustness")
    assert ended.code == 0
    assert "| typos |" in ended.out
    said = json.loads((await weighbridge("eval", "--robustness", "--json")).out)
    assert said["robustness"]["changes"]


async def test_without_a_config_the_shipped_classifier_is_measured(tmp_path: Path, weighbridge) -> None:
    ended = await weighbridge("eval", str(labels(tmp_path / "a.jsonl")), "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["classifier"].startswith("minilm")


@pytest.mark.parametrize("rows", [0, 10])
async def test_too_few_labels_are_refused(config: ConfigFile, weighbridge, rows: int) -> None:
    ended = await weighbridge("eval", str(labels(config.beside("a.jsonl"), rows=rows)))
    assert ended.code == 2
    assert "too few" in ended.err or "holds no rows" in ended.err


async def test_a_damaged_artefact_is_refused_before_it_is_parsed(config: ConfigFile, weighbridge) -> None:
    damaged = config.beside("damaged")
    damaged.mkdir()
    for file in SHIPPED.iterdir():
        if file.is_file():
            shutil.copyfile(file, damaged / file.name)
    head = damaged / "head.npz"
    head.write_bytes(head.read_bytes()[:-1] + b"x")
    path = str(labels(config.beside("a.jsonl")))
    ended = await weighbridge("eval", path, "--artefact", str(damaged))
    assert ended.code == 2
    assert "SHA-256 differs" in ended.err
    ended = await weighbridge("eval", path, "--against", str(config.beside("nothing")))
    assert (ended.code, "manifest.json: is missing" in ended.err) == (2, True)
