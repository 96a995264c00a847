"""The training examples of an epoch, as arrays on the devices of a layout."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

import jax
import numpy as np

from research.data import Images, StoredImages
from research.data.stored import read_ahead
from research.parallel.layout import DATA_AXIS, Layout
from research.training.program import Examples, Feed


def make_feed(layout: Layout, images: Images, labels: np.ndarray, window: int | None = None) -> Feed:
    """Return a function that yields the arrays that the program reads in an epoch.

    Grain reads the images of a window, and those of the next one while the program runs the steps of this
    window. Which images these are follows from the order and the step alone.

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
        data = jax.device_put((np.asarray(images), labels), layout.everywhere)
        by_column = layout.sharding(None, DATA_AXIS)
        return lambda order, first: iter([((*data, jax.device_put(order, by_column)), first, len(order))])

    def windows(order: jax.Array, first: int) -> Iterator[tuple[Examples, int, int]]:
        import grain  # It takes a second, and the examples of most runs are on the devices.

        batch_size, start = order.shape[1], first - first % window
        rows = np.asarray(order)[start:, layout.local_columns(batch_size)]
        # arrays need no threads: the one that fills the next window copies their rows
        workers, threads = (images.num_workers, None) if isinstance(images, StoredImages) else (0, 0)
        batches = read_ahead(partial(_batch, images, rows), len(rows), workers, threads)
        filled = batches.batch(window, drop_remainder=False, batch_fn=partial(_stack, window))
        ahead = grain.experimental.ThreadPrefetchIterDataset(filled, prefetch_buffer_size=1)
        with closing(iter(ahead)) as parts:
            for part, offset in zip(parts, range(0, len(rows), window), strict=True):
                chosen = labels[rows[offset : offset + window]]
                on_devices = (layout.put_columns(each, batch_size) for each in (part, _stack(window, chosen)))
                yield (next(on_devices), next(on_devices), None), max(0, first - start - offset), len(chosen)

    return windows


def _batch(images: Images, rows: np.ndarray, step: int) -> np.ndarray:
    return images[rows[step]]


def _stack(window: int, batches: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Return the batches of a window as one array, which zeros fill up: one shape, one program."""
    filled = np.zeros((window, *batches[0].shape), batches[0].dtype)
    for step, batch in enumerate(batches):
        filled[step] = batch
    return filled
