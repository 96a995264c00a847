"""Figures of what the networks of one arm predict on the test split."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import NullFormatter
from scipy.special import softmax

from research.studies.figures.network import shown_run
from research.studies.figures.style import COLOURS, as_picture, canvas, label, panel_width
from research.studies.predictions import (
    Predictions,
    calibration,
    class_names,
    confusion_counts,
    pool_predictions,
    shown_arm,
)
from research.studies.results import StudyResults


def confusion_matrix(study: StudyResults) -> Figure | None:
    """Share of each class that was predicted as each class, over all seeds of the arm."""
    predictions = predictions_shown(study)
    if predictions is None:
        return None
    with canvas(1, 1, (5.6, 5.0)) as (figure, axes):
        image = draw_confusion(axes[0, 0], predictions)
        figure.colorbar(image, ax=axes[0, 0], label="share of the class (%)", shrink=0.85)
        axes[0, 0].set_title(_name(predictions))
        return figure


def reliability(study: StudyResults) -> Figure | None:
    """Accuracy and counts by confidence: a calibrated network lies on the diagonal."""
    predictions = predictions_shown(study)
    if predictions is None:
        return None
    with canvas(1, 2, (8.0, 3.8)) as (figure, axes):
        diagram, histogram = axes[0]
        draw_reliability(diagram, predictions)
        draw_confidences(histogram, predictions)
        histogram.set_title(_name(predictions))
        return figure


def confident_mistakes(study: StudyResults) -> Figure | None:
    """The wrong predictions of one run with the highest confidence: predicted class, confidence and label."""
    name, arrays = shown_run(study)
    arm = shown_arm(study)
    if arm is None or not len(arrays.get("mistakes", ())):
        return None
    indices = arrays["mistakes"]
    logits, labels = arrays["test_logits"][indices], arrays["test_labels"][indices]
    names = class_names(next(iter(arm.completed.values())), logits.shape[1])
    confidence = softmax(logits.astype(np.float64), axis=1).max(1)
    columns = min(6, len(indices))
    rows = math.ceil(len(indices) / columns)
    with canvas(rows, columns, (1.35 * columns + 0.4, 1.7 * rows + 0.4)) as (figure, axes):
        for panel in axes.flat:
            panel.axis("off")
        shown = zip(arrays["mistake_images"], logits.argmax(1), confidence, labels, strict=True)
        for panel, (image, predicted, sure, truth) in zip(axes.flat, shown, strict=False):
            panel.imshow(as_picture(image), cmap="gray", interpolation="nearest")
            panel.set_title(
                f"{label(names[predicted])} ({100 * sure:.1f} %)\nis {label(names[truth])}",
                fontsize=8,
                loc="center",
            )
        figure.suptitle(name, x=0.01, ha="left", fontsize=10)
        return figure


def draw_confusion(axes: Axes, predictions: Predictions) -> AxesImage:
    """Draw in percent which share of each class (row) was predicted as which class (column)."""
    counts = confusion_counts(predictions)
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.grid(False)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    if len(counts) <= 12:
        names = [label(name) for name in predictions.class_names]
        upright = max(map(len, names)) > 2
        axes.set_xticks(range(len(counts)), names, rotation=90 if upright else 0)
        axes.set_yticks(range(len(counts)), names)
        size = 7 if panel_width(axes) > 4 else 4.5
        for (row, column), value in np.ndenumerate(share):
            colour = "white" if value > 55 else "#333333"
            if value:
                text = f"{value:.1f}" if value < 99.95 else "100"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return image


def draw_reliability(axes: Axes, predictions: Predictions) -> None:
    """Draw accuracy in bins of the confidence, and write the expected calibration error above."""
    bins = calibration(predictions)
    centres, width = (bins.bounds[1:] + bins.bounds[:-1]) / 2, np.diff(bins.bounds)
    filled = bins.counts > 0
    axes.plot([0, 100], [0, 100], color="#888888", linestyle="--", linewidth=1, label="calibrated")
    axes.bar(
        100 * centres[filled],
        100 * bins.accuracy[filled],
        100 * width[filled],
        color=COLOURS[0],
        alpha=0.35,
        edgecolor="white",
    )
    axes.plot(
        100 * bins.confidence[filled], 100 * bins.accuracy[filled], "o-", color=COLOURS[0], label="measured"
    )
    axes.set(xlim=(0, 100), ylim=(0, 118), xlabel="confidence (%)", ylabel="accuracy (%)")
    axes.set_yticks(range(0, 101, 20))
    axes.set_title(f"expected calibration error {100 * bins.error:.2f} %")
    axes.legend(loc="upper left", ncols=2)


def draw_confidences(axes: Axes, predictions: Predictions) -> None:
    """Draw how many right and how many wrong predictions were made with which confidence."""
    bounds: Any = 100 * calibration(predictions).bounds  # matplotlib's type for bins has no arrays
    for right, name, colour in ((True, "right", COLOURS[0]), (False, "wrong", COLOURS[1])):
        chosen = 100 * predictions.confidence[predictions.correct == right]
        axes.hist(chosen, bounds, color=colour, alpha=0.55, label=f"{name}: {chosen.size:,}")
    axes.set(xlim=(0, 100), yscale="log", xlabel="confidence (%)", ylabel="predictions")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = 0.7, max(axes.get_ylim()[1], 1.0)
    axes.set_ylim(low, high * (high / low) ** 0.3)  # room for the legend
    axes.legend(loc="upper left", ncols=2)


def predictions_shown(study: StudyResults) -> Predictions | None:
    """Return the predictions of `shown_arm`; ``None`` if it recorded none."""
    arm = shown_arm(study)
    return None if arm is None else pool_predictions(arm)


def _name(predictions: Predictions) -> str:
    return f"{label(predictions.arm)}, {predictions.num_seeds} seed{'s' * (predictions.num_seeds != 1)}"
