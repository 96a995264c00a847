"""A study on one page."""

from matplotlib.figure import Figure

from research.studies.figures.panels import (
    draw_accuracy,
    draw_cost,
    draw_curves,
    draw_differences,
    draw_seconds,
    drawable,
    judged_arms,
)
from research.studies.figures.predictions import (
    draw_confidences,
    draw_confusion,
    draw_reliability,
    predictions_shown,
)
from research.studies.figures.style import canvas, shared_legend
from research.studies.results import StudyResults


def summary(study: StudyResults) -> Figure | None:
    """The study on one page; g, h and i show the reference arm, with all seeds together."""
    predictions = predictions_shown(study)
    judged = judged_arms(study)
    if predictions is None or not judged:
        return None
    sizes = {arm.num_parameters for _, arm in drawable(study)}
    with canvas(3, 3, (12.6, 10.4)) as (figure, axes):
        panels = dict(zip("abcdefghi", axes.flat, strict=True))
        draw_accuracy(panels["a"], study)
        draw_differences(panels["b"], study, judged)
        draw_cost(panels["c"], study, "parameters" if len(sizes) > 1 else "seconds")
        draw_curves(panels["d"], study, "validation_accuracy")
        draw_curves(panels["e"], study, "train_loss")
        draw_seconds(panels["f"], study)
        draw_confusion(panels["g"], predictions)
        draw_reliability(panels["h"], predictions)
        draw_confidences(panels["i"], predictions)
        titles = (
            "accuracy",
            "paired differences",
            "accuracy against cost",
            "validation accuracy",
            "training loss",
            "training time",
            "confusion (%)",
            panels["h"].get_title(loc="left"),
            "confidence, right and wrong",
        )
        for (letter, panel), title in zip(panels.items(), titles, strict=True):
            panel.set_title(f"{letter}  {title}")
        shared_legend(figure, panels["e"], 12.6)
        return figure
