import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from research.records.class_scores import balanced_accuracy, count_confusions, macro_f1


@pytest.mark.parametrize("num_classes", [4, 6])  # of six classes, two never occur
def test_the_scores_are_those_of_scikit_learn(num_classes):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), (400, 50, 9, 1))
    predicted = np.where(rng.random(460) < 0.7, labels, rng.integers(0, 4, 460))
    counts = count_confusions(labels, predicted, num_classes)
    np.testing.assert_array_equal(counts[:4, :4], confusion_matrix(labels, predicted))
    assert balanced_accuracy(counts) == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert macro_f1(counts) == pytest.approx(f1_score(labels, predicted, average="macro"))
