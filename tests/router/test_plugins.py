"""Plug-ins: a name in the config becomes a class, or a sentence that says why not."""

import sys
from pathlib import Path

import pytest

from weighbridge.classifiers.base import Classifier
from weighbridge.classifiers.constant import Constant
from weighbridge.plugins import UnknownPlugin, build, find, implementations, on_shelf
from weighbridge.policies.base import Policy
from weighbridge.policies.threshold import Threshold
from weighbridge.upstreams.base import Upstream

POLICIES, CLASSIFIERS, UPSTREAMS = "weighbridge.policies", "weighbridge.classifiers", "weighbridge.upstreams"


def test_a_file_on_the_shelf_is_found_by_its_name() -> None:
    assert find(POLICIES, "threshold", Policy) is Threshold


def test_a_class_of_ones_own_is_found_by_module_and_name() -> None:
    assert find(POLICIES, "weighbridge.policies.threshold:Threshold", Policy) is Threshold


def test_the_other_keys_are_the_constructors_arguments() -> None:
    assert build(CLASSIFIERS, "constant", {"score": 0.25}, Classifier) == Constant(score=0.25)


def test_a_shelf_offers_its_implementations_and_not_its_helpers() -> None:
    assert implementations(UPSTREAMS, Upstream) == ["litellm", "ollama", "openai", "simulated"]
    assert implementations(POLICIES, Policy) == ["always", "cascade", "threshold"]
    assert "base" not in on_shelf(UPSTREAMS)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("treshold", "did you mean threshold?"),
        ("http", "is not one of litellm, ollama, openai, simulated"),
        ("base", "is not one of"),
        ("../upstreams/openai", "is not one of"),
        ("", "is not one of"),
        (7, "must be text in quotes"),
        (["openai"], "must be text in quotes"),
        ("nowhere.at.all:Thing", "cannot be imported (ModuleNotFoundError"),
        (":Thing", "is not of the form module:Class"),
        (".relative:Thing", "is not of the form module:Class"),
        ("a b:Thing", "is not of the form module:Class"),
        ("nul\0:Thing", "is not of the form module:Class"),
        ("weighbridge.upstreams.openai:Nothing", "has no Upstream named 'Nothing'"),
        ("weighbridge.upstreams.openai:", "has no Upstream named ''"),
        ("pathlib:Path", "has no Upstream named 'Path'"),
        ("weighbridge.upstreams.http:HttpUpstream", "is unfinished: HttpUpstream lacks complete, stream"),
    ],
)
def test_a_name_that_means_nothing_is_refused_in_words(use: object, words: str) -> None:
    shelf, base = (POLICIES, Policy) if use == "treshold" else (UPSTREAMS, Upstream)
    with pytest.raises(UnknownPlugin) as refused:
        find(shelf, use, base)
    assert words in str(refused.value)


@pytest.mark.parametrize("text", ["raise KeyError('no such thing')", "def (", "import nowhere_at_all"])
def test_a_file_of_ones_own_that_cannot_be_imported_is_told(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugin.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    with pytest.raises(UnknownPlugin, match=r"cannot be imported .*is broken_plugin installed here\?"):
        find(POLICIES, "broken_plugin:Thing", Policy)
