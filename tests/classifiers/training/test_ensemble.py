"""Fitting a head to labels: from ten rows to some hundreds, on embeddings of the test's own."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from weighbridge.classifiers import head as heads  # after the skip
from weighbridge.classifiers.evaluation import metrics
from weighbridge.classifiers.training import ensemble, models
from weighbridge.classifiers.training.embed import inputs_of

ASKS = ("say hello to {}", "prove the theorem of {}")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(models, "TREES", 20)


def rows(count: int, seed: int = 0):
    """Two kinds of ask: the small model says hello well and proves badly, the large one does both."""
    rng = np.random.default_rng(seed)
    hard = rng.random(count) < 0.5
    embedding = rng.normal(size=(count, 16))
    embedding[:, 0] += 3 * hard
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    texts = [ASKS[int(h)].format(f"person {i}") for i, h in enumerate(hard)]
    small = np.where(rng.random(count) < 0.9, ~hard, hard).astype(float)
    large = (rng.random(count) < 0.95).astype(float)
    return embedding.astype(np.float32), texts, small, large


def test_what_can_be_learnt_is_learnt_and_honestly_told():
    fitted = ensemble.fit_with_unseen(*rows(400))
    embedding, texts, small, large = rows(400, seed=1)
    inputs = inputs_of(embedding, texts)
    falls_short = np.clip(large - small, 0, 1)
    assert metrics.auroc(heads.scores(fitted.head, inputs), falls_short) > 0.8
    assert metrics.ece(heads.scores(fitted.head, inputs), falls_short) < 0.1
    assert metrics.auroc(fitted.unseen, np.clip(rows(400)[3] - rows(400)[2], 0, 1)) > 0.8


def test_the_same_rows_give_the_same_head_to_the_byte():
    assert heads.write(ensemble.fit_head(*rows(60))) == heads.write(ensemble.fit_head(*rows(60)))


def test_what_is_fitted_is_what_is_written():
    head = ensemble.fit_head(*rows(60))
    read = heads.read(heads.write(head), 16, 0)
    embedding, texts, _, _ = rows(30, seed=2)
    inputs = inputs_of(embedding, texts)
    assert np.allclose(heads.scores(head, inputs), heads.scores(read, inputs), atol=1e-6)


@pytest.mark.parametrize("count", [10, 11, 25])
def test_a_handful_of_rows_is_enough(count):
    embedding, texts, small, large = rows(count)
    head = ensemble.fit_head(embedding, texts, small, large)
    assert np.isfinite(heads.scores(head, inputs_of(embedding, texts))).all()


def test_rows_that_are_all_alike_give_a_constant():
    embedding, texts, _small, _ = rows(40)
    fitted = ensemble.fit_with_unseen(embedding, texts, np.ones(40), np.ones(40))
    assert fitted.unseen.max() < 0.1
    assert np.ptp(fitted.unseen) < 0.05


def test_few_rows_lean_on_the_base():
    base = ensemble.fit_head(*rows(300))
    embedding, texts, small, large = rows(400, seed=3)
    inputs = inputs_of(embedding[12:], texts[12:])

    def alike(head: heads.Head) -> float:
        return float(np.corrcoef(heads.raw(head, inputs), heads.evidence(base, inputs))[0, 1])

    few = embedding[:12], texts[:12], small[:12], large[:12]
    assert alike(ensemble.fit_head(*few, base=base)) > alike(ensemble.fit_head(*few))


def test_a_base_of_a_base_is_built_on_once():
    base = ensemble.fit_head(*rows(60))
    second = ensemble.fit_head(*rows(60, seed=1), base=base)
    third = ensemble.fit_head(*rows(60, seed=2), base=second)
    assert third.base is not None
    assert third.base.base is None


def test_a_hundred_labels_bring_the_calibration_to_other_traffic():
    head = ensemble.fit_head(*rows(300))
    embedding, texts, small, large = rows(600, seed=5)
    small = np.where(np.arange(600) % 3 == 0, large, small)  # a better small model
    inputs = inputs_of(embedding, texts)
    first = np.arange(600) < 100
    again = ensemble.recalibrated(head, inputs[first], small[first], large[first])
    falls_short = np.clip(large - small, 0, 1)[~first]
    before, after = (metrics.ece(heads.scores(h, inputs[~first]), falls_short) for h in (head, again))
    assert after < before


def test_a_ranking_that_is_worse_than_chance_is_given_up_not_turned_round():
    slope, intercept = ensemble.logistic(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4))
    assert slope == 0
    assert intercept == pytest.approx(0)


def test_text_of_another_kind_is_told():
    embedding, texts, small, large = rows(400)
    embedding[:, 8:] *= 0.2
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    head = ensemble.fit_head(embedding, texts, small, large)
    strange = np.zeros((1, 16), np.float32)
    strange[0, 15] = -1.0
    assert heads.abstains(head, inputs_of(strange, ["say hello to person 3"])).all()
    assert heads.abstains(head, inputs_of(embedding[:1], ["qwfp zxcv arst"])).all()
    assert heads.abstains(head, inputs_of(embedding, texts)).mean() < 0.05


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda e, t, s, g: (e[:9], t[:9], s[:9], g[:9]), "too few"),
        (lambda e, t, s, g: (e, t[1:], s, g), "equally many"),
        (lambda e, t, s, g: (e, t, s * np.nan, g), "between 0 and 1"),
        (lambda e, t, s, g: (e, t, s, g + 1), "large model must lie"),
    ],
)
def test_rows_that_cannot_be_fitted_are_refused_in_words(change, problem):
    with pytest.raises(ValueError, match=problem):
        ensemble.fit_head(*change(*rows(20)))


def test_questions_that_differ_in_their_options_or_spelling_are_the_same():
    one = "Which is a fruit?\nA. apple\nB. brick"
    assert ensemble.stem_of(one) == ensemble.stem_of("which is a FRUIT\n(A) brick\nB) pear")
    folds = ensemble.folds_of([ensemble.stem_of(one)] * 3 + ["b", "c", "d", "e"])
    assert len(set(folds[:3].tolist())) == 1
