"""The training examples of an epoch, as arrays on the devices of a layout."""

from collections.abc import Iterator

import jax
import numpy as np

from research.parallel.layout import DATA_AXIS, Layout
from research.training.program import Examples, Feed


def make_feed(layout: Layout, images: np.ndarray, labels: np.ndarray, window: int | None = None) -> Feed:
    """Return a function that yields the arrays that the program reads in an epoch.

    Args:
        layout: the devices.
        images: all training images `[N, H, W, C]`.
        labels: the labels `[N]`.
        window: number of steps whose examples are on the devices at a time. Each device holds only the
            examples that it needs, and each process reads only those of its devices. `None` keeps all
            examples on every device.

    Returns:
        The function `feed(order, first)` of an order `[num_steps, B]` and the first step to run. It yields
        `((images, labels, order), start, stop)`, where the steps from `start` to `stop - 1` are to be
        run. With a window, images and labels are batches `[window, B, ...]`, and `order` is `None`.
    """
    if window is None:
        data = jax.device_put((images, labels), layout.everywhere)
        by_column = layout.sharding(None, DATA_AXIS)
        return lambda order, first: iter([((*data, jax.device_put(order, by_column)), first, len(order))])

    def windows(order: jax.Array, first: int) -> Iterator[tuple[Examples, int, int]]:
        rows = np.asarray(order)
        for start in range(first - first % window, len(rows), window):
            part = rows[start : start + window]
            padded = np.pad(part, ((0, window - len(part)), (0, 0)))  # one shape, one program
            examples = (layout.put_rows(images, padded), layout.put_rows(labels, padded), None)
            yield examples, max(0, first - start), len(part)

    return windows
