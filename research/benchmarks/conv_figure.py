"""The figure of the convolution benchmark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from research.benchmarks.conv import PASSES
from research.studies.figures.style import canvas, look, save


def draw(layers: Mapping[str, Mapping[str, Any]], path: Path) -> tuple[Path, Path]:
    """Draw the share of the GEMM rate by layer and pass.

    There is a mark for each implementation, and a ring around the one that `auto` chooses.

    Args:
        layers: what `time_layer` returns, by the name of the layer.
        path: path of the figure without its suffix.

    Returns:
        Paths of the SVG and of the PNG.
    """
    names = list(dict.fromkeys(name for layer in layers.values() for name in layer["share"]))
    with canvas(1, len(PASSES), (12, 1.6 + 0.36 * len(layers)), sharey=True, sharex=True) as (figure, axes):
        for axis, title in zip(axes[0], PASSES, strict=True):
            for index, name in enumerate(names):
                rows = [row for row, layer in enumerate(layers.values()) if name in layer["share"]]
                shares = [list(layers.values())[row]["share"][name][title] for row in rows]
                style = {**look(index), "linestyle": "none", "markersize": 5, "alpha": 0.9}
                axis.plot(shares, rows, label=name, **style)
            for row, layer in enumerate(layers.values()):
                if layer["chosen"] in layer["share"]:
                    share = layer["share"][layer["chosen"]][title]
                    axis.plot(share, row, "o", markersize=11, fillstyle="none", color="black")
            axis.axvline(1, color="#666666", linewidth=0.8)
            axis.set_xscale("log")
            axis.set_title(title.replace("_", " "))
            axis.set_xlabel("share of the GEMM rate")
        axes[0][0].set_yticks(range(len(layers)), list(layers))
        axes[0][0].invert_yaxis()
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(names))
        return save(figure, path)
