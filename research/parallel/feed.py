"""The training examples of an epoch, as arrays on the devices of a layout."""

from collections.abc import Iterator

import jax
import numpy as np

from research.parallel.layout import Layout
from research.training.program import Examples, Feed


def make_feed(layout: Layout, images: np.ndarray, labels: np.ndarray, window: int | None = None) -> Feed:
    """Return the function that gives the arrays which the program reads in an epoch.

    Args:
        layout: devices.
        images: all training images `[N, H, W, C]`.
        labels: `[N]`.
        window: steps whose examples are on the devices at a time, each on the device that needs it, read by
            the process that it belongs to; `None` keeps all examples on every device.

    Returns:
        A function of the order `[num_steps, B]` and the first of its steps that is to be run. It yields
        `(images, labels, order)` and from which of its steps to which they are run; with a window the
        examples lie in batches, and there is no order.
    """
    if window is None:
        data = layout.put_data((images, labels))
        return lambda order, first: iter([((*data, layout.put_order(order)), first, len(order))])

    def windows(order: jax.Array, first: int) -> Iterator[tuple[Examples, int, int]]:
        rows = np.asarray(order)
        for start in range(first - first % window, len(rows), window):
            part = rows[start : start + window]
            padded = np.pad(part, ((0, window - len(part)), (0, 0)))  # one shape, one program
            examples = (layout.put_rows(images, padded), layout.put_rows(labels, padded), None)
            yield examples, max(0, first - start), len(part)

    return windows
