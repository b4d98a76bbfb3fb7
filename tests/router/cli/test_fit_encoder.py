"""`weighbridge fit --encoder`: a user's own encoder from a folder to a decision, and names that stand for none."""

import json
import sys
import tomllib
from pathlib import Path

import pytest
from commanding import ConfigFile
from encoding import everyday, folder_of
from labelling import labels

from weighbridge.classifiers import training


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("albert-base-v3", "is neither a folder nor an encoder of the catalogue; did you mean albert-base-v2"),
        ("./nowhere", "'./nowhere' is neither a folder nor an encoder of the catalogue"),
        ("qwen2.5-3b", "qwen2.5-3b answers, and cannot classify; known: albert-base-v2"),
    ],
)
async def test_a_name_that_is_no_encoder_offers_the_nearest(
    config: ConfigFile, weighbridge, name: str, words: str
) -> None:
    ended = await weighbridge("fit", str(labels(config.beside("a.jsonl"))), "--encoder", name)
    assert ended.code == 2
    assert words in ended.err


async def test_an_artefact_to_build_on_brings_its_own(config: ConfigFile, weighbridge) -> None:
    path = str(labels(config.beside("a.jsonl")))
    ended = await weighbridge("fit", path, "--encoder", "bert-tiny", "--base", "somewhere")
    assert ended.code == 2
    assert "brings its own encoder" in ended.err


async def test_without_torch_the_remedy_is_told(config: ConfigFile, weighbridge, monkeypatch) -> None:
    monkeypatch.delattr(training, "foreign", raising=False)
    monkeypatch.setitem(sys.modules, "weighbridge.classifiers.training.foreign", None)
    ended = await weighbridge("fit", str(labels(config.beside("a.jsonl"))), "--encoder", "bert-tiny")
    assert ended.code == 2
    assert '--encoder needs torch and transformers: pip install "weighbridge[train]"' in ended.err


async def test_it_is_fitted_on_put_to_use_and_decides(config: ConfigFile, weighbridge, monkeypatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from weighbridge.classifiers.training import dataset, models  # noqa: PLC0415  # after the skips

    monkeypatch.setattr(models, "TREES", 5)
    monkeypatch.setattr(dataset, "EVERYDAY", everyday(config.beside("everyday.jsonl")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(config.beside("cache")))
    path = str(labels(config.beside("a.jsonl")))
    encoder = str(folder_of("electra", config.beside("my-electra")))
    ended = await weighbridge("fit", path, "--encoder", encoder, "--activate", "--json")
    assert ended.code == 0, ended.err
    assert "exporting my-electra (electra, " in ended.err
    folder = Path(tomllib.loads(config.text)["classifier"]["artefact"])
    manifest = json.loads((config.path.parent / folder / "manifest.json").read_text())
    assert (manifest["encoder"]["model"], manifest["encoder"]["architecture"]) == ("my-electra", "electra")
    assert manifest["base"].startswith("my-electra-")
    decided = json.loads((await weighbridge("route", "Prove that every river has a bounded limit", "--json")).out)
    assert 0 < decided["score"] < 1
    assert json.loads((await weighbridge("eval", path, "--json")).out or "{}") == {}  # all rows were fitted on


async def test_a_folder_that_holds_no_encoder_is_told(config: ConfigFile, weighbridge) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    config.beside("empty").mkdir()
    ended = await weighbridge("fit", str(labels(config.beside("a.jsonl"))), "--encoder", "empty")
    assert ended.code == 2
    assert "no config.json of a model in Hugging Face's layout" in ended.err
