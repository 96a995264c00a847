"""What the curves of an arm say about its training, in words: too little or too much was learned, and why.

`docs/guides/diagnosis.md` describes each rule. A rule reads the mean over the completed seeds.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from research.records import Run
from research.records.layer_statistics import STATISTICS_FILE, find_warnings
from research.studies.predictions import MOST_POOLED, recorded_outputs
from research.studies.report.text_table import Table
from research.studies.results import Arm, StudyResults

GAP = 0.10
"""The difference of training and validation accuracy from which an arm overfits."""
CLOSE = 0.05
"""The largest difference of training and validation accuracy at which an arm may underfit."""
LOW_ACCURACY = 0.90
"""The training accuracy below which an arm may underfit, or have a rate that is too low."""
RISE = 1.1
"""The factor above its lowest value at which the last validation loss counts as risen."""
JUMP = 1.05
"""The factor above the epoch before at which a training loss counts as a jump."""
CHANCE = 1.5
"""The factor above the share of the most frequent class up to which an accuracy counts as chance."""
STEADY = 0.5
"""The least steadiness of a training loss that falls steadily; see `steadiness`."""
RARE = 3
"""The factor by which a rare class has fewer images than the most frequent one."""

Curve = dict[str, np.ndarray]
"""The mean over the seeds of each metric of `metrics.jsonl`, by name, as an array over the epochs."""


class Diagnosis(NamedTuple):
    """What is wrong with the training of an arm.

    Args:
        arm: the name of the arm.
        kind: a name such as "overfitting".
        numbers: the numbers that show it, in words.
        advice: what to try.
    """

    arm: str
    kind: str
    numbers: str
    advice: str


def diagnose(study: StudyResults) -> list[Diagnosis]:
    """Return what is wrong with the training of each arm; the list is empty if no rule applies."""
    return [each for arm in study.arms for each in diagnose_arm(arm)]


def diagnosis_table(study: StudyResults) -> Table:
    """Return the table of the diagnoses of a study, which may be empty."""
    return Table(("arm", "diagnosis", "numbers", "what to try"), [tuple(each) for each in diagnose(study)])


def diagnose_arm(arm: Arm) -> list[Diagnosis]:
    """Return what is wrong with the training of one arm; a run of `debug.overfit_batch` is left out."""
    runs = [run for run in arm.runs if not (run.config.get("debug") or {}).get("overfit_batch")]
    completed = [run for run in runs if run.status == "completed"]
    curve, predictions = mean_curve(completed), read_predictions(completed[:MOST_POOLED])
    diverged = sum(run.status == "diverged" for run in runs)
    found = {
        **diagnose_curve(curve, None if predictions is None else largest_share(predictions[0])),
        "class imbalance": None if predictions is None else imbalance(*predictions),
    }
    if diverged:
        found["rate too high"] = f"{diverged} of {len(runs)} runs diverged"
    return [
        *(Diagnosis(arm.name, kind, numbers, ADVICE[kind]) for kind, numbers in found.items() if numbers),
        *_layer_diagnoses(arm.name, runs),
    ]


def diagnose_curve(curve: Curve, chance: float | None = None) -> dict[str, str | None]:
    """Return the numbers that show each kind of trouble, or `None` for a kind that a curve does not show.

    Args:
        curve: the metrics by epoch; it may have no epochs.
        chance: the share of the most frequent class, or `None` if it is unknown.
    """
    if len(curve.get("train_loss", ())) < 2:
        return {}
    high = rate_too_high(curve, chance)
    low = None if high else rate_too_low(curve)
    return {
        "rate too high": high,
        "rate too low": low,
        "overfitting": overfitting(curve),
        "underfitting": None if high or low else underfitting(curve),
    }


def rate_too_high(curve: Curve, chance: float | None) -> str | None:
    """Return numbers if the loss jumps up in a quarter of the epochs, or if nothing was learned at once."""
    loss, accuracy = curve["train_loss"], curve["train_accuracy"]
    jumps = int((loss[1:] > JUMP * loss[:-1]).sum())
    if jumps >= max(2, len(loss) / 4):
        return f"the training loss rose by more than 5 % in {jumps} of {len(loss)} epochs"
    steady = steadiness(curve)
    stuck = loss[-1] > loss[0] or (steady is not None and steady < STEADY)
    if chance is not None and accuracy[-1] <= CHANCE * chance and stuck:
        return (
            f"the training accuracy of {_percent(accuracy[-1])} is that of chance, and the training loss "
            f"stays at {loss[-1]:.3g}"
        )
    return None


def rate_too_low(curve: Curve) -> str | None:
    """Return numbers if the training loss falls steadily to the end, and is still high."""
    loss, accuracy = curve["train_loss"], curve["train_accuracy"]
    steady = steadiness(curve)
    if steady is None or steady < STEADY or accuracy[-1] >= LOW_ACCURACY or loss[-1] >= loss[0]:
        return None
    return (
        f"the training loss fell steadily from {loss[0]:.3g} to {loss[-1]:.3g}, in the second half "
        f"{steady:.2f} times as fast as in the first, and the training accuracy is {_percent(accuracy[-1])}"
    )


def overfitting(curve: Curve) -> str | None:
    """Return numbers if training accuracy is far above validation accuracy, or the validation loss rose."""
    accuracy, validation = curve["train_accuracy"][-1], curve["validation_accuracy"][-1]
    loss = curve["validation_loss"]
    best = int(np.argmin(loss)) if np.isfinite(loss).any() else 0
    said = []
    if accuracy - validation >= GAP:
        said.append(
            f"the training accuracy of {_percent(accuracy)} is {100 * (accuracy - validation):.1f} points "
            f"above the validation accuracy of {_percent(validation)}"
        )
    if loss[-1] >= RISE * loss[best]:
        said.append(f"the validation loss rose from {loss[best]:.3g} in epoch {best + 1} to {loss[-1]:.3g}")
    return ", and ".join(said) or None


def underfitting(curve: Curve) -> str | None:
    """Return numbers if training accuracy is low and close to validation accuracy."""
    accuracy, validation = curve["train_accuracy"][-1], curve["validation_accuracy"][-1]
    if accuracy >= LOW_ACCURACY or not accuracy - validation < CLOSE:
        return None
    return (
        f"the training accuracy is only {_percent(accuracy)}, and the validation accuracy of "
        f"{_percent(validation)} is close to it or above it"
    )


def steadiness(curve: Curve) -> float | None:
    """Return the slope of the training loss in the second half of training, divided by that in the first.

    The slope is per learning rate, so that a schedule that decays does not count: an epoch at half the
    learning rate is half as long. A loss that falls steadily has 1, and one that is at its end has 0.

    Returns:
        The quotient; `None` if there are fewer than 3 epochs or the loss did not fall in the first half.
    """
    loss, rate = curve["train_loss"], curve["learning_rate"]
    place = np.cumsum(rate) - rate / 2  # the middle of each epoch is counted in summed learning rates
    if len(loss) < 3 or place[-1] <= place[0]:
        return None
    middle = int(np.argmin(np.abs(place - (place[0] + place[-1]) / 2)))
    middle = min(max(middle, 1), len(loss) - 2)
    first = (loss[0] - loss[middle]) / (place[middle] - place[0])
    second = (loss[middle] - loss[-1]) / (place[-1] - place[middle])
    return float(second / first) if first > 0 else None


def imbalance(labels: np.ndarray, predicted: np.ndarray) -> str | None:
    """Return numbers if classes with few test images are recognised far less often than the largest class.

    Args:
        labels: the classes `[N]` of the test images, of all seeds.
        predicted: the predicted classes `[N]`.
    """
    counts = np.bincount(labels)
    largest = int(counts.argmax())
    rare = [c for c in np.nonzero(counts)[0] if RARE * counts[c] <= counts[largest]]
    if not rare:
        return None
    recall = {c: float((predicted[labels == c] == c).mean()) for c in (*rare, largest)}
    mean = float(np.mean([recall[c] for c in rare]))
    if recall[largest] - mean < GAP:
        return None
    names = ", ".join(map(str, rare[:5])) + (" and others" if len(rare) > 5 else "")
    return (
        f"class {names} has at most a third of the images of class {largest}; {_percent(mean)} of its images "
        f"are recognised, and {_percent(recall[largest])} of those of class {largest}"
    )


ADVICE: Mapping[str, str] = {
    "rate too high": "a smaller optimizer.learning_rate, a schedule with warm-up, or optimizer.clip_norm=1",
    "rate too low": "a larger optimizer.learning_rate, or more training.epochs",
    "overfitting": "augmentation=standard, a regulariser, training.patience, or more images",
    "underfitting": "a larger network, more training.epochs, or less regularisation",
    "class imbalance": "loss.class_weights=balanced or data.sampling=balanced",
    "vanishing": "another activation or initializer, normalisation, or residual blocks",
    "exploding": "a smaller optimizer.learning_rate, another initializer, or optimizer.clip_norm=1",
    "dead units": "a smaller optimizer.learning_rate, or model.activation=leaky_relu",
    "large updates": "a smaller optimizer.learning_rate",
    "small updates": "a larger optimizer.learning_rate",
}
"""What to try, by the kind of a diagnosis."""


def mean_curve(runs: Sequence[Run]) -> Curve:
    """Return the mean over runs of each metric, for the epochs that all of them reached."""
    histories = [run.metrics for run in runs if run.metrics]
    length = min(map(len, histories), default=0)
    keys = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate")

    def values(key: str) -> np.ndarray:
        table = [[line.get(key) for line in history[:length]] for history in histories]
        return np.array(table, dtype=float).mean(axis=0)  # None becomes NaN

    return {key: values(key) for key in keys} if length else {}


def read_predictions(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the labels and the predicted classes of the test images of some runs; `None` without arrays."""
    recorded = recorded_outputs(runs)
    if not recorded:
        return None
    labels = np.concatenate([labels for _, labels in recorded])
    return labels, np.concatenate([logits.argmax(-1) for logits, _ in recorded])


def largest_share(labels: np.ndarray) -> float:
    """Return the share of the most frequent class."""
    return float(np.bincount(labels).max() / len(labels))


def _layer_diagnoses(arm: str, runs: Sequence[Run]) -> list[Diagnosis]:
    """Return what the statistics of the layers show, with the numbers of the first run that shows it."""
    found: dict[str, list[str]] = {}
    measured = [lines for run in runs if (lines := run.lines(STATISTICS_FILE))]
    for lines in measured:
        for warning in find_warnings(lines):
            found.setdefault(warning.kind, []).append(warning.sentence)
    return [
        Diagnosis(arm, kind, f"{sentences[0]} ({len(sentences)} of {len(measured)} runs)", ADVICE[kind])
        for kind, sentences in found.items()
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
