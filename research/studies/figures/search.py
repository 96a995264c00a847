"""The figure of a search over hyper-parameters."""

from itertools import accumulate

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from research.studies.figures.style import COLOURS, canvas, label, shared_legend
from research.studies.results import StudyResults
from research.studies.search import importance, outcomes


def search_history(study: StudyResults) -> Figure | None:
    """Validation accuracy by trial, with a line for the best so far, and the importance of each key."""
    found = list(enumerate(outcomes(study), start=1))
    groups = {
        "completed": [(x, each.accuracy) for x, each in found if each.run.status == "completed"],
        "given up": [(x, each.accuracy) for x, each in found if each.run.status in ("stopped", "diverged")],
    }
    points = {name: [(x, 100 * y) for x, y in group if y is not None] for name, group in groups.items()}
    if not points["completed"]:
        return None
    shares = importance(study)
    width = 8.4 if shares else 4.8
    with canvas(1, 2 if shares else 1, (width, 3.8)) as (figure, axes):
        history = axes[0, 0]
        for (name, group), marker, colour in zip(points.items(), "ox", (COLOURS[0], COLOURS[7]), strict=True):
            if group:
                history.scatter(*zip(*group, strict=True), s=18, marker=marker, color=colour, label=name)
        numbers, accuracies = zip(*points["completed"], strict=True)
        best = list(accumulate(accuracies, max))
        history.step(
            [*numbers, len(found)], [*best, best[-1]], color=COLOURS[1], where="post", label="best so far"
        )
        history.set_xlabel("trial")
        history.set_ylabel("validation accuracy (%)")
        history.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if shares:
            names = sorted(shares, key=lambda key: shares[key])
            sizes = [100 * shares[name] for name in names]
            axes[0, 1].barh([label(name) for name in names], sizes, 0.5, color=COLOURS[0])
            axes[0, 1].set_xlabel("importance (%)")
            axes[0, 1].grid(False, axis="y")
        shared_legend(figure, history, width)
        return figure
