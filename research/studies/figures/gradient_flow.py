"""The norm of the gradient in each layer over the epochs, from the statistics of the layers."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from research.records.layer_statistics import STATISTICS_FILE, rms_gradients
from research.studies.figures.panels import drawable
from research.studies.figures.style import canvas, label
from research.studies.results import StudyResults

MOST_ARMS, MOST_EPOCHS = 6, 6


def gradient_flow(study: StudyResults) -> Figure | None:
    """Gradient flow: root mean square of each layer's gradient, first layer on the left, a line per epoch."""
    flows = {}
    for _, arm in drawable(study):
        runs = (run.lines(STATISTICS_FILE) for run in arm.completed.values())
        if lines := next(filter(None, runs), None):  # the first seed that has them counts
            flows[arm.name] = {line["epoch"]: rms_gradients(line) for line in lines}
    flows = dict(list(flows.items())[:MOST_ARMS])
    if not flows:
        return None
    columns = min(3, len(flows))
    rows = -(-len(flows) // columns)
    with canvas(rows, columns, (1.6 + 3.4 * columns, 3.4 * rows), sharey=True) as (figure, axes):
        for panel in axes.flat[len(flows) :]:
            panel.set_axis_off()
        for panel, (name, by_epoch) in zip(axes.flat, flows.items(), strict=False):
            epochs = sorted(by_epoch)
            places = np.linspace(0, len(epochs) - 1, min(MOST_EPOCHS, len(epochs))).round().astype(int)
            for epoch in (epochs[place] for place in places):
                colour = matplotlib.colormaps["viridis"](0.9 * epoch / max(epochs[-1], 1))
                values = [value or np.nan for value in by_epoch[epoch].values()]  # log(0) cannot be drawn
                panel.plot(values, color=colour, marker="o", markersize=3, label=f"epoch {epoch}")
            layers = list(by_epoch[epochs[-1]])
            step = max(1, len(layers) // 12)
            panel.set_xticks(range(0, len(layers), step), layers[::step], rotation=60, ha="right", fontsize=7)
            panel.set_yscale("log")
            panel.set_title(label(name))
            panel.legend(fontsize=7)
        for panel in axes[:, 0]:
            panel.set_ylabel("gradient (root mean square)")
        return figure
