"""Judged drafts: read from files as they are found, and weights fitted to them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge.learning.drafts import Drafts, as_fields, evidence_from, fitted, from_file
from weighbridge.learning.files import BadFile
from weighbridge.policies.evidence import Evidence, Weights, p_accept


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_evidence_is_read_as_it_was_written(tmp_path: Path) -> None:
    seen = Evidence(score=0.4, mean_logprob=-0.2, low_logprob=-1.5, is_refusal=True, repetition=0.1, faults=("empty",))
    row = {"prompt": "Why?", "evidence": as_fields(seen), "small_score": 0.5, "large_score": 0.75}
    found = from_file(written(tmp_path / "d.jsonl", row))
    assert found.evidence == [seen]
    assert found.good_enough.tolist() == [0.75]
    assert found.unscored == []


def test_an_answer_alone_is_evidence_too(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "small_answer": "I'm sorry, but I can't help with that.", "score": 0}
    found = from_file(written(tmp_path / "d.jsonl", row))
    assert found.evidence == [Evidence(is_refusal=True)]
    assert (found.large.tolist(), found.unscored) == ([1.0], [0])
    assert found.scored({0: 0.3}).evidence[0].score == 0.3


def test_rows_that_failed_are_left_out(tmp_path: Path) -> None:
    good = {"evidence": {}, "score": 1}
    assert len(from_file(written(tmp_path / "d.jsonl", {"failed": "judge"}, good))) == 1
    with pytest.raises(BadFile, match="holds no draft"):
        from_file(written(tmp_path / "d.jsonl", {"failed": "judge"}))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"score": 1}, "neither `evidence`"),
        ({"evidence": {"colour": 1}, "score": 1}, "'colour' is not one of score, mean_logprob"),
        ({"evidence": {"mean_logprob": 0.5}, "score": 1}, "at most 0"),
        ({"evidence": {"score": 2}, "score": 1}, "from 0 to 1"),
        ({"evidence": {"is_refusal": "no"}, "score": 1}, "must be true or false"),
        ({"evidence": {"faults": "empty"}, "score": 1}, "must be a list of words"),
        ({"evidence": {}}, "score is missing"),
        ({"evidence": {}, "score": 3}, "outside 0..1"),
    ],
)
def test_what_is_wrong_is_told_with_its_row(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(BadFile, match=f"row 1.*{said}"):
        from_file(written(tmp_path / "d.jsonl", row))


def test_null_is_unknown() -> None:
    assert evidence_from({"score": None, "mean_logprob": None}, "here") == Evidence()


def simulated(rows: int, truth: Weights) -> Drafts:
    """Drafts that are as good as these weights say."""
    rng = np.random.default_rng(7)
    mean = -rng.gamma(2, 0.25, rows)
    evidence = [
        Evidence(score=float(s), mean_logprob=float(m), low_logprob=float(3 * m), is_refusal=bool(r))
        for s, m, r in zip(rng.random(rows), mean, rng.random(rows) < 0.1, strict=True)
    ]
    small = np.array([float(rng.random() < p_accept(e, truth)) for e in evidence])
    return Drafts([""] * rows, evidence, small, np.ones(rows), np.array([f"row {i}" for i in range(rows)]))


def test_the_weights_come_near_the_truth() -> None:
    truth = Weights(bias=3.5, score=-1.5, mean_logprob=2.5, low_logprob=0.0, refusal=-2.0)
    drafts = simulated(3000, truth)
    found = fitted(drafts, Weights())
    gap = np.abs(drafts.p(found) - drafts.p(truth))
    assert gap.mean() < 0.03
    assert np.abs(drafts.p(Weights()) - drafts.p(truth)).mean() > 2 * gap.mean()


def test_what_no_draft_shows_keeps_its_weight() -> None:
    start = Weights(looping=-5.5)
    found = fitted(simulated(200, Weights()), start)
    assert (found.looping, found.other_language, found.no_logprobs) == (-5.5, -3.0, -1.1)


def test_no_bad_sign_comes_to_speak_for_a_draft() -> None:
    evidence = [Evidence(is_refusal=i % 2 == 0) for i in range(200)]
    good = np.array([float(e.is_refusal) for e in evidence])
    drafts = Drafts([""] * 200, evidence, good, np.ones(200), np.array([str(i) for i in range(200)]))
    assert fitted(drafts, Weights()).refusal == 0


def test_drafts_with_faults_teach_nothing() -> None:
    drafts = simulated(300, Weights())
    broken = [Evidence(score=0.01, faults=("empty",))] * 300
    more = Drafts(
        [""] * 600,
        [*drafts.evidence, *broken],
        np.concatenate([drafts.small, np.zeros(300)]),
        np.ones(600),
        np.array([str(i) for i in range(600)]),
    )
    assert fitted(more, Weights()) == fitted(drafts, Weights())


def test_rows_of_one_question_stay_on_one_side() -> None:
    drafts = simulated(100, Weights())
    twice = Drafts(
        drafts.prompt, drafts.evidence, drafts.small, drafts.large, np.array([str(i // 2) for i in range(100)])
    )
    one, other = twice.halves()
    assert len(one) + len(other) == 100
    assert not set(one.stem.tolist()) & set(other.stem.tolist())


def test_what_streams_show_is_read_beside_the_whole(tmp_path: Path) -> None:
    long = {"evidence": {"is_truncated": True}, "beginning": {"is_beginning": True}, "score": 0}
    found = from_file(written(tmp_path / "d.jsonl", {**long, "prompt": "Why?"}, {"evidence": {}, "score": 1}))
    assert found.has_beginnings
    assert [e.is_beginning for e in found.streamed.evidence] == [True, False]
    assert [e.is_beginning for e in found.both.evidence] == [False, False, True]
    assert found.both.small.tolist() == [0, 1, 0]
    assert [e.score for e in found.scored({0: 0.4}).streamed.evidence] == [0.4, None]
    with pytest.raises(BadFile, match="`beginning` must be an object"):
        from_file(written(tmp_path / "d.jsonl", {**long, "beginning": 1}))
    with pytest.raises(BadFile, match="row 1: beginning: evidence: 'x' is not one of"):
        from_file(written(tmp_path / "d.jsonl", {**long, "beginning": {"x": 1}}))


def test_without_beginnings_streams_show_what_the_whole_shows(tmp_path: Path) -> None:
    found = from_file(written(tmp_path / "d.jsonl", {"evidence": {}, "score": 1}))
    assert not found.has_beginnings
    assert found.both is found
    assert found.streamed.evidence == found.evidence


def test_the_weights_learn_what_a_beginning_is_worth() -> None:
    """Bad answers look like good ones until they go wrong, later than a stream is held back."""
    rng = np.random.default_rng(4)
    good = rng.random(600) < 0.6
    whole = [Evidence(score=0.3, is_truncated=bool(not g and rng.random() < 0.8)) for g in good]
    begun = [Evidence(score=0.3, is_beginning=True)] * 600
    stems = np.array([f"ask {i}" for i in range(600)])
    seen = Drafts([""] * 600, whole, good.astype(float), np.ones(600), stems, begun)
    blind, told = fitted(seen.streamed[np.zeros(600, bool)], Weights()), fitted(seen.both, Weights())
    of_whole = fitted(Drafts([""] * 600, whole, good.astype(float), np.ones(600), stems), Weights())
    assert blind == Weights()
    assert p_accept(begun[0], of_whole) > 0.7  # nothing is wrong with what is seen of it
    assert p_accept(begun[0], told) == pytest.approx(0.6, abs=0.05)
