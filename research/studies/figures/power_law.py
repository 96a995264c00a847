"""The figure of the test error against the number of training images."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from research.studies.figures.style import COLOURS, canvas
from research.studies.power_law import fit_power_law
from research.studies.results import StudyResults


def power_law(study: StudyResults) -> Figure | None:
    """Test error by training images: dots are seeds, the line is the power law with its 95 % interval."""
    law = fit_power_law(study)
    if law is None:
        return None
    with canvas(1, 1, (5.4, 3.8)) as (figure, panels):
        axes = panels[0, 0]
        for errors in law.errors:
            axes.scatter(law.sizes, 100 * errors, s=14, alpha=0.5, color=COLOURS[0], linewidths=0)
        sizes = np.geomspace(law.sizes[0], 2 * law.sizes[-1], 50)
        fits = [law.error_at(size) for size in sizes]
        mean, low, high = (
            100 * np.exp([getattr(fit, key) for fit in fits]) for key in ("mean", "low", "high")
        )
        axes.plot(
            sizes,
            mean,
            color=COLOURS[1],
            label=f"error = {np.exp(law.intercepts.mean()):.2g} · n^-{law.exponent.mean:.3f}",
        )
        axes.fill_between(sizes, low, high, color=COLOURS[1], alpha=0.2, linewidth=0)
        axes.axvline(law.sizes[-1], color="#888888", linewidth=1, linestyle=":")
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("training images; the fit goes on to the right of the dotted line")
        axes.set_ylabel("test error (%)")
        axes.legend()
        return figure
