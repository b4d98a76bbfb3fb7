"""What every classifier on the shelf holds to. A new file there is tested here as it stands."""

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from weighbridge import plugins
from weighbridge.classifiers.base import Assessment, Classifier

SHELF = "weighbridge.classifiers"
CLASSIFIERS = [plugins.build(SHELF, name, {}, Classifier) for name in plugins.implementations(SHELF, Classifier)]

every_classifier = pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda c: type(c).__name__)
modestly = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_the_shelf_has_its_classifiers():
    assert {"constant", "length", "minilm"} <= set(plugins.implementations(SHELF, Classifier))


@every_classifier
@modestly
@given(texts=st.lists(st.text(st.characters()), max_size=4))
def test_every_text_gets_a_sound_assessment(classifier, texts):
    found = classifier.assess(texts)
    assert len(found) == len(texts)
    for assessment in found:
        assert isinstance(assessment, Assessment)
        assert 0 <= assessment.score <= 1
        assert 0 <= assessment.task_probability <= 1
        assert assessment.task is None or assessment.task


@every_classifier
@modestly
@given(texts=st.lists(st.text(max_size=80), min_size=2, max_size=4))
def test_a_batch_gives_what_its_texts_give_one_by_one(classifier, texts):
    assert classifier.assess(texts) == [classifier.assess([text])[0] for text in texts]


@every_classifier
def test_megabytes_are_assessed(classifier):
    assert 0 <= classifier.assess(["word " * 500_000])[0].score <= 1


@every_classifier
def test_the_operating_points_are_in_order(classifier):
    points = classifier.thresholds
    assert 1 >= points["cost"] >= points["balanced"] >= points["quality"] >= 0


@every_classifier
def test_the_version_fits_a_header(classifier):
    assert classifier.version.isascii()
    assert classifier.version.isprintable()
    assert " " not in classifier.version


@every_classifier
def test_threads_may_share_one(classifier):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(classifier.assess(["hello", "Prove it."]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [classifier.assess(["hello", "Prove it."])] * 4


@every_classifier
def test_a_misspelt_key_is_refused(classifier):
    with pytest.raises(ValidationError):
        type(classifier)(treshold=0.5)
