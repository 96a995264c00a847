"""Figures of what the networks of one arm predict on the test split."""

import numpy as np
from matplotlib.figure import Figure

from research.studies.figures.style import COLOURS, canvas, label
from research.studies.predictions import (
    Predictions,
    calibration,
    confusion_counts,
    pool_predictions,
    shown_arm,
)
from research.studies.study import Study


def confusion_matrix(study: Study) -> Figure | None:
    """Share of each class that was predicted as each class, over all seeds of the arm."""
    predictions = _of_shown_arm(study)
    if predictions is None:
        return None
    counts = confusion_counts(predictions)
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    few = len(counts) <= 12
    with canvas(1, 1, (5.6, 5.0)) as (figure, axes):
        panel = axes[0, 0]
        panel.grid(False)
        image = panel.imshow(share, cmap="Blues", vmin=0, vmax=100)
        figure.colorbar(image, ax=panel, label="share of the class (%)", shrink=0.85)
        if few:
            panel.set_xticks(range(len(counts)))
            panel.set_yticks(range(len(counts)))
            for (row, column), value in np.ndenumerate(share):
                colour = "white" if value > 55 else "#333333"
                if value:
                    text = f"{value:.1f}" if value < 99.95 else "100"
                    panel.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)
        panel.set_xlabel("predicted class")
        panel.set_ylabel("true class")
        panel.set_title(_name(predictions))
        return figure


def reliability(study: Study) -> Figure | None:
    """Accuracy and counts by confidence: a calibrated network lies on the diagonal."""
    predictions = _of_shown_arm(study)
    if predictions is None:
        return None
    bins = calibration(predictions)
    centres, width = (bins.bounds[1:] + bins.bounds[:-1]) / 2, np.diff(bins.bounds)
    filled = bins.counts > 0
    with canvas(1, 2, (8.0, 3.8)) as (figure, axes):
        diagram, histogram = axes[0]
        diagram.plot([0, 100], [0, 100], color="#888888", linestyle="--", linewidth=1, label="calibrated")
        diagram.bar(
            100 * centres[filled],
            100 * bins.accuracy[filled],
            100 * width[filled],
            color=COLOURS[0],
            alpha=0.35,
            edgecolor="white",
        )
        diagram.plot(
            100 * bins.confidence[filled],
            100 * bins.accuracy[filled],
            "o-",
            color=COLOURS[0],
            label="measured",
        )
        diagram.set(xlim=(0, 100), ylim=(0, 102), xlabel="confidence (%)", ylabel="accuracy (%)")
        diagram.set_title(f"expected calibration error {100 * bins.error:.2f} %")
        diagram.legend(loc="upper left", frameon=True, edgecolor="none")
        for right, name, colour in ((True, "right", COLOURS[0]), (False, "wrong", COLOURS[1])):
            chosen = 100 * predictions.confidence[predictions.correct == right]
            histogram.hist(
                chosen, 100 * bins.bounds, color=colour, alpha=0.55, label=f"{name}: {chosen.size:,}"
            )
        histogram.set(xlim=(0, 100), yscale="log", xlabel="confidence (%)", ylabel="predictions")
        histogram.set_title(_name(predictions))
        histogram.legend(loc="upper left", frameon=True, edgecolor="none")
        return figure


def _of_shown_arm(study: Study) -> Predictions | None:
    arm = shown_arm(study)
    return None if arm is None else pool_predictions(arm)


def _name(predictions: Predictions) -> str:
    return f"{label(predictions.arm)}, {predictions.num_seeds} seed{'s' * (predictions.num_seeds != 1)}"
