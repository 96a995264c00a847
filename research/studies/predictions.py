"""Confusions, scores by class and calibration, computed from the recorded test logits in NumPy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from research.records import Run
from research.records.class_scores import count_confusions
from research.studies.results import Arm, StudyResults


@dataclass(frozen=True)
class Predictions:
    """Class probabilities and labels of a test split, concatenated over the seeds of an arm.

    Args:
        arm: name of the arm.
        num_seeds: number of runs.
        probabilities: [N, K], each row sums to 1.
        labels: [N], in 0 .. K - 1.
        class_names: name of each class, [K].
    """

    arm: str
    num_seeds: int
    probabilities: np.ndarray
    labels: np.ndarray
    class_names: Sequence[str]

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class, [N]."""
        return self.probabilities.argmax(1)

    @property
    def confidence(self) -> np.ndarray:
        """The probability of the predicted class, [N]."""
        return self.probabilities.max(1)

    @property
    def correct(self) -> np.ndarray:
        """Whether the prediction is the label, [N]."""
        return self.predicted == self.labels


class Calibration(NamedTuple):
    """Bins of equal width over the confidence: bounds [B + 1]; counts, mean confidence, accuracy [B]."""

    bounds: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: sum over the bins of count / N * |accuracy - confidence|, in [0, 1].

        It is NaN if there are no predictions.
        """
        filled = self.counts > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        with np.errstate(invalid="ignore"):
            return float(np.sum(self.counts[filled] * gaps) / self.counts.sum())


MOST_POOLED = 100
"""Number of runs of an arm whose predictions are read; more of them change no figure that can be seen."""


def pooled_runs(arm: Arm) -> list[Run]:
    """Return the completed runs of an arm whose predictions are pooled: the first `MOST_POOLED` of them."""
    return list(arm.completed.values())[:MOST_POOLED]


def shown_arm(study: StudyResults) -> Arm | None:
    """Return the arm for figures of one arm: the reference, or else the first arm with a completed run."""
    arms = [arm for arm in study.arms if arm.completed]
    return next((arm for arm in arms if arm.name == study.reference), arms[0] if arms else None)


def pool_predictions(arm: Arm) -> Predictions | None:
    """Return the predictions of `pooled_runs` of an arm; ``None`` if they recorded no logits."""
    recorded = recorded_outputs(pooled_runs(arm))
    if not recorded:
        return None
    logits = np.concatenate([logits for logits, _ in recorded]).astype(np.float64)
    labels = np.concatenate([labels for _, labels in recorded])
    names = class_names(next(iter(arm.completed.values())), logits.shape[1])
    return Predictions(arm.name, len(recorded), softmax(logits, axis=1), labels, names)


def recorded_outputs(runs: Iterable[Run]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the logits [N, K] and the labels [N] of the test split, for each run that recorded them."""
    every = (run.arrays(("test_logits", "test_labels")) for run in runs)
    return [(arrays["test_logits"], arrays["test_labels"]) for arrays in every if "test_logits" in arrays]


def class_names(run: Run, num_classes: int) -> list[str]:
    """Return the name of each class; a run that recorded no names has the numbers of the classes."""
    return [str(name) for name in run.outcome.provenance.get("class_names") or range(num_classes)]


def confusion_counts(predictions: Predictions) -> np.ndarray:
    """Return the confusion counts [K, K]: how often class i (row) was predicted as class j (column)."""
    return count_confusions(predictions.labels, predictions.predicted, predictions.probabilities.shape[1])


def calibration(predictions: Predictions, num_bins: int = 15) -> Calibration:
    """Return accuracy and confidence in ``num_bins`` bins of equal width; NaN in an empty bin.

    Source:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML (2017), section 2.
    """
    bounds = np.linspace(0, 1, num_bins + 1)
    bins = np.clip(np.digitize(predictions.confidence, bounds, right=True) - 1, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bins, predictions.confidence, num_bins) / counts
        accuracy = np.bincount(bins, predictions.correct, num_bins) / counts
    return Calibration(bounds, counts, confidence, accuracy)
