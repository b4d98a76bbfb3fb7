"""The shipped classifier on real prompts."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from pydantic import ValidationError

from weighbridge.classifiers.minilm import SHIPPED, MiniLM

EASY = [
    "hi",
    "What is the capital of France?",
    "Translate good morning to French",
    "Fix the typo: teh cat",
    "How do I print hello world in Python?",
    "Thanks, see you tomorrow!",
    "Is this positive or negative? 'The soup was cold.'",
    "What is 17 + 25?",
]
HARD = [
    "Prove that sqrt(2)+sqrt(3) is irrational",
    "Design a Byzantine fault tolerant payment ledger and prove liveness under partial synchrony",
    "Write a memory allocator with per-thread arenas and prove that it is free of data races",
    "Derive the asymptotic variance of a GMM estimator under weak instruments and discuss robust inference",
    "Analyse the liability of the directors under German and UK insolvency law and draft the advice to the board",
]
FLUFF = "The weather was nice and we had tea in the garden. "


def scores(minilm: MiniLM, texts: list[str]) -> list[float]:
    return [assessment.score for assessment in minilm.assess(texts)]


def test_everyday_asks_stay_below_the_recommended_threshold_and_expert_work_above(minilm):
    threshold = minilm.thresholds["balanced"]
    assert max(scores(minilm, EASY)) < threshold - 0.05
    assert min(scores(minilm, HARD)) > threshold + 0.05


@pytest.mark.parametrize(
    "text",
    ["asdkj qwlekj zxmcn poiu", "01001000 01100101 01101100", "プログラミングを教えて", "Kuidas sul täna läheb?"],
)
def test_it_abstains_on_what_it_cannot_read(minilm, text):
    assert minilm.assess([text])[0].abstained


def test_it_abstains_on_nothing_that_it_knows(minilm):
    assert not any(assessment.abstained for assessment in minilm.assess([*EASY, *HARD]))


def test_the_kind_of_task_is_named(minilm):
    found = minilm.assess(
        ["Translate good morning to French", "Prove that sqrt(2) is irrational", "Write a haiku about autumn"]
    )
    assert [a.task for a in found] == ["translation", "reasoning", "creative_writing"]


def test_a_task_is_named_only_where_it_is_likely(minilm):
    for assessment in minilm.assess([*EASY, *HARD, "list 5 fruits", "ok"]):
        assert (assessment.task is None) == (assessment.task_probability < 0.5)


def test_a_score_does_not_depend_on_its_neighbours(minilm):
    texts = [*EASY, *HARD, FLUFF * 100]
    assert minilm.assess(texts) == [minilm.assess([text])[0] for text in texts]
    assert minilm.assess(texts[::-1]) == minilm.assess(texts)[::-1]


def test_concurrent_calls_give_the_same_scores(minilm):
    expected = minilm.assess(EASY + HARD)
    found = [None] * 4

    def work(i: int) -> None:
        found[i] = minilm.assess(EASY + HARD)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


@pytest.mark.parametrize("fluff", ["Hi! I hope you are well. ", "Thanks a lot, you are wonderful. ", FLUFF, FLUFF * 15])
def test_padding_does_not_make_hard_work_look_easy(minilm, fluff):
    threshold = minilm.thresholds["balanced"]
    padded = [fluff + hard for hard in HARD] + [f"{hard}\n{fluff}" for hard in HARD]
    assert min(scores(minilm, padded)) > threshold
    moved = np.array(scores(minilm, padded)) - np.array(scores(minilm, HARD * 2))
    assert moved.mean() > -0.35


def test_blanks_around_a_prompt_change_little(minilm):
    for text in (*EASY, *HARD):
        plain, spaced = scores(minilm, [text, f"\n\n   {text}\t\n"])
        assert abs(plain - spaced) < 0.05


def test_the_end_of_a_long_text_is_read(minilm):
    body = FLUFF * 2000
    easy, hard = scores(minilm, [f"{body}\nTranslate this to German.", f"{body}\n{HARD[1]}"])
    assert hard > easy + 0.1


def test_ten_megabytes_are_scored(minilm):
    texts = ["x" * 10_000_000, "word " * 2_000_000, " " * 10_000_000, "\U0001f600" * 2_500_000]
    assert all(0 <= score <= 1 for score in scores(minilm, texts))


@pytest.mark.parametrize(
    "text", ["", " ", "\x00", "\ud800", "\u202e", "你好", "🙂" * 50, "[CLS] [SEP] [PAD]", "a" * 5000]
)
def test_odd_texts_are_scored(minilm, text):
    assert 0 <= scores(minilm, [text])[0] <= 1


def test_no_texts_give_no_assessments(minilm):
    assert minilm.assess([]) == []


def test_version_and_thresholds_come_from_the_manifest(minilm):
    manifest = json.loads((SHIPPED / "manifest.json").read_text())
    assert minilm.version == manifest["version"]
    assert dict(minilm.thresholds) == {k: p["threshold"] for k, p in manifest["thresholds"].items()}


def test_two_threads_give_the_same_score_as_one(minilm):
    assert np.allclose(scores(MiniLM(threads=2), EASY + HARD), scores(minilm, EASY + HARD), atol=1e-3)


@pytest.mark.parametrize("keys", [{"threads": 0}, {"artifact": "x"}, {"threads": "many"}])
def test_wrong_keys_are_refused(keys):
    with pytest.raises(ValidationError):
        MiniLM(**keys)


def test_serving_needs_no_training_library_and_no_network():
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from weighbridge.classifiers.minilm import MiniLM\n"
        "print(MiniLM().assess(['hi'])[0].score)\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'transformers', 'sentence_transformers', 'onnx'}\n"
        "print(sorted(sys.modules.keys() & heavy))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    score, heavy = run.stdout.splitlines()
    assert 0 < float(score) < 0.3
    assert heavy == "[]"
