"""Panels of figures. Each function draws one relation of a study on given axes."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from research.studies.figures.style import COLOURS, label, look, panel_width, widen
from research.studies.results import Arm, StudyResults, highest_first, paired

LABELS = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "train_accuracy": "training accuracy (%)",
    "validation_accuracy": "validation accuracy (%)",
}

COSTS = {
    "seconds": "training time (s, median)",
    "parameters": "trainable parameters",
    "milliseconds": "time of the file for 64 images (ms, median)",
    "megabytes": "size of the file (MB)",
}
"""The axis label of each cost that `draw_cost` can show."""

MOST_UNEVEN = 8
"""The largest ratio of two distances between neighbouring values on a numeric axis."""


MOST_ARMS = 15
"""Number of arms that a figure shows."""


def drawable(study: StudyResults) -> list[tuple[int, Arm]]:
    """Return the arms that figures show, each with a number that decides its colour.

    These are the arms with a completed run. If there are more than `MOST_ARMS`, they are the ones with the
    highest mean test accuracy, and the reference arm.
    """
    arms = [(index, arm) for index, arm in enumerate(study.arms) if arm.completed]
    if len(arms) <= MOST_ARMS:
        return arms
    names = {arm.name for arm in highest_first(arm for _, arm in arms)[:MOST_ARMS]} | {study.reference}
    return list(enumerate(arm for _, arm in arms if arm.name in names))


def judged_arms(study: StudyResults) -> list[Arm]:
    """Return the arms among `drawable` that are compared with the reference arm."""
    return [arm for _, arm in drawable(study) if arm.name in study.contrasts and paired(study, arm)]


def numeric_axis(study: StudyResults) -> bool:
    """Return whether the study's axis is a number that differs between all arms.

    Numbers that are spread too unevenly for one scale, such as 100, 1000 and 10000, are treated as names.
    """
    values = [arm.setting(study.axis) for _, arm in drawable(study)]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numbers or len(values) < 2 or len(set(values)) < len(values):
        return False
    steps = np.diff(sorted(values))
    return float(steps.max()) <= MOST_UNEVEN * float(steps.min())


def positions(study: StudyResults) -> dict[str, float]:
    """Return the x position of each drawable arm: its value if the axis is numeric, else its rank."""
    arms = [arm for _, arm in drawable(study)]
    if numeric_axis(study):
        return {arm.name: float(arm.setting(study.axis)) for arm in arms}
    return {arm.name: float(rank) for rank, arm in enumerate(arms)}


def draw_arm_axis(axes: Axes, study: StudyResults) -> None:
    """Name the arms, or the values of a numeric axis, along x."""
    places = positions(study)
    x = list(places.values())
    widen(axes, x, 0.5)
    axes.grid(False, axis="x")
    if numeric_axis(study):
        axes.set_xlabel(str(study.axis).replace("_", " ").replace(".", " "))
        axes.set_xticks(x, [f"{value:g}" for value in x])
        return
    names = [label(name) for name in places]
    crowded = len(names) * (max(map(len, names)) + 1) > 11 * panel_width(axes)  # about 11 letters an inch
    turned: dict[str, Any] = {}
    if crowded:
        turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
        if 0.32 * len(names) > panel_width(axes):  # the lines of turned names would touch
            turned |= {"rotation": 90, "va": "center"}
    axes.set_xticks(x, names, **turned)


def draw_accuracy(axes: Axes, study: StudyResults) -> None:
    """Draw test accuracy by arm: a dot for every seed, and beside them the mean with its 95 % interval."""
    places = positions(study)
    spacing = min(np.diff(sorted(places.values())), default=1.0)
    if numeric_axis(study):
        means = [100 * arm.summary.mean for _, arm in drawable(study)]
        x = np.array(list(places.values())) + 0.1 * spacing
        axes.plot(x, means, color="#999999", linewidth=1, zorder=1)
    for index, arm in drawable(study):
        y = 100 * np.array(list(arm.accuracies.values()))
        spread = (np.arange(y.size) - (y.size - 1) / 2) / max(y.size - 1, 1)
        x = places[arm.name]
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)]}
        axes.scatter(x + (0.16 * spread - 0.1) * spacing, y, s=14, alpha=0.6, linewidths=0, **style)
        draw_interval(axes, x + 0.1 * spacing, arm, markersize=6, marker="D", **style)
    axes.set_ylabel("test accuracy (%)")
    keep_to_percent(axes)
    draw_arm_axis(axes, study)


def draw_interval(axes: Axes, x: float, arm: Arm, **style: Any) -> None:
    """Draw the arm's mean test accuracy in percent at ``x``, with its 95 % interval if it has one."""
    half = 100 * (arm.summary.high - arm.summary.mean)
    yerr = None if np.isnan(half) else half
    axes.errorbar(
        x, 100 * arm.summary.mean, yerr, capsize=3, linestyle="none", label=label(arm.name), **style
    )


def keep_to_percent(axes: Axes) -> None:
    """Limit the y axis to 0 and 100 %, since the t interval of few seeds may reach beyond."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -1.0), min(high, 101.0))


def draw_differences(axes: Axes, study: StudyResults, arms: Sequence[Arm]) -> None:
    """Draw a row per arm: its paired differences to the reference in points, and what is claimed."""
    places = {arm.name: index for index, arm in drawable(study)}
    axes.axvline(0, color="#888888", linewidth=1)
    for row, arm in enumerate(arms):
        contrast, colour = study.contrasts[arm.name], COLOURS[places[arm.name] % len(COLOURS)]
        difference = contrast.difference
        pairs = 100 * np.array(paired(study, arm))
        axes.scatter(pairs, np.full(pairs.size, row - 0.18), s=12, alpha=0.6, color=colour, linewidths=0)
        half = None if np.isnan(difference.low) else 100 * (difference.high - difference.mean)
        axes.errorbar(100 * difference.mean, row + 0.1, xerr=half, color=colour, marker="D", capsize=3)
    verdicts = [f"{label(arm.name)}\n{study.contrasts[arm.name].verdict}" for arm in arms]
    axes.set_yticks(range(len(arms)), verdicts)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"difference of test accuracy to {label(str(study.reference))} (percentage points)")


def draw_seconds(axes: Axes, study: StudyResults) -> None:
    """Draw training seconds by arm: a dot for every seed, and a line for the median."""
    places = positions(study)
    spacing = min(np.diff(sorted(places.values())), default=1.0)
    for index, arm in drawable(study):
        y, x = arm.seconds("train"), places[arm.name]
        colour = COLOURS[index % len(COLOURS)]
        axes.bar(x, float(np.median(y)), 0.6 * spacing, color=colour, alpha=0.35)
        axes.scatter(np.full(len(y), x), y, s=14, color=colour, alpha=0.8, linewidths=0)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("training time (s)")
    draw_arm_axis(axes, study)


def draw_cost(axes: Axes, study: StudyResults, cost: str) -> None:
    """Draw mean test accuracy with its interval against one of `COSTS`."""
    arms = drawable(study)
    found = {
        "seconds": lambda arm: arm.seconds("train"),
        "parameters": lambda arm: [arm.num_parameters or 0],
        "milliseconds": lambda arm: [*arm.measured("milliseconds_64").values()],
        "megabytes": lambda arm: [size / 1e6 for size in arm.measured("file_bytes").values()],
    }[cost]
    values = [float(np.median(found(arm))) for _, arm in arms]
    for x, (index, arm) in zip(values, arms, strict=True):
        style = look(index)
        draw_interval(axes, x, arm, color=style["color"], marker=style["marker"])
    if min(values) > 0 and max(values) > 20 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif max(values) > 2 * min(values):
        axes.set_xlim(0, 1.08 * max(values))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    else:
        axes.margins(x=0.15)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}")
    axes.set_xlabel(COSTS[cost])
    axes.set_ylabel("test accuracy (%)")
    keep_to_percent(axes)


def draw_curves(axes: Axes, study: StudyResults, key: str) -> None:
    """Draw a metric against the epoch: mean and deviation over the completed seeds that reached it.

    The curve ends where fewer than half of the seeds are left, so that runs that stopped early do not distort
    the mean.
    """
    scale = 100 if key.endswith("accuracy") else 1
    for index, arm in drawable(study):
        epochs, mean, deviation = mean_curve([run.metrics for run in arm.completed.values()], key)
        if not epochs.size:
            continue
        style = look(index)
        y, band = scale * mean, scale * deviation
        step = max(1, epochs.size // 8)
        axes.plot(epochs, y, label=label(arm.name), markersize=4, markevery=step, **style)
        axes.fill_between(epochs, y - band, y + band, color=style["color"], alpha=0.15, linewidth=0)
    if not axes.lines:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center")
    low, high = axes.dataLim.intervaly
    if key.endswith("loss") and low > 0 and high > 30 * low:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(LABELS.get(key, key.replace("_", " ")))


def mean_curve(
    histories: Sequence[Sequence[dict[str, Any]]], key: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the epochs that at least half of the histories reached, and mean and deviation of a metric."""
    by_epoch: dict[int, list[float]] = defaultdict(list)
    for line in (line for history in histories for line in history):
        if line.get(key) is not None:
            by_epoch[int(line["epoch"])].append(float(line[key]))
    epochs = [epoch for epoch, values in sorted(by_epoch.items()) if 2 * len(values) >= len(histories)]
    values = [np.array(by_epoch[epoch]) for epoch in epochs]
    deviation = [v.std(ddof=1) if v.size > 1 else 0.0 for v in values]
    return np.array(epochs), np.array([v.mean() for v in values]), np.array(deviation)
