"""The figure of a search over hyper-parameters."""

from itertools import accumulate

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from research.studies.figures.style import COLOURS, canvas, label
from research.studies.results import StudyResults
from research.studies.search import importance, outcomes


def search_history(study: StudyResults) -> Figure | None:
    """Validation accuracy by trial, the line is the best so far; and the importance of each key."""
    found = [
        (number, each) for number, each in enumerate(outcomes(study), start=1) if each.accuracy is not None
    ]
    completed = [(number, each.accuracy or 0.0) for number, each in found if each.run.status == "completed"]
    if not completed:
        return None
    shares = importance(study)
    with canvas(1, 2 if shares else 1, (8.4 if shares else 4.8, 3.6)) as (figure, axes):
        history = axes[0, 0]
        given_up = [
            (number, each.accuracy or 0.0) for number, each in found if each.run.status != "completed"
        ]
        for points, name, marker, colour in (
            (completed, "completed", "o", COLOURS[0]),
            (given_up, "given up", "x", COLOURS[7]),
        ):
            if points:
                numbers, accuracies = zip(*points, strict=True)
                history.scatter(
                    numbers, [100 * y for y in accuracies], s=18, marker=marker, color=colour, label=name
                )
        numbers, accuracies = zip(*completed, strict=True)
        best = [100 * y for y in accumulate(accuracies, max)]
        history.step(numbers, best, where="post", color=COLOURS[1], label="best so far")
        history.set_xlabel("trial")
        history.set_ylabel("validation accuracy (%)")
        history.xaxis.set_major_locator(MaxNLocator(integer=True))
        history.legend()
        if shares:
            names = sorted(shares, key=lambda key: shares[key])
            axes[0, 1].barh([label(name) for name in names], [100 * shares[name] for name in names])
            axes[0, 1].set_xlabel("importance (%)")
            axes[0, 1].grid(False, axis="y")
        return figure
