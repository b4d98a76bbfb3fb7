"""Encoders of the user's own: six architectures, exported, fitted on and served; and what cannot be is told."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

import encoding  # after the skips
from encoding import SIZE, folder_of
from labelling import prompts

from weighbridge.classifiers.artefacts import read_manifest
from weighbridge.classifiers.base import TASKS
from weighbridge.classifiers.evaluation.labelled import Labels, stem_of
from weighbridge.classifiers.minilm import ENCODER, MiniLM
from weighbridge.classifiers.training import families, foreign, models, own

ARCHITECTURES = ("bert", "distilbert", "albert", "mobilebert", "electra", "minilm")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "TREES", 5)
        yield


@pytest.fixture(scope="module")
def everyday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoding.everyday(tmp_path_factory.mktemp("everyday") / "everyday.jsonl")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: folder_of(name, root / name) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def labels() -> Labels:
    rows = prompts()[:60]
    hard = np.array([is_hard for _, is_hard in rows], dtype=float)
    return Labels(
        prompt=[text for text, _ in rows],
        small=1 - hard,
        large=np.ones(len(rows)),
        stem=np.array([stem_of(text) for text, _ in rows]),
        domain=np.array([""] * len(rows)),
        source=np.array(["file"] * len(rows)),
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_encoder_is_exported_fitted_and_served(
    name: str, folders: dict[str, Path], everyday: Path, tmp_path: Path
) -> None:
    about = foreign.About(f"somebody/{name}", "apache-2.0", "a test")
    foreign.write(folders[name], about, tmp_path / "base", everyday=everyday)
    base = own.open_base(tmp_path / "base")
    said = json.loads((tmp_path / "base" / "manifest.json").read_text())["encoder"]
    assert said["cosine_with_fp32"]["least"] > 0.98
    assert (said["model"], said["licence"]) == (f"somebody/{name}", "apache-2.0")
    assert said["parameters"] == families.opened(folders[name]).parameters
    assert (base.manifest.embedding_size, base.manifest.tasks) == (SIZE, TASKS)
    found = MiniLM(artefact=str(tmp_path / "base")).assess([text for text, _ in prompts()[:4]])
    assert all(0 <= assessment.score <= 1 for assessment in found)


def test_own_labels_are_fitted_on_top_of_it(
    folders: dict[str, Path], everyday: Path, labels: Labels, tmp_path: Path
) -> None:
    foreign.write(folders["albert"], foreign.About("a", None, "a test"), tmp_path / "base", everyday=everyday)
    base = own.open_base(tmp_path / "base")
    own.write(own.fit_own(labels, base), base, tmp_path / "own")
    manifest = read_manifest(tmp_path / "own")
    assert manifest.files[ENCODER] == base.manifest.files[ENCODER]
    said = [json.loads((tmp_path / name / "manifest.json").read_text())["encoder"] for name in ("base", "own")]
    assert said[0] == said[1]
    easy, hard = MiniLM(artefact=str(tmp_path / "own")).assess([labels.prompt[0], labels.prompt[1]])
    assert 0 <= easy.score < hard.score <= 1


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_int8_agrees_with_torch_whatever_the_length(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    import onnxruntime  # noqa: PLC0415

    encoder = families.opened(folders[name])
    session = onnxruntime.InferenceSession(families.as_onnx(encoder))
    draw = np.random.default_rng(2)
    for length in (2, 3, 17, 128):
        tokens = draw.integers(4, 40, length).tolist()
        found = session.run(None, {"input_ids": np.array([tokens])})[0][0]
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
        assert found @ families.reference(encoder, tokens) > 0.98


def test_layers_that_share_their_weights_are_stored_once(folders: dict[str, Path]) -> None:
    sizes = {name: len(families.as_onnx(families.opened(folders[name]))) for name in ("albert", "electra")}
    assert sizes["albert"] < 0.6 * sizes["electra"]


def test_the_tokenizer_cuts_nothing_and_pads_nothing(folders: dict[str, Path]) -> None:
    fields = json.loads(families.tokenizer_of(folders["bert"]))
    assert (fields["truncation"], fields["padding"]) == (None, None)


def test_pooling_is_what_the_folder_says(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folder_of("bert", tmp_path / "cls")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    encoder = families.opened(folder)
    assert encoder.pooling == "first"
    import onnxruntime  # noqa: PLC0415

    found = onnxruntime.InferenceSession(families.as_onnx(encoder)).run(None, {"input_ids": np.array([[7, 8, 9]])})
    assert found[0][0] @ families.reference(encoder, [7, 8, 9]) > 0.98


def test_the_licence_is_read_from_the_card(tmp_path: Path) -> None:
    folder = folder_of("bert", tmp_path)
    assert families.opened(folder).licence is None
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# A model\n")
    assert families.opened(folder).licence == "mit"


def test_serving_needs_no_torch(folders: dict[str, Path], everyday: Path, tmp_path: Path) -> None:
    foreign.write(folders["electra"], foreign.About("e", None, "a test"), tmp_path / "base", everyday=everyday)
    script = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'onnx', 'sentence_transformers')))\n"
        "from weighbridge.classifiers.minilm import MiniLM\n"
        f"print(MiniLM(artefact={str(tmp_path / 'base')!r}).assess(['hello'])[0].score)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert 0 <= float(run.stdout) <= 1, run.stderr


def test_what_cannot_be_served_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    config = json.loads((folders["bert"] / "config.json").read_text())
    cases = {
        "no config.json of a model": None,
        "is of the architecture 'roberta'": {**config, "model_type": "roberta"},
        "its activation is 'silu'": {**config, "hidden_act": "silu"},
    }
    for words, changed in cases.items():
        folder = tmp_path / words[:8]
        folder.mkdir()
        for file in folders["bert"].iterdir() if changed else ():
            (folder / file.name).write_bytes(file.read_bytes())
        if changed:
            (folder / "config.json").write_text(json.dumps(changed))
        with pytest.raises(foreign.CannotExport, match=words):
            families.as_onnx(families.opened(folder))


def test_weights_that_are_missing_are_not_made_up(folders: dict[str, Path], tmp_path: Path) -> None:
    for file in folders["bert"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(foreign.CannotExport, match=r"of its weights are missing, such as encoder\.layer\.3"):
        families.opened(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(foreign.CannotExport, match="cannot be read"):
        families.opened(tmp_path)


def test_without_a_tokenizer_there_is_nothing_to_serve(folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folders["bert"] / name).read_bytes())
    with pytest.raises(foreign.CannotExport, match="tokenizer"):
        families.tokenizer_of(tmp_path)


def test_a_hub_that_is_not_reached_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants  # noqa: PLC0415

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(foreign.CannotExport, match="fetch it elsewhere and name its folder"):
        foreign.fetched("nobody/has-this")
