"""Figures that compare the arms of a study."""

from matplotlib.figure import Figure

from research.studies.figures.panels import (
    draw_accuracy,
    draw_cost,
    draw_curves,
    draw_differences,
    draw_seconds,
    drawable,
    judged_arms,
    numeric_axis,
)
from research.studies.figures.style import canvas, shared_legend
from research.studies.results import StudyResults


def accuracy_by_arm(study: StudyResults) -> Figure | None:
    """Test accuracy by arm: each dot is a seed, the diamond the mean with its 95 % interval."""
    num_arms = len(drawable(study))
    if not num_arms:
        return None
    with canvas(1, 1, (min(10.0, 3.6 + 0.6 * num_arms), 3.8)) as (figure, axes):
        draw_accuracy(axes[0, 0], study)
        return figure


def paired_differences(study: StudyResults) -> Figure | None:
    """Test accuracy minus the reference arm's, seed by seed: dots are pairs, the bar is the 95 % interval."""
    judged = judged_arms(study)
    if not judged:
        return None
    with canvas(1, 1, (6.4, 1.2 + 0.5 * len(judged))) as (figure, axes):
        draw_differences(axes[0, 0], study, judged)
        return figure


def learning_curves(study: StudyResults) -> Figure | None:
    """Loss and accuracy by epoch: mean over the seeds, with a band of one standard deviation."""
    if not any(run.metrics for _, arm in drawable(study) for run in arm.completed.values()):
        return None
    with canvas(2, 2, (7.6, 6.0), sharex=True, sharey="row") as (figure, axes):
        for row, metric in zip(axes, ("loss", "accuracy"), strict=True):
            for panel, split in zip(row, ("train", "validation"), strict=True):
                draw_curves(panel, study, f"{split}_{metric}")
                panel.tick_params(labelbottom=True, labelleft=True)
        shared_legend(figure, axes[0, 0], 7.6)
        return figure


def accuracy_against_cost(study: StudyResults) -> Figure | None:
    """Mean test accuracy and its 95 % interval against what the arm costs."""
    arms = [arm for _, arm in drawable(study)]
    if not arms:
        return None
    costs = ["seconds", "parameters"] if len({arm.num_parameters for arm in arms}) > 1 else ["seconds"]
    if all(arm.measured("file_bytes") for arm in arms):  # the runs made files
        costs = ["milliseconds", "megabytes"]
    width = 3.8 * len(costs) + (1.2 if len(costs) == 1 else 0)
    with canvas(1, len(costs), (width, 3.8), sharey=True) as (figure, axes):
        for panel, cost in zip(axes[0], costs, strict=True):
            draw_cost(panel, study, cost)
            panel.label_outer()
        shared_legend(figure, axes[0, 0], width)
        return figure


def overview(study: StudyResults) -> Figure | None:
    """Accuracy, cost and convergence side by side."""
    if not any(arm.seconds("train") for _, arm in drawable(study)):
        return None
    with canvas(2, 2, (8.4, 6.8)) as (figure, axes):
        draw_accuracy(axes[0, 0], study)
        if numeric_axis(study):
            draw_cost(axes[0, 1], study, "parameters")
            draw_seconds(axes[1, 0], study)
            draw_curves(axes[1, 1], study, "validation_accuracy")
            titles = ("accuracy", "parameter efficiency", "training time", "convergence")
        else:
            draw_seconds(axes[0, 1], study)
            draw_curves(axes[1, 0], study, "validation_accuracy")
            draw_curves(axes[1, 1], study, "train_loss")
            titles = ("accuracy", "training time", "validation accuracy", "training loss")
        for panel, letter, title in zip(axes.flat, "abcd", titles, strict=True):
            panel.set_title(f"{letter}  {title}")
        shared_legend(figure, axes[1, 1], 8.4)
        return figure
