"""The figures of a report. Each is a function of a study, which returns ``None`` if it does not apply."""

from collections.abc import Callable

from matplotlib.figure import Figure

from research.studies.figures.arms import (
    accuracy_against_cost,
    accuracy_by_arm,
    learning_curves,
    overview,
    paired_differences,
)
from research.studies.figures.gradient_flow import gradient_flow
from research.studies.figures.kernels import kernel_responses
from research.studies.figures.network import feature_maps, first_kernels
from research.studies.figures.power_law import power_law
from research.studies.figures.predictions import confident_mistakes, confusion_matrix, reliability
from research.studies.figures.search import search_history
from research.studies.figures.summary import summary
from research.studies.results import StudyResults

DrawStudy = Callable[[StudyResults], Figure | None]
"""A function that draws a study, or returns ``None`` if its runs do not hold what the figure shows.

The first line of its docstring is the caption.
"""

FIGURES: dict[str, DrawStudy] = {
    "summary": summary,
    "accuracy": accuracy_by_arm,
    "differences": paired_differences,
    "power_law": power_law,
    "learning_curves": learning_curves,
    "cost": accuracy_against_cost,
    "overview": overview,
    "gradient_flow": gradient_flow,
    "confusion": confusion_matrix,
    "reliability": reliability,
    "mistakes": confident_mistakes,
    "first_kernels": first_kernels,
    "kernel_responses": kernel_responses,
    "feature_maps": feature_maps,
    "search": search_history,
}
"""The figures of a report, by the name of their file."""
