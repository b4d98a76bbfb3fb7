"""Nothing of an artefact is parsed before it was checked, and a refusal says what to do."""

import hashlib
import json

import pytest

from weighbridge.classifiers.artefacts import ArtefactError, read_files, read_manifest
from weighbridge.classifiers.minilm import MiniLM

FILES = ["encoder.onnx", "tokenizer.json", "head.npz", "MODEL_CARD.md"]
NEEDED = ("encoder.onnx", "tokenizer.json", "head.npz")


def refused(folder, match):
    with pytest.raises(ArtefactError, match=match) as caught:
        MiniLM(artefact=str(folder))
    assert "rebuild it with" in str(caught.value)
    return str(caught.value)


def rewrite(path, **changes):
    fields = json.loads(path.read_text())
    fields.update(changes)
    path.write_text(json.dumps(fields))


def describe(folder, name):
    """Make the manifest agree with a changed file."""
    content = (folder / name).read_bytes()
    files = json.loads((folder / "manifest.json").read_text())["files"]
    files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    rewrite(folder / "manifest.json", files=files)


def test_a_copy_of_the_shipped_artefact_is_accepted(artefact):
    assert MiniLM(artefact=str(artefact)).version == MiniLM().version


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_noticed(artefact, own, name):
    """C5: a flipped bit in the classifier's files: refused before it is read."""
    path = own(artefact / name)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    assert name in refused(artefact, "SHA-256 differs")


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_noticed(artefact, own, name):
    path = own(artefact / name)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    assert name in refused(artefact, "bytes, the manifest says")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_grew_is_not_even_read(artefact, own, name):
    with own(artefact / name).open("ab") as file:
        file.write(b"x")
    assert name in refused(artefact, "larger than")


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(artefact, name):
    """C5: a missing file of the classifier: refused by its name."""
    (artefact / name).unlink()
    assert name in refused(artefact, "is missing")


def test_a_missing_folder_is_named(tmp_path):
    assert "nowhere" in refused(tmp_path / "nowhere", "is missing")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no artefact of ours"),
        ('{"kind": "somebody-else"}', "no artefact of ours"),
        ('{"kind": "weighbridge-classifier", "schema_version": 99}', "schema version 99"),
        ('{"kind": "weighbridge-classifier", "schema_version": 1}', "version: Field required"),
        ("\udcff", "not JSON"),
        (" " * 1_000_001, "larger than"),
    ],
)
def test_a_foreign_manifest_is_refused(artefact, own, content, problem):
    own(artefact / "manifest.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    refused(artefact, problem)


@pytest.mark.parametrize("name", ["../encoder.onnx", "/etc/passwd", "a/b", "..", ".hidden", "", "a\\b", "a\x00b"])
def test_a_name_that_is_a_path_is_refused(artefact, own, name):
    manifest = own(artefact / "manifest.json")
    files = json.loads(manifest.read_text())["files"]
    rewrite(manifest, files={**files, name: {"sha256": "0" * 64, "bytes": 1}})
    refused(artefact, "not a plain file name")


def test_a_folder_in_the_place_of_a_file_is_refused(artefact):
    (artefact / "head.npz").unlink()
    (artefact / "head.npz").mkdir()
    refused(artefact, "head.npz: is missing")


def test_a_manifest_that_leaves_a_needed_file_out_is_refused(artefact, own):
    manifest = own(artefact / "manifest.json")
    files = json.loads(manifest.read_text())["files"]
    del files["head.npz"]
    rewrite(manifest, files=files)
    refused(artefact, "does not list head.npz")


@pytest.mark.parametrize("points", [{"cost": 0.2, "balanced": 0.5, "quality": 0.1}, {"balanced": 0.5}, {}])
def test_thresholds_out_of_order_are_refused(artefact, own, points):
    manifest = own(artefact / "manifest.json")
    rewrite(manifest, thresholds={k: {"threshold": v, "chosen_for": "a test"} for k, v in points.items()})
    refused(artefact, "cost >= balanced >= quality")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("head.npz", b"PK not an npz", "is not an .npz"),
        ("tokenizer.json", b"{}", "not a tokenizer"),
        ("tokenizer.json", b"\xff\xfe", "not a tokenizer"),
        ("encoder.onnx", b"not a graph", "not the encoder"),
    ],
)
def test_a_described_file_of_the_wrong_kind_is_refused(artefact, own, name, content, problem):
    own(artefact / "manifest.json")
    own(artefact / name).write_bytes(content)
    describe(artefact, name)
    assert name in refused(artefact, problem)


def test_a_head_for_another_encoder_is_refused(artefact, own):
    rewrite(own(artefact / "manifest.json"), embedding_size=128)
    refused(artefact, "head.npz: lexical|head.npz: hidden_w|head.npz: landmarks")


def test_only_what_is_needed_is_kept_but_everything_is_checked(artefact):
    manifest = read_manifest(artefact)
    assert set(read_files(artefact, manifest, NEEDED)) == set(NEEDED)
    assert set(manifest.files) == set(FILES)
