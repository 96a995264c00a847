"""Scores by class, and the means over classes that do not depend on how many examples a class has."""

import numpy as np


def count_confusions(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the confusion counts `[K, K]`: how often class i (row) was predicted as class j (column).

    Args:
        labels: the labels `[N]`, integers in [0, K).
        predicted: the predicted classes `[N]`.
        num_classes: the number of classes K.
    """
    pairs = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the precision, the recall and the F1 score of each class, each `[K]`, from confusion counts.

    precision = right / predicted, recall = right / labelled, F1 = 2 right / (predicted + labelled). A score
    of 0 / 0 is NaN.
    """
    right, predicted, labelled = np.diag(counts), counts.sum(0), counts.sum(1)
    with np.errstate(invalid="ignore"):
        return right / predicted, right / labelled, 2 * right / (predicted + labelled)


def balanced_accuracy(counts: np.ndarray) -> float:
    """Return the mean recall over the classes that have examples, from confusion counts.

    Example:
        >>> balanced_accuracy(np.array([[90, 0], [10, 0]]))
        0.5

    Source: Brodersen, Ong, Stephan and Buhmann (2010), The balanced accuracy and its posterior distribution.
    """
    return float(np.nanmean(class_scores(counts)[1]))


def balanced_scores(counts: np.ndarray) -> dict[str, float]:
    """Return the scores in which all classes count equally, by their names in `result.json`."""
    return {"test_balanced_accuracy": balanced_accuracy(counts), "test_macro_f1": macro_f1(counts)}


def macro_f1(counts: np.ndarray) -> float:
    """Return the mean F1 score over the classes that occur as a label or a prediction, from confusion counts.

    Example:
        >>> round(macro_f1(np.array([[90, 0], [10, 0]])), 3)
        0.474
    """
    return float(np.nanmean(class_scores(counts)[2]))
