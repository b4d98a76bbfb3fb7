"""`weighbridge fit`: from labels to an artefact, which is used only when it is worth it and asked for."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from bookkeeping import record
from commanding import ConfigFile
from labelling import labels, prompts
from scripted import ScriptedUpstream, completion

from weighbridge.ledger.sqlite import SQLite


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Embeddings are kept between the tests, and out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


async def test_it_prints_the_table_writes_an_artefact_and_changes_nothing(config: ConfigFile, weighbridge) -> None:
    before = config.text
    ended = await weighbridge("fit", str(labels(config.beside("a.jsonl"))), "--output", "own")
    assert ended.code == 0, ended.err
    for word in ("AUROC", "CPT80", "cost at 98 %", "before", "shuffled", "It beats the shuffled control"):
        assert word in ended.out
    assert "All of them were fitted on: a promise of quality needs other labels" in ended.out
    assert "+artefact = " in ended.out
    assert "Nothing was written: --activate writes it" in ended.out
    assert config.text == before
    assert {file.name for file in config.beside("own").iterdir()} >= {"manifest.json", "MODEL_CARD.md", "head.npz"}


async def test_it_is_put_to_use_when_asked_for(config: ConfigFile, weighbridge) -> None:
    path = str(labels(config.beside("a.jsonl")))
    ended = await weighbridge("fit", path, "--activate", "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert said["activated"] is True
    assert said["rows_fitted"] == 100
    classifier = tomllib.loads(config.text)["classifier"]
    assert classifier["use"] == "minilm"
    assert Path(classifier["artefact"]).name == said["version"]
    assert (await weighbridge("validate")).code == 0
    # It must not be measured on what it was fitted on.
    again = await weighbridge("eval", path)
    assert again.code == 2
    assert "all 100 rows were fitted on" in again.err


async def test_what_was_held_back_serves_for_a_promise(config: ConfigFile, weighbridge) -> None:
    path = str(labels(config.beside("a.jsonl"), rows=300))
    ended = await weighbridge("fit", path, "--activate", "--hold-out", "0.3")
    assert "Nothing was fitted on 90 of them" in ended.out
    said = json.loads((await weighbridge("calibrate", path, "--quality", "0.7", "--json")).out)
    assert said["labels"] == 90


async def test_one_that_is_no_better_than_chance_is_not_used_unless_forced(config: ConfigFile, weighbridge) -> None:
    before = config.text
    path = str(labels(config.beside("a.jsonl"), is_random=True))
    ended = await weighbridge("fit", path, "--activate")
    assert ended.code == 1
    assert "It does not beat the shuffled control" in ended.out
    assert "--force does all the same" in ended.out
    assert config.text == before
    forced = await weighbridge("fit", path, "--activate", "--force")
    assert forced.code == 1
    assert "artefact" in config.text


async def test_labels_that_cannot_be_used_are_refused(config: ConfigFile, weighbridge) -> None:
    cases = {
        "ten.jsonl": labels(config.beside("ten.jsonl"), rows=10),
        "alike.jsonl": config.beside("alike.jsonl"),
        "nan.csv": config.beside("nan.csv"),
        "columns.csv": config.beside("columns.csv"),
    }
    rows = [json.dumps({"prompt": f"ask {i}", "small_score": 1, "large_score": 1}) for i in range(80)]
    cases["alike.jsonl"].write_text("\n".join(rows))
    cases["nan.csv"].write_text("prompt,small_score,large_score\na,nan,1\n")
    cases["columns.csv"].write_text("prompt,score\na,1\n")
    for name, said in {
        "ten.jsonl": "10 rows are too few",
        "alike.jsonl": "nothing to tell apart",
        "nan.csv": "row 1: small_score is NaN",
        "columns.csv": "no column `small_score` and `large_score`",
    }.items():
        ended = await weighbridge("fit", str(cases[name]))
        assert ended.code == 2, name
        assert said in ended.err, name


@pytest.mark.parametrize("arguments", [(), ("a.jsonl", "--from-ledger"), ("--from-ledger", "--make-labels", "b.jsonl")])
async def test_labels_come_from_one_place(config: ConfigFile, weighbridge, arguments: tuple[str, ...]) -> None:
    ended = await weighbridge("fit", *arguments)
    assert ended.code == 2
    assert "--from-ledger, or --make-labels" in " ".join(ended.err.split())


async def test_feedback_in_the_ledger_is_learnt_from(config: ConfigFile, weighbridge) -> None:
    ledger = SQLite(path=str(config.beside("ledger.db")), store_prompts=True)
    await ledger.aopen()
    for i, (text, is_hard) in enumerate(prompts()):
        body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}]})
        await record(ledger, request_id=str(i), prompt=body, upstream="small")
        await ledger.feedback(str(i), 0.0 if is_hard else 1.0, None)
    await ledger.aclose()
    ended = await weighbridge("fit", "--from-ledger", "--output", "own")
    assert ended.code == 0, ended.err
    assert "100 answers of the small model have feedback" in ended.out


async def test_feedback_without_prompts_says_what_is_missing(config: ConfigFile, weighbridge) -> None:
    ledger = SQLite(path=str(config.beside("ledger.db")))
    await ledger.aopen()
    await record(ledger, upstream="small")
    await ledger.feedback("request-1", 1.0, None)
    await ledger.aclose()
    ended = await weighbridge("fit", "--from-ledger")
    assert ended.code == 2
    assert "set `store_prompts = true`" in ended.err


@pytest.fixture
def scripts() -> Iterator[tuple[ScriptedUpstream, ScriptedUpstream]]:
    with ScriptedUpstream() as small, ScriptedUpstream() as large:
        small.always(completion("no idea"))
        large.always(completion("bread"))
        yield small, large


@pytest.fixture
def answered(config: ConfigFile, scripts: tuple[ScriptedUpstream, ScriptedUpstream]) -> ConfigFile:
    """The config, with the two upstreams scripted."""
    for name, script in zip(("small", "large"), scripts, strict=True):
        config.change(
            f'use = "simulated"\nmodel = "sim-{name}"',
            f'use = "openai"\nbase_url = "{script.url}"\nmodel = "sim-{name}"',
        )
    return config


def asked(path: Path) -> Path:
    rows = [{"prompt": text, "reference": "bread" if is_hard else "no idea"} for text, is_hard in prompts()]
    rows.append({"prompt": "Write to ada@example.com", "reference": "bread"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


async def test_labels_are_made_with_the_two_models_and_the_fence_holds(
    answered: ConfigFile, scripts, weighbridge
) -> None:
    path = str(asked(answered.beside("prompts.jsonl")))
    ended = await weighbridge("fit", "--make-labels", path, "--max-usd", "2", "--output", "own")
    assert ended.code == 0, ended.err
    assert "1 prompts are left out: a rule keeps them from one of the models" in ended.out
    assert "labels.jsonl: 100 labels (100 new), 0 failed" in ended.out
    assert not [seen for script in scripts for seen in script.chats if b"ada@example.com" in seen.body]
    assert len(scripts[1].chats) == 100
    again = await weighbridge("fit", "--make-labels", path, "--output", "own", "--json")
    assert "100 labels (0 new)" in again.err
    assert json.loads(again.out)["beats_shuffled"] is True
    assert len(scripts[1].chats) == 100


async def test_making_labels_stops_at_the_cap(answered: ConfigFile, weighbridge) -> None:
    path = str(asked(answered.beside("prompts.jsonl")))
    ended = await weighbridge("fit", "--make-labels", path, "--max-usd", "0.006")
    assert ended.code == 2  # what it made is too little
    assert "Stopped at the cap" in ended.out
    assert "are too few" in ended.err


async def test_making_labels_asks_for_somebody_who_judges(answered: ConfigFile, scripts, weighbridge) -> None:
    ended = await weighbridge("fit", "--make-labels", "starter")
    assert ended.code == 2
    assert "name a judge with --judge UPSTREAM" in ended.err
    wrong = await weighbridge("fit", "--make-labels", "starter", "--judge", "nobody")
    assert (wrong.code, "'nobody' is not one of small, large" in wrong.err) == (2, True)
    assert not scripts[0].chats


async def test_a_person_is_asked_with_the_answers_unnamed(answered: ConfigFile, weighbridge) -> None:
    answered.beside("p.jsonl").write_text('{"prompt": "Spell bread"}\n')
    ended = await weighbridge("fit", "--make-labels", "p.jsonl", "--ask", stdin="t\n")
    assert "--- A ---" in ended.out
    (row,) = map(json.loads, answered.beside("labels.jsonl").read_text().splitlines())
    assert (row["source"], row["small_score"], row["large_score"]) == ("user", 1, 1)


async def test_an_upstream_without_a_price_is_refused_before_any_call(
    answered: ConfigFile, scripts, weighbridge
) -> None:
    answered.change('input_usd_per_mtok = "1"\noutput_usd_per_mtok = "4.50"\n', "")
    ended = await weighbridge("fit", "--make-labels", str(asked(answered.beside("prompts.jsonl"))))
    assert ended.code == 2
    assert "what large (sim-large) costs is not known" in ended.err
    assert not scripts[0].chats
