"""Figures of one trained network: its first kernels, and its feature maps of one image."""

import math

import numpy as np
from matplotlib.figure import Figure

from research.studies.figures.style import as_picture, canvas, label
from research.studies.predictions import shown_arm
from research.studies.results import StudyResults

MOST_TILES = 64
MOST_MAPS = 16
MOST_LAYERS = 11


def first_kernels(study: StudyResults) -> Figure | None:
    """Learned kernels of the first convolution of one run; red is positive, blue negative."""
    name, arrays = shown_run(study)
    kernels = arrays.get("first_kernels")
    if kernels is None:
        return None
    tiles = np.moveaxis(kernels, -1, 0)[:MOST_TILES].astype(np.float64)
    coloured = tiles.shape[-1] == 3
    largest = float(np.abs(tiles).max()) or 1.0
    picture = mosaic(0.5 + 0.5 * tiles / largest if coloured else tiles.mean(-1), aspect=2)
    height = 0.9 + 5.6 * picture.shape[0] / picture.shape[1]
    with canvas(1, 1, (6.4, height)) as (figure, axes):
        panel = axes[0, 0]
        panel.axis("off")
        image = panel.imshow(
            picture, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest", aspect="equal"
        )
        if not coloured:
            figure.colorbar(image, ax=panel, label="weight", shrink=0.8)
        shown = f"{len(tiles)} of {kernels.shape[-1]}" if len(tiles) < kernels.shape[-1] else str(len(tiles))
        panel.set_title(f"{name}: {shown} kernels of {kernels.shape[0]}x{kernels.shape[1]}")
        return figure


def feature_maps(study: StudyResults) -> Figure | None:
    """One test image and the outputs of the layers of one run; each layer has its own scale."""
    name, arrays = shown_run(study)
    layers = {key.partition("/")[2]: maps for key, maps in arrays.items() if key.startswith("feature_map/")}
    layers = {layer: maps for layer, maps in layers.items() if maps.ndim == 3 and "/" not in layer}
    if not layers or "image" not in arrays:
        return None
    shown = np.linspace(0, len(layers) - 1, min(len(layers), MOST_LAYERS)).round().astype(int)
    layers = {layer: layers[layer] for layer in np.array(list(layers))[shown].tolist()}
    pictures = {layer: mosaic(np.moveaxis(maps[..., :MOST_MAPS], -1, 0)) for layer, maps in layers.items()}
    columns = min(3, 1 + len(layers))
    rows = math.ceil((1 + len(layers)) / columns)
    with canvas(rows, columns, (2.7 * columns, 2.8 * rows)) as (figure, axes):
        for panel in axes.flat:
            panel.axis("off")
        panels = iter(axes.flat)
        first = next(panels)
        first.imshow(as_picture(arrays["image"]), cmap="gray", interpolation="nearest")
        first.set_title(f"{name}: input")
        for panel, (layer, picture) in zip(panels, pictures.items(), strict=False):
            panel.imshow(picture, cmap="viridis", interpolation="nearest")
            height, width, channels = layers[layer].shape
            panel.set_title(f"{label(layer)}: {height}x{width}x{channels}")
        return figure


def mosaic(tiles: np.ndarray, aspect: float = 1.0) -> np.ndarray:
    """Return tiles side by side, with narrow gaps of NaN, or of white in colour; small tiles are enlarged.

    Args:
        tiles: [N, H, W] or [N, H, W, 3].
        aspect: the approximate ratio of the width of the mosaic to its height.

    Example:
        >>> mosaic(np.zeros((4, 32, 32))).shape
        (66, 66)
    """
    factor = math.ceil(24 / tiles.shape[1])
    tiles = tiles.repeat(factor, 1).repeat(factor, 2)
    count, height, width, *colours = tiles.shape
    columns = min(count, math.ceil(math.sqrt(count * aspect * height / width)))
    rows = math.ceil(count / columns)
    gap = max(2, height // 16)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, *colours)
    picture = np.full(shape, 1.0 if colours else np.nan)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        picture[top : top + height, left : left + width] = tile
    return picture


def shown_run(study: StudyResults) -> tuple[str, dict[str, np.ndarray]]:
    """Return the name and the arrays of the first run of `shown_arm` that has arrays; {} if none has."""
    arm = shown_arm(study)
    found = ((seed, run) for seed, run in arm.completed.items() if run.has_arrays) if arm else iter(())
    seed, run = next(found, (0, None))
    return (f"{label(arm.name)}, seed {seed}", run.arrays()) if arm and run else ("", {})
