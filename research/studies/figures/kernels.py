"""The figure of how hand-made kernels respond to simple patterns, for comparison with learned kernels."""

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import correlate

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
    with canvas(len(patterns), 1 + len(KERNELS), (9.4, 5.8)) as (figure, axes):
        for row, (pattern, image) in zip(axes, patterns.items(), strict=True):
            for panel in row:
                panel.set(xticks=[], yticks=[])
                panel.grid(False)
            row[0].imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            row[0].set_ylabel(pattern)
            for panel, kernel in zip(row[1:], KERNELS.values(), strict=True):
                # the border is cut off, because the kernel reads padding there
                response = correlate(image, kernel.astype(np.float64))[1:-1, 1:-1]
                # the rounding errors of a response of zero are not shown as colours
                largest = max(float(np.abs(response).max()), 1e-6)
                panel.imshow(response, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
        for panel, name in zip(axes[0], ("input", *KERNELS), strict=True):
            panel.set_title(name)
        return figure
