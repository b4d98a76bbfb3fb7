"""Labels from a file and from the ledger."""

import json
from pathlib import Path

import pytest
from bookkeeping import Written, entry, remote

from weighbridge.learning.files import BadFile
from weighbridge.learning.labels import from_file
from weighbridge.learning.observed import from_ledger


def written(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_prompts_and_messages_are_read_as_the_gateway_would_score_them(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "You are a bank."},
        {"role": "user", "content": "<system-reminder>no</system-reminder>How much is owed?"},
    ]
    scored = {"small_score": 0.5, "large_score": 1, "domain": "bank", "source": "me"}
    path = written(tmp_path / "a.jsonl", {"prompt": "Hello", **scored}, {"messages": messages, **scored})
    found = from_file(path).labels
    assert list(found.prompt) == ["Hello", "How much is owed?"]
    assert found.small.tolist() == [0.5, 0.5]
    assert found.domain.tolist() == ["bank", "bank"]
    assert found.source.tolist() == ["me", "me"]
    assert found.small_cost is None


def test_costs_are_read_where_every_row_has_them(tmp_path: Path) -> None:
    row = {"prompt": "a", "small_score": 0, "large_score": 1, "small_cost_usd": "0.001", "large_cost_usd": 0.02}
    found = from_file(written(tmp_path / "a.jsonl", row, {**row, "prompt": "b"})).labels
    assert found.large_cost is not None
    assert found.large_cost.tolist() == [0.02, 0.02]
    some = from_file(written(tmp_path / "b.jsonl", row, {**row, "large_cost_usd": None})).labels
    assert some.large_cost is None
    with pytest.raises(BadFile, match="row 1: small_cost_usd is 'cheap'"):
        from_file(written(tmp_path / "c.jsonl", {**row, "small_cost_usd": "cheap"}))


def test_answers_are_scored_against_their_reference_where_no_score_is_given(tmp_path: Path) -> None:
    row = {"prompt": "6 x 7?", "reference": 42, "small_answer": "41", "large_answer": "It is 42."}
    found = from_file(written(tmp_path / "a.jsonl", row)).labels
    assert (found.small[0], found.large[0], found.source[0]) == (0, 1, "exact match")


def test_repeated_questions_are_told_and_share_a_stem(tmp_path: Path) -> None:
    rows = [{"prompt": p, "small_score": 0, "large_score": 1} for p in ("What is  2+2?", "what is 2+2", "Other")]
    found = from_file(written(tmp_path / "a.jsonl", *rows))
    assert found.labels.stem[0] == found.labels.stem[1] != found.labels.stem[2]
    assert "1 rows repeat a question" in found.notes[0]


def test_rows_that_could_not_be_labelled_are_left_out(tmp_path: Path) -> None:
    failed = {"prompt": "b", "small_score": None, "large_score": None, "failed": "upstream_timeout"}
    found = from_file(written(tmp_path / "a.jsonl", failed, {"prompt": "a", "small_score": 0, "large_score": 1}))
    assert list(found.labels.prompt) == ["a"]
    assert "1 rows that could not be labelled" in found.notes[0]
    with pytest.raises(BadFile, match="holds no label"):
        from_file(written(tmp_path / "b.jsonl", failed))


def test_every_wrong_row_is_counted(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "small_score": 2, "large_score": 1}] * 8
    with pytest.raises(BadFile, match="and 3 more"):
        from_file(written(tmp_path / "a.jsonl", *rows))
    with pytest.raises(BadFile, match="row 1: prompt holds no text"):
        from_file(written(tmp_path / "b.jsonl", {"prompt": " ", "small_score": 1, "large_score": 1}))
    with pytest.raises(BadFile, match="row 1: messages is not a JSON list"):
        from_file(written(tmp_path / "c.jsonl", {"messages": "[x", "small_score": 1, "large_score": 1}))


def body(text: str) -> str:
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}]})


PAIRS = {"auto": ("local", "remote")}


def test_feedback_on_the_small_model_is_a_label() -> None:
    ledger = Written(
        given=(
            entry(request_id="1", feedback=0.2, prompt=body("hard")),
            entry(request_id="2", feedback=None, prompt=body("unrated")),
            remote(request_id="3", feedback=0.9, prompt=body("large")),
            remote(request_id="4", feedback=0.7, prompt=None),
            entry(request_id="5", feedback=0.1, prompt=body("a third model"), upstream="third"),
        )
    )
    found = from_ledger(ledger, PAIRS)
    assert list(found.labels.prompt) == ["hard"]
    assert found.labels.small.tolist() == [0.2]
    assert found.labels.large.tolist() == pytest.approx([0.8])
    assert found.labels.source.tolist() == ["feedback"]
    assert "taken to be worth 0.80, the mean of the 2" in found.notes[0]


def test_what_the_ledger_lacks_is_told() -> None:
    with pytest.raises(BadFile, match="no feedback: POST /v1/feedback"):
        from_ledger(Written(given=(entry(prompt=body("x")),)), PAIRS)
    with pytest.raises(BadFile, match=r"1 answers have feedback, but .* set `store_prompts = true`"):
        from_ledger(Written(given=(entry(feedback=1.0),)), PAIRS)
    with pytest.raises(BadFile, match="of the large model only"):
        from_ledger(Written(given=(remote(feedback=1.0, prompt=body("x")),)), PAIRS)
