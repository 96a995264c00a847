"""The figure of how hand-made kernels respond to simple patterns, for comparison with learned kernels."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from research.studies.figures.network import mosaic
from research.studies.figures.style import canvas
from research.studies.predictions import shown_arm
from research.studies.results import StudyResults

SIZE = 32

KERNELS: dict[str, np.ndarray] = {
    "edge": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
    "blur": np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16,  # a Gaussian
    "box blur": np.full((3, 3), 1 / 9),
    "sharpen": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    "ridge": np.array([[-1, 2, -1], [-1, 2, -1], [-1, 2, -1]]),
    "Sobel x": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "Sobel y": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]),
}


def make_patterns(size: int = SIZE) -> dict[str, np.ndarray]:
    """Return images in [0, 1], each [size, size]: a bright square, noise, a slope and a checkerboard.

    Example:
        >>> sorted(make_patterns(8))
        ['checkerboard', 'edges', 'gradient', 'texture']
    """
    y, x = np.mgrid[:size, :size]
    inside = (abs(x - size // 2) < size // 4) & (abs(y - size // 2) < size // 4)
    return {
        "edges": inside.astype(np.float64),
        "texture": np.random.default_rng(0).random((size, size)),
        "gradient": x / (size - 1),
        "checkerboard": ((x // 4 + y // 4) % 2).astype(np.float64),
    }


def kernel_responses(study: StudyResults) -> Figure | None:
    """Responses of hand-made 3x3 kernels to four patterns, to compare with learned ones; red is positive."""
    arm = shown_arm(study)
    runs = arm.completed.values() if arm else ()
    if not any(run.arrays(("first_kernels",)) for run in runs):
        return None
    patterns = make_patterns()
    names = ("input", *KERNELS)
    tiles = [tile for pattern in patterns.values() for tile in _tiles(pattern)]
    size = len(tiles[0])
    # one picture, because a panel for each tile takes five times as long
    picture = mosaic(np.stack(tiles), aspect=len(names) / len(patterns))
    with canvas(1, 1, (9.4, 4.7)) as (figure, axes):
        panel = axes[0, 0]
        panel.imshow(np.uint8(255 * picture), interpolation="nearest")
        step = (picture.shape[1] - size) / (len(names) - 1)
        for axis, texts in ((panel.xaxis, names), (panel.yaxis, patterns)):
            axis.set_ticks([size / 2 + step * place for place in range(len(texts))], list(texts))
        panel.tick_params(length=0, labeltop=True, labelbottom=False)
        panel.spines[:].set_visible(False)
        panel.grid(False)
        return figure


def _tiles(pattern: np.ndarray) -> list[np.ndarray]:
    """Return a pattern and the responses of the kernels in colour, without the border, [H - 2, W - 2, 3]."""
    inside = pattern[1:-1, 1:-1]
    windows = np.lib.stride_tricks.sliding_window_view(pattern, (3, 3))
    tiles = [inside[..., None].repeat(3, -1)]
    for kernel in KERNELS.values():
        response = np.einsum("ijkl,kl->ij", windows, kernel)
        # the rounding errors of a response of zero are not shown as colours
        largest = max(float(np.abs(response).max()), 1e-6)
        tiles.append(matplotlib.colormaps["RdBu_r"](0.5 + 0.5 * response / largest)[..., :3])
    return tiles
