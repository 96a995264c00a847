"""The power law of the test error against the number of training images, fitted to a study of data sizes."""

from dataclasses import dataclass

import numpy as np

from research.studies.replicates import Replicate
from research.studies.results import StudyResults
from research.studies.statistics import Summary, summarize

AXIS = "data.train_limit"
"""The axis of a study of data sizes."""

FEWEST = 3
"""The smallest number of sizes to which a power law is fitted."""


@dataclass(frozen=True, eq=False)
class PowerLaw:
    r"""The test error as a power law of the number of training images, fitted to each seed.

    $$
    e(n) = a \, n^{-b}
    $$

    Args:
        sizes: the numbers of training images in increasing order, `[S]`.
        errors: the test error of each seed and size in [0, 1], `[R, S]`.
        intercepts: log(a) of each seed, `[R]`.
        exponents: b of each seed, `[R]`.

    Source: Hestness et al. (2017), Deep learning scaling is predictable, empirically.
    """

    sizes: np.ndarray
    errors: np.ndarray
    intercepts: np.ndarray
    exponents: np.ndarray

    @property
    def exponent(self) -> Summary:
        """The exponent b: its mean over the seeds, with the 95 % Student-t interval."""
        return summarize(self.exponents)

    def error_at(self, size: float) -> Summary:
        """Return the mean over the seeds of the fitted log(error) at a number of training images."""
        return summarize(self.intercepts - self.exponents * np.log(size))

    @property
    def deviation(self) -> float:
        """The largest factor between the geometric mean error at a size and the fitted law, at least 1."""
        fitted = np.array([self.error_at(size).mean for size in self.sizes.tolist()])
        return float(np.exp(np.abs(np.log(self.errors).mean(0) - fitted).max()))


def fit_power_law(study: StudyResults) -> PowerLaw | None:
    """Return the power law of a study of data sizes.

    The law is fitted by least squares of log(error) on log(size), for each seed that completed all sizes.

    Args:
        study: the study.

    Returns:
        The power law, or `None` if the axis of the study is not `data.train_limit`, if fewer than three sizes
        have completed runs, or if no seed has an error above 0 at each of these sizes.
    """
    if study.axis != AXIS:
        return None
    curves: dict[int, dict[Replicate, float]] = {}
    for arm in study.arms:
        if isinstance(size := arm.setting(AXIS), int) and arm.accuracies:
            curves[size] = {seed: 1 - accuracy for seed, accuracy in arm.accuracies.items() if accuracy < 1}
    sizes = np.array(sorted(curves))
    seeds = set.intersection(*(set(errors) for errors in curves.values())) if curves else set()
    if len(sizes) < FEWEST or not seeds:
        return None
    errors = np.array([[curves[size][seed] for size in sizes] for seed in curves[sizes[0]] if seed in seeds])
    slopes, intercepts = np.polyfit(np.log(sizes), np.log(errors).T, 1)
    return PowerLaw(sizes, errors, intercepts, -slopes)


def describe_power_law(law: PowerLaw) -> str:
    """Return sentences with the exponent of a power law, its deviation, and a prediction for more images."""
    exponent, following = law.exponent, law.error_at(2 * float(law.sizes[-1]))
    fewest, most = f"{law.sizes[0]:,}", f"{law.sizes[-1]:,}"
    interval = "" if np.isnan(exponent.low) else f" [{exponent.low:.3f}, {exponent.high:.3f}]"
    bounds = 100 * np.exp([following.mean, following.low, following.high])
    predicted = f"{bounds[0]:.2f} %" + ("" if np.isnan(bounds[1]) else f" [{bounds[1]:.2f}, {bounds[2]:.2f}]")
    return (
        f"From {fewest} to {most} training images the test error falls as n^-b with b = {exponent.mean:.3f}"
        f"{interval}, over {exponent.n} seeds. The mean errors are within a factor of {law.deviation:.2f} of "
        f"this power law, which predicts an error of {predicted} for {2 * law.sizes[-1]:,} images."
    )
