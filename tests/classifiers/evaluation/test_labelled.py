"""Labels: what they must hold, and how they are parted."""

from dataclasses import replace

import numpy as np
import pytest

from weighbridge.classifiers.evaluation.labelled import Labels, TooLittle, parted, stem_of


def labels(rows: int, gap: float | None = None, repeats: int = 1) -> Labels:
    rng = np.random.default_rng(0)
    prompts = [f"What about number {i // repeats}?" for i in range(rows)]
    large = np.ones(rows)
    small = rng.integers(0, 2, rows).astype(float) if gap is None else large - gap
    none = np.array([""] * rows)
    return Labels(prompts, small, large, np.array([stem_of(p) for p in prompts]), none, none)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 2 + 2?", "what is 2+2"),
        ("Which?\nA) one\nB) two", "Which?\nA. uno\nB. dos"),
        ("Na\u00efve", "NAI\u0308VE"),
    ],
)
def test_the_same_question_has_the_same_stem(one: str, other: str) -> None:
    assert stem_of(one) == stem_of(other)


def test_other_questions_have_other_stems() -> None:
    assert stem_of("Capital of France?") != stem_of("Capital of Norway?")
    assert stem_of("???") == "???"
    assert stem_of("A) alone") != stem_of("A) other")


def test_a_question_is_on_one_side_only() -> None:
    rows = labels(300, repeats=3)
    out = parted(rows, 0.25)
    assert set(rows[out].stem) & set(rows[~out].stem) == set()
    assert out.sum() == 75
    assert (out == parted(rows, 0.25)).all()
    assert not parted(rows, 0).any()
    assert rows.one_per_stem.sum() == 100


def test_too_few_and_too_alike_is_refused() -> None:
    with pytest.raises(TooLittle, match=r"10 rows are too few: 50 different prompts"):
        labels(10).check()
    with pytest.raises(TooLittle, match="200 rows with 20 different prompts"):
        labels(200, repeats=10).check()
    with pytest.raises(TooLittle, match="as good as the small one's"):
        labels(100, gap=0).check()
    with pytest.raises(TooLittle, match="better than the small one's by the same score \\(1\\)"):
        labels(100, gap=1).check()
    labels(100).check()


@pytest.mark.parametrize(("gaps", "which"), [((0.0, -1.0), "no"), ((1.0, 0.5), "every")])
def test_labels_of_one_class_are_refused_though_their_scores_differ(gaps: tuple[float, float], which: str) -> None:
    rows = labels(100)
    small = np.where(np.arange(100) % 2, *gaps)
    some = replace(rows, small=0.5 - small / 2, large=0.5 + small / 2)
    with pytest.raises(TooLittle, match=f"falls short in {which} row"):
        some.check()


def test_rows_are_taken_with_all_their_columns() -> None:
    rows = labels(60)
    some = rows[np.arange(60) < 10]
    assert len(some) == 10
    assert list(some.prompt) == list(rows.prompt[:10])
    assert some.small_cost is None
    assert (some.falls_short == (some.small < 0.5)).all()
