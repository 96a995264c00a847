"""The style that all figures share, and how they are saved. It does without pyplot and its global state."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Wong, "Points of view: Color blindness", Nature Methods 8 (2011). Its yellow is left out: too pale.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"),
    *("#56B4E9", "#000000", "#7F7F7F", "#661100"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h", "*")
STYLE: Any = {  # an open dict: matplotlib's type for it lists every key there is
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # the default moves titles above ticks at the top, and measures all ticks for that
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "research",  # equal figures give equal files
}
NAME_LIMIT = 32
SECTIONS = re.compile(r"\b[a-z_.]+\.(?=[a-z_]+=)")
"""The part of a key before its last name, such as `model.` in `model.depth=2`."""


LEGEND_ROW = 0.17
"""Height of a row of a legend in inches."""


@contextmanager
def style() -> Iterator[None]:
    """Use the shared style on top of matplotlib's defaults, whatever the user's ``matplotlibrc`` says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


@contextmanager
def canvas(
    rows: int, columns: int, size: tuple[float, float], **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """Yield a new figure of ``size`` inches and its axes, [rows, columns], in the shared style.

    Args:
        rows: rows of axes.
        columns: columns of axes.
        size: width and height in inches.
        options: as for ``Figure.subplots``.
    """
    with style():
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write ``<path>.svg`` and ``<path>.png`` and return both."""
    svg, png = path.with_name(f"{path.name}.svg"), path.with_name(f"{path.name}.png")
    with style():
        # `savefig` would draw the figure once more for the layout, which this drawing solves
        figure.set_dpi(150)
        FigureCanvasAgg(figure).print_png(png, pil_kwargs={"compress_level": 3})  # faster, and 2 % larger
        figure.set_layout_engine(None)
        figure.savefig(svg, dpi=150, metadata={"Date": None})
    return svg, png


def label(name: str) -> str:
    r"""Return a name that matplotlib can show: shortened, and with dollar signs that start no formula.

    Example:
        >>> label("model.activation=relu, optimizer.learning_rate=0.01")
        'activation=relu…arning_rate=0.01'
    """
    short, half = SECTIONS.sub("", name), NAME_LIMIT // 2
    if len(short) > NAME_LIMIT:
        short = f"{short[: half - 1]}…{short[-half:]}"
    return short.replace("$", r"\$")


def look(index: int) -> dict[str, Any]:
    """Return colour, marker and line style of the arm at ``index``, so that no arm relies on colour alone."""
    lines, turn = ("-", "--", "-.", ":"), index // len(COLOURS)
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[(index + turn) % len(MARKERS)],
        "linestyle": lines[turn % len(lines)],
    }


def shared_legend(figure: Figure, axes: Axes, width: float) -> None:
    """Draw one legend below the figure, in as many columns as fit its width in inches.

    The figure becomes higher by the rows of the legend after the first one.
    """
    handles, names = axes.get_legend_handles_labels()
    if handles:
        longest = max(len(name) for name in names)
        columns = max(1, min(len(names), int(width / (0.55 + 0.075 * longest))))
        if sum(0.55 + 0.075 * len(name) for name in names) < width:
            columns = len(names)
        rows = -(-len(names) // columns)
        columns = -(-len(names) // rows)  # no row much shorter than the others
        figure.set_figheight(figure.get_figheight() + LEGEND_ROW * (rows - 1))
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)


def widen(axes: Axes, values: Sequence[float] | np.ndarray, share: float = 0.3) -> None:
    """Set the limits of the x axis so that there is room beside the outermost values."""
    low, high = float(np.min(values)), float(np.max(values))
    room = share * ((high - low) / max(len(values) - 1, 1) or 1.0)
    axes.set_xlim(low - room, high + room)


def panel_width(axes: Axes) -> float:
    """Return the approximate width of a panel in inches."""
    figure, grid = axes.get_figure(root=True), axes.get_gridspec()
    return (figure.get_figwidth() if figure else 6.4) / (grid.ncols if grid else 1)


def as_picture(image: np.ndarray) -> np.ndarray:
    """Return an image of any range as one that can be shown: [H, W] or [H, W, 3] in [0, 1]."""
    image = image.astype(np.float64)
    image = (image - image.min()) / (float(np.ptp(image)) or 1.0)
    return image if image.shape[-1] == 3 else image.mean(-1)
