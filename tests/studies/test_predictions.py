import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from research.records.class_scores import class_scores
from research.studies.predictions import (
    Predictions,
    calibration,
    confusion_counts,
    pool_predictions,
    shown_arm,
)
from research.studies.results import read_studies


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    return Predictions("a", 1, rng.dirichlet(np.ones(4), 500), rng.integers(0, 4, 500), "abcd")


def test_the_seeds_of_the_reference_arm_are_pooled(depth_study):
    (study,) = read_studies(depth_study)
    arm = shown_arm(study)
    assert arm is not None
    pooled = pool_predictions(arm)
    assert pooled is not None
    assert (pooled.arm, pooled.num_seeds, pooled.probabilities.shape) == ("depth 2", 8, (2400, 10))
    assert pooled.probabilities.sum(1) == pytest.approx(np.ones(2400))
    logits = arm.completed[0].arrays()["test_logits"]
    assert (pooled.predicted[:300] == logits.argmax(1)).all()


def test_no_logits(tmp_path, write):
    write(tmp_path, None)
    assert pool_predictions(read_studies(tmp_path)[0].arms[0]) is None


def test_confusions_and_scores_agree_with_scikit_learn(predictions):
    counts = confusion_counts(predictions)
    assert (counts == confusion_matrix(predictions.labels, predictions.predicted)).all()
    expected = precision_recall_fscore_support(predictions.labels, predictions.predicted)
    for score, reference in zip(class_scores(counts), expected, strict=False):
        assert score == pytest.approx(reference)


def test_scores_of_a_class_never_seen_are_undefined():
    precision, recall, f1 = class_scores(np.array([[3, 0], [0, 0]]))
    assert (precision[0], recall[0], f1[0]) == (1, 1, 1)
    assert np.isnan([precision[1], recall[1], f1[1]]).all()


def test_calibration_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [1.0, 0.0]])
    bins = calibration(Predictions("a", 1, probabilities, np.array([0, 1, 1, 0]), "ab"), num_bins=2)
    assert bins.counts.tolist() == [0, 4]
    assert np.isnan(bins.accuracy[0])
    assert (bins.confidence[1], bins.accuracy[1]) == (pytest.approx(0.825), 0.75)
    assert bins.error == pytest.approx(0.075)


def test_a_calibrated_predictor_has_a_small_error():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(3, 0.5), 20_000)
    labels = (probabilities.cumsum(1) < rng.random((20_000, 1))).sum(1)
    assert calibration(Predictions("a", 1, probabilities, labels, "ab")).error < 0.01


def test_measures_of_no_predictions_are_nan():
    none = Predictions("a", 1, np.zeros((0, 4)), np.zeros(0, np.int64), "abcd")
    counts = confusion_counts(none)
    assert counts.tolist() == np.zeros((4, 4)).tolist()
    assert np.isnan(class_scores(counts)).all()
    assert np.isnan(calibration(none).accuracy).all()
    assert np.isnan(calibration(none).error)
